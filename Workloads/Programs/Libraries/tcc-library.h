// The Tiny C Compiler, from libtcc-dev.
#ifndef VBENCH_TCC_LIBRARY_H
#define VBENCH_TCC_LIBRARY_H
#include <libtcc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Swift does not import variadic functions, nor TCC_RELOCATE_AUTO, which is a pointer made of a number.
static inline int vb_tcc_relocate(TCCState *s) { return tcc_relocate(s, TCC_RELOCATE_AUTO); }

// What compiled code and the compiler's own library call of the C library.
static inline void vb_tcc_add_symbols(TCCState *s) {
    tcc_add_symbol(s, "memmove", (void *)memmove);
    tcc_add_symbol(s, "abort", (void *)abort);
}

typedef int (*vb_tcc_print)(char *buffer, int bytes, const char *format, ...);

// One line of numbers and text by a compiled snprintf, and by the C library's; each returns its length.
#define VB_TCC_LINE buffer, bytes, "%d|%08x|%s|%-12s|%+.3f|%5.1e|%llu|%c", -40, 48879u, "vbench", "left", \
    2.718281828, 602214.076, 18446744073709551557ull, '~'
static inline int vb_tcc_line(void *print, char *buffer, int bytes) { return ((vb_tcc_print)print)(VB_TCC_LINE); }
static inline int vb_tcc_reference_line(char *buffer, int bytes) { return snprintf(VB_TCC_LINE); }
#endif
