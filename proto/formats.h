/* Whether n bytes of text have a well-known form. Pure. */
#ifndef PROTO_FORMATS_H
#define PROTO_FORMATS_H

#include <stdbool.h>
#include <stddef.h>

/* RFC 1123: labels of letters, digits and inner hyphens, up to 63 each and 253 in all; a dot may end it. */
bool format_hostname(const char *p, size_t n);
/* RFC 5321's dot-atom form: local part up to 64, a host name behind the '@'. */
bool format_email(const char *p, size_t n);
bool format_ipv4(const char *p, size_t n);
bool format_ipv6(const char *p, size_t n);
/* RFC 3986: the characters of a URI, escapes complete; absolute: with a scheme in front. */
bool format_uri(const char *p, size_t n, bool absolute);
/* RFC 9562's text form. */
bool format_uuid(const char *p, size_t n);
/* A header's name, or a pseudo header's with its colon. */
bool format_header_name(const char *p, size_t n);
/* A header's value: no control characters but the tab; not strict: anything but NUL, CR and LF. */
bool format_header_text(const char *p, size_t n, bool strict);

#endif
