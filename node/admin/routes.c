#include "node/admin/routes_priv.h"

#include "node/admin/admin_priv.h"

#define NO_BODY false
#define BODY true
#define ALWAYS false
#define WORKERS true

const struct route admin__routes[] = {
#define ROUTE(method_, path_, parameters_, body, workers, handler, summary_) \
    {.method = #method_,                                                     \
     .path = path_,                                                          \
     .parameters = parameters_,                                              \
     .summary = summary_,                                                    \
     .has_body = body,                                                       \
     .needs_workers = workers,                                               \
     .handle = handler},
#include "node/admin/routes.def"
#undef ROUTE
};
const size_t admin__route_count = ARRAY_COUNT(admin__routes);

static void add_method(struct text *allow, const char *method)
{
    text_printf(allow, "%s%s", allow->len > 0 ? ", " : "", method);
    if (strcmp(method, MHD_HTTP_METHOD_GET) == 0) {
        text_add(allow, ", HEAD");
    }
}

const struct route *admin__find_route(const struct target *target, const char *method,
                                      struct slice *variable, struct text *allow)
{
    bool head = strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
    const char *wanted = head ? MHD_HTTP_METHOD_GET : method;
    for (size_t i = 0; i < admin__route_count; i++) {
        const struct route *route = &admin__routes[i];
        if (!target__matches(target, route->path, variable)) {
            continue;
        }
        if (strcmp(route->method, wanted) == 0) {
            return route;
        }
        add_method(allow, route->method);
    }
    if (allow->len > 0) {
        text_add(allow, ", OPTIONS");
    }
    return NULL;
}
