#include "common/base/conf.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/err.h"

enum {
	LINE_MAX_BYTES = 199,
	NAME_MAX_BYTES = 49,
	ENTRIES_MAX = 4096,
	TITLE_MAX_BYTES = 16,
	RANGE = 64
};

struct entry {
	const struct conf_row *row;
	char *name; /* of a named section, or NULL */
	char *value;
	int64_t number;
};

struct conf {
	const struct conf_row *rows;
	size_t n_rows;
	struct entry *entries;
	size_t n;
	char **names; /* of named sections, as they come: "peer CT1" */
	size_t n_names;
	/* while loading */
	FILE *f;
	const char *path;
	int line;
	struct err *e;
};

static bool
named(const struct conf_row *row)
{
	size_t n = strlen(row->section);

	return n > 2 && strcmp(row->section + n - 2, " *") == 0;
}

/* Does a section of a file belong to the row? *name then points at its name, if it has one. */
static bool
section_fits(const struct conf_row *row, const char *section, const char **name)
{
	size_t n = strlen(row->section);

	*name = NULL;
	if (!named(row))
		return strcmp(row->section, section) == 0;
	if (strncmp(row->section, section, n - 1) != 0 || !section[n - 1])
		return false;
	*name = section + n - 1;
	return true;
}

struct unit {
	const char *name;
	int64_t factor;
};

static bool
with_unit(const char *s, const struct unit *units, int64_t *out)
{
	char *end;
	long long v;

	errno = 0;
	v = strtoll(s, &end, 10);
	if (errno || end == s)
		return false;
	while (*end == ' ')
		end++;
	for (; units->name; units++) {
		if (strcasecmp(end, units->name) == 0)
			return !__builtin_mul_overflow((int64_t)v, units->factor, out);
	}
	return false;
}

static bool
parse_bool(const char *s, int64_t *out)
{
	static const char *const yes[] = {"yes", "on", "true", "1"};
	static const char *const no[] = {"no", "off", "false", "0"};
	size_t i;

	for (i = 0; i < 4; i++) {
		if (strcasecmp(s, yes[i]) == 0 || strcasecmp(s, no[i]) == 0) {
			*out = strcasecmp(s, yes[i]) == 0;
			return true;
		}
	}
	return false;
}

static bool
is_choice(const char *choices, const char *s)
{
	size_t n = strlen(s);

	while (*choices) {
		size_t part = strcspn(choices, " ");

		if (part == n && memcmp(choices, s, n) == 0)
			return true;
		choices += part;
		choices += strspn(choices, " ");
	}
	return false;
}

/* PS3.5 6.2, AE. A # stands in no title of a sane site, but where a comment was meant. */
static bool
is_title(const char *s)
{
	size_t n = strlen(s), i;

	for (i = 0; i < n; i++)
		if (s[i] < ' ' || s[i] > '~' || s[i] == '\\' || s[i] == '#')
			return false;
	return n > 0 && n <= TITLE_MAX_BYTES;
}

static bool
is_list(const struct conf_row *row)
{
	return row->type == CONF_LIST || row->type == CONF_TITLES;
}

static const struct unit none_units[] = {{"", 1}, {NULL, 0}};
static const struct unit size_units[] = {
	{"", 1},  {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824}, {"TiB", 1099511627776},
	{NULL, 0}};
static const struct unit time_units[] = {{"ms", 1},	 {"s", 1000},	 {"", 1000},
					 {"min", 60000}, {"h", 3600000}, {"d", 86400000},
					 {NULL, 0}};

/* In the largest unit that divides it. */
static int
write_value(char *out, size_t size, int64_t v, const struct unit *units)
{
	const struct unit *u, *best = NULL;

	for (u = units; u->name; u++)
		if (u->name[0] && v % u->factor == 0 && v >= u->factor &&
		    (!best || u->factor > best->factor))
			best = u;
	if (!best)
		return snprintf(out, size, "%lld", (long long)v);
	return snprintf(out, size, "%lld %s", (long long)(v / best->factor), best->name);
}

/* As a person writes them: "64 MiB to 64 TiB". */
static const char *
write_range(char out[RANGE], const struct conf_row *row)
{
	const struct unit *units = row->type == CONF_SIZE	? size_units
				   : row->type == CONF_DURATION ? time_units
								: none_units;
	int n = write_value(out, RANGE, row->min, units);

	n += snprintf(out + n, (size_t)(RANGE - n), " to ");
	(void)write_value(out + n, (size_t)(RANGE - n), row->max, units);
	return out;
}

