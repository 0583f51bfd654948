// A block of rows and a chunk of keys in memory that is near: panels of PANEL numbers per row, and their products.

#pragma once
#include "vectors.h"

constexpr int ROWS = 2 * LANES;  // of a block
constexpr int CHUNK = 48;        // keys that are computed at once; a multiple of KEYS
constexpr int CHAIN = 32;        // numbers of a key that are summed before they are added to a score
constexpr int PANEL = 64;        // numbers of a row that lie side by side; a multiple of all other sizes

INLINE int panels(int64_t dim) { return int((dim + PANEL - 1) / PANEL); }
INLINE int64_t padded(int64_t dim) { return int64_t(panels(dim)) * PANEL; }
INLINE int width(int64_t dim, int panel) {  // numbers in a panel, as many as `tile` takes
    int64_t left = dim - panel * PANEL;
    return left >= PANEL ? PANEL : int((left + NUMBERS - 1) / NUMBERS * NUMBERS);
}

// ---- between arrays and panels (panels, apart, PANEL) ---------------------------------------------------------------

// Rows of an array by index; numbers beyond dim, and rows of index -1, are 0.
template <class T>
INLINE void gather(const T *from, int64_t step, const int32_t *index, int count, int64_t dim, int apart, float *to) {
    for (int64_t d = 0; d < padded(dim); d += LANES) {
        float *panel = to + d / PANEL * apart * PANEL + d % PANEL;
        int known = int(dim - d);
        for (int i = 0; i < count; i++) {
            const T *at = from + index[i] * step + d;
            bool nothing = index[i] < 0 || known <= 0;
            *(vec *)(panel + i * PANEL) = nothing ? vec{} : known >= LANES ? load(at) : load_some(at, known);
        }
    }
}

template <class T> INLINE void scatter(const float *from, T *to, int64_t step, const int32_t *index, int64_t dim) {
    for (int64_t d = 0; d < dim; d += LANES)
        for (int i = 0; i < ROWS; i++) {
            vec x = *(const vec *)(from + (d / PANEL * ROWS + i) * PANEL + d % PANEL);
            T *at = to + index[i] * step + d;
            if (index[i] < 0) continue;
            if (d + LANES <= dim) store(at, x);
            else store_some(at, x, int(dim - d));
        }
}

// Panels (panels, ROWS, PANEL) as columns (numbers, ROWS), and the way back.
INLINE void to_columns(const float *rows, float *columns, int64_t dim) {
    for (int d = 0; d < padded(dim); d += LANES)
        for (int r = 0; r < ROWS; r += LANES)
            transpose(rows + (d / PANEL * ROWS + r) * PANEL + d % PANEL, PANEL, columns + d * ROWS + r, ROWS);
}
INLINE void to_rows(const float *columns, float *rows, int64_t dim) {
    for (int d = 0; d < padded(dim); d += LANES)
        for (int r = 0; r < ROWS; r += LANES)
            transpose(columns + d * ROWS + r, ROWS, rows + (d / PANEL * ROWS + r) * PANEL + d % PANEL, PANEL);
}

// ---- products of a chunk of keys (panels, CHUNK, PANEL) and a block --------------------------------------------------

// to (keys, ROWS) = keys . columns, from sums of CHAIN numbers: rounding errors grow with the length of a sum.
INLINE void sum_numbers(const float *keys, const float *columns, int count, int64_t dim, float *to) {
    for (int p = 0; p < panels(dim); p++)
        for (int i = 0; i < count; i += KEYS)
            for (int d = 0; d < width(dim, p); d += CHAIN) {
                const float *a = keys + (p * CHUNK + i) * PANEL + d, *b = columns + (p * PANEL + d) * ROWS;
                int left = width(dim, p) - d, n = left < CHAIN ? left : CHAIN;
                if (p == 0 && d == 0) tile<KEYS, false>(n, a, PANEL, 1, b, ROWS, to + i * ROWS, ROWS);
                else tile<KEYS, true>(n, a, PANEL, 1, b, ROWS, to + i * ROWS, ROWS);
            }
}

// columns (numbers, ROWS) += keys^T . weights
INLINE void sum_keys(const float *keys, const float *weights, int count, int64_t dim, float *columns) {
    for (int p = 0; p < panels(dim); p++)
        for (int d = 0; d < width(dim, p); d += NUMBERS) {
            const float *a = keys + p * CHUNK * PANEL + d;
            tile<NUMBERS, true>(count, a, 1, PANEL, weights, ROWS, columns + (p * PANEL + d) * ROWS, ROWS);
        }
}

// Rows of an array by index += weights . rows
INLINE void sum_rows(const float *weights, const float *rows, const int32_t *index, int count, int64_t dim, float *to) {
    alignas(64) float sums[KEYS * PANEL];
    for (int p = 0; p < panels(dim); p++)
        for (int i = 0; i < count; i += KEYS) {
            int known = int(dim - p * PANEL < PANEL ? dim - p * PANEL : PANEL);
            for (int d = 0; d < known; d += 2 * LANES) {
                const float *b = rows + p * ROWS * PANEL + d;
                tile<KEYS, false>(ROWS, weights + i * ROWS, ROWS, 1, b, PANEL, sums + d, PANEL);
            }
            for (int t = 0; t < KEYS && i + t < count; t++) {
                float *at = to + index[i + t] * dim + p * PANEL, *sum = sums + t * PANEL;
                int d = 0;
                for (; d + LANES <= known; d += LANES) store(at + d, load(at + d) + load(sum + d));
                for (; d < known; d++) at[d] += sum[d];
            }
        }
}
