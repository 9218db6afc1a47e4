/*
 * What sub_index.c and shared_group.c know about one another. All of it under the index's mutex.
 */
#ifndef PULSE_NODE_SUB_INDEX_PRIV_H
#define PULSE_NODE_SUB_INDEX_PRIV_H

#include "node/sub_index.h"

/* Puts `sub` into the group `share` at `node`, made when it was not there. */
void share_group__join(struct sub_index *index, struct index_node *node, struct subscription *sub,
                       struct slice share, bool connected);

/* Takes `sub` out of its group; the group ends with its last member. */
void share_group__leave(struct subscription *sub);

#endif
