/*
 * routes: the handlers of the API's routes, one for each line of routes.def. A handler fills in the
 * reply of the request, or lets it wait.
 *
 * Thread    main.
 */
#ifndef PULSE_NODE_ADMIN_ROUTES_PRIV_H
#define PULSE_NODE_ADMIN_ROUTES_PRIV_H

struct request;

#define ROUTE(method, path, parameters, body, workers, handler, summary) \
    void handler(struct request *request);
#include "node/admin/routes.def"
#undef ROUTE

#endif
