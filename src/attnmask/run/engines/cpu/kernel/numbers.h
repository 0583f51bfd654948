// Products where the numbers of a key are the lanes: few rows, and keys wherever they stand, each read once.

#pragma once
#include "lists.h"

constexpr int TILE = LANES >= 16 ? 4 : LANES >= 8 ? 2 : 1;  // rows that share what is loaded of a key
constexpr int WIDE = 4;                                      // vectors of a row that are summed at once, or twice as many

// ---- sums across lanes: each step adds the halves of pairs of vectors, or of one and itself ---------------------------

template <int S, int... L> INLINE vec halves(vec a, vec b, std::integer_sequence<int, L...> all) {
    return exchanged<S, false>(a, b, all) + exchanged<S, true>(a, b, all);
}
INLINE vec sums(vec *x) {  // of LANES vectors: lane i has the sum of x[i], which are overwritten
    using all = std::make_integer_sequence<int, LANES>;
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i += 2) x[i] = halves<1>(x[i], x[i + 1], all{});
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i += 4) x[i] = halves<2>(x[i], x[i + 2], all{});
    if constexpr (LANES == 4) return x[0];
    else {
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i += 8) x[i] = halves<4>(x[i], x[i + 4], all{});
        return LANES >= 16 ? halves<LANES / 2>(x[0], x[LANES / 2], all{}) : x[0];
    }
}

template <int S, int... L> INLINE vec swapped(vec x, std::integer_sequence<int, L...>) {
    return __builtin_shufflevector(x, x, (L ^ S)...);
}
template <class F> INLINE float reduced(vec x, F both) {
    using all = std::make_integer_sequence<int, LANES>;
    if (LANES >= 16) x = both(x, swapped<LANES / 2>(x, all{}));
    if (LANES >= 8) x = both(x, swapped<4>(x, all{}));
    x = both(x, swapped<2>(x, all{}));
    return both(x, swapped<1>(x, all{}))[0];
}
INLINE float sum_of(vec x) { return reduced(x, [](vec a, vec b) { return a + b; }); }
INLINE float largest_of(vec x) { return reduced(x, larger); }

// ---- rows of an array by index ---------------------------------------------------------------------------------------

template <class T> struct Rows {
    const T *from;
    int64_t step, dim;

    const T *at(int32_t index) const { return from + index * step; }

    // Into the second cache, for soon; WRITE: to be written.
    template <bool WRITE = false> void fetch(int32_t index) const { fetch<WRITE>(index, 0, dim); }
    template <bool WRITE = false> void fetch(int32_t index, int64_t d, int64_t numbers) const {
        const char *row = (const char *)(at(index) + d);
        for (int64_t byte = 0; byte < numbers * int64_t(sizeof(T)); byte += 64) __builtin_prefetch(row + byte, WRITE, 2);
    }
};

template <class T> Rows<T> rows_of(const Array &array, int64_t b, int64_t h, int64_t dim) {
    return {array.of<T>(b, h), array.row, dim};
}

INLINE int64_t whole(int64_t dim) { return (dim + 2 * LANES - 1) / (2 * LANES) * 2 * LANES; }  // numbers of a row, padded

template <class T> INLINE vec load_up_to(const T *from, int64_t count) {
    return count >= LANES ? load(from) : load_some(from, int(count));
}
template <class T> INLINE void store_up_to(T *to, vec x, int64_t count) {
    if (count >= LANES) store(to, x);
    else store_some(to, x, int(count));
}

// to (R, CHUNK) = rows (R, apart) . keys (LANES / R of them); `each` is told of every key
template <int R, class T, class F>
INLINE void dots(Rows<T> keys, const int32_t *index, const float *rows, int64_t apart, float *to, F each) {
    constexpr int K = LANES / R, ONCE = K < 4 ? K : 4;
    vec sum[LANES] = {};  // (R, K)
#pragma GCC unroll 16
    for (int t = 0; t < K; t += ONCE) {
        const T *at[ONCE];
#pragma GCC unroll 4
        for (int u = 0; u < ONCE; u++) at[u] = keys.at(index[t + u]), each(t + u);
        auto add = [&](int64_t d, auto load) {
#pragma GCC unroll 4
            for (int u = 0; u < ONCE; u++) {
                vec x = load(at[u] + d);
#pragma GCC unroll 4
                for (int r = 0; r < R; r++) sum[r * K + t + u] += x * *(const vec *)(rows + r * apart + d);
            }
        };
        int64_t d = 0;
        for (; d + LANES <= keys.dim; d += LANES) add(d, [](const T *at) { return load(at); });
        if (d < keys.dim) add(d, [&](const T *at) { return load_some(at, int(keys.dim - d)); });
    }
    vec all = sums(sum);
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) memcpy(to + r * CHUNK, (const char *)&all + r * K * 4, K * 4);
}

// W vectors of rows (R, apart) = rows * factor + weights (R, CHUNK) . values, from number d
template <int R, int W, class T, class L, class F>
INLINE void add_part(Rows<T> values, const int32_t *index, int count, const float *weights, const float *factor,
                     float *rows, int64_t apart, int64_t d, L load_at, F each) {
    vec sum[R][W] = {};  // of this chunk alone: rounding errors grow with the length of a sum
    for (int i = 0; i < count; i++) {
        const T *at = values.at(index[i]) + d;
        each(i);
        vec x[W];
#pragma GCC unroll 8
        for (int w = 0; w < W; w++) x[w] = load_at(at + w * LANES);
#pragma GCC unroll 4
        for (int r = 0; r < R; r++)
#pragma GCC unroll 8
            for (int w = 0; w < W; w++) sum[r][w] += weights[r * CHUNK + i] * x[w];
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
        for (int w = 0; w < W; w++) {
            vec &row = *(vec *)(rows + r * apart + d + w * LANES);
            row = row * factor[r] + sum[r][w];
        }
}

// rows (all, apart) = rows * factor + weights (all, CHUNK) . values; `each` is told once of every value, some numbers at a time
template <int R, class T, class F>
INLINE void add(Rows<T> values, const int32_t *index, int count, const float *weights, const float *factor, float *rows,
                int64_t all, int64_t apart, F each) {
    constexpr int W = R == 1 ? 2 * WIDE : WIDE;
    auto part = [&](auto vectors, int64_t d, auto load_at) {
        for (int64_t r = 0; r < all; r += R)
            add_part<R, vectors()>(values, index, count, weights + r * CHUNK, factor + r, rows + r * apart, apart, d,
                                   load_at, [&](int i) { if (r == 0) each(i, d, vectors() * LANES); });
    };
    auto whole = [](const T *at) { return load(at); };
    int64_t d = 0;
    for (; d + W * LANES <= values.dim; d += W * LANES) part(std::integral_constant<int, W>{}, d, whole);
    for (; d + WIDE * LANES <= values.dim; d += WIDE * LANES) part(std::integral_constant<int, WIDE>{}, d, whole);
    for (; d + LANES <= values.dim; d += LANES) part(std::integral_constant<int, 1>{}, d, whole);
    auto some = [&](const T *at) { return load_some(at, int(values.dim - d)); };
    if (d < values.dim) part(std::integral_constant<int, 1>{}, d, some);
}
