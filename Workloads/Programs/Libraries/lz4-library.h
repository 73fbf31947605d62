// LZ4, from liblz4-dev.
#ifndef VBENCH_LZ4_LIBRARY_H
#define VBENCH_LZ4_LIBRARY_H
#include <lz4.h>
#endif
