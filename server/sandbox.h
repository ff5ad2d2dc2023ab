/*
 * Runs an Envoy binary where it can do no harm: what it is given to validate comes from people, and `--mode validate`
 * opens files, writes logs and resolves names that a configuration names.
 *
 * This is the main function of a process of its own (`igwd validate ENVOY`), which the daemon starts anew for each
 * question: nothing of the daemon's memory and none of its files can come along. Linux alone.
 */
#ifndef SERVER_SANDBOX_H
#define SERVER_SANDBOX_H

enum {
    SANDBOX_CPU_SECONDS = 2,
    SANDBOX_WALL_MS = 10000,       /* where nothing else is said */
    SANDBOX_CONFIG_MAX = 32 << 20, /* bytes of a configuration */
};

/* Exit statuses. Envoy's own words, or why there are none, are on standard error. */
enum sandbox_exit {
    SANDBOX_ACCEPTED = 0,
    SANDBOX_REFUSED = 1,
    SANDBOX_TIMEOUT = 3,
    SANDBOX_FAILED = 4, /* the sandbox can't be made, or Envoy ended otherwise: nothing is known */
};

/* What is asked of the binary. */
enum sandbox_question { SANDBOX_VALIDATE, SANDBOX_VERSION };

/* The name under which Envoy sees the configuration, as it stands in its words. */
#define SANDBOX_CONFIG "/config.json"

/*
 * Validates the configuration on standard input, or asks for the version (on standard output), within so many
 * milliseconds. Ends the process with one of the statuses above; must be called before any thread is made.
 */
_Noreturn void sandbox_main(const char *binary, enum sandbox_question question, unsigned wall_ms);

#endif
