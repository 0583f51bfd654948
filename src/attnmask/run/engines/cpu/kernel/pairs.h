// The products of numbers.h for bfloat16 in pairs of numbers, where the processor multiplies those (AVX512_BF16).

#pragma once
#include "numbers.h"

template <class T> constexpr bool PAIRS = false;  // whether its numbers are multiplied in pairs

#ifdef __AVX512BF16__

template <> constexpr bool PAIRS<bfloat16> = true;

struct Interleaved {  // two vectors of 32 numbers as pairs of one of each: the first 16 pairs, and the others
    alignas(64) uint16_t order[2][32] = {};
    constexpr Interleaved() {
        for (int i = 0; i < 32; i++) order[i / 16][i % 16 * 2] = i, order[i / 16][i % 16 * 2 + 1] = 32 + i;
    }
};
alignas(64) constexpr Interleaved INTERLEAVED;

INLINE __m512i load_pairs(const bfloat16 *from, int64_t known) {  // 32 numbers, or as many as there are
    return _mm512_maskz_loadu_epi16(known >= 32 ? ~0u : (1u << known) - 1, from);
}
INLINE vec added(vec sum, __m512i a, __m512i b) {
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
}

// to (R, CHUNK) = rows (R, apart) . keys (LANES / R of them); `each` is told of every key
template <int R, class F>
INLINE void dots(Rows<bfloat16> keys, const int32_t *index, const bfloat16 *rows, int64_t apart, float *to, F each) {
    constexpr int K = LANES / R, ONCE = K < 4 ? K : 4;
    vec sum[LANES] = {};  // (R, K)
#pragma GCC unroll 16
    for (int t = 0; t < K; t += ONCE) {
        const bfloat16 *at[ONCE];
#pragma GCC unroll 4
        for (int u = 0; u < ONCE; u++) at[u] = keys.at(index[t + u]), each(t + u);
        for (int64_t d = 0; d < keys.dim; d += 32)
#pragma GCC unroll 4
            for (int u = 0; u < ONCE; u++) {
                __m512i x = load_pairs(at[u] + d, keys.dim - d);
#pragma GCC unroll 4
                for (int r = 0; r < R; r++)
                    sum[r * K + t + u] = added(sum[r * K + t + u], x, *(const __m512i *)(rows + r * apart + d));
            }
    }
    vec all = sums(sum);
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) memcpy(to + r * CHUNK, (const char *)&all + r * K * 4, K * 4);
}

// Weights (rows, CHUNK) rounded to bfloat16, of which two keys' side by side are a pair.
INLINE void to_pairs(const float *weights, int64_t rows, bfloat16 *pairs) {
    for (int64_t i = 0; i < rows * CHUNK; i += LANES) {
        __m256bh x = _mm512_cvtneps_pbh(*(const __m512 *)(weights + i));
        memcpy(pairs + i, &x, sizeof x);
    }
}

// 32 B numbers of rows (R, apart) = rows * factor + pairs (R, CHUNK) . values, from number d
template <int R, int B, class F>
INLINE void add_part(Rows<bfloat16> values, const int32_t *index, int count, const bfloat16 *pairs, const float *factor,
                     float *rows, int64_t apart, int64_t d, F each) {
    const __m512i low = _mm512_load_si512(INTERLEAVED.order[0]), high = _mm512_load_si512(INTERLEAVED.order[1]);
    vec sum[R][2 * B] = {};
    for (int i = 0; i < count; i += 2) {  // of an odd count, the last one's neighbour has no weight
        const bfloat16 *a = values.at(index[i]) + d, *b = values.at(index[i + 1]) + d;
        each(i), each(i + 1);
#pragma GCC unroll 4
        for (int part = 0; part < B; part++) {
            __m512i x = load_pairs(a + 32 * part, values.dim - d - 32 * part);
            __m512i y = load_pairs(b + 32 * part, values.dim - d - 32 * part);
            __m512i left = _mm512_permutex2var_epi16(x, low, y), right = _mm512_permutex2var_epi16(x, high, y);
#pragma GCC unroll 4
            for (int r = 0; r < R; r++) {
                __m512i weight = _mm512_set1_epi32(*(const int32_t *)(pairs + r * CHUNK + i));
                sum[r][2 * part] = added(sum[r][2 * part], left, weight);
                sum[r][2 * part + 1] = added(sum[r][2 * part + 1], right, weight);
            }
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
        for (int w = 0; w < 2 * B; w++) {
            vec &row = *(vec *)(rows + r * apart + d + w * LANES);
            row = row * factor[r] + sum[r][w];
        }
}

// rows (all, apart) = rows * factor + pairs (all, CHUNK) . values; `each` is told once of every value, some numbers at a time
template <int R, class F>
INLINE void add(Rows<bfloat16> values, const int32_t *index, int count, const bfloat16 *pairs, const float *factor,
                float *rows, int64_t all, int64_t apart, F each) {
    constexpr int B = R == 1 ? 4 : 2;
    auto part = [&](auto blocks, int64_t d) {
        for (int64_t r = 0; r < all; r += R)
            add_part<R, blocks()>(values, index, count, pairs + r * CHUNK, factor + r, rows + r * apart, apart, d,
                                  [&](int i) { if (r == 0) each(i, d, 32 * blocks()); });
    };
    int64_t d = 0;
    for (; d + 32 * B <= apart; d += 32 * B) part(std::integral_constant<int, B>{}, d);
    for (; d < apart; d += 32) part(std::integral_constant<int, 1>{}, d);
}

#endif
