// The way through the lists of groups, a chunk at a time, so that the next one is known while one is computed.

#pragma once
#include "pairs.h"

struct Step {  // a chunk of the list of a group, which may be empty
    Chunk chunk;
    int64_t group;
    bool first, last;
};

class Walk {  // through the lists of groups that follow each other, or through a part of one list
    static constexpr int STEPS = 4;
    const Call &call;
    int64_t group, end;
    List list;
    bool first = true;
    Step steps[STEPS];
    int64_t made = 0, taken = 0, keys = 0;  // steps, and the keys of those that wait

    void make() {
        Step &step = steps[made % STEPS];
        Chunk &chunk = step.chunk;
        chunk.count = 0, step.first = false;
        if (group == end) return;
        step.group = group, step.first = first;
        list.next(chunk);
        for (int &n = chunk.padded; n % LANES; n++) chunk.index[n] = chunk.index[0], chunk.seen[n] = 0;
        uint32_t every = (1u << call.size) - 1;
        chunk.masked = chunk.padded > chunk.count || (chunk.common & every) != every;
        step.last = first = list.done();
        if (step.last && ++group < end) list = List(call, group);
        made++, keys += chunk.count;
    }

public:
    Walk(const Call &call, int64_t group, int64_t end, int64_t from = 0, int64_t to = INT64_MAX)
        : call(call), group(group), end(end), list(call, group, from, to) {
        while (made + 1 < STEPS && keys < CHUNK && this->group < end) make();
    }

    // The chunks that wait, which nobody has fetched, are told to `each`.
    template <class F> void waiting(F each) const {
        for (int64_t i = taken; i < made; i++) each(steps[i % STEPS].chunk);
    }

    bool more() const { return taken < made; }

    // The next step, and the one that is wanted a chunk or some steps later, which is empty at the end.
    std::pair<const Step &, const Step &> next() {
        const Step &now = steps[taken++ % STEPS], &later = steps[made % STEPS];
        make();
        keys -= now.chunk.count;
        return {now, later};
    }
};
