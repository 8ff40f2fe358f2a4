/* libFuzzer: any bytes as a rejection note; what is read has UIDs that can be, and a study. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/dicom/note.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const syntaxes[] = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1",
					       "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"};
	const struct note_reference *all;
	struct note *note;
	bool unread;
	size_t n, i;

	if (size == 0 || note_new(&note, syntaxes[data[0] % 4], NULL))
		return 0;
	note_feed(note, data + 1, (size - 1) / 2);
	note_feed(note, data + 1 + (size - 1) / 2, size - 1 - (size - 1) / 2);
	if (note_end(note, &unread)) {
		all = note_references(note, &n);
		if (n == 0 || n > NOTE_MAX || unread)
			abort();
		for (i = 0; i < n; i++)
			if (!uid_usable(all[i].sop_instance, strlen(all[i].sop_instance)) ||
			    !note_study(note, all[i].study)[0])
				abort();
	}
	note_free(note);
	return 0;
}
