/*
 * mortal: a client with a kept session and a will. It vanishes or is connected at a kill, and stays
 * away until its will was published; or it comes back before the delay is over, or says goodbye:
 * then the will must not come.
 *
 * Owns      its client.
 * Thread    the driver's.
 * Errors    violations, when the will is delivered (delivery.h) or everything is settled.
 * Source    MQTT 5.0, section 3.1.2.5 and 3.1.3.2.2.
 */
#ifndef TESTS_CRASH_MORTAL_H
#define TESTS_CRASH_MORTAL_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/crash/client.h"
#include "tests/crash/content.h"

enum mortal_state {
    MORTAL_NEW,     /* connecting with a new will */
    MORTAL_ALIVE,   /* the will is kept for certain */
    MORTAL_DEAD,    /* its will must be published: away until it is */
    MORTAL_RETURNS, /* vanished, and comes back before the will is due */
    MORTAL_BACK,    /* is back with a new will; the old one's fate is told by the next SUBACK */
    MORTAL_PARTED,  /* said goodbye; a kill soon after may make that undone */
    MORTAL_AWAY     /* until a time */
};

struct mortal {
    struct client client;
    enum mortal_state state;
    uint16_t topic;
    struct content content; /* of the will: borrowed by CONNECT, with `publish` */
    struct wire_publish publish;
    uint64_t will;     /* the message of this connection */
    uint64_t old_will; /* the one before, in MORTAL_BACK; 0: none */
    uint32_t delay_s;
    uint32_t expiry_s;
    uint32_t gone_ms;
    uint32_t due_ms; /* of the old will in MORTAL_BACK */
    uint32_t next_ms;
    uint32_t uncertain_ms; /* when a will was last left to chance */
    size_t kills;          /* when it parted */
    uint32_t subscription_id;
    bool pinned; /* kept to its choice for this life: to be there at the next kill */
};

/* Number `index` of the mortals: "w<index>", topic will/<index>. */
void mortal_init(struct mortal *mortal, struct world *world, unsigned index);
void mortal_fini(struct mortal *mortal);

/* Away, and its will's fate is decided. */
bool mortal_is_done(const struct mortal *mortal);

#endif
