/*
 * gen.h - synthetic DICOM objects for tests, tools and benches.
 *
 * The same seed gives the same bytes on every machine. Explicit VR little endian, or JPEG 2000
 * (its codestream is noise, a byte a pixel).
 */
#ifndef SALAMANDER_TESTS_GEN_GEN_H
#define SALAMANDER_TESTS_GEN_GEN_H

#include <stdbool.h>
#include <stdint.h>

struct buf;

struct gen {
	unsigned study, series, instance;   /* numbers below the root of the UIDs */
	unsigned rows, columns, frames;	    /* 16 bit pixels; rows 0: no pixel data */
	uint64_t seed;			    /* of the pixels */
	bool without_study, without_series; /* their UIDs */
	bool compressed;		    /* a syntax that is, and pixels that do not shrink */
	const char *name, *patient_id, *accession, *date, *modality;
	const char *description, *series_description; /* NULL: not there */
};

/* A CT slice of a study of its own, to be changed as needed. */
void gen_init(struct gen *g);
/* The data set alone. */
void gen_dataset(struct buf *out, const struct gen *g);
/* A Part 10 file in our canonical form. */
void gen_file(struct buf *out, const struct gen *g);
void gen_uid(char out[65], unsigned study, unsigned series, unsigned instance);

#endif
