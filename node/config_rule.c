#include "node/config_rule_priv.h"

#include <strings.h>

#include "base/log.h"
#include "codec/topic.h"
#include "node/auth/acl.h"

/* Are they the same, whatever the case? */
static bool same_word(struct slice s, const char *word)
{
    return s.len == strlen(word) && strncasecmp((const char *)s.data, word, s.len) == 0;
}

static bool is_level(struct slice word)
{
    bool known = same_word(word, "warn") || same_word(word, "trace");
    for (int level = 0; level < LOG_LEVELS; level++) {
        known = known || same_word(word, log_level_name((enum log_level)level));
    }
    return known;
}

static bool is_area(struct slice word)
{
    bool known = false;
    for (int area = 0; area < LOG_AREA_COUNT; area++) {
        known = known || same_word(word, log_area_name((enum log_area)area));
    }
    return known;
}

/* `item` is a level, or area=level. */
static bool is_log_item(struct slice item)
{
    struct slice area = slice_trim(slice_cut(&item, '='), " \t");
    bool pair = item.data != NULL;
    return pair ? is_area(area) && is_level(slice_trim(item, " \t")) : is_level(area);
}

/* As log_set_filter, which would be in effect at once: a configuration is judged before it counts.
 */
static enum err check_log_filter(const char *text)
{
    return config__all_items(text, is_log_item) ? ERR_OK : ERR_SYNTAX;
}

const struct config_text_rule config__log_filter = {
    .noun = "not a log filter",
    .allowed = "off, error, warning, notice, info or debug, and area=level pairs behind it, "
               "separated by commas; areas:"
#define X(name, text) " " text
    LOG_AREAS(X),
#undef X
    .check = check_log_filter,
};

static enum err check_topic_prefix(const char *text)
{
    struct slice prefix = slice_text(text);
    return topic_name_valid(prefix) && utf8_valid(prefix) ? ERR_OK : ERR_SYNTAX;
}

const struct config_text_rule config__topic_prefix = {
    .noun = "not the beginning of a topic name",
    .allowed = "UTF-8 without + and #",
    .check = check_topic_prefix,
};

/* Whatever the system takes, but nothing that tears a line of a log. */
enum err config__check_name(const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        if ((unsigned char)*at < ' ' || *at == 0x7f) {
            return ERR_SYNTAX;
        }
    }
    return ERR_OK;
}

const struct config_text_rule config__file_name = {
    .noun = "not the name of a file",
    .allowed = "the name of a file",
    .check = config__check_name,
};

const struct config_text_rule config__folder_name = {
    .noun = "not the name of a folder",
    .allowed = "the name of a folder",
    .check = config__check_name,
};

const struct config_text_rule config__ca_file_name = {
    .noun = "not the name of a file",
    .allowed = "the name of a file",
    .check = config__check_name,
    .none = "system",
};

static enum err check_plain_text(const char *text)
{
    return config__check_name(text) == ERR_OK && utf8_valid(slice_text(text)) ? ERR_OK : ERR_SYNTAX;
}

const struct config_text_rule config__node_id = {
    .noun = "not the name of a node",
    .allowed = "1 to 255 bytes of UTF-8 without control characters",
    .check = check_plain_text,
    .none = "hostname",
};

const struct config_text_rule config__plain_text = {
    .noun = "not plain text",
    .allowed = "UTF-8 without control characters",
    .check = check_plain_text,
};

/* Who uses the output of --print-config as a file would give all users the same password. */
static enum err check_secret(const char *text)
{
    return strcmp(text, CONFIG_HIDDEN) != 0 ? check_plain_text(text) : ERR_SYNTAX;
}

static void add_hidden(const char *text, struct text *out)
{
    (void)text;
    text_add(out, CONFIG_HIDDEN);
}

const struct config_text_rule config__secret = {
    .noun = "not a password",
    .allowed = "a hash, or a password in UTF-8 without control characters; not " CONFIG_HIDDEN
               ", which --print-config prints in its place",
    .check = check_secret,
    .add_shown = add_hidden,
};

static enum err check_acl_filter(const char *text)
{
    return acl_filter_complaint(slice_text(text)) == NULL ? check_plain_text(text) : ERR_SYNTAX;
}

const struct config_text_rule config__acl_filter = {
    .noun = "not the topic filter of an access rule",
    .allowed =
        "a topic filter without $share; in a level of it one of %c, %u, %C, %O, %U, and %% for "
        "a percent sign",
    .check = check_acl_filter,
};
