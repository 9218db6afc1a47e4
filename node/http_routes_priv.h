/*
 * http_routes: what the endpoint answers, request by request.
 *
 * Owns      the body of a request until it is complete.
 * Thread    main.
 * Errors    the request's, as HTTP status codes.
 * Not here  sockets, limits, the loop (http_daemon.c).
 */
#ifndef PULSE_NODE_HTTP_ROUTES_PRIV_H
#define PULSE_NODE_HTTP_ROUTES_PRIV_H

#include <microhttpd.h>

/* Answers a request, called by the library as its parts come in: an MHD_AccessHandlerCallback.
 * `context` is a struct http_handlers. */
enum MHD_Result http__answer(void *context, struct MHD_Connection *connection, const char *path,
                             const char *method, const char *version, const char *data,
                             size_t *data_len, void **request);

/* Frees what http__answer kept for the request: an MHD_RequestCompletedCallback. */
void http__answered(void *context, struct MHD_Connection *connection, void **request,
                    enum MHD_RequestTerminationCode code);

#endif
