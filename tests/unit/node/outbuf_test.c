#include "tests/unit/node/node_support.h"

#include "base/mem.h"
#include "node/outbuf.h"

static struct outbuf out;
static struct out_pool pool;

static int set_up(void **state)
{
    (void)state;
    out = (struct outbuf){0};
    pool = (struct out_pool){0};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    outbuf_clear(&out, &pool);
    assert_null(out.first);
    assert_null(out.last);
    assert_int_equal(out.len, 0);
    out_pool_fini(&pool);
    return 0;
}

/* Bytes that repeat only after 251 of them; the caller frees them. */
static uint8_t *pattern(size_t len)
{
    uint8_t *bytes = mem_alloc(len + 1);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (uint8_t)(i % 251);
    }
    return bytes;
}

static void append(const void *bytes, size_t len)
{
    assert_int_equal(outbuf_append(&out, &pool, slice_of(bytes, len)), ERR_OK);
}

static void append_text(const char *text)
{
    append(text, strlen(text));
}

static void write_reserved(const void *bytes, size_t len)
{
    uint8_t *at = outbuf_reserve(&out, &pool, len);
    assert_non_null(at);
    memcpy(at, bytes, len);
    outbuf_commit(&out, len);
}

/* Takes the reference. */
static void refer(struct message *message, size_t from, size_t len)
{
    struct slice part = slice_of(message_payload(message).data + from, len);
    assert_int_equal(outbuf_refer(&out, message, part), ERR_OK);
}

static unsigned chunk_count(void)
{
    unsigned count = 0;
    for (struct out_chunk *chunk = out.first; chunk != NULL; chunk = chunk->next) {
        assert_true(chunk->next != NULL || chunk == out.last);
        count++;
    }
    return count;
}

static void assert_content(const void *bytes, size_t len)
{
    assert_int_equal(out.len, len);
    uv_buf_t *bufs = mem_alloc_array(chunk_count() + 1, sizeof(*bufs));
    unsigned count = outbuf_peek(&out, bufs, chunk_count() + 1, SIZE_MAX);
    size_t at = 0;
    for (unsigned i = 0; i < count; i++) {
        assert_true(at + bufs[i].len <= len);
        assert_int_equal(slice_equal(slice_of(bufs[i].base, bufs[i].len),
                                     slice_of((const uint8_t *)bytes + at, bufs[i].len)),
                         1);
        at += bufs[i].len;
    }
    assert_int_equal(at, len);
    mem_free(bufs);
}

static void consume(size_t len)
{
    outbuf_consume(&out, &pool, len);
}

/* ---- filling --------------------------------------------------------------------------------- */

static void what_is_written_comes_out_in_order(void **state)
{
    (void)state;
    write_reserved("one ", 4);
    append_text("two ");
    write_reserved("three", 5);
    assert_content("one two three", 13);
    assert_int_equal(chunk_count(), 1);
}

static void less_may_be_committed_than_was_reserved(void **state)
{
    (void)state;
    uint8_t *at = outbuf_reserve(&out, &pool, 100);
    memcpy(at, "abc", 3);
    outbuf_commit(&out, 3);
    append_text("def");
    assert_content("abcdef", 6);
}

static void reserved_and_never_committed_adds_nothing(void **state)
{
    (void)state;
    assert_non_null(outbuf_reserve(&out, &pool, 10));
    assert_non_null(outbuf_reserve(&out, &pool, 2000)); /* the first chunk stays empty */
    assert_content("", 0);
    append_text("x");
    assert_content("x", 1);
    consume(1);
    assert_null(out.first);
}

static void an_idle_connection_that_says_little_takes_a_small_chunk(void **state)
{
    (void)state;
    write_reserved("ping", 4);
    assert_int_equal(out.last->len + out.last->room, OUT_CHUNK_SMALL);
}

