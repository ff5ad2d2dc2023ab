/* Where stream sockets listen: texts, the kernel's form, which are the same; and what is left of a unix socket. */
#include "base/listen.h"
#include "base/mem.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static struct socket_address address(const char *text)
{
    struct socket_address a;

    CHECK_INT(socket_address_parse(text, &a, NULL), 0);
    return a;
}

TEST(an_address_reads_as_it_is_written_and_as_the_kernel_has_it)
{
    static const char *const texts[] = {"127.0.0.1:50051", "0.0.0.0:0", "[::1]:65535", "[fd00::1]:1",
                                        "unix:/run/igwd/api.sock"};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct socket_address a = address(texts[i]), b;
        struct sockaddr_storage name;
        char text[SOCKET_TEXT_MAX];

        CHECK_STR(socket_address_text(&a, text), texts[i]);
        CHECK(socket_address_write(&a, &name) <= sizeof(name));
        CHECK_INT(socket_address_read(&name, &b), 0);
        CHECK(socket_address_equal(&a, &b));
        for (size_t k = 0; k < ARRAY_LEN(texts); k++) {
            b = address(texts[k]);
            CHECK_INT(socket_address_equal(&a, &b), i == k);
        }
    }
}

TEST(what_the_kernel_takes_for_the_same_is_the_same)
{
    struct socket_address a = address("[0:0::1]:7"), b = address("[::1]:7");

    CHECK(socket_address_equal(&a, &b));
}

TEST(a_path_is_as_long_as_the_kernel_allows)
{
    char text[SOCKET_PATH_MAX + 8];
    struct socket_address a, b;
    struct sockaddr_storage name;
    struct err e = {0};

    memset(text, 'x', sizeof(text));
    memcpy(text, "unix:/", 6);
    text[5 + SOCKET_PATH_MAX] = '\0';
    a = address(text);
    socket_address_write(&a, &name);
    CHECK_INT(socket_address_read(&name, &b), 0);
    CHECK(socket_address_equal(&a, &b));
    memcpy(text + 5 + SOCKET_PATH_MAX, "x", 2);
    CHECK_INT(socket_address_parse(text, &a, &e), -EINVAL);
    CHECK(strstr(e.text, "at most 107 bytes"));
}

TEST(other_texts_are_no_address)
{
    static const char *const texts[] = {"",
                                        ":1",
                                        "127.0.0.1",
                                        "127.0.0.1:",
                                        "127.0.0.1:65536",
                                        "127.0.0.1:x",
                                        "127.0.0.1:1x",
                                        "127.0.0.1:-1",
                                        "127.0.0.1: 1",
                                        "127.0.0.1:000001",
                                        "localhost:1",
                                        "::1:1",
                                        "[127.0.0.1]:1",
                                        "[::1]",
                                        "[]:1",
                                        "unix:",
                                        "unix:run",
                                        "[::1:1",
                                        "1.1.1:1"};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct socket_address a;
        struct err e = {0};

        CHECK_INT(socket_address_parse(texts[i], &a, &e), -EINVAL);
        CHECK_STR(e.object, texts[i]);
    }
}

TEST(loopback_and_unix_sockets_are_local)
{
    static const struct {
        const char *text;
        bool local;
    } cases[] = {{"127.0.0.1:1", true}, {"127.9.9.9:1", true}, {"[::1]:1", true}, {"unix:/x", true},
                 {"0.0.0.0:1", false},  {"10.0.0.1:1", false}, {"[::]:1", false}, {"[::ffff:127.0.0.1]:1", false}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct socket_address a = address(cases[i].text);

        CHECK_INT(socket_address_is_local(&a), cases[i].local);
    }
}

struct place {
    char directory[64];
    struct socket_address at;
};

static void make_place(struct place *p)
{
    char text[96];

    memcpy(p->directory, "/tmp/igwd-listen-XXXXXX", sizeof("/tmp/igwd-listen-XXXXXX"));
    CHECK(mkdtemp(p->directory));
    (void)snprintf(text, sizeof(text), "unix:%s/made/s", p->directory);
    p->at = address(text);
}

static void remove_place(const struct place *p)
{
    char made[96];

    (void)snprintf(made, sizeof(made), "%s/made", p->directory);
    CHECK_INT(rmdir(made), 0); /* nothing is left in it */
    CHECK_INT(rmdir(p->directory), 0);
}

TEST(what_was_left_behind_is_replaced_and_who_listens_is_not)
{
    struct place p;
    struct stat st;
    struct err e = {0};
    int first, second;

    make_place(&p);
    CHECK_INT(listen_open(&p.at, (gid_t)-1, &first, &e), 0);
    CHECK_INT(stat(p.at.path, &st), 0);
    CHECK_INT(st.st_mode & 0777, 0660);
    CHECK_INT(listen_open(&p.at, (gid_t)-1, &second, &e), -EADDRINUSE);
    CHECK_STR(e.object, p.at.path);
    close(first); /* as a daemon that is killed: its file stays */
    CHECK_INT(listen_open(&p.at, (gid_t)-1, &second, &e), 0);
    listen_close(&p.at, second);
    remove_place(&p);
}

TEST(a_file_that_is_no_socket_is_left_alone)
{
    struct place p;
    struct err e = {0};
    int fd;

    make_place(&p);
    CHECK_INT(listen_open(&p.at, (gid_t)-1, &fd, &e), 0);
    listen_close(&p.at, fd);
    FILE *f = fopen(p.at.path, "we");
    CHECK(f && fclose(f) == 0);
    CHECK_INT(listen_open(&p.at, (gid_t)-1, &fd, &e), -EEXIST);
    CHECK_INT(unlink(p.at.path), 0);
    remove_place(&p);
}

TEST(a_tcp_port_is_taken_once_and_free_again_when_it_is_closed)
{
    struct socket_address at = address("127.0.0.1:0");
    struct sockaddr_storage name;
    socklen_t n = sizeof(name);
    struct err e = {0};
    int first, second;

    CHECK_INT(listen_open(&at, (gid_t)-1, &first, &e), 0);
    CHECK_INT(getsockname(first, (struct sockaddr *)&name, &n), 0);
    CHECK_INT(socket_address_read(&name, &at), 0);
    CHECK(at.port != 0);
    CHECK_INT(listen_open(&at, (gid_t)-1, &second, &e), -EADDRINUSE);
    listen_close(&at, first);
    CHECK_INT(listen_open(&at, (gid_t)-1, &second, &e), 0);
    listen_close(&at, second);
}
