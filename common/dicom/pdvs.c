#include "common/dicom/pdvs.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dicom/assoc.h"

/* Length of what follows it, then context and message control header, which it counts. */
enum { LENGTH = 4, HEAD = 6, COMMAND = 1, LAST = 2 };

int
pdvs_next(struct pdvs *left, struct assoc_pdv *out, struct err *e)
{
	const unsigned char *p = left->p;
	size_t n = left->n >= HEAD ? buf_get_be32(p) : 0;

	if (n < HEAD - LENGTH || n > left->n - LENGTH)
		return err_set(e, ERR_PEER, 0, "a PDU whose PDVs do not add up");
	out->context = p[4];
	out->command = p[5] & COMMAND;
	out->last = p[5] & LAST;
	out->data = p + HEAD;
	out->n = n - (HEAD - LENGTH);
	left->p += LENGTH + n;
	left->n -= LENGTH + n;
	return 0;
}
