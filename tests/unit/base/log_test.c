#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define LINE_MAX_BYTES 2048

static int reader = -1;
static int writer = -1;

/* The log writes into a pipe that never holds anybody up, at level info. */
static int open_pipe(void **state)
{
    (void)state;
    int ends[2];
    if (pipe2(ends, O_NONBLOCK) != 0) {
        return -1;
    }
    reader = ends[0];
    writer = ends[1];
    log_init(writer, LOG_FORMAT_TEXT);
    return log_set_filter("info") == ERR_OK ? 0 : -1;
}

static int close_pipe(void **state)
{
    (void)state;
    log_init(STDERR_FILENO, LOG_FORMAT_TEXT);
    close(reader);
    close(writer);
    return 0;
}

/* What has been written since the last call; borrowed until the next one. */
static const char *written(void)
{
    static char lines[64 * 1024];
    size_t len = 0;
    ssize_t more = 0;
    while ((more = read(reader, lines + len, sizeof(lines) - 1 - len)) > 0) {
        len += (size_t)more;
    }
    lines[len] = '\0';
    return lines;
}

/* Whether `line` starts with a time such as 2026-11-24T07:00:00.123Z. */
static bool starts_with_time(const char *line)
{
    static const char shape[] = "dddd-dd-ddTdd:dd:dd.dddZ";
    for (size_t i = 0; i + 1 < sizeof(shape); i++) {
        bool digit = line[i] >= '0' && line[i] <= '9';
        if (shape[i] == 'd' ? !digit : line[i] != shape[i]) {
            return false;
        }
    }
    return true;
}

#define TIME_LEN 24

/* Fails unless exactly one text line was written, with `rest` behind the time. */
static void assert_text_line(const char *rest)
{
    const char *line = written();
    assert_true(starts_with_time(line));
    assert_string_equal(line + TIME_LEN, rest);
}

/* As above, for JSON. */
static void assert_json_line(const char *rest)
{
    const char *line = written();
    assert_memory_equal(line, "{\"time\":\"", 9);
    assert_true(starts_with_time(line + 9));
    assert_string_equal(line + 9 + TIME_LEN, rest);
}

static void a_text_line_has_time_level_area_message_and_fields(void **state)
{
    (void)state;
    log_info(LOG_CONN, "client connected", log_slice("client_id", slice_text("dev-1")),
             log_uint("keep_alive", 60));
    assert_text_line(" info  conn: client connected client_id=\"dev-1\" keep_alive=60\n");
    log_warning(LOG_MAIN, "no fields");
    assert_text_line(" warning main: no fields\n");
}

static void a_json_line_is_one_object(void **state)
{
    (void)state;
    log_init(writer, LOG_FORMAT_JSON);
    log_info(LOG_CONN, "client connected", log_slice("client_id", slice_text("dev-1")),
             log_uint("keep_alive", 60), log_int("balance", -3), log_text("how", "at once"));
    assert_json_line(
        "\",\"level\":\"info\",\"area\":\"conn\",\"message\":\"client connected\","
        "\"client_id\":\"dev-1\",\"keep_alive\":60,\"balance\":-3,\"how\":\"at once\"}\n");
    log_error(LOG_HTTP, "no fields");
    assert_json_line("\",\"level\":\"error\",\"area\":\"http\",\"message\":\"no fields\"}\n");
}

static void numbers_are_written_in_full_range(void **state)
{
    (void)state;
    log_info(LOG_MAIN, "range", log_uint("a", UINT64_MAX), log_int("b", INT64_MIN));
    assert_text_line(" info  main: range a=18446744073709551615 b=-9223372036854775808\n");
}

static void a_missing_text_is_an_empty_one(void **state)
{
    (void)state;
    log_info(LOG_MAIN, "missing", log_text("why", NULL), log_slice("topic", slice_of(NULL, 0)));
    assert_text_line(" info  main: missing why=\"\" topic=\"\"\n");
}