static int
parse(const struct conf_row *row, const char *value, int64_t *out, struct err *e)
{
	bool ok = true, bounded = false;
	const char *wanted = row->choices;
	char range[RANGE];

	if (!row->initial && !value[0])
		return err_set(e, ERR_LOCAL, 0, "[%s] %s wants a value", row->section, row->key);
	switch (row->type) {
	case CONF_STRING:
		break;
	case CONF_TITLE:
	case CONF_TITLES:
		ok = is_title(value) || (!value[0] && row->type == CONF_TITLES);
		wanted = "1 to 16 letters, digits and signs, without \\ and #";
		break;
	case CONF_LIST:
		ok = !row->choices || !value[0] || is_choice(row->choices, value);
		break;
	case CONF_BOOL:
		ok = parse_bool(value, out);
		wanted = "yes no";
		break;
	case CONF_CHOICE:
		ok = is_choice(row->choices, value);
		break;
	case CONF_NUMBER:
		ok = with_unit(value, none_units, out);
		bounded = true;
		break;
	case CONF_SIZE:
		ok = with_unit(value, size_units, out);
		wanted = "a whole number with KiB MiB GiB TiB";
		bounded = true;
		break;
	case CONF_DURATION:
		/* Words stand for "without end". */
		bounded = !row->choices || !is_choice(row->choices, value);
		*out = CONF_ENDLESS;
		ok = !bounded || with_unit(value, time_units, out);
		wanted = "a whole number with ms s min h d";
		break;
	}
	if (!ok)
		return err_set(e, ERR_LOCAL, 0, "[%s] %s: '%s' is not understood%s%s", row->section,
			       row->key, value, wanted ? "; one of: " : "", wanted ? wanted : "");
	if (bounded && (*out < row->min || *out > row->max))
		return err_set(e, ERR_LOCAL, 0, "[%s] %s: %s is not within %s", row->section,
			       row->key, value, write_range(range, row));
	return 0;
}

static int
add(struct conf *c, const struct conf_row *row, const char *name, const char *value, size_t n,
    struct err *e)
{
	struct entry *grown, *entry;
	int rc;

	if (c->n >= ENTRIES_MAX)
		return err_set(e, ERR_LOCAL, 0, "more than %d settings", ENTRIES_MAX);
	grown = realloc(c->entries, (c->n + 1) * sizeof(*grown));
	if (!grown)
		return err_set(e, ERR_LOCAL, 0, "no memory for settings");
	c->entries = grown;
	entry = &grown[c->n];
	memset(entry, 0, sizeof(*entry));
	entry->row = row;
	entry->name = name ? strdup(name) : NULL;
	entry->value = strndup(value, n);
	c->n++;
	if (!entry->value || (name && !entry->name))
		return err_set(e, ERR_LOCAL, 0, "no memory for settings");
	rc = parse(row, entry->value, &entry->number, e);
	return rc;
}

static const struct entry *
find(const struct conf *c, const struct conf_row *row, const char *name)
{
	size_t i;

	for (i = 0; i < c->n; i++)
		if (c->entries[i].row == row &&
		    (!name || (c->entries[i].name && strcmp(c->entries[i].name, name) == 0)))
			return &c->entries[i];
	return NULL;
}

static size_t
entries_of(const struct conf *c, const struct conf_row *row, const char *name)
{
	size_t i, n = 0;

	for (i = 0; i < c->n; i++)
		n += c->entries[i].row == row && (!name || strcmp(c->entries[i].name, name) == 0);
	return n;
}

static int
add_list(struct conf *c, const struct conf_row *row, const char *name, const char *value,
	 struct err *e)
{
	size_t before = c->n;
	int rc = 0;

	while (!rc && *value) {
		size_t n = strcspn(value, ","), end = n, skip = 0;

		while (skip < end && isspace((unsigned char)value[skip]))
			skip++;
		while (end > skip && isspace((unsigned char)value[end - 1]))
			end--;
		if (end > skip)
			rc = add(c, row, name, value + skip, end - skip, e);
		value += n;
		value += *value == ',';
	}
	if (!rc && row->max && (int64_t)entries_of(c, row, name) > row->max)
		rc = err_set(e, ERR_LOCAL, 0, "[%s] %s: at most %lld", row->section, row->key,
			     (long long)row->max);
	/* An empty list is a choice ("may ="): no default takes its place. */
	return rc || c->n > before ? rc : add(c, row, name, "", 0, e);
}

