#include "node/auth/auth.h"
