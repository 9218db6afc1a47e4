#include "tests/unit/storage/storage_stage_support.h"

#include <errno.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "storage/storage_priv.h"

static unsigned topic_number(struct slice topic)
{
    unsigned number = 0;
    while (!slice_equal(topic, slice_text(stage_topic(number)))) {
        number++;
    }
    return number;
}

static struct message *retained_now(void *context, struct slice topic)
{
    struct stage *stage = context;
    (void)pthread_mutex_lock(&stage->mutex);
    stage->asked++;
    for (unsigned i = 0; i < stage->ids_per_question; i++) {
        (void)storage_next_id(stage->storage);
    }
    struct message *message = stage->retained[topic_number(topic)];
    if (message != NULL) {
        message = message_keep(message);
    }
    (void)pthread_mutex_unlock(&stage->mutex);
    return message;
}

void stage_reopen(struct stage *stage)
{
    struct storage_config config = {.policy = stage->policy};
    struct storage_hooks hooks = {.context = stage, .retained = retained_now};
    fake_store_use(stage->store);
    assert_int_equal(storage__open(&fake_engine, &config, &hooks, &stage->storage), ERR_OK);
}

void stage_open(struct stage *stage, enum storage_policy policy)
{
    *stage = (struct stage){.policy = policy, .store = fake_store_create()};
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&stage->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    (void)pthread_mutex_init(&stage->mutex, NULL);
    stage_reopen(stage);
    assert_int_equal(storage_start(stage->storage), ERR_OK);
}

void stage_close(struct stage *stage)
{
    if (stage->storage != NULL) {
        assert_int_equal(storage_stop(stage->storage, STAGE_WAIT_MS), ERR_OK);
        storage_destroy(stage->storage);
    }
    assert_string_equal(fake_store_complaint(stage->store), "");
    for (unsigned i = 0; i < STAGE_TOPICS; i++) {
        message_unref(stage->retained[i]);
    }
    fake_store_destroy(stage->store);
    (void)pthread_cond_destroy(&stage->changed);
    (void)pthread_mutex_destroy(&stage->mutex);
}

/* ---- parts ----------------------------------------------------------------------------------- */

static void part_done(struct storage_part *storage_part, enum err err)
{
    struct stage_part *part = container_of(storage_part, struct stage_part, part);
    struct stage *stage = part->stage;
    (void)pthread_mutex_lock(&stage->mutex);
    stage->done++;
    part->order = stage->done;
    part->err = err;
    part->done = true;
    (void)pthread_cond_broadcast(&stage->changed);
    (void)pthread_mutex_unlock(&stage->mutex);
}

void stage_part_init(struct stage *stage, struct stage_part *part)
{
    *part = (struct stage_part){.stage = stage};
    part_init(&part->part, part_done);
}

void stage_part_fini(struct stage_part *part)
{
    part_fini(&part->part);
}

void stage_submit(struct stage_part *part)
{
    part->done = false;
    storage_submit(part->stage->storage, &part->part);
}

bool stage_is_done(struct stage_part *part)
{
    (void)pthread_mutex_lock(&part->stage->mutex);
    bool done = part->done;
    (void)pthread_mutex_unlock(&part->stage->mutex);
    return done;
}

enum err stage_wait(struct stage_part *part)
{
    struct stage *stage = part->stage;
    uint64_t deadline_ms = clock_mono_ms() + STAGE_WAIT_MS;
    struct timespec until = {.tv_sec = (time_t)(deadline_ms / 1000)};
    (void)pthread_mutex_lock(&stage->mutex);
    while (!part->done &&
           pthread_cond_timedwait(&stage->changed, &stage->mutex, &until) != ETIMEDOUT) {
    }
    bool done = part->done;
    (void)pthread_mutex_unlock(&stage->mutex);
    assert_true(done);
    return part->err;
}

void stage_commit(struct stage_part *part)
{
    stage_submit(part);
    assert_int_equal(stage_wait(part), ERR_OK);
    part_clear(&part->part);
}

/* ---- messages and changes -------------------------------------------------------------------- */

struct message *stage_message(const char *topic, const char *payload)
{
    struct message borrowed =
        message_borrow(slice_text(topic), slice_text(""), slice_text(payload));
    struct message *message = message_keep(&borrowed);
    assert_non_null(message);
    assert_false(message_release(&borrowed));
    return message;
}

static struct change *add(struct stage_part *part, enum operation_type type, uint64_t session,
                          struct message *message)
{
    struct change *change = part_add(&part->part, type, session);
    change->message = message != NULL ? message_keep(message) : NULL;
    return change;
}

struct change *stage_push(struct stage_part *part, uint64_t session, uint64_t position,
                          struct message *message)
{
    struct change *change = add(part, OPERATION_QUEUE_PUSH, session, message);
    change->position = position;
    return change;
}

void stage_release(struct stage_part *part, uint64_t session, uint64_t position,
                   struct message *message)
{
    add(part, OPERATION_QUEUE_RELEASE, session, message)->position = position;
}

void stage_pop(struct stage_part *part, uint64_t session, uint64_t position,
               struct message *message)
{
    add(part, OPERATION_QUEUE_POP, session, message)->position = position;
}

void stage_will_put(struct stage_part *part, uint64_t session, struct message *message)
{
    struct change_will *will = mem_alloc(sizeof(*will));
    will->delay_s = 5;
    add(part, OPERATION_WILL_PUT, session, message)->owned = will;
}

void stage_will_drop(struct stage_part *part, uint64_t session, struct message *message)
{
    (void)add(part, OPERATION_WILL_DROP, session, message);
}

void stage_session_put(struct stage_part *part, uint64_t session, const char *client_id)
{
    size_t len = strlen(client_id);
    struct change_session *own = mem_alloc(sizeof(*own) + len);
    own->expiry_s = 60;
    own->client_id_len = (uint16_t)len;
    memcpy(own->client_id, client_id, len);
    add(part, OPERATION_SESSION_PUT, session, NULL)->owned = own;
}

const char *stage_topic(unsigned topic)
{
    static const char *const topics[STAGE_TOPICS] = {
        "retained/0",  "retained/1",  "retained/2",  "retained/3", "retained/4",  "retained/5",
        "retained/6",  "retained/7",  "retained/8",  "retained/9", "retained/10", "retained/11",
        "retained/12", "retained/13", "retained/14", "retained/15"};
    return topics[topic];
}

void stage_retain(struct stage_part *part, unsigned topic, const char *payload)
{
    struct stage *stage = part->stage;
    struct message *message = stage_message(stage_topic(topic), payload != NULL ? payload : "");
    (void)pthread_mutex_lock(&stage->mutex);
    message_unref(stage->retained[topic]);
    stage->retained[topic] = payload != NULL ? message_keep(message) : NULL;
    (void)pthread_mutex_unlock(&stage->mutex);
    (void)add(part, OPERATION_RETAINED_PUT, 0, message);
    message_unref(message);
}

void stage_assert_batch(struct stage *stage, const char *lines)
{
    assert_string_equal(fake_store_last_batch(stage->store), lines);
}

void stage_assert_contents(struct stage *stage, const char *lines)
{
    assert_string_equal(fake_store_contents(stage->store), lines);
}
