/*
 * Names of hosts as they are declared: server names, which TLS clients send (SNI, RFC 6066), and domains of virtual
 * hosts, which stand in the Host header and may hold a wildcard (envoy.config.route.v3.VirtualHost.domains). Both are
 * kept in lower case. Pure.
 */
#ifndef STORE_HOSTNAME_H
#define STORE_HOSTNAME_H

#include "base/err.h"
#include "base/mem.h"

#include <stdbool.h>

enum { HOSTNAME_MAX = 253, HOSTNAME_LABEL_MAX = 63 };

/* An exact name or "*.suffix", into the arena in lower case; -EINVAL with a sentence. */
int hostname_server_name(const char *text, struct arena *arena, const char **ret_name, struct err *e);
/*
 * An exact name, an IP address (IPv6 in brackets), "*.suffix", "*-suffix", "prefix.*", "prefix-*" or "*", into the
 * arena in lower case; -EINVAL with a sentence. A port behind it is dropped (*ret_port is set): ports of the Host
 * header are ignored where domains are matched.
 */
int hostname_domain(const char *text, struct arena *arena, const char **ret_domain, bool *ret_port, struct err *e);
/* Whether a filter chain can match a domain by server name: neither an address nor another wildcard than "*.". */
bool hostname_fits_sni(const char *domain);

#endif
