/* The contract, openapi.yaml, as it stood when the program was built. */
#ifndef API_CONTRACT_H
#define API_CONTRACT_H

#include <stddef.h>

const char *contract_text(size_t *ret_n);

#endif
