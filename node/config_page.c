#include "node/config_page_priv.h"

#include "node/command.h"
#include "node/config_priv.h"
#include "node/config_source_priv.h"
#include "node/config_value_priv.h"

#define PAGE_WIDTH 88

/* clang-format off */
static const char help_head[] =
    "Pulse is an MQTT broker for the versions 3.1, 3.1.1 and 5.0.\n"
    "\n"
    "usage: pulse [-c FILE] [--OPTION VALUE]...\n"
    "       pulse COMMAND ...\n"
    "\n"
    "  pulse --bind 127.0.0.1:1883\n"
    "        serve this machine only, with defaults for everything else\n"
    "  pulse -c /etc/pulse/pulse.yaml --log debug\n"
    "        take the options from a file, but one from here\n"
    "  pulse --tls --tls-certificate-chain server.pem --tls-private-key server.key\n"
    "        serve TLS\n"
    "\n"
    "Without -c no file is read. The environment overrides the file, and flags override the\n"
    "environment. --limits-max-inflight is limits: max_inflight: in the file and\n"
    "PULSE_LIMITS_MAX_INFLIGHT in the environment. A yes or no is given as --tls, --no-tls or\n"
    "--tls=true. What there can be several of (listeners, auth.users, auth.acl) stands in the\n"
    "file only; docs/configuration.md describes it.\n"
    "\n"
    "  -c, --config FILE\n"
    "        read this YAML file\n";

static const char reference_head[] =
    "# Configuration\n"
    "\n"
    "<!-- made by `pulse --print-reference` from node/config_options.def and\n"
    "node/config_lists.def; edit those tables -->\n"
    "\n"
    "Every option has a default, so Pulse starts without any configuration. What you set\n"
    "comes from, in this order, and later ones win:\n"
    "\n"
    "1. the built-in defaults,\n"
    "2. the YAML file named with `-c FILE` or `--config FILE` (without the flag no file is\n"
    "   read),\n"
    "3. the environment,\n"
    "4. the command line: `--flag value` or `--flag=value`; for a yes or no `--flag`,\n"
    "   `--no-flag` or `--flag=true`.\n"
    "\n"
    "`pulse --check-config` reads and checks all of it and exits with 0 or 2.\n"
    "`pulse --print-config` prints the effective configuration as YAML, with the origin of\n"
    "each value. Whatever is wrong is told in one line with the file, the line, the key and\n"
    "what is allowed, and ends Pulse with exit code 2.\n"
    "\n"
    "## The file\n"
    "\n"
    "```yaml\n"
    "server:\n"
    "  bind: 0.0.0.0:1883\n"
    "limits:\n"
    "  max_offline_queue_len: 5000\n"
    "  server_maximum_packet_size: 1MiB\n"
    "observability:\n"
    "  log: warning,conn=debug\n"
    "  metrics_bind: 127.0.0.1:9000\n"
    "```\n"
    "\n"
    "With TLS, a second listener for this machine, users and access rules:\n"
    "\n"
    "```yaml\n"
    "server:\n"
    "  bind: \"[::]:8883\"\n"
    "  tls:\n"
    "    enabled: true\n"
    "    certificate_chain: /etc/pulse/server.pem\n"
    "    private_key: /etc/pulse/server.key\n"
    "listeners:\n"
    "  - bind: unix:/run/pulse/mqtt.sock\n"
    "auth:\n"
    "  enabled: true\n"
    "  users:\n"
    "    - username: meter\n"
    "      password: $7$101$...\n"
    "  acl:\n"
    "    - {username: meter, action: publish, topic_filter: meters/%c/#}\n"
    "```\n"
    "\n"
    "- Sections, lists and keys are the headings below; `server.tls` stands inside `server`.\n"
    "  An unknown or repeated key is an error.\n"
    "- Each entry of a list is a mapping. Lists stand in the file only.\n"
    "- A key or a section with nothing behind it leaves the defaults.\n"
    "- Anchors and aliases work; merge keys (`<<`) and second documents do not.\n"
    "- A file is at most 16 MiB long.\n"
    "\n"
    "## Values\n"
    "\n"
    "- **Numbers** are decimal, without sign, leading zeros or separators.\n"
    "- **Durations** have a unit: `500ms`, `10s`, `5m`, `2h`, `1d`. A bare number means\n"
    "  milliseconds if the key ends in `_ms`, and seconds if not.\n"
    "- **Sizes** are bytes, or have a unit: `B`, `KB`, `MB`, `GB` (powers of 1000), `KiB`,\n"
    "  `MiB`, `GiB` (powers of 1024).\n"
    "- **Words** are lower case. An underscore is as good as a hyphen.\n"
    "- **Addresses** are `host:port`; an IPv6 address stands in brackets, in YAML with quotes\n"
    "  around it: `bind: \"[::1]:1883\"`. Where that is allowed, `off` means none.\n"
    "\n"
    "## The environment and the command line\n"
    "\n"
    "Each option has the environment name `PULSE_<SECTION>_<KEY>` and the flag\n"
    "`--<section>-<key>`, with hyphens for underscores. Where a `MQTT_RS_` name is given, it\n"
    "works as well, with a short flag of the same name; `PULSE_` wins when both are set. An\n"
    "empty environment variable counts as unset. `RUST_LOG` is taken for `observability.log`\n"
    "when neither name of it is set. Unknown variables are ignored, with a warning if they\n"
    "look meant for Pulse.\n"
    "\n"
    "## What a running broker takes over\n"
    "\n"
    "At SIGHUP Pulse reads the configuration again. What is taken over at SIGHUP, as said\n"
    "below, counts from then on, with the files that it names: certificates, keys, tokens,\n"
    "passwords, access rules. A change of anything else is told in the log and counts after a\n"
    "restart. When something is wrong, that is told, and everything stays as it was.\n"
    "\n"
    "## Secrets\n"
    "\n"
    "Passwords are never logged, and `--print-config` prints `***` for them; where that output\n"
    "is used as a file they have to be put back (`***` is no password of a user). A password\n"
    "on the command line is warned of, because others on the machine can see it there.\n"
    "`storage.mysql` and `auth.sql_database` hold a password: give them in the environment,\n"
    "from a file that only Pulse's user and root can read (with systemd: `EnvironmentFile=`).\n"
    "The passwords of `auth.users` should be hashes, as `pulse passwd` makes them.\n"
    "\n"
    "## Where things are kept\n"
    "\n"
    "Whoever names a place of storage need not name the engine: in each of the file, the\n"
    "environment and the command line, `storage.wal_dir`, `storage.mysql` or\n"
    "`storage.sqlite` (of several the first of these) sets `storage.engine`, unless it is\n"
    "given there too. `off` names no place. [storage.md](storage.md) says which engine and\n"
    "which commit policy suits whom.\n";

