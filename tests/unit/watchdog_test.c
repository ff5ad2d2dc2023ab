/* The watchdog, with a clock that is moved by hand and a supervisor that listens. */
#include "server/watchdog.h"

#include "base/log.h"
#include "server/notify.h"
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { MESSAGE_MAX = 256 };

static struct clock fake;
static struct loop *loop;
static int supervisor;
static bool others = true;

static bool others_turn(void *arg)
{
    (void)arg;
    return others;
}

static void be_quiet(const char *line, size_t len, void *arg)
{
    (void)line, (void)len, (void)arg;
}

static void begin(const char *usec, pid_t pid)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    socklen_t n = sizeof(a);
    char text[sizeof(a.sun_path) + 1] = "@";

    log_set_sink(be_quiet, NULL);
    fake = (struct clock){.fake = 1, .fake_now = CLOCK_NS_PER_S};
    CHECK_INT(loop_new(&fake, &loop, NULL), 0);
    /* An abstract name of the kernel's choice. */
    supervisor = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CHECK(supervisor >= 0);
    CHECK_INT(bind(supervisor, (struct sockaddr *)&a, sizeof(sa_family_t)), 0);
    CHECK_INT(getsockname(supervisor, (struct sockaddr *)&a, &n), 0);
    memcpy(text + 1, a.sun_path + 1, n - sizeof(sa_family_t) - 1);
    CHECK_INT(setenv("NOTIFY_SOCKET", text, 1), 0);
    CHECK_INT(setenv("WATCHDOG_USEC", usec, 1), 0);
    (void)snprintf(text, sizeof(text), "%d", (int)pid);
    CHECK_INT(setenv("WATCHDOG_PID", text, 1), 0);
}

static void end(void)
{
    loop_free(loop);
    close(supervisor);
    log_set_sink(NULL, NULL);
    (void)unsetenv("NOTIFY_SOCKET");
    (void)unsetenv("WATCHDOG_USEC");
    (void)unsetenv("WATCHDOG_PID");
}

/* How many messages came, all of them that text. */
static unsigned heard(const char *text)
{
    char message[MESSAGE_MAX];
    unsigned n = 0;

    for (ssize_t got; (got = recv(supervisor, message, sizeof(message) - 1, 0)) >= 0; n++) {
        message[got] = '\0';
        CHECK_STR(message, text);
    }
    return n;
}

static void pass(clock_ns time)
{
    fake.fake_now += time;
    (void)loop_step(loop);
}

TEST(the_loop_feeds_the_watchdog_several_times_in_the_time_given)
{
    begin("4000000", getpid());
    struct watchdog *w = watchdog_new(loop, others_turn, NULL);
    CHECK(w);
    pass(0);
    CHECK_INT(heard("WATCHDOG=1"), 0);
    for (unsigned i = 0; i < 4; i++) {
        pass(CLOCK_NS_PER_S);
        CHECK_INT(heard("WATCHDOG=1"), 1);
    }
    pass(CLOCK_NS_PER_S / 2);
    CHECK_INT(heard("WATCHDOG=1"), 0);
    watchdog_free(w);
    pass(10 * CLOCK_NS_PER_S);
    CHECK_INT(heard("WATCHDOG=1"), 0);
    end();
}

TEST(a_thread_that_stands_still_starves_the_watchdog_until_it_turns_again)
{
    begin("4000000", getpid());
    struct watchdog *w = watchdog_new(loop, others_turn, NULL);
    others = false;
    for (unsigned i = 0; i < 4; i++)
        pass(CLOCK_NS_PER_S);
    CHECK_INT(heard("WATCHDOG=1"), 0);
    others = true;
    pass(CLOCK_NS_PER_S);
    CHECK_INT(heard("WATCHDOG=1"), 1);
    watchdog_free(w);
    end();
}

TEST(nobody_is_fed_who_did_not_ask)
{
    begin("4000000", getppid());
    CHECK(!watchdog_new(loop, others_turn, NULL));
    CHECK_INT(unsetenv("WATCHDOG_PID"), 0);
    static const char *const wrong[] = {"0", "", "much", "4s"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        CHECK_INT(setenv("WATCHDOG_USEC", wrong[i], 1), 0);
        CHECK(!watchdog_new(loop, others_turn, NULL));
    }
    CHECK_INT(unsetenv("WATCHDOG_USEC"), 0);
    CHECK(!watchdog_new(loop, others_turn, NULL));
    end();
}

TEST(a_reload_is_told_with_its_time)
{
    char message[MESSAGE_MAX] = "";
    long long usec = 0, now;

    begin("4000000", getpid());
    notify_reloading();
    now = (long long)(clock_now(NULL) / 1000);
    CHECK(recv(supervisor, message, sizeof(message) - 1, 0) > 0);
    CHECK(strncmp(message, "RELOADING=1\nMONOTONIC_USEC=", 27) == 0);
    usec = strtoll(message + 27, NULL, 10);
    CHECK(usec > now - 10 * 1000000 && usec <= now);
    end();
}
