/* JSON Patch against the examples of its RFC (6902, appendix A), and its bounds. */
#include "api/json_patch.h"

#include "base/json.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

static json_t *parsed(const char *text)
{
    json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);

    if (!json)
        test_fail(__FILE__, __LINE__, "%s is no JSON", text);
    return json;
}

/* The result as canonical text, or NULL. */
static char *patched(const char *document, const char *patch, int *ret_code, struct err *e)
{
    json_t *d = parsed(document), *p = parsed(patch), *result = NULL;
    char *before = json_canonical(d), *text = NULL;

    *ret_code = json_patch_apply(d, p, &result, e);
    char *after = json_canonical(d);
    CHECK_STR(after, before);
    if (*ret_code == 0)
        text = json_dumps(result, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    mem_free(before);
    mem_free(after);
    json_decref(result);
    json_decref(p);
    json_decref(d);
    return text;
}

TEST(the_examples_of_the_rfc_give_their_results)
{
    static const struct {
        const char *document, *patch, *result;
    } cases[] = {
        {"{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/baz\",\"value\":\"qux\"}]",
         "{\"baz\":\"qux\",\"foo\":\"bar\"}"},
        {"{\"foo\":[\"bar\",\"baz\"]}", "[{\"op\":\"add\",\"path\":\"/foo/1\",\"value\":\"qux\"}]",
         "{\"foo\":[\"bar\",\"qux\",\"baz\"]}"},
        {"{\"baz\":\"qux\",\"foo\":\"bar\"}", "[{\"op\":\"remove\",\"path\":\"/baz\"}]", "{\"foo\":\"bar\"}"},
        {"{\"foo\":[\"bar\",\"qux\",\"baz\"]}", "[{\"op\":\"remove\",\"path\":\"/foo/1\"}]",
         "{\"foo\":[\"bar\",\"baz\"]}"},
        {"{\"baz\":\"qux\",\"foo\":\"bar\"}", "[{\"op\":\"replace\",\"path\":\"/baz\",\"value\":\"boo\"}]",
         "{\"baz\":\"boo\",\"foo\":\"bar\"}"},
        {"{\"foo\":{\"bar\":\"baz\",\"waldo\":\"fred\"},\"qux\":{\"corge\":\"grault\"}}",
         "[{\"op\":\"move\",\"from\":\"/foo/waldo\",\"path\":\"/qux/thud\"}]",
         "{\"foo\":{\"bar\":\"baz\"},\"qux\":{\"corge\":\"grault\",\"thud\":\"fred\"}}"},
        {"{\"foo\":[\"all\",\"grass\",\"cows\",\"eat\"]}",
         "[{\"op\":\"move\",\"from\":\"/foo/1\",\"path\":\"/foo/3\"}]",
         "{\"foo\":[\"all\",\"cows\",\"eat\",\"grass\"]}"},
        {"{\"baz\":\"qux\",\"foo\":[\"a\",2,\"c\"]}",
         "[{\"op\":\"test\",\"path\":\"/baz\",\"value\":\"qux\"},{\"op\":\"test\",\"path\":\"/foo/1\",\"value\":2}]",
         "{\"baz\":\"qux\",\"foo\":[\"a\",2,\"c\"]}"},
        {"{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/child\",\"value\":{\"grandchild\":{}}}]",
         "{\"child\":{\"grandchild\":{}},\"foo\":\"bar\"}"},
        {"{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/baz\",\"value\":\"qux\",\"xyz\":123}]",
         "{\"baz\":\"qux\",\"foo\":\"bar\"}"},
        {"{\"/\":9,\"~1\":10}", "[{\"op\":\"test\",\"path\":\"/~01\",\"value\":10}]", "{\"/\":9,\"~1\":10}"},
        {"{\"foo\":[\"bar\"]}", "[{\"op\":\"add\",\"path\":\"/foo/-\",\"value\":[\"abc\",\"def\"]}]",
         "{\"foo\":[\"bar\",[\"abc\",\"def\"]]}"},
        /* and what they leave out */
        {"{\"a\":1}", "[{\"op\":\"copy\",\"from\":\"\",\"path\":\"/b\"}]", "{\"a\":1,\"b\":{\"a\":1}}"},
        {"{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"\",\"value\":{\"c\":null}}]", "{\"c\":null}"},
        {"{\"a\":null}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":null}]", "{\"a\":null}"},
        {"{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":1.0}]", "{\"a\":1}"},
        {"{\"\":1}", "[{\"op\":\"remove\",\"path\":\"/\"}]", "{}"},
        {"{\"a\":{\"b\":1}}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/ab\"}]", "{\"ab\":{\"b\":1}}"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = {0};
        int code;
        char *text = patched(cases[i].document, cases[i].patch, &code, &e);
        if (code)
            test_fail(__FILE__, __LINE__, "%s: %s %s", cases[i].patch, e.field, e.text);
        CHECK_STR(text, cases[i].result);
        mem_free(text);
    }
}

