// Vectors of LANES floats: number formats, the one product of matrices, the exponential, and transposition.

#pragma once
#include <cstdint>
#include <cstring>
#include <utility>

#ifdef __ARM_NEON
#include <arm_neon.h>
#else
#include <immintrin.h>
#endif

#if defined(__AVX512F__)  // 32 registers
constexpr int LANES = 16, KEYS = 12, NUMBERS = 8;  // keys, or numbers of a key, whose sums fill the registers
#elif defined(__ARM_NEON)  // 32 registers, of which numbers take some before they are broadcast
constexpr int LANES = 4, KEYS = 8, NUMBERS = 8;
#else  // AVX2: 16 registers
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

#if defined(__AVX512F__)
INLINE vec load(const half *from) { return (vec)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)from)); }
INLINE void store(half *to, vec x) { _mm256_storeu_si256((__m256i *)to, _mm512_cvtps_ph((__m512)x, 0)); }
#elif defined(__ARM_NEON)
INLINE vec load(const half *from) { return (vec)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(&from->bits))); }
INLINE void store(half *to, vec x) { vst1_u16(&to->bits, vreinterpret_u16_f16(vcvt_f16_f32((float32x4_t)x))); }
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

// Rows of memory that are wanted next, in bytes: the first, how far the next is, their length, and how much of them is
// fetched for each number that `tile` broadcasts, which is what hides the fetching: in one burst it gains nothing.
struct Ahead {
    const char *row;
    int64_t step, length, pace, at;

    template <int T> inline __attribute__((always_inline)) void fetch() {
        __builtin_prefetch(row + at);
        at += T * pace;
        if (at >= length) at -= length, row += step;
    }
};

// c (T x 2 vectors) = a (T x n) b (n x 2 vectors) + c * factor: each number of a is broadcast, the sums stay in
// registers. START: without c; ADD: without factor. Number j of row t of a is at a + t * a_row + j * a_column.
enum Into { START, ADD, SCALE };

template <int T, Into INTO>
INLINE void tile(int n, const float *a, int64_t a_row, int64_t a_column, const float *b, int b_row, float *c,
                 int64_t c_row, Ahead &ahead, const vec *factor = nullptr) {
    vec sum[T][2] = {};
    const float *of[(T + 2) / 3];  // every third row of a: those between are once and twice a_row further
#pragma GCC unroll 16
    for (int t = 0; t < T; t += 3) {
        of[t / 3] = a + t * a_row;
        if (!__builtin_constant_p(a_row)) asm("" : "+r"(of[t / 3]));  // else GCC keeps T addresses, more than registers
    }
    for (int j = 0; j < n; j++) {
        ahead.fetch<T>();
        vec left = *(const vec *)(b + j * b_row), right = *(const vec *)(b + j * b_row + LANES);
#pragma GCC unroll 16
        for (int t = 0; t < T; t++) {
            float x = of[t / 3][t % 3 * a_row];
            sum[t][0] += x * left;
            sum[t][1] += x * right;
        }
#pragma GCC unroll 16
        for (int t = 0; t < T; t += 3) {
            of[t / 3] += a_column;
            if (!__builtin_constant_p(a_row)) asm("" : "+r"(of[t / 3]));
        }
    }
#pragma GCC unroll 16
    for (int t = 0; t < T; t++)
#pragma GCC unroll 2
        for (int w = 0; w < 2; w++) {
            float *to = c + t * c_row + w * LANES;
            vec x = sum[t][w];
            if (INTO == ADD) x += load(to);
            if (INTO == SCALE) x += load(to) * factor[w];
            store(to, x);
        }
}

INLINE vec larger(vec a, vec b) { return b > a ? b : a; }

// e^x for x <= 88: as 2^n 2^r, of the nearest whole number n, and of the rest r by a polynomial, fitted to 9e-9. Never
// less than e^-87; NaN stays NaN. x is not scaled before differences are taken: then the largest weight is 1 exactly.
INLINE vec exponential(vec x) {
    x = x < -87.0f ? vec{} - 87.0f : x;
    const float log2_e = 1.44269504f;
    const float shift = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number, which the last bits then hold
    vec shifted = x * log2_e + shift, r = x * log2_e - (shifted - shift);
    vec p = r * 1.546144777e-4f + 1.339086681e-3f;
    p = p * r + 9.618056938e-3f;
    p = p * r + 5.550356954e-2f;
    p = p * r + 2.402265072e-1f;
    p = p * r + 6.931471825e-1f;
    p = p * r + 1.0f;
    return (vec)((ints)p + ((ints)shifted << 23));
}

// log x for x >= 2^-126: of the nearest power of 2, and of the rest 1 + f by a polynomial, fitted to 5e-9. NaN stays
// NaN.
INLINE vec logarithm(vec x) {
    ints e = ((ints)x - 0x3f3504f3) >> 23;  // 0x3f3504f3: the root of 1/2
    vec f = (vec)((ints)x - (e << 23)) - 1.0f, n = __builtin_convertvector(e, vec);
    vec p = f * -7.924938202e-2f + 1.279941946e-1f;
    p = p * f - 1.306668967e-1f;
    p = p * f + 1.419109106e-1f;
    p = p * f - 1.663221866e-1f;
    p = p * f + 2.000195086e-1f;
    p = p * f - 2.500056922e-1f;
    p = p * f + 3.333331943e-1f;
    return x == x ? (p * f - 0.5f) * (f * f) + f + n * 6.931471806e-1f : x;
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
    if constexpr (LANES > 4) exchange<4>(x);
    if constexpr (LANES > 8) exchange<8>(x);
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) *(vec *)(to + i * to_row) = x[i];
}