/* clang-format on */

static const char *kind_name(enum config_kind kind)
{
    switch (kind) {
    case CONFIG_KIND_BOOL:
        return "true|false";
    case CONFIG_KIND_UINT:
        return "NUMBER";
    case CONFIG_KIND_DURATION:
        return "DURATION";
    case CONFIG_KIND_SIZE:
        return "SIZE";
    case CONFIG_KIND_ENUM:
        return "WORD";
    case CONFIG_KIND_STRING:
        return "TEXT";
    case CONFIG_KIND_ADDRESS:
        return "HOST:PORT";
    }
    return "";
}

/* Adds `words` broken into lines of at most PAGE_WIDTH, each behind `indent`. */
static void add_wrapped(const char *words, const char *indent, struct text *page)
{
    size_t column = 0;
    for (const char *at = words; *at != '\0';) {
        size_t len = strcspn(at, " ");
        if (column > 0 && column + 1 + len > PAGE_WIDTH) {
            text_add(page, "\n");
            column = 0;
        }
        text_add(page, column == 0 ? indent : " ");
        text_add_bytes(page, at, len);
        column += len + (column == 0 ? strlen(indent) : 1);
        at += len + strspn(at + len, " ");
    }
    text_add(page, "\n");
}

/* Adds the default in the form in which values are printed. */
static void add_default(const struct config_option *option, struct text *page)
{
    struct config_value value = {0};
    enum err err = config__value_parse(option, option->initial, &value, page);
    ASSERT(err == ERR_OK);
    config__value_add(option, value, page);
}

/* Does the short flag differ from the long one? */
static bool has_own_short_flag(const struct config_option *option)
{
    struct text full = {0};
    struct text brief = {0};
    config__option_add_flag(option, &full);
    config__option_add_short_flag(option, &brief);
    bool own = brief.len > 0 && strcmp(full.data, brief.data) != 0;
    text_fini(&full);
    text_fini(&brief);
    return own;
}

/* Adds the flags of an option, the short one first; of a yes or no as --[no-]tls. */
static void add_flags(const struct config_option *option, struct text *page)
{
    const char *no = option->kind == CONFIG_KIND_BOOL ? "[no-]" : "";
    struct text flag = {0};
    if (has_own_short_flag(option)) {
        config__option_add_short_flag(option, &flag);
        text_printf(page, "--%s%s, ", no, flag.data + strlen("--"));
        text_fini(&flag);
    }
    config__option_add_flag(option, &flag);
    text_printf(page, "--%s%s", no, flag.data + strlen("--"));
    text_fini(&flag);
}

