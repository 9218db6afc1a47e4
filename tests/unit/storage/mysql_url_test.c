#include "storage/mysql_url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"

static struct mysql_url parsed(const char *text)
{
    struct mysql_url url;
    const char *why = NULL;
    enum err err = mysql_url_parse(text, &url, &why);
    if (err != ERR_OK) {
        fail_msg("%s: %s", text, why);
    }
    assert_null(why);
    return url;
}

static void a_url_has_an_account_a_place_and_a_database(void **state)
{
    (void)state;
    struct mysql_url url = parsed("mysql://pulse:secret@db.example:3307/mqtt");
    assert_string_equal(url.user, "pulse");
    assert_string_equal(url.password, "secret");
    assert_string_equal(url.host, "db.example");
    assert_int_equal(url.port, 3307);
    assert_string_equal(url.database, "mqtt");
    assert_null(url.socket);
    mysql_url_fini(&url);
}

static void password_and_port_may_be_missing(void **state)
{
    (void)state;
    struct mysql_url url = parsed("mariadb://pulse@localhost/mqtt");
    assert_null(url.password);
    assert_int_equal(url.port, MYSQL_URL_PORT);
    mysql_url_fini(&url);
    url = parsed("mysql://pulse:@localhost/mqtt");
    assert_string_equal(url.password, "");
    mysql_url_fini(&url);
}

static void every_part_may_be_percent_encoded(void **state)
{
    (void)state;
    struct mysql_url url =
        parsed("mysql://us%40er:p%3a%2F%3F%23%5B%25%20%c3%A4@ho%73t/d%2fb?socket=/r%20un/s");
    assert_string_equal(url.user, "us@er");
    assert_string_equal(url.password, "p:/?#[% \xc3\xa4");
    assert_string_equal(url.host, "host");
    assert_string_equal(url.database, "d/b");
    assert_string_equal(url.socket, "/r un/s");
    mysql_url_fini(&url);
}

static void only_the_first_colon_ends_the_user(void **state)
{
    (void)state;
    struct mysql_url url = parsed("mysql://user:a:b@host/db");
    assert_string_equal(url.user, "user");
    assert_string_equal(url.password, "a:b");
    mysql_url_fini(&url);
}

static void an_ipv6_address_stands_in_brackets(void **state)
{
    (void)state;
    struct mysql_url url = parsed("mysql://u:p@[fe80::1%25eth0]:3306/db");
    assert_string_equal(url.host, "fe80::1%eth0");
    mysql_url_fini(&url);
    url = parsed("mysql://u:p@[::1]/db");
    assert_string_equal(url.host, "::1");
    assert_int_equal(url.port, MYSQL_URL_PORT);
    mysql_url_fini(&url);
}

static void what_is_no_such_url_is_refused_with_a_reason(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "mysql:",
        "mysql://",
        "postgres://u:p@h/d",
        "mysql://h/d",
        "mysql://@h/d",
        "mysql://:p@h/d",
        "mysql://u:p@/d",
        "mysql://u:p@:3306/d",
        "mysql://u:p@h",
        "mysql://u:p@h/",
        "mysql://u:p@h:3306",
        "mysql://u:p@h:0/d",
        "mysql://u:p@h:65536/d",
        "mysql://u:p@h:99999999999/d",
        "mysql://u:p@h:/d",
        "mysql://u:p@h:33a/d",
        "mysql://u:p@h/d/e",
        "mysql://u:p@h/d#f",
        "mysql://u:p@h/d?x=1",
        "mysql://u:p@h/d?socket=",
        "mysql://u:p@h/d?socket=relative",
        "mysql://u:p@h/d?socket=/a&socket=/b",
        "mysql://u:p@h/d?socket",
        "mysql://u:p@h?socket=/a",
        "mysql://u:p%@h/d",
        "mysql://u:p%4@h/d",
        "mysql://u:p%zz@h/d",
        "mysql://u%00:p@h/d",
        "mysql://u:p%00@h/d",
        "mysql://u:p@h%/d",
        "mysql://u:p@h/d%0",
        "mysql://u:p@[::1/d",
        "mysql://u:p@[::1]x/d",
        "mysql://u:p@[]/d",
    };
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        struct mysql_url url = {.port = 7};
        const char *why = NULL;
        if (mysql_url_parse(texts[i], &url, &why) != ERR_SYNTAX) {
            fail_msg("taken: %s", texts[i]);
        }
        assert_non_null(why);
        assert_int_equal(url.port, 7); /* untouched on failure */
    }
}

static void a_url_that_is_too_long_is_refused(void **state)
{
    (void)state;
    char text[6000] = "mysql://u:p@h/";
    memset(text + strlen(text), 'd', 5000);
    struct mysql_url url;
    const char *why = NULL;
    assert_int_equal(mysql_url_parse(text, &url, &why), ERR_SYNTAX);
    assert_non_null(why);
}

/* Of every beginning of a URL, none is taken for more than it says, and none reads outside. */
static void no_beginning_of_a_url_is_trouble(void **state)
{
    (void)state;
    static const char whole[] = "mysql://us%65r:p%40ss@[::1]:3306/data%2Fbase?socket=/run/%73ock";
    for (size_t len = 0; len < sizeof whole; len++) {
        char *text = strndup(whole, len); /* exactly so long: the sanitizer sees what is behind */
        struct mysql_url url;
        const char *why = NULL;
        if (mysql_url_parse(text, &url, &why) == ERR_OK) {
            mysql_url_fini(&url);
        }
        free(text);
    }
}

static void a_description_shows_everything_but_the_password(void **state)
{
    (void)state;
    char text[100];
    struct mysql_url url = parsed("mysql://pulse:hunter2@[::1]:3307/mqtt");
    mysql_url_describe(&url, text, sizeof text);
    assert_string_equal(text, "pulse@[::1]:3307/mqtt");
    mysql_url_describe(&url, text, 6);
    assert_string_equal(text, "pulse");
    mysql_url_fini(&url);
    url = parsed("mysql://pulse:hunter2@localhost/mqtt?socket=/run/s");
    mysql_url_describe(&url, text, sizeof text);
    assert_string_equal(text, "pulse@/run/s/mqtt");
    mysql_url_fini(&url);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_url_has_an_account_a_place_and_a_database),
        cmocka_unit_test(password_and_port_may_be_missing),
        cmocka_unit_test(every_part_may_be_percent_encoded),
        cmocka_unit_test(only_the_first_colon_ends_the_user),
        cmocka_unit_test(an_ipv6_address_stands_in_brackets),
        cmocka_unit_test(what_is_no_such_url_is_refused_with_a_reason),
        cmocka_unit_test(a_url_that_is_too_long_is_refused),
        cmocka_unit_test(no_beginning_of_a_url_is_trouble),
        cmocka_unit_test(a_description_shows_everything_but_the_password),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
