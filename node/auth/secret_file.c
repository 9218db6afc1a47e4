#include "node/auth/secret_file.h"

#include "base/log.h"

#define SECRET_FILE_MAX (256u * 1024)

enum err secret_file_read(struct whole_file *file, const char *path, struct text *error)
{
    return whole_file_read(file, path, SECRET_FILE_MAX, error);
}

void secret_file_warn(const struct whole_file *file, const char *path)
{
    if (file->open_to_all) {
        log_warning(LOG_AUTH, "everybody on this machine may read a file with a secret",
                    log_text("file", path));
    }
}