static void reserved_bytes_lie_in_one_chunk(void **state)
{
    (void)state;
    static const size_t sizes[] = {
        OUT_CHUNK_SMALL - 1, OUT_CHUNK_SMALL,     OUT_CHUNK_SMALL + 1,     OUT_CHUNK_LARGE - 1,
        OUT_CHUNK_LARGE,     OUT_CHUNK_LARGE + 1, 3 * OUT_CHUNK_LARGE + 7, 1};
    size_t total = 0;
    uint8_t *bytes = pattern(8 * 4 * OUT_CHUNK_LARGE);
    for (unsigned i = 0; i < ARRAY_COUNT(sizes); i++) {
        write_reserved(bytes + total, sizes[i]); /* the sanitizer sees a chunk that is too small */
        total += sizes[i];
    }
    assert_content(bytes, total);
    mem_free(bytes);
}

static void appended_bytes_go_over_as_many_chunks_as_it_takes(void **state)
{
    (void)state;
    size_t len = OUT_CHUNK_SMALL + 3 * OUT_CHUNK_LARGE + 5;
    uint8_t *bytes = pattern(len);
    append(bytes, 10);
    append(bytes + 10, len - 10);
    assert_content(bytes, len);
    assert_int_equal(chunk_count(), 5);
    for (struct out_chunk *chunk = out.first; chunk != out.last; chunk = chunk->next) {
        assert_int_equal(chunk->room, 0); /* filled to the brim before the next one is begun */
    }
    mem_free(bytes);
}

static void appending_just_what_fits_begins_no_new_chunk(void **state)
{
    (void)state;
    uint8_t *bytes = pattern(OUT_CHUNK_SMALL + 1);
    append(bytes, 8);
    append(bytes + 8, OUT_CHUNK_SMALL - 8);
    assert_int_equal(chunk_count(), 1);
    append(bytes + OUT_CHUNK_SMALL, 1);
    assert_int_equal(chunk_count(), 2);
    assert_content(bytes, OUT_CHUNK_SMALL + 1);
    mem_free(bytes);
}

static void appending_nothing_does_nothing(void **state)
{
    (void)state;
    append(NULL, 0);
    assert_null(out.first);
}

/* ---- references ------------------------------------------------------------------------------ */

static void a_large_payload_is_referred_to_and_not_copied(void **state)
{
    (void)state;
    struct message *message = make_patterned(20000);
    append_text("head");
    refer(message_keep(message), 0, 20000);
    append_text("tail");
    assert_int_equal(message_refs(message), 2);
    uv_buf_t bufs[3];
    assert_int_equal(outbuf_peek(&out, bufs, 3, SIZE_MAX), 3);
    assert_ptr_equal(bufs[1].base, message_payload(message).data);
    assert_int_equal(bufs[1].len, 20000);
    assert_int_equal(out.len, 20008);
    consume(20007);
    assert_int_equal(message_refs(message), 1); /* let go as soon as it is written */
    assert_content("l", 1);
    message_unref(message);
}

static void nothing_is_ever_written_into_a_message(void **state)
{
    (void)state;
    struct message *message = make_patterned(10);
    refer(message, 0, 5);
    write_reserved("ab", 2);
    append_text("cd");
    static const uint8_t expected[] = {0, 1, 2, 3, 4, 'a', 'b', 'c', 'd'};
    assert_content(expected, sizeof(expected));
    assert_int_equal(message_payload(message).data[5], 5);
}

static void one_message_may_be_referred_to_many_times(void **state)
{
    (void)state;
    struct message *message = make_patterned(100);
    for (unsigned i = 0; i < 10; i++) {
        refer(message_keep(message), i, 10);
    }
    assert_int_equal(message_refs(message), 11);
    consume(95);
    assert_int_equal(message_refs(message), 2);
    outbuf_clear(&out, &pool);
    assert_int_equal(message_refs(message), 1);
    message_unref(message);
}

static void a_reference_to_nothing_is_let_go_with_what_is_around_it(void **state)
{
    (void)state;
    struct message *message = make_patterned(1);
    append_text("ab");
    refer(message_keep(message), 0, 0);
    append_text("cd");
    refer(message_keep(message), 0, 0);
    assert_content("abcd", 4);
    consume(4);
    assert_int_equal(message_refs(message), 1);
    assert_null(out.first);
    message_unref(message);
}

