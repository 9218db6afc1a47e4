#include "node/inspect.h"

#include "base/mem.h"
#include "node/trace.h"
#include "tests/unit/node/rig_support.h"

/* Questions to workers, and traces; the workers' loops are turned by hand. */

#define WORKERS 3

struct fixture {
    struct rig rig;
    uv_loop_t loop;
    struct inspector *inspector;
    uv_async_t bell;
    unsigned rings;
    unsigned homes; /* questions that came home */
};

/* Notes where it was. */
struct probe {
    struct question question;
    struct fixture *fixture;
    enum question_next plan[8];
    unsigned visited[8];
    unsigned visits;
    bool stopped; /* when it came home */
};

static void on_ring(uv_async_t *bell)
{
    struct fixture *fixture = bell->data;
    fixture->rings++;
}

static int create(void **state)
{
    struct fixture *fixture = mem_alloc(sizeof(*fixture));
    rig_start(&fixture->rig, WORKERS);
    uv_loop_init(&fixture->loop);
    fixture->inspector = inspect_start(&fixture->loop, fixture->rig.broker);
    uv_async_init(&fixture->loop, &fixture->bell, on_ring);
    fixture->bell.data = fixture;
    *state = fixture;
    return 0;
}

static int destroy(void **state)
{
    struct fixture *fixture = *state;
    inspect_stop(fixture->inspector);
    uv_close((uv_handle_t *)&fixture->bell, NULL);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    int failure = uv_loop_close(&fixture->loop);
    rig_stop(&fixture->rig);
    mem_free(fixture);
    return failure;
}

static void turn(struct fixture *fixture)
{
    rig_turn(&fixture->rig);
    uv_run(&fixture->loop, UV_RUN_NOWAIT);
}

static enum question_next visit(struct question *question, struct worker *worker)
{
    struct probe *probe = container_of(question, struct probe, question);
    assert_true(probe->visits < ARRAY_COUNT(probe->plan));
    probe->visited[probe->visits] = worker->index;
    return probe->plan[probe->visits++];
}

static void home(struct question *question)
{
    struct probe *probe = container_of(question, struct probe, question);
    probe->stopped = inspect_is_stopped(question->inspector);
    probe->fixture->homes++;
}

static void ask(struct fixture *fixture, struct probe *probe, unsigned worker)
{
    probe->fixture = fixture;
    probe->question.visit = visit;
    probe->question.home = home;
    inspect_ask(fixture->inspector, &probe->question, worker);
}

static void a_question_comes_home_from_the_worker_that_was_asked(void **state)
{
    struct fixture *fixture = *state;
    struct probe probe = {.plan = {QUESTION_HOME}};
    ask(fixture, &probe, 1);
    assert_int_equal(probe.visits, 0); /* never at once */
    turn(fixture);
    assert_int_equal(fixture->homes, 1);
    assert_int_equal(probe.visits, 1);
    assert_int_equal(probe.visited[0], 1);
    assert_false(probe.stopped);
}

static void onward_goes_through_all_workers_behind(void **state)
{
    struct fixture *fixture = *state;
    struct probe probe = {.plan = {QUESTION_ONWARD, QUESTION_ONWARD, QUESTION_ONWARD}};
    ask(fixture, &probe, 0);
    turn(fixture);
    assert_int_equal(fixture->homes, 1);
    assert_int_equal(probe.visits, WORKERS);
    assert_int_equal(probe.visited[1], 1);
    assert_int_equal(probe.visited[2], 2);
    assert_int_equal(probe.question.worker, 2);
}

static void again_waits_for_the_next_iteration(void **state)
{
    struct fixture *fixture = *state;
    struct probe probe = {.plan = {QUESTION_AGAIN, QUESTION_AGAIN, QUESTION_ONWARD, QUESTION_HOME}};
    ask(fixture, &probe, 1);
    uv_run(&fixture->rig.broker->workers[1]->loop, UV_RUN_NOWAIT);
    assert_int_equal(probe.visits, 1);
    turn(fixture);
    assert_int_equal(fixture->homes, 1);
    assert_int_equal(probe.visits, 4);
    assert_int_equal(probe.visited[2], 1);
    assert_int_equal(probe.visited[3], 2);
}