static int
note_name(struct conf *c, const char *section, struct err *e)
{
	char **grown;
	size_t i;

	for (i = 0; i < c->n_names; i++)
		if (strcmp(c->names[i], section) == 0)
			return 0;
	grown = realloc(c->names, (c->n_names + 1) * sizeof(*grown));
	if (!grown)
		return err_set(e, ERR_LOCAL, 0, "no memory for settings");
	c->names = grown;
	c->names[c->n_names] = strdup(section);
	return c->names[c->n_names++] ? 0 : err_set(e, ERR_LOCAL, 0, "no memory for settings");
}

static int
set(struct conf *c, const char *section, const char *key, const char *value, struct err *e)
{
	const char *name;
	bool known = false;
	size_t i;

	for (i = 0; i < c->n_rows; i++) {
		const struct conf_row *row = &c->rows[i];

		if (!section_fits(row, section, &name))
			continue;
		known = true;
		if (strcmp(row->key, key) != 0)
			continue;
		if (is_list(row))
			return add_list(c, row, name, value, e);
		if (find(c, row, name))
			return err_set(e, ERR_LOCAL, 0, "[%s] %s is set twice", section, key);
		return add(c, row, name, value, strlen(value), e);
	}
	return known ? err_set(e, ERR_LOCAL, 0, "[%s] has no setting '%s' (see --explain-config)",
			       section, key)
		     : err_set(e, ERR_LOCAL, 0, "no section [%s] (see --explain-config)", section);
}

static bool
known_section(const struct conf *c, const char *section)
{
	const char *name;
	size_t i;

	for (i = 0; i < c->n_rows; i++)
		if (section_fits(&c->rows[i], section, &name))
			return true;
	return false;
}

/* What inih would take for less than it is (TRAPS 7), and sections that hold nothing. */
static int
check_line(struct conf *c, char *line, struct err *e)
{
	char *end = strchr(line, ']'), *p;

	if (line[0] == ';' || line[0] == '#')
		return 0;
	if (line[0] != '[') {
		for (p = line; *p; p++)
			if (*p == ';' && p > line && isspace((unsigned char)p[-1]))
				return err_set(e, ERR_LOCAL, 0,
					       "a comment wants a line of its own: ' ;' would cut "
					       "the value");
		return 0;
	}
	if (!end)
		return err_set(e, ERR_LOCAL, 0, "a section without ']'");
	if (end - line - 1 >= NAME_MAX_BYTES)
		return err_set(e, ERR_LOCAL, 0, "a name of %d bytes or more", NAME_MAX_BYTES);
	for (p = end + 1; *p; p++)
		if (!isspace((unsigned char)*p))
			return err_set(e, ERR_LOCAL, 0,
				       "a setting wants a line of its own: what "
				       "follows ']' would be lost");
	*end = '\0';
	return known_section(c, line + 1)
		       ? note_name(c, line + 1, e)
		       : err_set(e, ERR_LOCAL, 0, "no section [%s] (see --explain-config)",
				 line + 1);
}

static char *
refuse_line(struct conf *c, const struct err *why)
{
	(void)err_set(c->e, why->code, 0, "%s:%d: %.250s", c->path, c->line, why->what);
	return NULL;
}

/*
 * inih's reader: one line a call. What it would cut is refused here first; indentation
 * means nothing (inih would take an indented line for more of the value before it).
 */
static char *
read_line(char *to, int size, void *arg)
{
	struct conf *c = arg;
	char line[LINE_MAX_BYTES + 3], *text = line;
	struct err why = ERR_INIT;
	size_t n;

	if (c->e->code || !fgets(line, sizeof(line), c->f))
		return NULL;
	c->line++;
	n = strlen(line);
	if ((n && line[n - 1] != '\n' && !feof(c->f)) || n > LINE_MAX_BYTES || (int)n >= size) {
		(void)err_set(&why, ERR_LOCAL, 0, "a line of more than %d bytes", LINE_MAX_BYTES);
		return refuse_line(c, &why);
	}
	if (c->line == 1 && strncmp(text, "\xEF\xBB\xBF", 3) == 0)
		text += 3;
	while (*text == ' ' || *text == '\t')
		text++;
	strcpy(to, text);
	return check_line(c, text, &why) ? refuse_line(c, &why) : to;
}

