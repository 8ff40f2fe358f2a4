#include "common/os/command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/json.h"

enum { SLICES_MAX = 100000 };

const struct command *
command_find(const struct command *all, size_t n_all, const char *name)
{
	size_t i;

	for (i = 0; i < n_all; i++)
		if (strcmp(all[i].name, name) == 0)
			return &all[i];
	return NULL;
}

/* Does a row take the option? *valued: a word more belongs to it. */
static bool
takes(const struct command *c, const char *option, bool *valued)
{
	size_t n = strlen(option);
	const char *at;

	for (at = c->options; (at = strstr(at, option)) != NULL; at += n)
		if (at > c->options && at[-1] == ' ' && (at[n] == ' ' || at[n] == '=')) {
			*valued = at[n] == '=';
			return true;
		}
	return false;
}

const struct command *
command_check(struct asked *out, const struct command *all, size_t n_all, size_t n,
	      const char *const *words, const char **usage)
{
	const struct command *c = n ? command_find(all, n_all, words[0]) : NULL;
	bool valued;
	size_t i;

	memset(out, 0, sizeof(*out));
	*usage = "no such command; see --help";
	if (!c || n > CTL_WORDS)
		return NULL;
	*usage = c->usage;
	for (i = 0; i < n; i++) {
		if (strncmp(words[i], "--", 2) != 0) {
			out->words[out->n++] = words[i];
			continue;
		}
		if (!takes(c, words[i], &valued) || (valued && i + 1 == n))
			return NULL;
		out->options[out->n_options] = words[i];
		out->values[out->n_options++] = valued ? words[++i] : "";
	}
	return out->n >= c->min && out->n <= c->max ? c : NULL;
}

const char *
command_option(const struct asked *a, const char *name)
{
	size_t i;

	for (i = 0; i < a->n_options; i++)
		if (strcmp(a->options[i], name) == 0)
			return a->values[i];
	return NULL;
}

bool
command_size(const char *s, uint64_t *out)
{
	static const struct {
		const char *unit;
		unsigned shift;
	} units[] = {{"", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}};
	char *end;
	size_t i;

	if (*s < '0' || *s > '9')
		return false;
	*out = strtoull(s, &end, 10);
	for (i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strcmp(end, units[i].unit) == 0 && *out <= UINT64_MAX >> units[i].shift) {
			*out <<= units[i].shift;
			return true;
		}
	return false;
}

bool
command_slice(const char *s, uint64_t *part, uint64_t *parts)
{
	unsigned long long i, n;
	char end;

	if (s[strspn(s, "0123456789/")] || sscanf(s, "%9llu/%9llu%c", &i, &n, &end) != 2)
		return false;
	*part = i;
	*parts = n;
	return i >= 1 && i <= n && n <= SLICES_MAX;
}

void
command_complain(struct asked *a, const char *what)
{
	char line[480];

	(void)snprintf(line, sizeof(line), "%s: %.440s\n", a->program, what);
	(void)ctl_progress(a->r, line);
}

int
command_failed(struct asked *a, const struct err *e)
{
	char text[sizeof(e->what) + 100];

	err_text(e, text, sizeof(text));
	command_complain(a, text);
	return COMMAND_FAILED;
}

int
command_die(const char *program, const struct err *e)
{
	char text[sizeof(e->what) + 100];

	err_text(e, text, sizeof(text));
	fprintf(stderr, "%s: %s\n", program, text);
	return COMMAND_FAILED;
}

/* usage begins with the word, or says what is wrong with it. */
int
command_misused(const char *program, const char *word, const char *usage)
{
	if (strncmp(usage, word, strlen(word)) == 0)
		fprintf(stderr, "usage: %s %s\n", program, usage);
	else
		fprintf(stderr, "%s %s: %s\n", program, word, usage);
	return COMMAND_USAGE;
}

struct json *
command_list(const struct asked *a, struct json *j, struct buf *out)
{
	if (!command_option(a, "--json"))
		return NULL;
	json_init(j, out);
	json_open(j, NULL, '[');
	return j;
}

void
command_list_end(struct json *j, struct buf *out)
{
	if (!j)
		return;
	json_close(j, ']');
	buf_puts(out, "\n");
}

int
command_give(struct asked *a, struct buf *out, int code)
{
	if (buf_failed(out)) {
		command_complain(a, "no memory for the answer");
		code = COMMAND_FAILED;
	} else {
		(void)ctl_out(a->r, (const char *)out->data, out->len);
	}
	buf_fini(out);
	return code;
}

int
command_end(struct asked *a, struct buf *out, int rc, const struct err *e, int code)
{
	if (!rc)
		return command_give(a, out, code);
	buf_fini(out);
	return command_failed(a, e);
}