static void many_questions_travel_at_the_same_time(void **state)
{
    struct fixture *fixture = *state;
    struct probe probes[50];
    for (unsigned i = 0; i < ARRAY_COUNT(probes); i++) {
        probes[i] = (struct probe){.plan = {QUESTION_ONWARD, QUESTION_ONWARD, QUESTION_ONWARD}};
        ask(fixture, &probes[i], i % WORKERS);
    }
    turn(fixture);
    assert_int_equal(fixture->homes, ARRAY_COUNT(probes));
}

/* Its worker never runs again: it comes home when the mail of the stopped workers is opened. */
static void a_question_to_a_stopped_worker_comes_home_in_the_end(void **state)
{
    struct probe probe = {
        .plan = {QUESTION_ONWARD, QUESTION_AGAIN, QUESTION_ONWARD, QUESTION_ONWARD}};
    assert_int_equal(create(state), 0);
    struct fixture *fixture = *state;
    ask(fixture, &probe, 0);
    inspect_stop(fixture->inspector);
    fixture->inspector = NULL;
    uv_run(&fixture->loop, UV_RUN_NOWAIT);
    assert_int_equal(fixture->homes, 0);
    rig_stop(&fixture->rig); /* broker_destroy */
    assert_int_equal(fixture->homes, 1);
    assert_int_equal(probe.visits, 4);
    assert_true(probe.stopped);
    uv_close((uv_handle_t *)&fixture->bell, NULL);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&fixture->loop), 0);
    mem_free(fixture);
}

/* ---- traces ---------------------------------------------------------------------------------- */

static struct worker *home_of(struct fixture *fixture, const char *id)
{
    struct broker *broker = fixture->rig.broker;
    return broker->workers[broker_worker_of(broker, slice_text(id))];
}

/* What the trace has; "" when that is nothing. End with text_fini. */
static struct text take(struct trace *trace)
{
    struct text lines = {0};
    text_add(&lines, "");
    (void)trace_take(trace, &lines); /* nothing is fine */
    return lines;
}

static void assert_lines(struct trace *trace, const char *piece)
{
    struct text lines = take(trace);
    if (strstr(lines.data, piece) == NULL) {
        fail_msg("no %s in %s", piece, lines.data);
    }
    text_fini(&lines);
}

static void end(struct trace *trace, struct worker *worker)
{
    trace_close(trace);
    trace_remove(worker, trace);
    trace_unref(trace);
}

static void a_trace_begins_with_whether_its_client_is_there(void **state)
{
    struct fixture *fixture = *state;
    struct client client;
    client_connect(&client, &fixture->rig, (struct client_options){.id = "here"});
    struct trace *here = trace_create(slice_text("here"), &fixture->bell);
    struct trace *away = trace_create(slice_text("away"), &fixture->bell);
    assert_int_equal(trace_install(home_of(fixture, "here"), here), ERR_OK);
    assert_int_equal(trace_install(home_of(fixture, "away"), away), ERR_OK);
    assert_ptr_equal(client.conn->trace, here);
    assert_lines(here, "\"event\":\"online\"");
    assert_lines(away, "\"event\":\"offline\"");
    turn(fixture);
    assert_int_equal(fixture->rings, 1); /* for both */
    end(here, home_of(fixture, "here"));
    assert_null(client.conn->trace);
    end(away, home_of(fixture, "away"));
    client_vanish(&client);
}

