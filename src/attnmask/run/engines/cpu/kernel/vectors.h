// Vectors of LANES floats: number formats, the one product of matrices, the exponential, and transposition.

#pragma once
#include <cstdint>
#include <cstring>
#include <immintrin.h>
#include <utility>

#ifdef __AVX512F__
constexpr int LANES = 16, KEYS = 12, NUMBERS = 8;  // keys, or numbers of a key, whose sums fill the registers
#else
constexpr int LANES = 8, KEYS = 6, NUMBERS = 4;
#endif

using vec = float __attribute__((vector_size(4 * LANES)));
using ints = int32_t __attribute__((vector_size(4 * LANES)));
using shorts = uint16_t __attribute__((vector_size(2 * LANES)));
#define INLINE static inline __attribute__((always_inline))

// ---- numbers of 32 and 16 bits, as floats ---------------------------------------------------------------------------

struct bfloat16 { uint16_t bits; };
struct half { uint16_t bits; };

INLINE vec load(const float *from) { vec x; memcpy(&x, from, sizeof x); return x; }
INLINE void store(float *to, vec x) { memcpy(to, &x, sizeof x); }

INLINE vec load(const bfloat16 *from) {
    shorts x;
    memcpy(&x, from, sizeof x);
    return (vec)(__builtin_convertvector(x, ints) << 16);
}
INLINE void store(bfloat16 *to, vec x) {  // to the nearest, ties to even; NaN stays NaN
    ints bits = (ints)x, rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    shorts y = __builtin_convertvector(x == x ? rounded : ints{} + 0x7fc0, shorts);
    memcpy(to, &y, sizeof y);
}

#ifdef __AVX512F__
INLINE vec load(const half *from) { return (vec)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)from)); }
INLINE void store(half *to, vec x) { _mm256_storeu_si256((__m256i *)to, _mm512_cvtps_ph((__m512)x, 0)); }
#else
INLINE vec load(const half *from) { return (vec)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)from)); }
INLINE void store(half *to, vec x) { _mm_storeu_si128((__m128i *)to, _mm256_cvtps_ph((__m256)x, 0)); }
#endif

// The last numbers of a row, fewer than LANES.
template <class T> INLINE vec load_some(const T *from, int count) {
    T all[LANES] = {};
    memcpy(all, from, count * sizeof(T));
    return load(all);
}
template <class T> INLINE void store_some(T *to, vec x, int count) {
    T all[LANES];
    store(all, x);
    memcpy(to, all, count * sizeof(T));
}

// ---- arithmetic -----------------------------------------------------------------------------------------------------

// c (T x 2 vectors) = or += a (T x n) b (n x 2 vectors): each number of a is broadcast, the sums stay in registers.
template <int T, bool ADD>
INLINE void tile(int n, const float *a, int a_row, int a_column, const float *b, int b_row, float *c, int c_row) {
    vec sum[T][2] = {};
    for (int j = 0; j < n; j++) {
        vec left = *(const vec *)(b + j * b_row), right = *(const vec *)(b + j * b_row + LANES);
#pragma GCC unroll 16
        for (int t = 0; t < T; t++) {
            float x = a[t * a_row + j * a_column];
            sum[t][0] += x * left;
            sum[t][1] += x * right;
        }
    }
#pragma GCC unroll 16
    for (int t = 0; t < T; t++) {
        vec *to = (vec *)(c + t * c_row);
        to[0] = ADD ? to[0] + sum[t][0] : sum[t][0];
        to[1] = ADD ? to[1] + sum[t][1] : sum[t][1];
    }
}

INLINE vec larger(vec a, vec b) { return b > a ? b : a; }

// e^x for x <= 88: 2^n e^r, with a polynomial in r (Cephes). Never less than e^-87; NaN stays NaN.
INLINE vec exponential(vec x) {
    x = x < -87.0f ? vec{} - 87.0f : x;
    const float shift = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number, which the last bits then hold
    vec shifted = x * 1.44269504f + shift, n = shifted - shift;
    vec r = x - n * 0.693359375f + n * 2.12194440e-4f;  // minus n log 2, in two parts
    vec p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    return (vec)((ints)p + ((ints)shifted << 23));
}

// 2^x for x <= 127: a power of the nearest whole number, and a polynomial of the rest r, fitted to 9e-9. Never less than
// 2^-126; NaN stays NaN.
INLINE vec power(vec x) {
    x = x < -126.0f ? vec{} - 126.0f : x;
    const float shift = 12582912.0f;
    vec shifted = x + shift, r = x - (shifted - shift);
    vec p = r * 1.546144777e-4f + 1.339086681e-3f;
    p = p * r + 9.618056938e-3f;
    p = p * r + 5.550356954e-2f;
    p = p * r + 2.402265072e-1f;
    p = p * r + 6.931471825e-1f;
    p = p * r + 1.0f;
    return (vec)((ints)p + ((ints)shifted << 23));
}

// ---- transposition of LANES x LANES numbers: pairs of rows exchange halves of their halves of ... --------------------

template <int S, bool SECOND, int... L> INLINE vec exchanged(vec a, vec b, std::integer_sequence<int, L...>) {
    return __builtin_shufflevector(a, b, (SECOND ? (L & S ? L + LANES : L + S) : (L & S ? L + LANES - S : L))...);
}
template <int S> INLINE void exchange(vec *x) {
    using all = std::make_integer_sequence<int, LANES>;
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++)
        if (!(i & S)) {
            vec a = x[i], b = x[i + S];
            x[i] = exchanged<S, false>(a, b, all{});
            x[i + S] = exchanged<S, true>(a, b, all{});
        }
}
INLINE void transpose(const float *from, int from_row, float *to, int to_row) {
    vec x[LANES];
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) x[i] = *(const vec *)(from + i * from_row);
    exchange<1>(x);
    exchange<2>(x);
    exchange<4>(x);
    if (LANES > 8) exchange<LANES / 2>(x);
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) *(vec *)(to + i * to_row) = x[i];
}
