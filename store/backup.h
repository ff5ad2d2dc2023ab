/*
 * Backups of what people made (config.db), taken while the daemon runs, and putting them back while it does not.
 *
 * A backup is a directory of mode 0700 that holds config.db and, where it stands in the state directory, the key that
 * its documents are sealed with: who has a backup has the private keys in it. observed.db is no part of it: the agent
 * says all of it again.
 */
#ifndef STORE_BACKUP_H
#define STORE_BACKUP_H

#include "base/err.h"

/* destination must not exist; it is there as a whole and flushed, or not at all. key_file NULL: DIRECTORY/key. */
int store_backup(const char *directory, const char *key_file, const char *destination, struct err *e);

/*
 * Looks at the backup first (whole, not of a newer version, the key fits all that is sealed). -EEXIST: a daemon uses
 * the state directory. What was there is kept beside it (config.db.damaged-TIME, key.before-TIME); an observed.db of
 * a newer version is set aside, too, so that this is the way back from an upgrade. What root puts back belongs to
 * the directory's owner. key_file given: that key must fit, and none is put back.
 */
int store_restore(const char *directory, const char *key_file, const char *source, struct err *e);

#endif