static void it_follows_a_client_that_comes_and_goes(void **state)
{
    struct fixture *fixture = *state;
    struct trace *trace = trace_create(slice_text("guest"), &fixture->bell);
    assert_int_equal(trace_install(home_of(fixture, "guest"), trace), ERR_OK);
    for (unsigned round = 0; round < 2; round++) {
        struct client client;
        client_connect(&client, &fixture->rig, (struct client_options){.id = "guest"});
        assert_lines(trace, "\"event\":\"online\"");
        client_publish(&client, "t", 0, 0, slice_text("x"));
        turn(fixture);
        assert_lines(trace, "\"packet\":\"PUBLISH\"");
        client_vanish(&client);
        turn(fixture);
        assert_lines(trace, "\"cause\":\"peer_closed\"");
    }
    end(trace, home_of(fixture, "guest"));
}

static void a_client_has_one_trace_and_a_worker_a_few(void **state)
{
    struct fixture *fixture = *state;
    struct worker *worker = fixture->rig.worker;
    struct trace *traces[TRACES_MAX + 1];
    for (unsigned i = 0; i <= TRACES_MAX; i++) {
        char id[8];
        snprintf(id, sizeof(id), "t%u", i);
        traces[i] = trace_create(slice_text(id), &fixture->bell);
        assert_int_equal(trace_install(worker, traces[i]), i < TRACES_MAX ? ERR_OK : ERR_FULL);
    }
    struct trace *again = trace_create(slice_text("t1"), &fixture->bell);
    assert_int_equal(trace_install(worker, again), ERR_EXISTS);
    trace_unref(again);
    trace_remove(worker, traces[1]);
    assert_int_equal(trace_install(worker, traces[TRACES_MAX]), ERR_OK);
    for (unsigned i = 0; i <= TRACES_MAX; i++) {
        end(traces[i], worker);
    }
}

static void lines_that_nobody_takes_are_dropped_and_counted(void **state)
{
    struct fixture *fixture = *state;
    struct client client;
    client_connect(&client, &fixture->rig, (struct client_options){.id = "flood"});
    struct trace *trace = trace_create(slice_text("flood"), &fixture->bell);
    struct worker *worker = home_of(fixture, "flood");
    assert_int_equal(trace_install(worker, trace), ERR_OK);
    for (unsigned i = 0; i < TRACE_LINES_MAX + 99; i++) { /* the first line says online */
        trace_packet(client.conn, TRACE_IN, slice_of("\xc0\x00", 2));
    }
    assert_int_equal(trace_dropped(trace), 100);
    assert_lines(trace, "PINGREQ");
    trace_packet(client.conn, TRACE_OUT, slice_of("\xd0\x00", 2));
    assert_lines(trace, "PINGRESP");
    assert_int_equal(trace_dropped(trace), 100);
    trace_close(trace);
    trace_packet(client.conn, TRACE_IN, slice_of("\xc0\x00", 2));
    struct text nothing = take(trace);
    assert_int_equal(nothing.len, 0);
    text_fini(&nothing);
    end(trace, worker);
    client_vanish(&client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_question_comes_home_from_the_worker_that_was_asked,
                                        create, destroy),
        cmocka_unit_test_setup_teardown(onward_goes_through_all_workers_behind, create, destroy),
        cmocka_unit_test_setup_teardown(again_waits_for_the_next_iteration, create, destroy),
        cmocka_unit_test_setup_teardown(many_questions_travel_at_the_same_time, create, destroy),
        cmocka_unit_test(a_question_to_a_stopped_worker_comes_home_in_the_end),
        cmocka_unit_test_setup_teardown(a_trace_begins_with_whether_its_client_is_there, create,
                                        destroy),
        cmocka_unit_test_setup_teardown(it_follows_a_client_that_comes_and_goes, create, destroy),
        cmocka_unit_test_setup_teardown(a_client_has_one_trace_and_a_worker_a_few, create, destroy),
        cmocka_unit_test_setup_teardown(lines_that_nobody_takes_are_dropped_and_counted, create,
                                        destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
