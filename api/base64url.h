/* base64url without padding (RFC 4648, 5): of cursors and tokens. Pure. */
#ifndef API_BASE64URL_H
#define API_BASE64URL_H

#include "base/mem.h"

extern const char base64url_digits[]; /* all 64, in their order */

/* mem_free() it. */
char *base64url_write(const uint8_t *p, size_t n);
/* In the arena, with a NUL behind it; NULL: it is none. */
char *base64url_read(const char *text, struct arena *arena, size_t *ret_n);

#endif
