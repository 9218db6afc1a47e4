#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mailbox.h"

struct note {
    struct letter letter;
    unsigned producer;
    unsigned number;
};

static unsigned number_of(const struct letter *letter)
{
    return container_of(letter, const struct note, letter)->number;
}

static void an_empty_box_gives_nothing(void **state)
{
    (void)state;
    struct mailbox box = {.newest = NULL};
    assert_null(mailbox_take(&box));
}

static void only_the_first_letter_asks_for_a_wake_up(void **state)
{
    (void)state;
    struct mailbox box = {.newest = NULL};
    struct note notes[3] = {0};
    assert_true(mailbox_push(&box, &notes[0].letter));
    assert_false(mailbox_push(&box, &notes[1].letter));
    assert_non_null(mailbox_take(&box));
    assert_true(mailbox_push(&box, &notes[2].letter));
}

static void letters_come_out_in_the_order_in_which_they_went_in(void **state)
{
    (void)state;
    struct mailbox box = {.newest = NULL};
    struct note notes[5] = {0};
    for (unsigned i = 0; i < 5; i++) {
        notes[i].number = i;
        assert_int_equal(mailbox_push(&box, &notes[i].letter), i == 0);
    }
    unsigned expected = 0;
    for (struct letter *letter = mailbox_take(&box); letter != NULL; letter = letter->next) {
        assert_int_equal(number_of(letter), expected++);
    }
    assert_int_equal(expected, 5);
    assert_null(mailbox_take(&box));
}

static void a_batch_keeps_its_order_between_single_letters(void **state)
{
    (void)state;
    struct mailbox box = {.newest = NULL};
    struct letter_batch batch = {0};
    struct note notes[5] = {0};
    for (unsigned i = 0; i < 5; i++) {
        notes[i].number = i;
    }
    assert_true(mailbox_push(&box, &notes[0].letter));
    for (unsigned i = 1; i < 4; i++) {
        letter_batch_add(&batch, &notes[i].letter);
    }
    assert_false(mailbox_push_batch(&box, &batch));
    assert_null(batch.first); /* it can be filled again */
    assert_null(batch.last);
    assert_false(mailbox_push(&box, &notes[4].letter));
    unsigned expected = 0;
    for (struct letter *letter = mailbox_take(&box); letter != NULL; letter = letter->next) {
        assert_int_equal(number_of(letter), expected++);
    }
    assert_int_equal(expected, 5);
}

static void a_batch_in_an_empty_box_asks_for_a_wake_up(void **state)
{
    (void)state;
    struct mailbox box = {.newest = NULL};
    struct letter_batch batch = {0};
    struct note note = {0};
    letter_batch_add(&batch, &note.letter);
    assert_true(mailbox_push_batch(&box, &batch));
}

#define PRODUCERS 4
#define NOTES 50000

static struct mailbox shared_box;
static struct note shared_notes[PRODUCERS][NOTES];
static unsigned wake_ups[PRODUCERS];

/* Pushes one letter, then batches of two and three, and one again. */
static void *produce(void *arg)
{
    unsigned producer = *(const unsigned *)arg;
    unsigned woken = 0;
    for (unsigned i = 0; i < NOTES;) {
        struct letter_batch batch = {0};
        unsigned end = i + 1 + i % 3;
        for (; i < end && i < NOTES; i++) {
            struct note *note = &shared_notes[producer][i];
            *note = (struct note){.producer = producer, .number = i};
            letter_batch_add(&batch, &note->letter);
        }
        if (batch.first == batch.last) {
            woken += mailbox_push(&shared_box, batch.first);
        } else {
            woken += mailbox_push_batch(&shared_box, &batch);
        }
    }
    wake_ups[producer] = woken;
    return NULL;
}

static void letters_of_four_producers_arrive_once_and_each_ones_in_order(void **state)
{
    (void)state;
    pthread_t threads[PRODUCERS];
    unsigned ids[PRODUCERS];
    for (unsigned i = 0; i < PRODUCERS; i++) {
        ids[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, produce, &ids[i]), 0);
    }
    unsigned next[PRODUCERS] = {0};
    unsigned takes = 0;
    for (unsigned total = 0; total < PRODUCERS * NOTES;) {
        struct letter *letter = mailbox_take(&shared_box);
        takes += letter != NULL;
        for (; letter != NULL; letter = letter->next, total++) {
            struct note *note = container_of(letter, struct note, letter);
            assert_int_equal(note->number, next[note->producer]++);
        }
    }
    unsigned woken = 0;
    for (unsigned i = 0; i < PRODUCERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        woken += wake_ups[i];
    }
    assert_int_equal(woken, takes); /* each filling of the empty box was announced, once */
    assert_null(mailbox_take(&shared_box));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_box_gives_nothing),
        cmocka_unit_test(only_the_first_letter_asks_for_a_wake_up),
        cmocka_unit_test(letters_come_out_in_the_order_in_which_they_went_in),
        cmocka_unit_test(a_batch_keeps_its_order_between_single_letters),
        cmocka_unit_test(a_batch_in_an_empty_box_asks_for_a_wake_up),
        cmocka_unit_test(letters_of_four_producers_arrive_once_and_each_ones_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
