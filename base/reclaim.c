#include "base/reclaim.h"

#include <stdbool.h>

#include "base/macros.h"

/*
 * ThreadSanitizer does not see the inside of liburcu. It is told about three edges: what a reader
 * did in its section comes before a later destroy; what a writer did before it retired comes before
 * the destroy of that thing; all of a destroy comes before the return of the barrier. And it is
 * told to overlook that the library's barrier allocates on one thread what it frees on another.
 */
#ifndef __has_feature
#define __has_feature(feature) 0
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#include <sanitizer/tsan_interface.h>
#define TSAN_RELEASE(address) __tsan_release(address)
#define TSAN_ACQUIRE(address) __tsan_acquire(address)
#define TSAN_IGNORE_BEGIN() AnnotateIgnoreWritesBegin(__FILE__, __LINE__)
#define TSAN_IGNORE_END() AnnotateIgnoreWritesEnd(__FILE__, __LINE__)
void AnnotateIgnoreWritesBegin(const char *file, int line);
void AnnotateIgnoreWritesEnd(const char *file, int line);
#else
#define TSAN_RELEASE(address) ((void)(address))
#define TSAN_ACQUIRE(address) ((void)(address))
#define TSAN_IGNORE_BEGIN() ((void)0)
#define TSAN_IGNORE_END() ((void)0)
#endif

static char sections_ended; /* only its address counts, here and below */
static char destroyed;

static _Thread_local bool registered;

void reclaim_thread_register(void)
{
    ASSERT(!registered);
    urcu_memb_register_thread();
    registered = true;
}

void reclaim_thread_unregister(void)
{
    ASSERT(registered);
    urcu_memb_unregister_thread();
    registered = false;
}

void reclaim_enter(void)
{
    ASSERT(registered);
    urcu_memb_read_lock();
}

void reclaim_leave(void)
{
    TSAN_RELEASE(&sections_ended);
    urcu_memb_read_unlock();
}

static void run_destroy(struct rcu_head *rcu)
{
    registered = true; /* the library did it for its thread; a destroy may retire something */
    struct reclaim_head *head = container_of(rcu, struct reclaim_head, rcu);
    TSAN_ACQUIRE(&sections_ended);
    TSAN_ACQUIRE(head);
    head->destroy(head);
    TSAN_RELEASE(&destroyed);
}

void reclaim_retire(struct reclaim_head *head, void (*destroy)(struct reclaim_head *head))
{
    head->destroy = destroy;
    TSAN_RELEASE(head);
    if (registered) {
        urcu_memb_call_rcu(&head->rcu, run_destroy);
        return;
    }
    /* liburcu opens a read section in call_rcu, for which the thread must be known to it. */
    urcu_memb_register_thread();
    urcu_memb_call_rcu(&head->rcu, run_destroy);
    urcu_memb_unregister_thread();
}

void reclaim_barrier(void)
{
    TSAN_IGNORE_BEGIN();
    urcu_memb_barrier();
    TSAN_IGNORE_END();
    TSAN_ACQUIRE(&destroyed);
}
