// Eight floats at a time, in the compiler's generic vectors. Included once per instruction set, inside its namespace and
// after its target pragma; SDS3D_AVX2 says which one. Products are fused only where fma() says so, which keeps the
// forward and the backward pass in bitwise agreement about which pixels a splat touches.

#define INLINE static inline __attribute__((always_inline))

typedef float V __attribute__((vector_size(32)));
typedef int32_t I __attribute__((vector_size(32)));

INLINE V splat(float x) { return V{x, x, x, x, x, x, x, x}; }
INLINE V select(I mask, V a, V b) { return mask ? a : b; }

INLINE V load(const float* p) {
    V x;
    __builtin_memcpy(&x, p, sizeof x);
    return x;
}
INLINE void store(float* p, V x) { __builtin_memcpy(p, &x, sizeof x); }

#if SDS3D_AVX2
INLINE V fma(V a, V b, V c) { return (V)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
INLINE V min(V a, V b) { return (V)_mm256_min_ps((__m256)a, (__m256)b); }
INLINE V max(V a, V b) { return (V)_mm256_max_ps((__m256)a, (__m256)b); }
INLINE V sqrt(V a) { return (V)_mm256_sqrt_ps((__m256)a); }
INLINE int mask_bits(I m) { return _mm256_movemask_ps((__m256)m); }
#else
INLINE V fma(V a, V b, V c) { return a * b + c; }
INLINE V min(V a, V b) { return select(a < b, a, b); }
INLINE V max(V a, V b) { return select(a > b, a, b); }
INLINE V sqrt(V a) {
    for (int i = 0; i < LANES; ++i) a[i] = __builtin_sqrtf(a[i]);
    return a;
}
INLINE int mask_bits(I m) {
    int bits = 0;
    for (int i = 0; i < LANES; ++i) bits |= (m[i] & 1) << i;
    return bits;
}
#endif

INLINE bool any(I m) { return mask_bits(m) != 0; }

// exp(x) for -87 < x <= 0, relative error below 2e-7: 2^n times the Taylor polynomial of degree 6 on |r| < ln(2)/2.
INLINE V exp_negative(V x) {
    const V magic = splat(12582912.0f);  // adding 1.5 * 2^23 rounds to the nearest integer
    V shifted = fma(x, splat(1.44269504f), magic);
    V n = shifted - magic;
    V r = fma(n, splat(-0.693359375f), x);
    r = fma(n, splat(2.12194440e-4f), r);
    V p = splat(1.0f / 720);
    p = fma(p, r, splat(1.0f / 120));
    p = fma(p, r, splat(1.0f / 24));
    p = fma(p, r, splat(1.0f / 6));
    p = fma(p, r, splat(0.5f));
    p = fma(p, r, splat(1.0f));
    p = fma(p, r, splat(1.0f));
    I exponent = ((I)shifted - (I)magic) << 23;
    return (V)((I)p + exponent);
}

#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, I{__VA_ARGS__})  // older GCC
#endif

// The sums of eight vectors, in the lanes of one.
INLINE V horizontal_sums(V a, V b, V c, V d, V e, V f, V g, V h) {
#define PAIR(x, y) (SHUFFLE(x, y, 0, 2, 8, 10, 4, 6, 12, 14) + SHUFFLE(x, y, 1, 3, 9, 11, 5, 7, 13, 15))
    V abcd = PAIR(PAIR(a, b), PAIR(c, d)), efgh = PAIR(PAIR(e, f), PAIR(g, h));
#undef PAIR
    return SHUFFLE(abcd, efgh, 0, 1, 2, 3, 8, 9, 10, 11) + SHUFFLE(abcd, efgh, 4, 5, 6, 7, 12, 13, 14, 15);
}
