/*
 * prom.h - writes Prometheus' text format, version 0.0.4, into a buffer.
 *
 * A family is opened with its kind, name and help, and then has its samples; names are the
 * prefix, '_' and the name, and end in their unit. A sample has any number of labels; label
 * values are escaped, and what is not ASCII becomes '?'. Memory that runs out shows as
 * buf_failed.
 * Threads: one owner.
 */
#ifndef SALAMANDER_COMMON_BASE_PROM_H
#define SALAMANDER_COMMON_BASE_PROM_H

#include <stddef.h>
#include <stdint.h>

struct buf;

/* The Content-Type of an answer that holds it. */
#define PROM_TYPE "text/plain; version=0.0.4; charset=utf-8"

enum prom_kind { PROM_GAUGE, PROM_COUNTER };

struct prom {
	struct buf *out;
	const char *prefix;
	const char *name; /* of the family that is open */
};

struct prom_label {
	const char *name, *value;
};

void prom_init(struct prom *p, struct buf *out, const char *prefix);
/* name, help: borrowed until the next family; help: one line. */
void prom_family(struct prom *p, enum prom_kind kind, const char *name, const char *help);
/* label NULL: none. */
void prom_count(struct prom *p, const char *label, const char *value, uint64_t v);
void prom_number(struct prom *p, const char *label, const char *value, int64_t v);
void prom_decimal(struct prom *p, const char *label, const char *value, double v);
/* With n labels. */
void prom_count_of(struct prom *p, const struct prom_label *labels, size_t n, uint64_t v);
/* A family of one sample without a label. */
void prom_one(struct prom *p, enum prom_kind kind, const char *name, const char *help, uint64_t v);

#endif
