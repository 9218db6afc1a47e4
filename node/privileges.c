#include "node/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/log.h"

static enum err refuse(const char *user, const char *why)
{
    log_error(LOG_MAIN, "can't become server.user", log_text("user", user), log_text("error", why));
    return ERR_INVALID;
}

enum err privileges_drop(const char *user)
{
    if (user[0] == '\0') {
        return ERR_OK;
    }
    errno = 0;
    const struct passwd *entry = getpwnam(user);
    if (entry == NULL) {
        return refuse(user, errno == 0 ? "there is no such user" : strerror(errno));
    }
    if (entry->pw_uid == geteuid()) {
        return ERR_OK; /* somebody else did it for us */
    }
    if (geteuid() != 0) {
        return refuse(user, "only root can become another user");
    }
    if (initgroups(user, entry->pw_gid) != 0 ||
        setresgid(entry->pw_gid, entry->pw_gid, entry->pw_gid) != 0 ||
        setresuid(entry->pw_uid, entry->pw_uid, entry->pw_uid) != 0) {
        return refuse(user, strerror(errno));
    }
    if (entry->pw_uid != 0 && setuid(0) == 0) {
        return refuse(user, "root can be become again");
    }
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); /* not where the kernel doesn't know it */
    log_notice(LOG_MAIN, "running as another user", log_text("user", user));
    return ERR_OK;
}

enum err privileges_hand_over(const char *path, const char *user)
{
    const struct passwd *entry = user[0] == '\0' ? NULL : getpwnam(user);
    if (entry == NULL || entry->pw_uid == geteuid()) {
        return ERR_OK; /* privileges_drop tells of a user that isn't there */
    }
    if (chown(path, entry->pw_uid, entry->pw_gid) != 0) {
        log_error(LOG_MAIN, "can't hand a file over to server.user", log_text("path", path),
                  log_text("error", strerror(errno)));
        return ERR_INVALID;
    }
    return ERR_OK;
}
