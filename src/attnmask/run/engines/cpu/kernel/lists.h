// The list of a block, a chunk of keys at a time.

#pragma once
#include <type_traits>

#include "call.h"
#include "panels.h"

constexpr uint32_t EVERY_ROW = uint32_t((uint64_t(1) << ROWS) - 1);

class List {  // of a block, or of its keys number `from` to `to`
    const Call *call;
    int64_t entry, end, left;
    int32_t key;

public:
    List(const Call &call, int64_t block, int64_t from = 0, int64_t to = INT64_MAX)
        : call(&call), entry(call.offsets[block]), end(call.offsets[block + 1]), left(to - from) {
        while (entry < end && from >= call.stop[entry] - call.start[entry])
            from -= call.stop[entry] - call.start[entry], entry++;
        key = entry < end ? int32_t(call.start[entry] + from) : 0;
    }

    bool done() const { return entry == end || left == 0; }

    bool next(Chunk &chunk) {
        int n = 0;
        int32_t first = key;
        chunk.common = ~0u;
        while (!done() && n < CHUNK) {
            int64_t room = left < CHUNK - n ? left : CHUNK - n;
            int32_t stop = call->stop[entry], take = stop - key < room ? stop - key : int32_t(room);
            uint32_t seen = call->seen[entry];
            chunk.common &= seen, left -= take;
            for (int i = 0; i < take; i++, n++) chunk.index[n] = key++, chunk.seen[n] = seen;
            if (key == stop && ++entry < end) key = call->start[entry];
        }
        chunk.count = n;
        chunk.last = done();
        chunk.together = n > 0 && chunk.index[n - 1] - first == n - 1;
        for (; n % KEYS; n++) chunk.index[n] = chunk.index[0], chunk.seen[n] = 0;
        chunk.padded = n;
        chunk.masked = n > chunk.count || (chunk.common & EVERY_ROW) != EVERY_ROW;
        return n > 0;
    }
};

INLINE ints sees(uint32_t seen, int half) {
    ints bit;
    for (int i = 0; i < LANES; i++) bit[i] = int32_t(1u << (half * LANES + i));
    return (bit & int32_t(seen)) != 0;
}

// The keys of a chunk: where they stand, if they follow each other and are floats that `tile` takes; else gathered.
// Those beyond the chunk's count may be any keys, also some that are NaN, and must reach no result. Reading in place
// wins also where rows are 2 or 4 KB apart, and many share few sets of the L1 (Zen 4: up to 6%).
template <class T>
INLINE Lines lines(const T *from, int64_t step, const Chunk &chunk, int64_t length, int64_t dim, float *room) {
    if constexpr (std::is_same_v<T, float>)
        if (chunk.together && dim % NUMBERS == 0 && chunk.index[0] + chunk.padded <= length)
            return {from + chunk.index[0] * step, step, PANEL};
    if (dim % LANES == 0) gather_whole(from, step, chunk.index, chunk.padded, dim, CHUNK, room);
    else gather(from, step, chunk.index, chunk.padded, dim, CHUNK, room);
    return {room, PANEL, CHUNK * PANEL};
}

// Rows of an array that are wanted next: of a head, from a row on.
template <class T> INLINE Ahead ahead_of(const Array &array, int64_t b, int64_t h, int64_t row, int64_t numbers) {
    return ahead_of(array.of<T>(b, h), array.row, row, numbers);
}
