#include "common/base/prom.h"

#include <inttypes.h>
#include <math.h>

#include "common/base/buf.h"

void
prom_init(struct prom *p, struct buf *out, const char *prefix)
{
	p->out = out;
	p->prefix = prefix;
	p->name = "";
}

void
prom_family(struct prom *p, enum prom_kind kind, const char *name, const char *help)
{
	p->name = name;
	buf_printf(p->out, "# HELP %s_%s %s\n# TYPE %s_%s %s\n", p->prefix, name, help, p->prefix,
		   name, kind == PROM_COUNTER ? "counter" : "gauge");
}

/* Names of sites are letters, digits, '.', '_' and '-'; on plain http they are as given. */
static void
put_value(struct buf *out, const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '\\' || c == '"')
			buf_put_u8(out, '\\');
		if (c == '\n')
			buf_puts(out, "\\n");
		else
			buf_put_u8(out, c < 0x80 ? c : '?');
	}
}

static void
put_labels(struct prom *p, const struct prom_label *labels, size_t n)
{
	size_t i;

	buf_printf(p->out, "%s_%s", p->prefix, p->name);
	for (i = 0; i < n; i++) {
		buf_printf(p->out, "%c%s=\"", i ? ',' : '{', labels[i].name);
		put_value(p->out, labels[i].value);
		buf_puts(p->out, i + 1 < n ? "\"" : "\"}");
	}
}

static void
put_name(struct prom *p, const char *label, const char *value)
{
	struct prom_label one = {label, value};

	put_labels(p, &one, label != NULL);
}

void
prom_count(struct prom *p, const char *label, const char *value, uint64_t v)
{
	put_name(p, label, value);
	buf_printf(p->out, " %" PRIu64 "\n", v);
}

void
prom_count_of(struct prom *p, const struct prom_label *labels, size_t n, uint64_t v)
{
	put_labels(p, labels, n);
	buf_printf(p->out, " %" PRIu64 "\n", v);
}

void
prom_number(struct prom *p, const char *label, const char *value, int64_t v)
{
	put_name(p, label, value);
	buf_printf(p->out, " %" PRId64 "\n", v);
}

void
prom_decimal(struct prom *p, const char *label, const char *value, double v)
{
	put_name(p, label, value);
	if (isfinite(v))
		buf_printf(p->out, " %.3f\n", v);
	else
		buf_puts(p->out, isnan(v) ? " NaN\n" : v > 0 ? " +Inf\n" : " -Inf\n");
}

void
prom_one(struct prom *p, enum prom_kind kind, const char *name, const char *help, uint64_t v)
{
	prom_family(p, kind, name, help);
	prom_count(p, NULL, NULL, v);
}
