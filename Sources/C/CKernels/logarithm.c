#include "determinism.h"
#include "head_math.h"

double pfc_logarithm(double x) { return pfc_log(x); }