/* inih's handler: 1 goes on. */
static int
on_entry(void *arg, const char *section, const char *key, const char *value)
{
	struct conf *c = arg;
	struct err why = ERR_INIT;

	if (strlen(key) >= NAME_MAX_BYTES)
		(void)err_set(&why, ERR_LOCAL, 0, "a name of %d bytes or more", NAME_MAX_BYTES);
	else
		(void)set(c, section, key, value, &why);
	if (why.code)
		(void)refuse_line(c, &why);
	return why.code == 0;
}

static int
add_defaults(struct conf *c, struct err *e)
{
	size_t i;
	int rc = 0;

	for (i = 0; i < c->n_rows && !rc; i++) {
		const struct conf_row *row = &c->rows[i];

		if (named(row) || find(c, row, NULL))
			continue;
		if (!row->initial)
			rc = err_set(e, ERR_LOCAL, 0, "%s: [%s] %s is missing", c->path,
				     row->section, row->key);
		else if (is_list(row))
			rc = add_list(c, row, NULL, row->initial, e);
		else if (row->initial[0])
			rc = add(c, row, NULL, row->initial, strlen(row->initial), e);
	}
	return rc;
}

static int
add_named_defaults(struct conf *c, struct err *e)
{
	size_t i, j;
	const char *name;
	int rc = 0;

	for (i = 0; i < c->n_rows && !rc; i++) {
		const struct conf_row *row = &c->rows[i];

		for (j = 0; j < c->n_names && named(row) && !rc; j++) {
			if (!section_fits(row, c->names[j], &name) || find(c, row, name))
				continue;
			if (!row->initial)
				rc = err_set(e, ERR_LOCAL, 0, "%s: [%s] %s is missing", c->path,
					     c->names[j], row->key);
			else if (is_list(row))
				rc = add_list(c, row, name, row->initial, e);
			else if (row->initial[0])
				rc = add(c, row, name, row->initial, strlen(row->initial), e);
		}
	}
	return rc;
}

int
conf_load(struct conf **out, const char *path, const struct conf_row *rows, size_t n_rows,
	  struct err *e)
{
	struct conf *c = calloc(1, sizeof(*c));
	struct err why = ERR_INIT;
	int bad = 0, rc;

	if (!c)
		return err_set(e, ERR_LOCAL, 0, "no memory for settings");
	c->rows = rows;
	c->n_rows = n_rows;
	c->path = path;
	c->e = &why;
	c->f = fopen(path, "re");
	if (!c->f) {
		rc = err_set(e, err_of_errno(errno), errno, "cannot read %s", path);
		conf_free(c);
		return rc;
	}
	bad = ini_parse_stream(read_line, c, on_entry, c);
	(void)fclose(c->f);
	c->f = NULL;
	if (bad && !why.code)
		(void)err_set(&why, ERR_LOCAL, 0, "%s:%d: not understood", path, bad);
	if (!why.code)
		(void)add_defaults(c, &why);
	if (!why.code)
		(void)add_named_defaults(c, &why);
	c->e = NULL;
	c->path = NULL;
	if (why.code) {
		conf_free(c);
		return err_set(e, why.code, why.sys, "%s", why.what);
	}
	*out = c;
	return 0;
}

int
conf_load_checked(struct conf **out, const char *path, const struct conf_row *rows, size_t n_rows,
		  int (*check)(const struct conf *c, struct err *e), struct err *e)
{
	struct err why = ERR_INIT;
	struct conf *c;
	int rc = conf_load(&c, path, rows, n_rows, e);

	if (rc)
		return rc;
	rc = check(c, &why);
	if (rc) {
		conf_free(c);
		return err_set(e, why.code, why.sys, "%s: %.250s", path, why.what);
	}
	*out = c;
	return 0;
}

void
conf_add_rows(struct conf_row *all, size_t *n, const struct conf_row *rows, size_t more)
{
	if (more > CONF_ROWS_MAX - *n)
		abort();
	memcpy(all + *n, rows, more * sizeof(*rows));
	*n += more;
}

