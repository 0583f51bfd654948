// Operands of `square`, packed from rows of arrays, and kept for all who need them; and the way back to rows.

#pragma once
#include <atomic>

#include "listed.h"

INLINE int64_t whole(int64_t dim) { return (dim + SIDE - 1) / SIDE * SIDE; }  // numbers of a row, padded with 0

// ---- rows and columns -----------------------------------------------------------------------------------------------

// Rows (SIDE, whole(dim)) of an array; 0 for key(i) -1.
template <class Key> INLINE void copy_rows(const bfloat16 *from, int64_t step, Key key, int64_t dim, bfloat16 *to) {
    for (int i = 0; i < SIDE; i++) {
        int64_t at = key(i);
        for (int64_t d = 0; d < dim; d += SIDE) {
            __mmask32 some = at < 0 ? 0 : dim - d >= SIDE ? ~0u : (1u << (dim - d)) - 1;
            _mm512_store_si512(to + i * whole(dim) + d, _mm512_maskz_loadu_epi16(some, from + at * step + d));
        }
    }
}

// The pairs of numbers of rows (rows, numbers / 2) as columns (numbers / 2, rows), and the way back.
INLINE void turn(const void *from, int from_pitch, int rows, int64_t pairs, void *to, int to_pitch) {
    for (int r = 0; r < rows; r += 16)
        for (int64_t p = 0; p < pairs; p += 16)
            transpose((const float *)from + r * from_pitch + p, from_pitch, (float *)to + p * to_pitch + r, to_pitch);
}

// Rows (SIDE, width) in pairs (SIDE / 2, width) of rows that stand `apart`: 1 or 16.
INLINE void pair_rows(const bfloat16 *rows, int64_t width, int apart, uint32_t *to) {
    const __m512i low = _mm512_set1_epi32(0xffff), eight = _mm512_set1_epi32(8);
    const __m512i first = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    for (int i = 0; i < SIDE / 2; i++) {
        const bfloat16 *one = rows + (apart == 1 ? 2 * i : i) * width, *two = one + apart * width;
        for (int64_t d = 0; d < width; d += SIDE) {
            __m512i x = _mm512_load_si512(one + d), y = _mm512_load_si512(two + d);
            __m512i even = _mm512_or_si512(_mm512_and_si512(x, low), _mm512_slli_epi32(y, 16));
            __m512i odd = _mm512_or_si512(_mm512_srli_epi32(x, 16), _mm512_andnot_si512(low, y));
            _mm512_store_si512(to + i * width + d, _mm512_permutex2var_epi32(even, first, odd));
            __m512i second = _mm512_add_epi32(first, eight);
            _mm512_store_si512(to + i * width + d + 16, _mm512_permutex2var_epi32(even, second, odd));
        }
    }
}

// Rows (SIDE, width) as columns (width, SIDE).
INLINE void turn_rows(const bfloat16 *rows, int64_t width, uint32_t *scratch, bfloat16 *to) {
    pair_rows(rows, width, 1, scratch);
    turn(scratch, int(width), SIDE / 2, width, to, SIDE / 2);
}

// Two vectors of floats as one of pairs of bfloat16, lane by lane: to the nearest, halves away from 0.
INLINE __m512i pairs(vec a, vec b) {
    __m512i half = _mm512_set1_epi32(0x8000);
    __m512i low = _mm512_srli_epi32(_mm512_add_epi32((__m512i)a, half), 16);
    return _mm512_mask_blend_epi16(0xaaaaaaaa, low, _mm512_add_epi32((__m512i)b, half));
}

// The same with halves to even, as torch rounds, and NaN stays NaN.
INLINE __m512i even_pairs(vec a, vec b) {
    auto rounded = [](vec x) {
        ints bits = (ints)x;
        return x == x ? bits + 0x7fff + ((bits >> 16) & 1) : ints{} + 0x7fc00000;
    };
    __m512i low = _mm512_srli_epi32((__m512i)rounded(a), 16);
    return _mm512_mask_blend_epi16(0xaaaaaaaa, low, (__m512i)rounded(b));
}

