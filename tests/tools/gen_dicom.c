/*
 * gen_dicom - writes synthetic DICOM files.
 *
 *   gen_dicom --out DIR [--count N] [--seed N] [--rows N] [--frames N] [--per-study N] [--mix]
 *             [--compressed]
 *
 * --mix: sizes from 1 KB to a few MB. --compressed: JPEG 2000, which does not shrink.
 * The seed also numbers the studies, so that two seeds share none.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/rng.h"
#include "common/os/file.h"
#include "tests/gen/gen.h"

struct options {
	const char *out;
	unsigned count, seed, rows, frames, per_study;
	int mix, compressed;
};

static int
write_one(const struct options *o, struct gen *g, unsigned i)
{
	char path[4096];
	struct buf b = BUF_INIT;
	struct err e = ERR_INIT;
	int fd, rc;

	gen_file(&b, g);
	(void)snprintf(path, sizeof(path), "%s/%06u.dcm", o->out, i);
	fd = file_create(path, &e);
	rc = fd < 0 ? fd : file_write(fd, b.data, b.len, &e);
	if (fd >= 0)
		file_close(fd);
	if (rc)
		fprintf(stderr, "gen_dicom: %s\n", e.what);
	buf_fini(&b);
	return rc;
}

static void
choose(const struct options *o, struct rng *r, struct gen *g, unsigned i)
{
	static const unsigned sides[] = {0, 16, 64, 64, 256, 512, 512, 1024};
	static char name[64], id[32], accession[32];
	unsigned study = o->seed * 1000 + i / o->per_study;

	gen_init(g);
	g->study = study;
	g->instance = i % o->per_study + 1;
	g->seed = o->seed * 100000u + i;
	g->rows = g->columns = o->mix ? sides[rng_below(r, 8)] : o->rows;
	g->frames = o->frames;
	g->compressed = o->compressed;
	(void)snprintf(name, sizeof(name), "PATIENT%u^TEST", study);
	(void)snprintf(id, sizeof(id), "ID%u", study);
	(void)snprintf(accession, sizeof(accession), "A%u", study);
	g->name = name;
	g->patient_id = id;
	g->accession = accession;
}

int
main(int argc, char **argv)
{
	static const struct option longs[] = {{"out", required_argument, NULL, 'o'},
					      {"count", required_argument, NULL, 'n'},
					      {"seed", required_argument, NULL, 's'},
					      {"rows", required_argument, NULL, 'r'},
					      {"frames", required_argument, NULL, 'f'},
					      {"per-study", required_argument, NULL, 'p'},
					      {"mix", no_argument, NULL, 'm'},
					      {"compressed", no_argument, NULL, 'c'},
					      {NULL, 0, NULL, 0}};
	struct options o = {NULL, 10, 1, 512, 1, 20, 0, 0};
	struct rng_seeded r;
	struct gen g;
	unsigned i;
	int c, rc;
	bool made;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == '?')
			return 2;
		if (c == 'o')
			o.out = optarg;
		else if (c == 'm')
			o.mix = 1;
		else if (c == 'c')
			o.compressed = 1;
		else
			*(c == 'n'   ? &o.count
			  : c == 's' ? &o.seed
			  : c == 'r' ? &o.rows
			  : c == 'f' ? &o.frames
				     : &o.per_study) = (unsigned)strtoul(optarg, NULL, 10);
	}
	if (!o.out || !o.per_study) {
		fprintf(stderr, "usage: gen_dicom --out DIR [--count N] [--seed N] [--rows N]\n");
		return 2;
	}
	rng_seeded_init(&r, o.seed);
	rc = file_mkdirs("/", o.out[0] == '/' ? o.out + 1 : o.out, NULL);
	if (o.out[0] != '/')
		rc = file_mkdir(o.out, &made, NULL);
	for (i = 0; !rc && i < o.count; i++) {
		choose(&o, &r.r, &g, i);
		rc = write_one(&o, &g, i);
	}
	return rc ? EXIT_FAILURE : EXIT_SUCCESS;
}