void
conf_free(struct conf *c)
{
	size_t i;

	if (!c)
		return;
	for (i = 0; i < c->n; i++) {
		free(c->entries[i].name);
		free(c->entries[i].value);
	}
	for (i = 0; i < c->n_names; i++)
		free(c->names[i]);
	free(c->names);
	free(c->entries);
	free(c);
}

static const struct conf_row *
row_of(const struct conf *c, const char *section, const char *key)
{
	size_t i;

	for (i = 0; i < c->n_rows; i++) /* as a rule it is that very text */
		if (c->rows[i].section == section && c->rows[i].key == key)
			return &c->rows[i];
	for (i = 0; i < c->n_rows; i++)
		if (strcmp(c->rows[i].section, section) == 0 && strcmp(c->rows[i].key, key) == 0)
			return &c->rows[i];
	abort(); /* the program asks for a setting that no table has */
}

const char *
conf_string(const struct conf *c, const char *section, const char *name, const char *key)
{
	const struct entry *entry = find(c, row_of(c, section, key), name);

	return entry ? entry->value : "";
}

int64_t
conf_number(const struct conf *c, const char *section, const char *name, const char *key)
{
	const struct entry *entry = find(c, row_of(c, section, key), name);

	return entry ? entry->number : 0;
}

bool
conf_bool(const struct conf *c, const char *section, const char *name, const char *key)
{
	return conf_number(c, section, name, key) != 0;
}

const char *
conf_list(const struct conf *c, const char *section, const char *name, const char *key, size_t i)
{
	const struct conf_row *row = row_of(c, section, key);
	size_t j;

	for (j = 0; j < c->n; j++) {
		const struct entry *entry = &c->entries[j];

		if (entry->row != row || (name && strcmp(entry->name, name) != 0) ||
		    !entry->value[0])
			continue;
		if (i-- == 0)
			return entry->value;
	}
	return NULL;
}

const char *
conf_name(const struct conf *c, const char *section, size_t i)
{
	size_t n = strlen(section) - 1, j;

	for (j = 0; j < c->n_names; j++)
		if (strncmp(c->names[j], section, n) == 0 && i-- == 0)
			return c->names[j] + n;
	return NULL;
}

bool
conf_has(const struct conf *c, const char *section)
{
	size_t j;

	for (j = 0; j < c->n_names; j++)
		if (strcmp(c->names[j], section) == 0)
			return true;
	return false;
}

static void
explain_range(FILE *to, const struct conf_row *row)
{
	char range[RANGE];

	fprintf(to, " %s.", write_range(range, row));
}

static void
explain_bounds(FILE *to, const struct conf_row *row)
{
	switch (row->type) {
	case CONF_STRING:
		break;
	case CONF_BOOL:
		fprintf(to, " yes or no.");
		break;
	case CONF_TITLE:
		fprintf(to, " At most %d characters.", TITLE_MAX_BYTES);
		break;
	case CONF_TITLES:
	case CONF_LIST:
		fprintf(to, " List%s%s.", row->choices ? " of: " : "",
			row->choices ? row->choices : "");
		if (row->max)
			fprintf(to, " At most %lld.", (long long)row->max);
		break;
	case CONF_CHOICE:
		fprintf(to, " One of: %s.", row->choices);
		break;
	case CONF_NUMBER:
	case CONF_SIZE:
		explain_range(to, row);
		break;
	case CONF_DURATION:
		explain_range(to, row);
		if (row->choices)
			fprintf(to, " Or: %s.", row->choices);
		break;
	}
}

void
conf_explain(FILE *to, const struct conf_row *rows, size_t n_rows)
{
	const char *section = "";
	size_t i;

	for (i = 0; i < n_rows; i++) {
		const struct conf_row *row = &rows[i];

		if (strcmp(section, row->section) != 0) {
			section = row->section;
			if (named(row))
				fprintf(to, "%s[%.*s NAME]\n", i ? "\n" : "",
					(int)strlen(section) - 2, section);
			else
				fprintf(to, "%s[%s]\n", i ? "\n" : "", section);
		}
		fprintf(to, "# %s", row->sentence);
		explain_bounds(to, row);
		if (!row->initial)
			fprintf(to, " Required.\n%s =\n", row->key);
		else
			fprintf(to, "\n#%s = %s\n", row->key, row->initial);
	}
}
