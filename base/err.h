/*
 * The one error space: functions return 0 or a negative errno, and fill a struct err where one is given.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

enum { ERR_OBJECT_MAX = 256, ERR_FIELD_MAX = 256, ERR_TEXT_MAX = 512 };

/* What went wrong, for a user: which object, which field (a path such as "vhosts[0].match_regex"), a sentence. */
struct err {
    int code; /* negative errno, 0 when unset */
    char object[ERR_OBJECT_MAX];
    char field[ERR_FIELD_MAX];
    char text[ERR_TEXT_MAX];
};

/*
 * Fills e (may be NULL) and returns code, so that `return err_set(...)` works. object and field may be NULL: then
 * what e already has there is kept. Too long texts are cut at a character's border and end in "...".
 */
int err_set(struct err *e, int code, const char *object, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* Empty, for where `= {0}` would write a kilobyte every time, and hardly ever is there an error. */
static inline void err_init(struct err *e)
{
    e->code = 0;
    e->object[0] = e->field[0] = e->text[0] = '\0';
}
/* Puts "prefix" before e's field path: ("listener", "port") gives "listener.port"; "[0]" joins without a dot. */
void err_prefix_field(struct err *e, const char *prefix);
/* The path goes into the text: it is one that e's reader knows nothing of. */
void err_field_to_text(struct err *e);
void err_set_object(struct err *e, const char *object);
/* "object: field: text" into a buffer of n bytes; parts that are empty are left out. Returns buf. */
const char *err_format(const struct err *e, char *buf, unsigned n);

#endif
