/* From which sources this library was compiled; the compiler is told by hatch_build.py. */

#include "kernels.h"

uint32_t icm_sources(void) { return ICM_SOURCES; }
