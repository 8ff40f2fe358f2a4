#include "common/dimse/header_scan.h"

#include <string.h>

#include "common/dicom/scan.h"
#include "common/dimse/send.h"
#include "common/store/store.h"

static int
scan_bytes(bool *whole, const struct store_header *header, const struct scan_handler *handler,
	   struct err *e)
{
	const char *syntax = header->version.syntax;
	size_t skip = (size_t)send_dataset_offset(header->bytes.data, header->bytes.len);
	struct scan_config c;
	struct scan *s;
	int rc;

	scan_config_default(&c);
	c.syntax = strcmp(syntax, "1.2.840.10008.1.2") == 0	? SCAN_IMPLICIT
		   : strcmp(syntax, "1.2.840.10008.1.2.2") == 0 ? SCAN_BIG_ENDIAN
								: SCAN_EXPLICIT;
	c.deflated = strcmp(syntax, "1.2.840.10008.1.2.1.99") == 0;
	c.handler = *handler;
	rc = scan_new(&s, &c, e);
	if (rc)
		return rc;
	scan_feed(s, header->bytes.data + skip, header->bytes.len - skip);
	*whole = skip && !(scan_flags(s) & SCAN_LIMITS);
	scan_free(s);
	return 0;
}

int
header_scan(bool *whole, struct store *s, uint64_t oid, const struct scan_handler *handler,
	    struct err *e)
{
	struct store_header header;
	int rc = 0;

	*whole = false;
	if (store_header(&header, s, oid, NULL))
		return 0;
	if (header.bytes.len > 0)
		rc = scan_bytes(whole, &header, handler, e);
	store_header_fini(&header);
	return rc;
}
