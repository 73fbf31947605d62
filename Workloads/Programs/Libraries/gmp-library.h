// GMP, from libgmp-dev. Its functions are macros over other names, which Swift does not import.
#ifndef VBENCH_GMP_LIBRARY_H
#define VBENCH_GMP_LIBRARY_H
#include <gmp.h>

static inline void vb_mpz_init(mpz_ptr x) { mpz_init(x); }
static inline void vb_mpz_clear(mpz_ptr x) { mpz_clear(x); }
static inline void vb_mpz_set(mpz_ptr x, unsigned long value) { mpz_set_ui(x, value); }
static inline void vb_mpz_swap(mpz_ptr x, mpz_ptr y) { mpz_swap(x, y); }
static inline void vb_mpz_add(mpz_ptr x, mpz_srcptr a, mpz_srcptr b) { mpz_add(x, a, b); }
static inline void vb_mpz_sub(mpz_ptr x, mpz_srcptr a, mpz_srcptr b) { mpz_sub(x, a, b); }
static inline void vb_mpz_mul(mpz_ptr x, mpz_srcptr a, mpz_srcptr b) { mpz_mul(x, a, b); }
static inline void vb_mpz_mul_small(mpz_ptr x, mpz_srcptr a, unsigned long b) { mpz_mul_ui(x, a, b); }
static inline void vb_mpz_add_small(mpz_ptr x, mpz_srcptr a, unsigned long b) { mpz_add_ui(x, a, b); }
static inline void vb_mpz_negate(mpz_ptr x) { mpz_neg(x, x); }
static inline void vb_mpz_divide(mpz_ptr x, mpz_srcptr a, mpz_srcptr b) { mpz_tdiv_q(x, a, b); }
static inline void vb_mpz_divide_small(mpz_ptr x, mpz_srcptr a, unsigned long b) { mpz_tdiv_q_ui(x, a, b); }
static inline void vb_mpz_power(mpz_ptr x, unsigned long base, unsigned long exponent) { mpz_ui_pow_ui(x, base, exponent); }
static inline void vb_mpz_square_root(mpz_ptr x, mpz_srcptr a) { mpz_sqrt(x, a); }
static inline int vb_mpz_is_zero(mpz_srcptr x) { return mpz_sgn(x) == 0; }
static inline size_t vb_mpz_limbs(mpz_srcptr x) { return mpz_size(x); }
static inline unsigned long vb_mpz_limb(mpz_srcptr x, long index) { return mpz_getlimbn(x, index); }
#endif