static void text_from_outside_cannot_forge_a_line(void **state)
{
    (void)state;
    struct slice id = slice_of("a\"\n2026 \x1b[2J\xc3\xa4\0b", 16);
    log_info(LOG_CONN, "x", log_slice("client_id", id));
    assert_text_line(" info  conn: x client_id=\"a\\\"\\n2026 \\x1b[2J\\xc3\\xa4\\x00b\"\n");
    log_init(writer, LOG_FORMAT_JSON);
    log_info(LOG_CONN, "x", log_slice("client_id", id));
    assert_json_line("\",\"level\":\"info\",\"area\":\"conn\",\"message\":\"x\",\"client_id\":"
                     "\"a\\\"\\n2026 \\u001b[2J\xc3\xa4\\u0000b\"}\n");
    log_info(LOG_CONN, "x", log_slice("client_id", slice_text("\xff\xc3")));
    assert_json_line("\",\"level\":\"info\",\"area\":\"conn\",\"message\":\"x\",\"client_id\":"
                     "\"\\ufffd\\ufffd\"}\n");
}

static void a_long_value_is_cut_and_marked(void **state)
{
    (void)state;
    char value[300];
    char expected[400];
    memset(value, 'v', sizeof(value));

    log_info(LOG_CONN, "x", log_slice("topic", slice_of(value, 256)));
    snprintf(expected, sizeof(expected), " info  conn: x topic=\"%.256s\"\n", value);
    assert_text_line(expected);

    log_info(LOG_CONN, "x", log_slice("topic", slice_of(value, 257)), log_uint("n", 1));
    snprintf(expected, sizeof(expected), " info  conn: x topic=\"%.256s...\" n=1\n", value);
    assert_text_line(expected);
}

static void a_long_value_is_not_cut_within_a_character(void **state)
{
    (void)state;
    char value[300];
    char expected[400];
    memset(value, 'v', sizeof(value));
    memcpy(value + 254, "\xe2\x82\xac", 3); /* bytes 254, 255 and 256 */
    log_init(writer, LOG_FORMAT_JSON);
    log_info(LOG_CONN, "x", log_slice("topic", slice_of(value, sizeof(value))));
    snprintf(expected, sizeof(expected),
             "\",\"level\":\"info\",\"area\":\"conn\",\"message\":\"x\",\"topic\":\"%.254s...\"}\n",
             value);
    assert_json_line(expected);
}

/* Eight fields that take four (text) or six (JSON) bytes for each of theirs, far more than a line.
 */
static void log_too_much(void)
{
    static const char value[300];
    struct slice long_one = slice_of(value, sizeof(value));
    log_info(LOG_CONN, "too much", log_uint("first", 1), log_slice("a", long_one),
             log_slice("b", long_one), log_slice("c", long_one), log_slice("d", long_one),
             log_slice("e", long_one), log_slice("f", long_one), log_uint("last", 1));
}

static void a_long_line_is_cut_between_fields_and_marked(void **state)
{
    (void)state;
    log_too_much();
    const char *line = written();
    assert_true(strlen(line) <= LINE_MAX_BYTES);
    assert_non_null(strstr(line, " first=1 a=\"\\x00"));
    assert_null(strstr(line, "last=1"));
    static const char end[] = "\\x00...\" ...\n";
    assert_string_equal(line + strlen(line) - strlen(end), end);
}

static void a_long_json_line_is_still_an_object(void **state)
{
    (void)state;
    log_init(writer, LOG_FORMAT_JSON);
    log_too_much();
    const char *line = written();
    assert_true(strlen(line) <= LINE_MAX_BYTES);
    static const char end[] = "\\u0000...\",\"cut\":true}\n";
    assert_string_equal(line + strlen(line) - strlen(end), end);
}

static void lines_below_the_level_are_not_written(void **state)
{
    (void)state;
    log_debug(LOG_CONN, "quiet");
    assert_string_equal(written(), "");
    assert_int_equal(log_set_filter("error"), ERR_OK);
    log_notice(LOG_CONN, "quiet");
    log_warning(LOG_CONN, "quiet");
    assert_string_equal(written(), "");
    log_error(LOG_CONN, "loud");
    assert_text_line(" error conn: loud\n");
    assert_int_equal(log_set_filter("off"), ERR_OK);
    log_error(LOG_CONN, "quiet");
    assert_string_equal(written(), "");
}

static int evaluated;

static uint64_t count_evaluation(void)
{
    evaluated++;
    return 0;
}

static void fields_of_a_silent_line_are_not_evaluated(void **state)
{
    (void)state;
    evaluated = 0;
    log_debug(LOG_CONN, "quiet", log_uint("n", count_evaluation()));
    assert_int_equal(evaluated, 0);
    log_info(LOG_CONN, "loud", log_uint("n", count_evaluation()));
    assert_int_equal(evaluated, 1);
}

