/* The contract is part of the program: what it serves and what it says it serves are of one build. */
#include "api/contract.h"

/* The assembler looks for the file where it was started: in the project's root. */
__asm__(".pushsection .rodata\n"
        ".hidden api_contract\n"
        ".hidden api_contract_end\n"
        ".global api_contract\n"
        ".global api_contract_end\n"
        "api_contract:\n"
        ".incbin \"openapi.yaml\"\n"
        "api_contract_end:\n"
        ".byte 0\n"
        ".popsection\n");

extern const char api_contract[] __attribute__((visibility("hidden")));
extern const char api_contract_end[] __attribute__((visibility("hidden")));

const char *contract_text(size_t *ret_n)
{
    *ret_n = (size_t)(api_contract_end - api_contract);
    return api_contract;
}
