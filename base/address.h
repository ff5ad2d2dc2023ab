/*
 * IP addresses. Pure.
 */
#ifndef BASE_ADDRESS_H
#define BASE_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

enum { ADDRESS_TEXT_MAX = 46 /* with its NUL (INET6_ADDRSTRLEN) */ };

/* Compares by its bytes: those beyond its family's length are zero. */
struct address {
    uint8_t bytes[16]; /* network order; IPv4 in the first 4 */
    uint8_t family;    /* AF_INET or AF_INET6 */
};

/* -EINVAL unless text is an IPv4 or IPv6 address. */
int address_parse(const char *text, struct address *ret_address);
/* Without brackets. */
const char *address_text(const struct address *a, char buf[ADDRESS_TEXT_MAX]);
/* By family, then bytes. */
int address_compare(const struct address *a, const struct address *b);
/* The IPv4 address that is mapped into IPv6 (RFC 4291, 2.5.5.2), which is the same to the kernel; else a itself. */
struct address address_unmapped(const struct address *a);
/* 127.0.0.0/8 and ::1 (RFC 6890). */
bool address_is_loopback(const struct address *a);

#endif