static void add_option_help(const struct config_option *option, struct text *page)
{
    bool yes_or_no = option->kind == CONFIG_KIND_BOOL;
    text_add(page, "\n  ");
    add_flags(option, page);
    text_printf(page, "%s%s\n", yes_or_no ? "" : " ", yes_or_no ? "" : kind_name(option->kind));

    struct text words = {0};
    text_printf(&words, "%s ", option->help);
    if (!yes_or_no) {
        text_add(&words, "Allowed: ");
        config__value_add_allowed(option, &words);
        text_add(&words, ". ");
    }
    text_add(&words, "Default: ");
    add_default(option, &words);
    add_wrapped(words.data, "        ", page);
    text_fini(&words);
}

void config__page_add_help(struct text *page)
{
    text_add(page, help_head);
#define X(command, name, letter, about)                                           \
    text_printf(page, "  %s%s%s\n        %s\n", (letter) == NULL ? "" : (letter), \
                (letter) == NULL ? "" : ", ", name, about);
    CONFIG_COMMANDS(X)
#undef X
    text_add(page, "\nCommands; pulse COMMAND --help says more:\n");
#define X(name, words, about) text_printf(page, "  pulse %s %s\n        %s\n", #name, words, about);
    COMMANDS(X)
#undef X
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        const struct config_option *option = &config__options[i];
        if (i == 0 || option->section != option[-1].section) {
            text_printf(page, "\n%s: %s\n", config__section_path(option->section),
                        config__section_about(option->section));
        }
        add_option_help(option, page);
    }
}

static void add_option_reference(const struct config_option *option, struct text *page)
{
    text_printf(page, "\n### %s\n\n", option->path);
    add_wrapped(option->help, "", page);
    text_add(page, "\n- Default: `");
    add_default(option, page);
    text_add(page, "`\n- Allowed: ");
    config__value_add_allowed(option, page);
    text_add(page, "\n- Environment: `");
    config__option_add_env(option, page);
    if (option->mqtt_rs_name != NULL) {
        text_printf(page, "`, `%s", option->mqtt_rs_name);
    }
    text_add(page, "`\n- Flag: `");
    config__option_add_flag(option, page);
    if (has_own_short_flag(option)) {
        text_add(page, "`, `");
        config__option_add_short_flag(option, page);
    }
    text_add(page, "`\n");
    text_add(page, config__option_reloads(option) ? "- Taken over at: SIGHUP\n" : "");
}

/* A key of a list, as a row. */
static void add_key_reference(const struct config_list *list, const struct config_option *key,
                              struct text *page)
{
    text_printf(page, "| %s | %s | ", key->key, key->help);
    if (key->initial == NULL) {
        text_add(page, "must be given");
    } else {
        text_add(page, "`");
        add_default(key, page);
        text_add(page, "`");
    }
    text_add(page, " | ");
    config__value_add_allowed(key, page);
    text_printf(page, " | %s |\n", config__list_key_reloads(list, key) ? "SIGHUP" : "restart");
}

static void add_list_reference(const struct config_list *list, struct text *page)
{
    bool top = list->section == CONFIG_SECTION_ROOT;
    text_printf(page, top ? "\n## List `%s`\n\n" : "\n### %s\n\n", list->path);
    add_wrapped(list->about, "", page);
    text_printf(page,
                "\nA list of at most %zu entries with these keys, in the file only:\n\n"
                "| key | about | default | allowed | taken over at |\n|---|---|---|---|---|\n",
                list->entries_max);
    for (size_t i = 0; i < list->key_count; i++) {
        add_key_reference(list, &list->keys[i], page);
    }
}

static void add_lists_reference(enum config_section section, struct text *page)
{
    for (size_t i = 0; i < CONFIG_LIST_COUNT; i++) {
        if (config__lists[i].section == section) {
            add_list_reference(&config__lists[i], page);
        }
    }
}

static void add_section_reference(enum config_section section, struct text *page)
{
    text_printf(page, "\n## Section `%s`\n\n%s\n", config__section_path(section),
                config__section_about(section));
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        if (config__options[i].section == section) {
            add_option_reference(&config__options[i], page);
        }
    }
    add_lists_reference(section, page);
}

void config__page_add_reference(struct text *page)
{
    text_add(page, reference_head);
    add_lists_reference(CONFIG_SECTION_ROOT, page);
    for (enum config_section i = 0; i < CONFIG_SECTION_COUNT; i++) {
        add_section_reference(i, page);
    }
}
