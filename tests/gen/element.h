/*
 * element.h - data elements in explicit VR little endian, written by hand.
 *
 * Threads: none; a struct buf has one owner.
 */
#ifndef SALAMANDER_TESTS_GEN_ELEMENT_H
#define SALAMANDER_TESTS_GEN_ELEMENT_H

#include <stdint.h>

struct buf;

/* What stands before a value of n bytes; vr "": an item or a delimiter. */
void element_head(struct buf *b, uint32_t tag, const char *vr, uint32_t n);
/* Padded to even length, as its VR wants. */
void element_text(struct buf *b, uint32_t tag, const char *vr, const char *s);

#endif