static void assert_levels(enum log_level http, enum log_level conn, enum log_level others)
{
    for (unsigned i = 0; i < LOG_AREA_COUNT; i++) {
        enum log_level expected = i == LOG_HTTP ? http : i == LOG_CONN ? conn : others;
        assert_int_equal(log_level_of((enum log_area)i), expected);
    }
}

static void a_filter_sets_all_areas_or_some(void **state)
{
    (void)state;
    assert_int_equal(log_set_filter("debug"), ERR_OK);
    assert_levels(LOG_LEVEL_DEBUG, LOG_LEVEL_DEBUG, LOG_LEVEL_DEBUG);
    assert_int_equal(log_set_filter("debug,http=warning"), ERR_OK);
    assert_levels(LOG_LEVEL_WARNING, LOG_LEVEL_DEBUG, LOG_LEVEL_DEBUG);
    assert_int_equal(log_set_filter("http=off,conn=notice,error"), ERR_OK);
    assert_levels(LOG_LEVEL_OFF, LOG_LEVEL_NOTICE, LOG_LEVEL_ERROR);
    assert_int_equal(log_set_filter("conn=debug"), ERR_OK); /* the rest is info */
    assert_levels(LOG_LEVEL_INFO, LOG_LEVEL_DEBUG, LOG_LEVEL_INFO);
    assert_int_equal(log_set_filter(" Debug , HTTP = Warn\n"), ERR_OK);
    assert_levels(LOG_LEVEL_WARNING, LOG_LEVEL_DEBUG, LOG_LEVEL_DEBUG);
}

static void levels_have_the_names_of_other_programs_too(void **state)
{
    (void)state;
    assert_int_equal(log_set_filter("warn,http=trace"), ERR_OK);
    assert_levels(LOG_LEVEL_DEBUG, LOG_LEVEL_WARNING, LOG_LEVEL_WARNING);
}

static void a_wrong_filter_changes_nothing(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "loud",
        "debug,",
        ",debug",
        "debug,,http=info",
        "http",
        "nobody=info",
        "debug,http=",
        "http=loud",
        "=info",
        "debug,conn=debug,http=loud",
        "http=info=debug",
        "debug conn",
        "debug;http=info",
        "5",
    };
    assert_int_equal(log_set_filter("notice,http=error"), ERR_OK);
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        if (log_set_filter(wrong[i]) != ERR_SYNTAX) {
            fail_msg("accepted: %s", wrong[i]);
        }
        assert_levels(LOG_LEVEL_ERROR, LOG_LEVEL_NOTICE, LOG_LEVEL_NOTICE);
    }
}

static void debug_is_switched_on_and_off_again(void **state)
{
    (void)state;
    assert_int_equal(log_set_filter("notice,http=off"), ERR_OK);
    log_toggle_debug();
    assert_levels(LOG_LEVEL_DEBUG, LOG_LEVEL_DEBUG, LOG_LEVEL_DEBUG);
    log_toggle_debug();
    assert_levels(LOG_LEVEL_OFF, LOG_LEVEL_NOTICE, LOG_LEVEL_NOTICE);
}

static void a_new_filter_ends_debug(void **state)
{
    (void)state;
    log_toggle_debug();
    assert_int_equal(log_set_filter("error"), ERR_OK);
    assert_levels(LOG_LEVEL_ERROR, LOG_LEVEL_ERROR, LOG_LEVEL_ERROR);
    log_toggle_debug();
    assert_levels(LOG_LEVEL_DEBUG, LOG_LEVEL_DEBUG, LOG_LEVEL_DEBUG);
    log_toggle_debug();
    assert_levels(LOG_LEVEL_ERROR, LOG_LEVEL_ERROR, LOG_LEVEL_ERROR);
}

static void a_line_that_finds_no_room_is_counted_and_holds_nobody_up(void **state)
{
    (void)state;
    uint64_t before = log_lost();
    char fill[4096] = {0};
    while (write(writer, fill, sizeof(fill)) > 0) {
    }
    assert_int_equal(errno, EAGAIN);
    log_info(LOG_MAIN, "lost");
    log_info(LOG_MAIN, "lost");
    assert_int_equal(log_lost(), before + 2);
    written();
    while (read(reader, fill, sizeof(fill)) > 0) {
    }
    log_info(LOG_MAIN, "found");
    assert_text_line(" info  main: found\n");
    assert_int_equal(log_lost(), before + 2);
}

