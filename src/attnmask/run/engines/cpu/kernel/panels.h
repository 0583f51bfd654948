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

// Rows of an array by index, all in the array, and whole vectors of numbers.
template <class T>
INLINE void gather_whole(const T *from, int64_t step, const int32_t *index, int count, int64_t dim, int apart,
                         float *to) {
    for (int i = 0; i < count; i++) {
        const T *at = from + index[i] * step;
        for (int p = 0; p < panels(dim); p++) {
            float *place = to + (p * apart + i) * PANEL;
#pragma GCC unroll 4
            for (int d = 0; d < PANEL; d += LANES)
                if (p * PANEL + d < dim) *(vec *)(place + d) = load(at + p * PANEL + d);
        }
    }
}

// Rows of an array by index; numbers beyond dim, and rows of index -1, are 0.
template <class T>
INLINE void gather(const T *from, int64_t step, const int32_t *index, int count, int64_t dim, int apart, float *to) {
    for (int i = 0; i < count; i++) {
        const T *at = from + index[i] * step;
        for (int64_t d = 0; d < padded(dim); d += LANES) {
            int known = int(dim - d);
            bool nothing = index[i] < 0 || known <= 0;
            float *place = to + (d / PANEL * apart + i) * PANEL + d % PANEL;
            *(vec *)place = nothing ? vec{} : known >= LANES ? load(at + d) : load_some(at + d, known);
        }
    }
}

// Numbers d .. end of two rows.
INLINE void add(float *to, const float *from, int d, int end) {
    for (; d + LANES <= end; d += LANES) store(to + d, load(to + d) + load(from + d));
    for (; d < end; d++) to[d] += from[d];
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

INLINE void scale_all(float *numbers, int64_t count, float factor) {
    for (int64_t i = 0; i < count; i += LANES) *(vec *)(numbers + i) *= factor;
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

// ---- products of a chunk of keys and a block ------------------------------------------------------------------------

struct Chunk {
    int32_t index[CHUNK];
    uint32_t seen[CHUNK];
    int count, padded;  // keys; and as many as `tile` takes, those beyond seen by no row
    uint32_t common;    // rows that see all of the keys
    bool masked;        // some row of a whole block does not see some key
    bool together;      // the keys follow each other
    bool last;          // of its block
};

struct Lines {  // number d of key i is at start + d / PANEL * panel + i * apart + d % PANEL
    const float *start;
    int64_t apart, panel;
};

// Rows of an array that are wanted next, from one on; rows without gaps are one.
template <class T> INLINE Ahead ahead_of(const T *array, int64_t step, int64_t row, int64_t numbers) {
    constexpr int64_t size = sizeof(T);
    return {(const char *)(array + row * step), step * size, step == numbers ? INT64_MAX : numbers * size, size, 0};
}

INLINE Ahead nothing_ahead(const float *known) { return {(const char *)known, 0, INT64_MAX, 0, 0}; }

// to (keys, ROWS) = keys . columns, from sums of CHAIN numbers: rounding errors grow with the length of a sum.
INLINE void sum_numbers(Lines keys, const float *columns, int count, int64_t dim, float *to, Ahead ahead) {
    for (int i = 0; i < count; i += KEYS)
        for (int p = 0; p < panels(dim); p++)
            for (int d = 0; d < width(dim, p); d += CHAIN) {
                const float *a = keys.start + p * keys.panel + i * keys.apart + d;
                const float *b = columns + (p * PANEL + d) * ROWS;
                int left = width(dim, p) - d, n = left < CHAIN ? left : CHAIN;
                if (p == 0 && d == 0) tile<KEYS, START>(n, a, keys.apart, 1, b, ROWS, to + i * ROWS, ROWS, ahead);
                else tile<KEYS, ADD>(n, a, keys.apart, 1, b, ROWS, to + i * ROWS, ROWS, ahead);
            }
}

// columns (numbers, ROWS) = columns * factor + keys^T . weights
template <Into INTO>
INLINE void sum_keys(Lines keys, const float *weights, int count, int64_t dim, float *columns, Ahead ahead,
                     const vec *factor = nullptr) {
    for (int p = 0; p < panels(dim); p++)
        for (int d = 0; d < width(dim, p); d += NUMBERS) {
            const float *a = keys.start + p * keys.panel + d;
            float *c = columns + (p * PANEL + d) * ROWS;
            tile<NUMBERS, INTO>(count, a, 1, keys.apart, weights, ROWS, c, ROWS, ahead, factor);
        }
}

// Rows of an array by index += weights . rows. Those of keys that follow each other are added to where they stand.
INLINE void sum_rows(const float *weights, const float *rows, const Chunk &chunk, int64_t dim, float *to, Ahead ahead) {
    alignas(64) float sums[KEYS * PANEL];
    for (int i = 0; i < chunk.count; i += KEYS, weights += KEYS * ROWS)
        for (int p = 0; p < panels(dim); p++) {
            const float *panel = rows + p * ROWS * PANEL;
            int known = int(dim - p * PANEL < PANEL ? dim - p * PANEL : PANEL), d = 0;
            if (chunk.together && i + KEYS <= chunk.count)
                for (; d + 2 * LANES <= known; d += 2 * LANES) {
                    float *c = to + chunk.index[i] * dim + p * PANEL + d;
                    tile<KEYS, ADD>(ROWS, weights, ROWS, 1, panel + d, PANEL, c, dim, ahead);
                }
            int done = d;
            for (; d < known; d += 2 * LANES)
                tile<KEYS, START>(ROWS, weights, ROWS, 1, panel + d, PANEL, sums + d, PANEL, ahead);
            for (int t = 0; t < KEYS && i + t < chunk.count && done < known; t++)
                add(to + chunk.index[i + t] * dim + p * PANEL, sums + t * PANEL, done, known);
        }
}