/* The head of a packet is a few bytes: a slow client of large messages must not cost a large chunk
 * for each of them. */
static void the_head_behind_a_reference_takes_a_small_chunk(void **state)
{
    (void)state;
    struct message *message = make_patterned(20000);
    for (unsigned i = 0; i < 3; i++) {
        write_reserved("head", 4);
        assert_true(out.last->len + out.last->room <= OUT_CHUNK_SMALL);
        refer(message_keep(message), 0, 20000);
    }
    message_unref(message);
}

/* ---- peeking --------------------------------------------------------------------------------- */

static void peeking_takes_no_more_entries_than_there_is_room_for(void **state)
{
    (void)state;
    struct message *message = make_patterned(10);
    for (unsigned i = 0; i < 5; i++) {
        refer(message_keep(message), i, 1);
    }
    uv_buf_t bufs[8];
    assert_int_equal(outbuf_peek(&out, bufs, 3, SIZE_MAX), 3);
    assert_int_equal(outbuf_peek(&out, bufs, 8, SIZE_MAX), 5);
    assert_int_equal(outbuf_peek(&out, bufs, 0, SIZE_MAX), 0);
    message_unref(message);
}

static void peeking_stops_behind_the_entry_that_reaches_the_byte_limit(void **state)
{
    (void)state;
    struct message *message = make_patterned(10);
    for (unsigned i = 0; i < 5; i++) {
        refer(message_keep(message), 0, 10);
    }
    uv_buf_t bufs[8];
    assert_int_equal(outbuf_peek(&out, bufs, 8, 1), 1);
    assert_int_equal(outbuf_peek(&out, bufs, 8, 10), 1);
    assert_int_equal(outbuf_peek(&out, bufs, 8, 11), 2);
    assert_int_equal(outbuf_peek(&out, bufs, 8, 0), 0);
    message_unref(message);
}

static void an_empty_buffer_has_nothing_to_peek_at(void **state)
{
    (void)state;
    uv_buf_t bufs[1];
    assert_int_equal(outbuf_peek(&out, bufs, 1, SIZE_MAX), 0);
}

/* What libuv is writing stays where it is while more is appended. */
static void peeked_bytes_stay_in_place_while_more_is_written(void **state)
{
    (void)state;
    append_text("being written");
    uv_buf_t before;
    assert_int_equal(outbuf_peek(&out, &before, 1, SIZE_MAX), 1);
    uint8_t *more = pattern(3 * OUT_CHUNK_LARGE);
    append(more, 3 * OUT_CHUNK_LARGE);
    uv_buf_t after;
    assert_int_equal(outbuf_peek(&out, &after, 1, SIZE_MAX), 1);
    assert_ptr_equal(before.base, after.base);
    assert_memory_equal(before.base, "being written", 13);
    mem_free(more);
}

/* ---- consuming ------------------------------------------------------------------------------- */

/* "small | reference | large": the borders are at 1008, 1508 and the end. */
static size_t fill_three(struct message *message, const uint8_t *bytes)
{
    append(bytes, OUT_CHUNK_SMALL);
    refer(message_keep(message), 0, 500);
    append(bytes + OUT_CHUNK_SMALL + 500, 700);
    return OUT_CHUNK_SMALL + 500 + 700;
}

static void any_part_may_be_consumed_first(void **state)
{
    (void)state;
    struct message *message = make_patterned(500);
    uint8_t *bytes = pattern(OUT_CHUNK_SMALL + 500 + 700);
    memcpy(bytes + OUT_CHUNK_SMALL, message_payload(message).data, 500);
    for (size_t first = 0; first <= OUT_CHUNK_SMALL + 500 + 700; first++) {
        size_t len = fill_three(message, bytes);
        consume(first);
        assert_content(bytes + first, len - first);
        assert_int_equal(message_refs(message), first < OUT_CHUNK_SMALL + 500 ? 2 : 1);
        consume(len - first);
        assert_null(out.first);
        assert_null(out.last);
    }
    mem_free(bytes);
    message_unref(message);
}

