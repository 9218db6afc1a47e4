#include "node/config.h"
