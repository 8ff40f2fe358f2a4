/*
 * by_tls.h - tools that call by TLS: -t CERT:KEY:CA, PEM files (common/dicom/tls.h).
 */
#ifndef SALAMANDER_TESTS_LIB_BY_TLS_H
#define SALAMANDER_TESTS_LIB_BY_TLS_H

struct assoc_target;

/* Any certificate of the CA will do; what is wrong is printed, and ends the tool with 2. */
void by_tls(struct assoc_target *to, const char *files);

#endif
