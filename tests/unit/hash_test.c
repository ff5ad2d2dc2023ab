/* Content hashes must be the same for ever: versions on the wire and on disk derive from them. */
#include "base/hash.h"

#include "tests/unit/test.h"

TEST(hashes_are_those_of_xxh3)
{
    /* What XXH3's specification gives for no bytes at all. */
    CHECK(hash_bytes("", 0) == UINT64_C(0x2d06800538d394c2));
    CHECK(hash_bytes128("", 0).high == UINT64_C(0x99aa06d3014798d8));
    CHECK(hash_bytes128("", 0).low == UINT64_C(0x6001c324468d497f));
}

TEST(another_seed_or_byte_gives_another_hash)
{
    CHECK(hash_seeded("igwd", 4, 1) != hash_seeded("igwd", 4, 2));
    CHECK(hash_seeded("igwd", 4, 0) == hash_bytes("igwd", 4));
    CHECK(hash_bytes("igwd", 4) != hash_bytes("igwe", 4));
    CHECK(hash_bytes("igwd", 4) != hash_bytes("igwd", 3));
}
