// The list of a block, a group of SIDE keys at a time: neighbours, or keys from anywhere where few neighbours are seen.

#pragma once
#include "call.h"
#include "tiles.h"

struct Group {
    int64_t first;        // of neighbours, a multiple of SIDE; -1: gathered
    int count;            // of gathered keys, which come first
    int32_t index[SIDE];  // of gathered keys
    uint32_t known;       // by one bit per key, whether it is seen by some row
    uint32_t seen[SIDE];  // and by which
    bool masked;          // some row does not see some key

    int32_t key(int i) const { return !(known >> i & 1) ? -1 : first < 0 ? index[i] : int32_t(first + i); }

    void clear(int64_t begin) {
        first = begin, count = 0, known = 0, masked = true;
        memset(seen, 0, sizeof seen);
    }
    void see(int place, uint32_t rows) { seen[place] |= rows, known |= 1u << place; }
    void take(Group &near) {  // its keys, as many as there is room for
        for (; near.known && count < SIDE; near.known &= near.known - 1) {
            int i = __builtin_ctz(near.known);
            index[count] = int32_t(near.first + i), see(count++, near.seen[i]);
        }
    }
};

class GroupList {
    const Call &call;
    int64_t entry, end;
    int32_t key;
    Group near, gathered;  // few neighbours, and what was taken from them

    void pass(int32_t to) {
        key = to;
        if (key == call.stop[entry] && ++entry < end) key = call.start[entry];
    }

    // The listed keys from a multiple of SIDE to the next.
    void neighbours(Group &g) {
        g.clear(key & -SIDE);
        bool all = key == g.first && call.stop[entry] >= g.first + SIDE;
        if (all && call.seen[entry] == ~0u) {
            g.known = ~0u, g.masked = false;
            return pass(key + SIDE);
        }
        while (entry < end && key >= g.first && key < g.first + SIDE) {
            int32_t stop = call.stop[entry] < g.first + SIDE ? call.stop[entry] : int32_t(g.first + SIDE);
            for (int32_t i = key; i < stop; i++) g.see(int(i - g.first), call.seen[entry]);
            pass(stop);
        }
    }

    // The gathered keys; as neighbours, which need no copy, if they are.
    void rest(Group &g) {
        int64_t first = gathered.index[0] & -SIDE;
        bool together = true;
        for (int i = 1; i < gathered.count; i++) together &= (gathered.index[i] & -SIDE) == first;
        g = gathered;
        if (!together) return;
        g.clear(first);
        for (int i = 0; i < gathered.count; i++) g.see(int(gathered.index[i] - first), gathered.seen[i]);
    }

public:
    GroupList(const Call &call, int64_t block) : call(call), entry(call.offsets[block]), end(call.offsets[block + 1]) {
        key = entry < end ? call.start[entry] : 0;
        near.known = 0, gathered.clear(-1);
    }

    bool next(Group &g) {
        while (near.known || entry < end) {
            if (!near.known) {
                neighbours(g);
                if (__builtin_popcount(g.known) >= SIDE / 2) return true;
                near = g;
            }
            gathered.take(near);
            if (gathered.count == SIDE) break;
        }
        if (gathered.count == 0) return false;
        rest(g), gathered.clear(-1);
        return true;
    }
};
