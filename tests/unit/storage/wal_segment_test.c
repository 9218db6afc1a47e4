#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"
#include "storage/wal_segment_priv.h"

static const struct wal_segment_header header = {
    .number = 17, .salt = 0x1122334455667788u, .first_batch = 100, .previous = 15};

static void names_sort_by_their_numbers(void **state)
{
    (void)state;
    char path[WAL_PATH_BYTES];
    wal_segment_path(path, "some/folder", 17);
    assert_string_equal(path, "some/folder/log.0000000000000017");
}

static void a_name_is_its_prefix_and_a_number_and_no_more(void **state)
{
    (void)state;
    uint64_t number = 0;
    assert_true(wal_name_parse("log.0000000000000017", "log.", &number));
    assert_int_equal(number, 17);
    assert_true(wal_name_parse("log.18446744073709551615", "log.", &number));
    assert_int_equal(number, UINT64_MAX);
    static const char *const others[] = {
        "log.", "log.17x", "log.-1", "log.+1",    "log. 1",
        "log",  "spare.1", "log.x1", "log.1.old", "log.18446744073709551616"};
    for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
        assert_false(wal_name_parse(others[i], "log.", &number));
    }
}

static void a_header_survives_the_loss_of_one_copy(void **state)
{
    (void)state;
    uint8_t bytes[WAL_FRAMES_AT];
    struct wal_segment_header read;
    for (unsigned lost = 0; lost < 3; lost++) {
        wal_segment_header_encode(&header, bytes);
        memset(bytes + lost * 4096, 0xff, lost < 2 ? 4096 : 0);
        assert_int_equal(wal_segment_header_decode(slice_of(bytes, sizeof(bytes)), 17, &read),
                         ERR_OK);
        assert_memory_equal(&read, &header, sizeof(header));
    }
}

static void a_header_with_a_changed_byte_in_both_copies_is_none(void **state)
{
    (void)state;
    uint8_t bytes[WAL_FRAMES_AT];
    struct wal_segment_header read;
    for (size_t at = 0; at < 48; at++) {
        wal_segment_header_encode(&header, bytes);
        bytes[at] ^= 4;
        bytes[4096 + at] ^= 4;
        assert_int_equal(wal_segment_header_decode(slice_of(bytes, sizeof(bytes)), 17, &read),
                         ERR_DAMAGED);
    }
}

static void a_header_of_another_segment_or_cut_short_is_none(void **state)
{
    (void)state;
    uint8_t bytes[WAL_FRAMES_AT];
    struct wal_segment_header read;
    wal_segment_header_encode(&header, bytes);
    struct slice whole = slice_of(bytes, sizeof(bytes));
    assert_int_equal(wal_segment_header_decode(whole, 18, &read), ERR_DAMAGED);
    for (size_t len = 0; len < 48; len++) {
        assert_int_equal(wal_segment_header_decode(slice_of(bytes, len), 17, &read), ERR_DAMAGED);
    }
    assert_int_equal(wal_segment_header_decode(slice_of(bytes, 48), 17, &read), ERR_OK);
}

static void a_header_that_names_a_later_segment_before_it_is_none(void **state)
{
    (void)state;
    uint8_t bytes[WAL_FRAMES_AT];
    struct wal_segment_header odd = header;
    struct wal_segment_header read;
    odd.previous = odd.number;
    wal_segment_header_encode(&odd, bytes);
    assert_int_equal(wal_segment_header_decode(slice_of(bytes, sizeof(bytes)), 17, &read),
                     ERR_DAMAGED);
}

static void records_come_out_of_a_frame_as_they_went_in(void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 1, 127, 128, 16383, 16384, 2097151, 2097152};
    for (size_t i = 0; i < ARRAY_COUNT(lengths); i++) {
        size_t size = wal_framed_size(lengths[i]);
        uint8_t *bytes = calloc(1, size);
        assert_non_null(bytes);
        uint8_t *at = wal_framed_len_put(bytes, lengths[i]);
        assert_int_equal((size_t)(at - bytes) + lengths[i], size);
        struct slice rest = slice_of(bytes, size);
        struct slice record;
        assert_true(wal_framed_next(&rest, &record));
        assert_int_equal(record.len, lengths[i]);
        assert_int_equal(rest.len, 0);
        free(bytes);
    }
}

static void lengths_that_lead_outside_are_no_records(void **state)
{
    (void)state;
    static const uint8_t too_long[] = {5, 'a', 'b', 'c', 'd'};
    static const uint8_t no_end[] = {0x80, 0x80};
    static const uint8_t huge[] = {0xff, 0xff, 0xff, 0xff, 0x7f, 0};
    static const uint8_t endless[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0};
    const struct slice all[] = {slice_of(too_long, sizeof(too_long)),
                                slice_of(no_end, sizeof(no_end)), slice_of(huge, sizeof(huge)),
                                slice_of(endless, sizeof(endless))};
    for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
        struct slice rest = all[i];
        struct slice record;
        assert_false(wal_framed_next(&rest, &record));
    }
}

