// The list of a block, a chunk of keys at a time.

#pragma once
#include "call.h"
#include "panels.h"

constexpr uint32_t EVERY_ROW = uint32_t((uint64_t(1) << ROWS) - 1);

struct Chunk {
    int32_t index[CHUNK];
    uint32_t seen[CHUNK];
    int count, padded;  // keys; and as many as `tile` takes, those beyond seen by no row
    uint32_t common;    // rows that see all of the keys
    bool masked;        // some row of a whole block does not see some key
};

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
