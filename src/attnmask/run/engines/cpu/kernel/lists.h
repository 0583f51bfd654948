// The list of a block, a chunk of keys at a time.

#pragma once
#include "call.h"
#include "panels.h"

constexpr uint32_t EVERY_ROW = uint32_t((uint64_t(1) << ROWS) - 1);

struct Chunk {
    int32_t index[CHUNK];
    uint32_t seen[CHUNK];
    int count, padded;  // keys; and as many as `tile` takes, those beyond seen by no row
    bool masked;        // some row does not see some key
};

class List {
    const Call &call;
    int64_t entry, end;
    int32_t key;

public:
    List(const Call &call, int64_t block) : call(call), entry(call.offsets[block]), end(call.offsets[block + 1]) {
        key = entry < end ? call.start[entry] : 0;
    }

    bool next(Chunk &chunk) {
        int n = 0;
        uint32_t common = EVERY_ROW;
        while (entry < end && n < CHUNK) {
            int32_t stop = call.stop[entry], take = stop - key < CHUNK - n ? stop - key : CHUNK - n;
            uint32_t seen = call.seen[entry];
            common &= seen;
            for (int i = 0; i < take; i++, n++) chunk.index[n] = key++, chunk.seen[n] = seen;
            if (key == stop && ++entry < end) key = call.start[entry];
        }
        chunk.count = n;
        for (; n % KEYS; n++) chunk.index[n] = chunk.index[0], chunk.seen[n] = 0;
        chunk.padded = n;
        chunk.masked = n > chunk.count || common != EVERY_ROW;
        return n > 0;
    }
};

INLINE ints sees(uint32_t seen, int half) {
    ints bit;
    for (int i = 0; i < LANES; i++) bit[i] = int32_t(1u << (half * LANES + i));
    return (bit & int32_t(seen)) != 0;
}
