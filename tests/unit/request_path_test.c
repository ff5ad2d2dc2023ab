/* Paths before routes see them; what must come out was asked of an Envoy with the same options. */
#include "store/request_path.h"

#include "tests/unit/test.h"

#include <stdio.h>
#include <string.h>

struct example {
    const char *path, *found;
};

static void check_all(const struct example *examples, size_t n, const struct http_policy *policy,
                      enum path_result result)
{
    struct arena *arena = arena_new();

    for (size_t i = 0; i < n; i++) {
        const char *found;
        enum path_result r = request_path(examples[i].path, policy, arena, &found);

        if (r != result)
            test_fail(__FILE__, __LINE__, "%s gives %d", examples[i].path, r);
        if (examples[i].found)
            CHECK_STR(found, examples[i].found);
    }
    arena_free(arena);
}

TEST(paths_are_normalized_as_envoy_does)
{
    static const struct example examples[] = {
        {"/", "/"},
        {"/a?b", "/a?b"},
        {"/a%2eb", "/a.b"},
        {"/%7ea%2D%5f", "/~a-_"},
        {"/a/%2e/b", "/a/b"},
        {"/a/%2E%2e/b", "/b"},
        {"/a/../../b", "/b"},
        {"/a/..", "/"},
        {"/a/.", "/a/"},
        {"/a/...", "/a/..."},
        {"/..a", "/..a"},
        {"/a..", "/a.."},
        {"/a/.b", "/a/.b"},
        {"//", "//"},
        {"///", "//"},
        {"//a", "/a"},
        {"/a//", "/a/"},
        {"/a///b?x//y", "/a/b?x//y"},
        {"/a/b/../?q=/../", "/a/?q=/../"},
        {"/a;b/../c", "/c"},
        {"/a\\..\\b", "/b"},
        {"/a\"<>^`{|}b", "/a%22%3C%3E%5E%60%7B%7C%7Db"},
        {"/a!$&'()*+,-.:;=@[]_~b", "/a!$&'()*+,-.:;=@[]_~b"},
        {"/a%3Fb%23%20%c3%A9", "/a%3Fb%23%20%c3%A9"},
        {"/a%zzb", "/a%zzb"},
        {"/a%", "/a%"},
        {"/a%2", "/a%2"},
    };

    check_all(examples, ARRAY_LEN(examples), &http_policy_default, PATH_KEPT);
}

TEST(an_escape_within_an_escape_stays_one)
{
    static const struct example examples[] = {
        {"/a%%41", "/a%A"},         {"/a%4%31", "/a%2541"},     {"/%%41%41", "/%25AA"}, {"/%%341", "/%2541"},
        {"/a%25%32%65", "/a%252e"}, {"/a%2x%2e%2e", "/a%2x.."}, {"/%%41", "/%A"},       {"/%4/../%31", "/1"},
    };

    check_all(examples, ARRAY_LEN(examples), &http_policy_default, PATH_KEPT);
}

TEST(escaped_slashes_are_redirected)
{
    static const struct example examples[] = {
        {"/a%2fb?x%2f", "/a/b?x%2f"}, {"/a%5cb", "/a/b"}, {"/a%2F..%2fb", "/b"},
        {"/a/%2e%2e%2fb", "/b"},      {"/%41%2f", "/A/"}, {"/a%2f%2fb", "/a/b"},
    };

    check_all(examples, ARRAY_LEN(examples), &http_policy_default, PATH_REDIRECT);
}

TEST(what_no_url_may_hold_is_bad)
{
    static const struct example examples[] = {{"/a%00b", NULL}, {"/a#b", NULL}, {"/a?b#c", NULL}};

    check_all(examples, ARRAY_LEN(examples), &http_policy_default, PATH_BAD);
}

static void read_policy(const char *json, struct http_policy *ret)
{
    *ret = http_policy_default;
    http_policy_read(json, ret);
}

TEST(filter_settings_go_before_the_defaults)
{
    static const struct example kept[] = {{"/a//%2e/%2f", "/a//%2e/%2f"}}, forwarded[] = {{"/a//%41%2f", "/a//A/"}},
                                rejected[] = {{"/a%2fb", NULL}};
    struct http_policy p;

    read_policy("{\"normalize_path\":false,\"mergeSlashes\":false,"
                "\"path_with_escaped_slashes_action\":\"KEEP_UNCHANGED\"}",
                &p);
    check_all(kept, 1, &p, PATH_KEPT);
    CHECK(p.reject_underscores && p.websockets && !p.more_filters);
    read_policy("{\"merge_slashes\":false,\"pathWithEscapedSlashesAction\":4}", &p);
    check_all(forwarded, 1, &p, PATH_KEPT);
    read_policy("{\"pathWithEscapedSlashesAction\":\"REJECT_REQUEST\",\"common_http_protocol_options\":{},"
                "\"upgrade_configs\":[{\"upgrade_type\":\"WebSocket\",\"enabled\":false}],"
                "\"http_filters\":[{\"name\":\"x\"}]}",
                &p);
    check_all(rejected, 1, &p, PATH_BAD);
    CHECK(!p.reject_underscores && !p.websockets && p.more_filters);
    read_policy(NULL, &p);
    CHECK_MEM(&p, sizeof(p), &http_policy_default, sizeof(p));
}

TEST(filter_settings_go_over_those_of_the_gateway_and_a_null_over_all)
{
    struct http_policy p;

    read_policy("{\"mergeSlashes\":false,\"normalize_path\":false,\"http_filters\":[{\"name\":\"x\"}]}", &p);
    http_policy_read("{\"normalize_path\":true}", &p);
    CHECK(p.normalize_path && !p.merge_slashes && p.more_filters);
    http_policy_read("{\"merge_slashes\":null,\"http_filters\":null}", &p);
    CHECK_MEM(&p, sizeof(p), &http_policy_default, sizeof(p));
}

TEST(no_path_grows_past_three_times_its_length)
{
    static const char alphabet[] = "/.%412eE5fF\\a|?";
    uint64_t seed = 7;

    for (int i = 0; i < 20000; i++) {
        char path[32] = "/";
        size_t n = 1 + test_random(&seed) % (sizeof(path) - 2);
        struct arena *arena = arena_new();
        const char *found;

        for (size_t k = 1; k < n; k++)
            path[k] = alphabet[test_random(&seed) % (sizeof(alphabet) - 1)];
        if (request_path(path, &http_policy_default, arena, &found) != PATH_BAD) {
            CHECK(found[0] == '/');
            CHECK(strlen(found) <= 3 * strlen(path));
            CHECK_STR(strchr(found, '?'), strchr(path, '?'));
        }
        arena_free(arena);
    }
}