static void a_closed_stream_is_counted_too(void **state)
{
    (void)state;
    uint64_t before = log_lost();
    log_init(-1, LOG_FORMAT_TEXT);
    log_info(LOG_MAIN, "lost");
    assert_int_equal(log_lost(), before + 1);
}

static void logging_leaves_errno_alone(void **state)
{
    (void)state;
    log_init(-1, LOG_FORMAT_TEXT);
    errno = ENOENT;
    log_info(LOG_MAIN, "lost");
    assert_int_equal(errno, ENOENT);
}

static void every_level_and_area_has_a_name(void **state)
{
    (void)state;
    for (unsigned i = 0; i < LOG_LEVELS; i++) {
        assert_non_null(log_level_name((enum log_level)i));
    }
    for (unsigned i = 0; i < LOG_AREA_COUNT; i++) {
        assert_non_null(log_area_name((enum log_area)i));
    }
}

#define THREADS 4
#define LINES_EACH 200

static void *log_from_a_thread(void *which)
{
    for (uint64_t i = 0; i < LINES_EACH; i++) {
        log_info(LOG_SESSION, "from a thread", log_uint("thread", *(const unsigned *)which),
                 log_uint("line", i));
        log_debug(LOG_CONN, "sometimes", log_uint("line", i));
    }
    return NULL;
}

static void *change_levels(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < LINES_EACH; i++) {
        log_toggle_debug();
        if (i % 16 == 0 && log_set_filter("info,conn=notice") != ERR_OK) {
            abort();
        }
    }
    return NULL;
}

/* Reads all there is until every writer is done; fails on a line that is not whole. */
static unsigned count_lines(FILE *lines)
{
    char line[LINE_MAX_BYTES];
    unsigned count = 0;
    while (fgets(line, sizeof(line), lines) != NULL) {
        assert_true(starts_with_time(line));
        assert_int_equal(line[strlen(line) - 1], '\n');
        count += strstr(line, " session: from a thread thread=") != NULL;
    }
    return count;
}

static void lines_of_several_threads_do_not_mix(void **state)
{
    (void)state;
    FILE *file = tmpfile();
    assert_non_null(file);
    log_init(fileno(file), LOG_FORMAT_TEXT);
    assert_int_equal(fcntl(fileno(file), F_SETFL, O_APPEND), 0);
    pthread_t threads[THREADS];
    pthread_t changer;
    unsigned numbers[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, log_from_a_thread, &numbers[i]), 0);
    }
    assert_int_equal(pthread_create(&changer, NULL, change_levels, NULL), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_join(changer, NULL);
    rewind(file);
    assert_int_equal(count_lines(file), THREADS * LINES_EACH);
    fclose(file);
}

#define with_pipe(test) cmocka_unit_test_setup_teardown(test, open_pipe, close_pipe)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_pipe(a_text_line_has_time_level_area_message_and_fields),
        with_pipe(a_json_line_is_one_object),
        with_pipe(numbers_are_written_in_full_range),
        with_pipe(a_missing_text_is_an_empty_one),
        with_pipe(text_from_outside_cannot_forge_a_line),
        with_pipe(a_long_value_is_cut_and_marked),
        with_pipe(a_long_value_is_not_cut_within_a_character),
        with_pipe(a_long_line_is_cut_between_fields_and_marked),
        with_pipe(a_long_json_line_is_still_an_object),
        with_pipe(lines_below_the_level_are_not_written),
        with_pipe(fields_of_a_silent_line_are_not_evaluated),
        with_pipe(a_filter_sets_all_areas_or_some),
        with_pipe(levels_have_the_names_of_other_programs_too),
        with_pipe(a_wrong_filter_changes_nothing),
        with_pipe(debug_is_switched_on_and_off_again),
        with_pipe(a_new_filter_ends_debug),
        with_pipe(a_line_that_finds_no_room_is_counted_and_holds_nobody_up),
        with_pipe(a_closed_stream_is_counted_too),
        with_pipe(logging_leaves_errno_alone),
        with_pipe(every_level_and_area_has_a_name),
        with_pipe(lines_of_several_threads_do_not_mix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