/* A segment of exactly one frame with `len` bytes of records. */
static struct slice make_segment(size_t len)
{
    size_t size = WAL_FRAMES_AT + WAL_FRAME_HEADER_BYTES + len;
    uint8_t *bytes = calloc(1, size);
    assert_non_null(bytes);
    uint8_t *frame = bytes + WAL_FRAMES_AT;
    memset(frame + WAL_FRAME_HEADER_BYTES, 'r', len);
    wal_frame_put(frame, 105, 103, len);
    wal_frames_stamp(frame, WAL_FRAME_HEADER_BYTES + len, &header);
    return slice_of(bytes, size);
}

static void a_frame_says_what_was_put_into_it(void **state)
{
    (void)state;
    struct slice segment = make_segment(30);
    struct wal_frame frame;
    assert_true(wal_frame_read(segment, WAL_FRAMES_AT, &header, &frame));
    assert_int_equal(frame.batch, 105);
    assert_int_equal(frame.synced, 103);
    assert_int_equal(frame.records.len, 30);
    assert_int_equal(frame.end, segment.len);
    assert_int_equal(wal_frame_search(segment, 0, &header), WAL_FRAMES_AT);
    assert_int_equal(wal_frame_search(segment, WAL_FRAMES_AT + 1, &header), segment.len);
    free((void *)(uintptr_t)segment.data);
}

static void a_frame_is_bound_to_its_segment_and_its_life(void **state)
{
    (void)state;
    struct slice segment = make_segment(30);
    struct wal_frame frame;
    struct wal_segment_header other = header;
    other.number++;
    assert_false(wal_frame_read(segment, WAL_FRAMES_AT, &other, &frame));
    other = header;
    other.salt ^= (uint64_t)1 << 40; /* the same magic number, but another CRC */
    assert_false(wal_frame_read(segment, WAL_FRAMES_AT, &other, &frame));
    free((void *)(uintptr_t)segment.data);
}

static void a_frame_with_a_changed_byte_or_cut_short_is_none(void **state)
{
    (void)state;
    struct slice segment = make_segment(30);
    uint8_t *bytes = (uint8_t *)(uintptr_t)segment.data;
    struct wal_frame frame;
    for (size_t at = WAL_FRAMES_AT; at < segment.len; at++) {
        bytes[at] ^= 0x80;
        assert_false(wal_frame_read(segment, WAL_FRAMES_AT, &header, &frame));
        bytes[at] ^= 0x80;
        struct slice part = slice_of(malloc(at), at);
        assert_non_null(part.data);
        memcpy((void *)(uintptr_t)part.data, bytes, at);
        assert_false(wal_frame_read(part, WAL_FRAMES_AT, &header, &frame));
        free((void *)(uintptr_t)part.data);
    }
    assert_false(wal_frame_read(segment, (uint32_t)segment.len, &header, &frame));
    assert_false(wal_frame_read(segment, UINT32_MAX, &header, &frame));
    free(bytes);
}

static void a_torn_frame_shows_how_far_it_went(void **state)
{
    (void)state;
    struct slice segment = make_segment(30);
    const uint32_t end = (uint32_t)segment.len;
    assert_int_equal(wal_frame_claimed_end(segment, WAL_FRAMES_AT, 105), end);
    assert_int_equal(wal_frame_claimed_end(segment, WAL_FRAMES_AT, 100), end);
    struct slice part = slice_of(segment.data, segment.len - 10);
    assert_int_equal(wal_frame_claimed_end(part, WAL_FRAMES_AT, 100), end - 10);
    part.len = WAL_FRAMES_AT + 5;
    assert_int_equal(wal_frame_claimed_end(part, WAL_FRAMES_AT, 100), WAL_FRAMES_AT + 5);
    /* by its number it is none of this log */
    assert_int_equal(wal_frame_claimed_end(segment, WAL_FRAMES_AT, 106), WAL_FRAMES_AT);
    uint8_t *number = (uint8_t *)(uintptr_t)segment.data + WAL_FRAMES_AT + 16;
    number[7] = 1;
    assert_int_equal(wal_frame_claimed_end(segment, WAL_FRAMES_AT, 100), WAL_FRAMES_AT);
    free((void *)(uintptr_t)segment.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_sort_by_their_numbers),
        cmocka_unit_test(a_name_is_its_prefix_and_a_number_and_no_more),
        cmocka_unit_test(a_header_survives_the_loss_of_one_copy),
        cmocka_unit_test(a_header_with_a_changed_byte_in_both_copies_is_none),
        cmocka_unit_test(a_header_of_another_segment_or_cut_short_is_none),
        cmocka_unit_test(a_header_that_names_a_later_segment_before_it_is_none),
        cmocka_unit_test(records_come_out_of_a_frame_as_they_went_in),
        cmocka_unit_test(lengths_that_lead_outside_are_no_records),
        cmocka_unit_test(a_frame_says_what_was_put_into_it),
        cmocka_unit_test(a_frame_is_bound_to_its_segment_and_its_life),
        cmocka_unit_test(a_frame_with_a_changed_byte_or_cut_short_is_none),
        cmocka_unit_test(a_torn_frame_shows_how_far_it_went),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