TEST(what_can_not_be_applied_says_where_and_changes_nothing)
{
    static const struct {
        const char *document, *patch;
        int code;
        const char *field;
    } cases[] = {
        {"{\"baz\":\"qux\"}", "[{\"op\":\"test\",\"path\":\"/baz\",\"value\":\"bar\"}]", -ECANCELED, "#/0/value"},
        {"{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/baz/bat\",\"value\":\"qux\"}]", -ENOENT, "#/0/path"},
        {"{\"/\":9,\"~1\":10}", "[{\"op\":\"test\",\"path\":\"/~01\",\"value\":\"10\"}]", -ECANCELED, "#/0/value"},
        {"{\"a\":[1]}", "[{\"op\":\"add\",\"path\":\"/a/2\",\"value\":1}]", -ENOENT, "#/0/path"},
        {"{\"a\":[1]}", "[{\"op\":\"add\",\"path\":\"/a/01\",\"value\":1}]", -ENOENT, "#/0/path"},
        {"{\"a\":[1]}", "[{\"op\":\"replace\",\"path\":\"/a/-\",\"value\":1}]", -ENOENT, "#/0/path"},
        {"{\"a\":[1]}", "[{\"op\":\"remove\",\"path\":\"/a/1\"}]", -ENOENT, "#/0/path"},
        {"{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"/b\",\"value\":1}]", -ENOENT, "#/0/path"},
        {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b\",\"value\":1},{\"op\":\"remove\",\"path\":\"/c\"}]", -ENOENT,
         "#/1/path"},
        {"{\"a\":{\"b\":1}}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a/b\"}]", -EINVAL, "#/0/from"},
        {"{\"a\":1}", "[{\"op\":\"copy\",\"path\":\"/b\"}]", -EINVAL, "#/0/from"},
        {"{\"a\":1}", "[{\"op\":\"swap\",\"path\":\"/b\"}]", -EINVAL, "#/0/op"},
        {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b\"}]", -EINVAL, "#/0/value"},
        {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"b\",\"value\":1}]", -EINVAL, "#/0/path"},
        {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/~2\",\"value\":1}]", -EINVAL, "#/0/path"},
        {"{\"a\":1}", "[{\"op\":\"remove\",\"path\":\"\"}]", -EINVAL, "#/0/path"},
        {"{\"a\":1}", "{\"op\":\"remove\",\"path\":\"/a\"}", -EINVAL, "#"},
        {"{\"a\":1}", "[7]", -EINVAL, "#/0/op"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = {0};
        int code;
        char *text = patched(cases[i].document, cases[i].patch, &code, &e);
        CHECK(text == NULL);
        if (code != cases[i].code || strcmp(e.field, cases[i].field) != 0)
            test_fail(__FILE__, __LINE__, "%s gave %d at %s", cases[i].patch, code, e.field);
    }
}

/* n operations that put the document into itself. */
static int copies(size_t n, const char *from, const char *path)
{
    json_t *d = parsed("{\"a\":[1,2,3]}"), *p = json_array(), *result = NULL;
    struct err e = {0};

    for (size_t i = 0; i < n; i++)
        json_array_append_new(p, json_pack("{ssssss}", "op", "copy", "from", from, "path", path));
    int r = json_patch_apply(d, p, &result, &e);
    json_decref(result);
    json_decref(p);
    json_decref(d);
    return r;
}

TEST(copies_neither_fill_the_memory_nor_make_the_document_deep)
{
    CHECK_INT(copies(3, "", "/b"), 0);
    CHECK_INT(copies(15, "/a", "/a/0"), -E2BIG);
    CHECK_INT(copies(63, "", "/b"), -E2BIG);
    CHECK_INT(copies(JSON_PATCH_OPERATIONS_MAX, "/a", "/b"), 0);
    CHECK_INT(copies(JSON_PATCH_OPERATIONS_MAX + 1, "/a", "/b"), -E2BIG);
}
