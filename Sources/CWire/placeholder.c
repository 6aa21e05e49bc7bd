#include "cwire_placeholder.h"