static void bytes_consumed_one_by_one_all_come_out(void **state)
{
    (void)state;
    struct message *message = make_patterned(500);
    uint8_t *bytes = pattern(OUT_CHUNK_SMALL + 500 + 700);
    memcpy(bytes + OUT_CHUNK_SMALL, message_payload(message).data, 500);
    size_t len = fill_three(message, bytes);
    for (size_t i = 0; i < len; i++) {
        uv_buf_t buf;
        assert_int_equal(outbuf_peek(&out, &buf, 1, 1), 1);
        assert_int_equal((uint8_t)buf.base[0], bytes[i]);
        consume(1);
    }
    assert_null(out.first);
    mem_free(bytes);
    message_unref(message);
}

static void a_chunk_that_is_half_written_takes_more_behind_the_rest(void **state)
{
    (void)state;
    append_text("0123456789");
    consume(4);
    append_text("abc");
    assert_content("456789abc", 9);
    assert_int_equal(chunk_count(), 1);
}

static void a_chunk_that_is_all_written_is_given_back_with_its_room(void **state)
{
    (void)state;
    append_text("0123456789");
    consume(10);
    assert_null(out.last);
    assert_int_equal(pool.small_count, 1);
}

static void clearing_lets_go_of_everything(void **state)
{
    (void)state;
    struct message *message = make_patterned(10);
    append_text("a");
    refer(message_keep(message), 0, 10);
    append_text("b");
    refer(message_keep(message), 0, 0);
    outbuf_clear(&out, &pool);
    assert_int_equal(out.len, 0);
    assert_null(out.first);
    assert_null(out.last);
    assert_int_equal(message_refs(message), 1);
    message_unref(message);
    outbuf_clear(&out, &pool); /* of nothing: harmless */
}

/* ---- the pool -------------------------------------------------------------------------------- */

static void a_chunk_given_back_is_used_again_with_all_its_room(void **state)
{
    (void)state;
    append_text("first");
    consume(2); /* its start has moved */
    const struct out_chunk *chunk = out.first;
    outbuf_clear(&out, &pool);
    append_text("second");
    assert_ptr_equal(out.first, chunk);
    assert_int_equal(out.first->len + out.first->room, OUT_CHUNK_SMALL);
    assert_content("second", 6);
    assert_int_equal(pool.small_count, 0);
}

static void both_sizes_are_pooled_and_others_are_not(void **state)
{
    (void)state;
    uint8_t *bytes = pattern(2 * OUT_CHUNK_LARGE);
    write_reserved(bytes, 10);
    write_reserved(bytes, OUT_CHUNK_LARGE);
    write_reserved(bytes, 2 * OUT_CHUNK_LARGE);
    outbuf_clear(&out, &pool);
    assert_int_equal(pool.small_count, 1);
    assert_int_equal(pool.large_count, 1);
    mem_free(bytes);
}

/* A burst must not be kept for ever. */
static void the_pool_is_bounded(void **state)
{
    (void)state;
    enum { CHUNKS = 300 };
    uint8_t *bytes = pattern(OUT_CHUNK_LARGE);
    for (unsigned i = 0; i < CHUNKS; i++) {
        write_reserved(bytes, OUT_CHUNK_LARGE);
    }
    struct outbuf small[CHUNKS] = {{0}};
    for (unsigned i = 0; i < CHUNKS; i++) {
        assert_int_equal(outbuf_append(&small[i], &pool, slice_of("x", 1)), ERR_OK);
    }
    outbuf_clear(&out, &pool);
    for (unsigned i = 0; i < CHUNKS; i++) {
        outbuf_clear(&small[i], &pool);
    }
    assert_true(pool.large_count > 0 && pool.large_count < CHUNKS);
    assert_true(pool.small_count > 0 && pool.small_count < CHUNKS);
    unsigned listed = 0;
    for (struct out_chunk *chunk = pool.large; chunk != NULL; chunk = chunk->next) {
        listed++;
    }
    assert_int_equal(listed, pool.large_count);
    mem_free(bytes);
}

