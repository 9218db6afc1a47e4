#include "node/tls/tls.h"
