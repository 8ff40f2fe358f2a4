/*
 * scan_dump - what one pass tells of each file named on the command line or on
 * standard input (one path a line): a JSON document a line, for comparison with
 * independent readers. --keys: the attributes that are indexed, their level and VR.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/dicom/attrs.h"
#include "common/dicom/canon.h"
#include "common/dicom/keys.h"
#include "common/os/file.h"

static void
json_text(const char *s, size_t n)
{
	size_t i;

	putchar('"');
	for (i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < ' ' || c == 127)
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

static void
json_hex(const char *name, const void *p, size_t n)
{
	char hex[2 * SHA256_SIZE + 1];

	hex_of(p, n, hex);
	printf(",\"%s\":\"%s\"", name, hex);
}

static void
json_set(const char *name, const struct buf *set)
{
	struct attr a;
	size_t pos = 0;
	const char *comma = "";

	printf(",\"%s\":{", name);
	while (attrs_next(attrs_of(set), &pos, &a)) {
		printf("%s\"%08x\":", comma, a.tag);
		json_text(a.value, a.n);
		comma = ",";
	}
	putchar('}');
}

static void
print(const char *path, const struct object_info *i)
{
	printf("{\"path\":");
	json_text(path, strlen(path));
	printf(",\"flags\":%u,\"size\":%llu,\"syntax\":", i->flags, (unsigned long long)i->size);
	json_text(i->syntax, strlen(i->syntax));
	printf(",\"class\":");
	json_text(i->sop_class, strlen(i->sop_class));
	printf(",\"uid\":");
	json_text(i->sop_instance, strlen(i->sop_instance));
	json_hex("digest", i->digest, sizeof(i->digest));
	json_hex("content", i->content, sizeof(i->content));
	json_hex("pixels", i->pixels, sizeof(i->pixels));
	json_hex("attributes", i->attributes, sizeof(i->attributes));
	printf(",\"pixel_offset\":%llu,\"pixel_length\":%llu,\"fragments\":%zu",
	       (unsigned long long)i->pixel_offset, (unsigned long long)i->pixel_length,
	       i->n_fragments);
	if (i->n_fragments)
		printf(",\"last_fragment\":[%llu,%u]",
		       (unsigned long long)i->fragments[i->n_fragments - 1].offset,
		       i->fragments[i->n_fragments - 1].length);
	json_set("study", &i->study_attrs);
	json_set("series", &i->series_attrs);
	json_set("instance", &i->instance_attrs);
	printf("}\n");
}

static int
dump(const char *path)
{
	struct canon_config config = {.form = CANON_FILE};
	const struct object_info *info;
	struct buf bytes = BUF_INIT;
	struct canon *c = NULL;
	struct err e = ERR_INIT;
	int rc = file_slurp(path, (size_t)1 << 31, &bytes, &e);

	if (!rc)
		rc = canon_bytes(&c, &config, bytes.data, bytes.len, NULL, &info, &e);
	if (rc)
		fprintf(stderr, "%s: %s\n", path, e.what);
	else
		print(path, info);
	canon_free(c);
	buf_fini(&bytes);
	return rc;
}

static int
print_keys(void)
{
	static const char *const levels[] = {"study", "study", "series", "instance"};
	const struct key_item *items;
	const struct key *keys;
	size_t n, i;

	keys = key_all(&n);
	for (i = 0; i < n; i++)
		printf("%08x %s %s\n", keys[i].tag, levels[keys[i].level], keys[i].vr);
	items = key_items(&n);
	for (i = 0; i < n; i++)
		printf("%08x %s %08x\n", items[i].sequence,
		       levels[key_find(items[i].sequence)->level], items[i].tag);
	return EXIT_SUCCESS;
}

int
main(int argc, char **argv)
{
	char line[4096];
	int i, failed = 0;

	if (argc == 2 && strcmp(argv[1], "--keys") == 0)
		return print_keys();
	for (i = 1; i < argc; i++)
		failed |= dump(argv[i]);
	while (argc == 1 && fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		failed |= dump(line);
	}
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
