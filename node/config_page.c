#include "node/config_page_priv.h"

#include "node/command.h"
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
    "\n"
    "Without -c no file is read. The environment overrides the file, and flags override the\n"
    "environment. --limits-max-inflight is limits: max_inflight: in the file and\n"
    "PULSE_LIMITS_MAX_INFLIGHT in the environment.\n"
    "\n"
    "  -c, --config FILE\n"
    "        read this YAML file\n";

static const char reference_head[] =
    "# Configuration\n"
    "\n"
    "<!-- made by `pulse --print-reference` from node/config_options.def; edit that table -->\n"
    "\n"
    "Every option has a default, so Pulse starts without any configuration. What you set\n"
    "comes from, in this order, and later ones win:\n"
    "\n"
    "1. the built-in defaults,\n"
    "2. the YAML file named with `-c FILE` or `--config FILE` (without the flag no file is\n"
    "   read),\n"
    "3. the environment,\n"
    "4. the command line: `--flag value` or `--flag=value`.\n"
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
    "- Sections and keys are the headings below. An unknown or repeated key is an error.\n"
    "- A key or a section with nothing behind it leaves the defaults.\n"
    "- Anchors and aliases work; merge keys (`<<`) and second documents do not.\n"
    "- A file is at most 1 MiB long.\n"
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
    "## Where things are kept\n"
    "\n"
    "Whoever names a place of storage need not name the engine: in each of the file, the\n"
    "environment and the command line, `storage.wal_dir`, `storage.mysql` or\n"
    "`storage.sqlite` (of several the first of these) sets `storage.engine`, unless it is\n"
    "given there too. `off` names no place. [storage.md](storage.md) says which engine and\n"
    "which commit policy suits whom.\n"
    "\n"
    "`storage.mysql` holds a password: give it in the environment, from a file that only\n"
    "Pulse's user and root can read (with systemd: `EnvironmentFile=`). It is never logged,\n"
    "and `--print-config` prints `***` for the password, which has to be put back where\n"
    "that output is used as a file.\n";

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

static void add_option_help(const struct config_option *option, struct text *page)
{
    text_add(page, "\n  ");
    if (has_own_short_flag(option)) {
        config__option_add_short_flag(option, page);
        text_add(page, ", ");
    }
    config__option_add_flag(option, page);
    text_printf(page, " %s\n", kind_name(option->kind));

    struct text words = {0};
    text_printf(&words, "%s Allowed: ", option->help);
    config__value_add_allowed(option, &words);
    text_add(&words, ". Default: ");
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
            text_printf(page, "\n%s: %s\n", config__section_name(option->section),
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
}

void config__page_add_reference(struct text *page)
{
    text_add(page, reference_head);
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        const struct config_option *option = &config__options[i];
        if (i == 0 || option->section != option[-1].section) {
            text_printf(page, "\n## Section `%s`\n\n%s\n", config__section_name(option->section),
                        config__section_about(option->section));
        }
        add_option_reference(option, page);
    }
}

/* Text in quotes: [::1]:1883 would start a list. */
static void add_effective_value(const struct config_option *option, const struct config *config,
                                struct text *page)
{
    struct config_value value = config__value_load(option, config);
    if (option->kind == CONFIG_KIND_STRING || option->kind == CONFIG_KIND_ADDRESS) {
        struct text words = {0};
        config__value_add(option, value, &words);
        text_add(page, "\"");
        text_add_json(page, slice_of(words.data, words.len));
        text_add(page, "\"");
        text_fini(&words);
    } else {
        config__value_add(option, value, page);
    }
}

void config__page_add_effective(const struct config *config,
                                char *const places[static CONFIG_OPTION_COUNT], struct text *page)
{
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        const struct config_option *option = &config__options[i];
        if (i == 0 || option->section != option[-1].section) {
            text_printf(page, "%s:\n", config__section_name(option->section));
        }
        text_printf(page, "  %s: ", option->key);
        add_effective_value(option, config, page);
        text_printf(page, " # %s\n", places[i] == NULL ? "default" : places[i]);
    }
}
