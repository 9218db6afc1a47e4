/*
 * reclaim: memory that other threads may still be reading is freed later. Userspace RCU (liburcu,
 * the membarrier flavour) is used for this and nothing else, and only in reclaim.c.
 *
 * Readers   bracket each read of an index with reclaim_enter and reclaim_leave; between the two,
 * nothing that was reachable is freed. One section per event, not per packet; sections nest.
 * Writers   unlink first (one release store), then retire.
 * Thread    a thread that reads registers itself once; retire and barrier: any thread, registered
 * or not, but barrier never inside a read section. Errors    none.
 */
#ifndef PULSE_BASE_RECLAIM_H
#define PULSE_BASE_RECLAIM_H

#include <urcu/urcu-memb.h>

/* In what is to be retired: a place for the queue of the dead. */
struct reclaim_head {
    struct rcu_head rcu;
    void (*destroy)(struct reclaim_head *head);
};

/* For the calling thread, before its first read section, and after its last. */
void reclaim_thread_register(void);
void reclaim_thread_unregister(void);

void reclaim_enter(void);
void reclaim_leave(void);

/* Takes what `head` is part of; `destroy(head)` runs on a thread of the library once no reader can
 * see it any more. */
void reclaim_retire(struct reclaim_head *head, void (*destroy)(struct reclaim_head *head));

/* Returns when everything retired before has been destroyed. Once, at shutdown. */
void reclaim_barrier(void);

#endif