/* ---- many ------------------------------------------------------------------------------------ */

#define MODEL_MAX (1u << 20)

/* The model: all bytes ever written, and how many of them have been consumed. */
static uint8_t *model;
static size_t model_end;
static size_t model_start;

static void model_add(const uint8_t *bytes, size_t len)
{
    memcpy(model + model_end, bytes, len);
    model_end += len;
}

static size_t random_len(uint64_t *seed)
{
    static const uint32_t limits[] = {16, 300, OUT_CHUNK_SMALL + 2, OUT_CHUNK_LARGE + 2, 40000};
    return random_below(seed, limits[random_below(seed, ARRAY_COUNT(limits))]);
}

static void random_step(uint64_t *seed, struct message *message, const uint8_t *bytes)
{
    size_t len = random_len(seed);
    size_t from = random_below(seed, 1000);
    switch (random_below(seed, 6)) {
    case 0:
        if (len > 0) {
            write_reserved(bytes + from, len);
            model_add(bytes + from, len);
        }
        break;
    case 1:
        append(bytes + from, len);
        model_add(bytes + from, len);
        break;
    case 2:
        refer(message_keep(message), from, len);
        model_add(message_payload(message).data + from, len);
        break;
    default:
        len = len < out.len ? len : out.len;
        consume(len);
        model_start += len;
        break;
    }
    assert_content(model + model_start, model_end - model_start);
}

static void random_writes_come_out_as_from_a_plain_array(void **state)
{
    (void)state;
    uint64_t seed = test_seed();
    struct message *message = make_patterned(50000);
    uint8_t *bytes = pattern(50000);
    model = mem_alloc(MODEL_MAX);
    for (unsigned round = 0; round < 30; round++) {
        model_start = 0;
        model_end = 0;
        while (model_end + 50000 < MODEL_MAX / 4) {
            random_step(&seed, message, bytes);
        }
        if (random_below(&seed, 2) == 0) {
            outbuf_clear(&out, &pool);
        } else {
            consume(out.len);
        }
        assert_int_equal(message_refs(message), 1);
    }
    mem_free(model);
    mem_free(bytes);
    message_unref(message);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_is_written_comes_out_in_order),
        TEST(less_may_be_committed_than_was_reserved),
        TEST(reserved_and_never_committed_adds_nothing),
        TEST(an_idle_connection_that_says_little_takes_a_small_chunk),
        TEST(reserved_bytes_lie_in_one_chunk),
        TEST(appended_bytes_go_over_as_many_chunks_as_it_takes),
        TEST(appending_just_what_fits_begins_no_new_chunk),
        TEST(appending_nothing_does_nothing),
        TEST(a_large_payload_is_referred_to_and_not_copied),
        TEST(nothing_is_ever_written_into_a_message),
        TEST(one_message_may_be_referred_to_many_times),
        TEST(a_reference_to_nothing_is_let_go_with_what_is_around_it),
        TEST(the_head_behind_a_reference_takes_a_small_chunk),
        TEST(peeking_takes_no_more_entries_than_there_is_room_for),
        TEST(peeking_stops_behind_the_entry_that_reaches_the_byte_limit),
        TEST(an_empty_buffer_has_nothing_to_peek_at),
        TEST(peeked_bytes_stay_in_place_while_more_is_written),
        TEST(any_part_may_be_consumed_first),
        TEST(bytes_consumed_one_by_one_all_come_out),
        TEST(a_chunk_that_is_half_written_takes_more_behind_the_rest),
        TEST(a_chunk_that_is_all_written_is_given_back_with_its_room),
        TEST(clearing_lets_go_of_everything),
        TEST(a_chunk_given_back_is_used_again_with_all_its_room),
        TEST(both_sizes_are_pooled_and_others_are_not),
        TEST(the_pool_is_bounded),
        TEST(random_writes_come_out_as_from_a_plain_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
