/*
 * storage_priv: what the writer and its batches ask of the storage they belong to.
 *
 * Thread    open: as storage_open. The others: the storage writer.
 */
#ifndef PULSE_STORAGE_STORAGE_PRIV_H
#define PULSE_STORAGE_STORAGE_PRIV_H

#include "storage/engine.h"
#include "storage/storage.h"

/* As storage_open, with an engine of the caller's choice; tests bring their own. */
must_check enum err storage__open(const struct engine_type *type,
                                  const struct storage_config *config,
                                  const struct storage_hooks *hooks, struct storage **out);

const struct storage_hooks *storage__hooks(const struct storage *storage);

/* All ids that were ever given out are lower. */
uint64_t storage__ids_end(const struct storage *storage);

#endif