// Columns (whole(dim), SIDE) of floats times the factor of each row, as rows of an array, by index.
INLINE void scatter_columns(const float *columns, const vec *factor, const int32_t *index, int64_t dim, uint32_t *scratch,
                            uint32_t *rows, bfloat16 *to, int64_t step) {
    int width = int(whole(dim));
    for (int d = 0; d < width; d += 2)
        for (int w = 0; w < 2; w++) {
            const float *at = columns + d * SIDE + 16 * w;
            __m512i both = even_pairs(load(at) * factor[w], load(at + SIDE) * factor[w]);
            _mm512_store_si512(scratch + d / 2 * SIDE + 16 * w, both);
        }
    turn(scratch, SIDE, width / 2, SIDE, rows, width / 2);
    for (int r = 0; r < SIDE; r++)
        for (int64_t d = 0; d < dim && index[r] >= 0; d += SIDE) {
            __mmask32 some = dim - d >= SIDE ? ~0u : (1u << (dim - d)) - 1;
            __m512i numbers = _mm512_load_si512(rows + (r * width + d) / 2);
            _mm512_mask_storeu_epi16(to + index[r] * step + d, some, numbers);
        }
}

// ---- keys and values ------------------------------------------------------------------------------------------------

// A group of keys: rows of keys, rows or columns of values, columns of keys.
struct Pack {
    int64_t keys, values, columns, size;  // where each begins, and numbers in all
    int64_t scratch;                      // floats that are needed to fill it
    bool backward;

    Pack(const Call &call, bool backward) : backward(backward) {
        keys = 0, values = SIDE * whole(call.dim), columns = values + SIDE * whole(call.dim_v);
        size = columns + (backward ? values : 0);
        scratch = SIDE * (whole(call.dim) > whole(call.dim_v) ? whole(call.dim) : whole(call.dim_v));
    }

    void fill(const Call &call, int64_t b, int64_t kv, const Group &g, bfloat16 *to, float *scratch) const {
        const bfloat16 *k = call.k.of<bfloat16>(b, kv), *v = call.v.of<bfloat16>(b, kv);
        auto key = [&](int i) {
            if (g.first < 0) return g.key(i);
            return g.first + i < call.kv_len ? int32_t(g.first + i) : -1;
        };
        uint32_t *pairs = (uint32_t *)scratch;
        bfloat16 *rows = backward ? to + values : (bfloat16 *)(scratch + SIDE / 2 * whole(call.dim_v));
        copy_rows(k, call.k.row, key, call.dim, to + keys);
        copy_rows(v, call.v.row, key, call.dim_v, rows);
        if (backward) turn_rows(to + keys, whole(call.dim), pairs, to + columns);
        else turn_rows(rows, whole(call.dim_v), pairs, to + values);
    }
};

// Groups of neighbours of all heads, each packed by the first thread that needs it; none where one block needs them.
class Packs {
    enum State : uint8_t { NOTHING, BEGUN, READY };
    const Call &call;
    bool kept;
    int64_t groups;  // of a head
    bfloat16 *numbers;
    std::atomic<uint8_t> *states;

public:
    const Pack pack;

    Packs(const Call &call, bool backward) : call(call), groups((call.kv_len + SIDE - 1) / SIDE), pack(call, backward) {
        kept = call.blocks * call.heads > call.kv_heads;
        int64_t all = kept ? call.batch * call.kv_heads * groups : 0;
        numbers = (bfloat16 *)aligned_alloc(64, all * pack.size * sizeof(bfloat16));
        states = (std::atomic<uint8_t> *)calloc(all, 1);
    }
    Packs(const Packs &) = delete;
    ~Packs() { free(numbers), free(states); }

    // The group packed: here, or in a thread's own memory, if it is gathered or another thread packs it just now.
    const bfloat16 *of(int64_t b, int64_t kv, const Group &g, bfloat16 *own, float *scratch) {
        bfloat16 *to = own;
        std::atomic<uint8_t> *state = nullptr;
        if (kept && g.first >= 0) {
            int64_t number = (b * call.kv_heads + kv) * groups + g.first / SIDE;
            uint8_t found = states[number].load(std::memory_order_acquire);
            if (found == READY) return numbers + number * pack.size;
            if (found == NOTHING && states[number].compare_exchange_strong(found, BEGUN))
                to = numbers + number * pack.size, state = states + number;
        }
        pack.fill(call, b, kv, g, to, scratch);
        if (state) state->store(READY, std::memory_order_release);
        return to;
    }
};

// Columns (width, SIDE) of a group; those of keys that no row sees, which may be NaN, are 0.
INLINE const bfloat16 *known_columns(const Group &g, const bfloat16 *columns, int64_t width, bfloat16 *own) {
    if (g.first < 0 || g.known == ~0u) return columns;
    for (int64_t d = 0; d < width; d++)
        _mm512_store_si512(own + d * SIDE, _mm512_maskz_loadu_epi16(g.known, columns + d * SIDE));
    return own;
}
