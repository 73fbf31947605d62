// Zstandard, from libzstd-dev.
#ifndef VBENCH_ZSTD_LIBRARY_H
#define VBENCH_ZSTD_LIBRARY_H
#include <zstd.h>
#endif
