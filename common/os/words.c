#include "common/os/words.h"

#include <stdio.h>
#include <string.h>

bool
words_are(const struct words *w, const char *command)
{
	return w->n == 1 && strcmp(w->v[0], command) == 0;
}

void
words_add(struct words *w, const char *word, struct argp_state *state)
{
	if (w->n == CTL_WORDS)
		argp_error(state, "too many words");
	w->v[w->n++] = word;
}

void
words_argument(struct words *w, const char *word, struct argp_state *state)
{
	words_add(w, word, state);
	if (w->commanded)
		return;
	memmove(w->v + 1, w->v, (w->n - 1) * sizeof(*w->v));
	w->v[0] = word;
	w->commanded = true;
}

error_t
words_option(struct words *w, const struct argp_option *table, int key, const char *value,
	     struct argp_state *state)
{
	char *name;

	while (table->name && table->key != key)
		table++;
	if (!table->name)
		return ARGP_ERR_UNKNOWN;
	if (w->n == CTL_WORDS)
		argp_error(state, "too many words");
	name = w->names[w->n];
	snprintf(name, WORDS_NAME, "--%s", table->name);
	words_add(w, name, state);
	if (value)
		words_add(w, value, state);
	return 0;
}
