// Attention of few rows over listed keys, forward: decoding, where few rows see many keys, and graphs, where rows share none.
//
// A group is the rows that read a key together: `size` positions, of all query heads that share a head of keys. The
// numbers of a key are the lanes, so that keys stand anywhere and are read once, at the rate of the memory:
//
//     scores [row][key] = query . key            sums across lanes, of LANES pairs of a row and a key at once
//     output [row][number] += weights . values
//
// While a chunk of keys is computed the next one is fetched, also that of the next group. Long lists are cut among
// threads, and what the parts give is merged.

#include <cmath>
#include <vector>

#include "walk.h"

constexpr float LOWEST = -1e30f;    // below all scores, and a number, so that differences are numbers
constexpr int64_t SHORTEST = 512;   // keys of a part of a list, at least
constexpr int64_t UNITS = 8;        // of work for each thread, so that one with less to do can take another
constexpr int64_t NEIGHBOURS = 64;  // groups of a unit, which follow each other

struct Sums {  // of the rows of a group: what merging and the output need
    float *output, *most, *total;  // (rows, apart), and the largest score, and the sum of e^(score - largest)
};

template <int R, class T> class Group {
    using Number = std::conditional_t<PAIRS<T>, bfloat16, float>;  // of queries and weights in products
    const Call &call;
    const float scale;
    const int64_t heads, rows, all;  // query heads to a head of keys; rows of a group; up to a multiple of R
    const int64_t apart, apart_v;
    Number *queries;
    float *weights, *factor;
    Number *pairs;  // of weights
    Sums sums;

    const int32_t *positions(int64_t group) const { return call.rows + group * call.size; }

    void load_query(const T *from, Number *to) {
        if constexpr (PAIRS<T>)
            for (int64_t d = 0; d < call.dim; d += 32) _mm512_store_si512(to + d, load_pairs(from + d, call.dim - d));
        else
            for (int64_t d = 0; d < call.dim; d += LANES)
                *(vec *)(to + d) = load_up_to(from + d, call.dim - d) * scale;
    }

    void begin(int64_t b, int64_t kv, int64_t group) {
        for (int64_t r = 0; r < rows; r++) {
            int32_t position = positions(group)[r / heads];
            if (position < 0) memset(queries + r * apart, 0, apart * sizeof(Number));
            else load_query(rows_of<T>(call.q, b, kv * heads + r % heads, call.dim).at(position), queries + r * apart);
        }
        memset(sums.output, 0, sizeof(float) * all * apart_v);
        for (int64_t r = 0; r < all; r++) sums.most[r] = LOWEST, sums.total[r] = 0.0f;
    }

    // The rows of a later group, which are read, and written where they stand in the output.
    void ask(int64_t b, int64_t kv, int64_t group) {
        for (int64_t r = 0; r < rows; r++) {
            int32_t position = positions(group)[r / heads];
            if (position < 0) continue;
            rows_of<T>(call.q, b, kv * heads + r % heads, call.dim).fetch(position);
            rows_of<T>(call.output, b, kv * heads + r % heads, call.dim_v).template fetch<true>(position);
        }
    }

    void scores(Rows<T> keys, const Chunk &now, const Chunk &later) {
        for (int i = 0; i < now.padded; i += LANES / R)
            for (int64_t r = 0; r < all; r += R)
                dots<R>(keys, now.index + i, queries + r * apart, apart, weights + r * CHUNK + i, [&](int t) {
                    if (r == 0 && i + t < later.count) keys.fetch(later.index[i + t]);
                });
    }

    // Scores of a row to weights; factor is what scales its sums to a new largest score.
    template <bool MASKED> void softmax(int64_t r, const Chunk &chunk) {
        float *row = weights + r * CHUNK;
        vec top = vec{} + sums.most[r], sum = {};
        auto seen = [&](int i) {
            ints bits;
            memcpy(&bits, chunk.seen + i, sizeof bits);
            return (bits & (1 << r / heads)) != 0;
        };
        for (int i = 0; i < chunk.padded; i += LANES) {
            vec score = *(const vec *)(row + i);
            if (PAIRS<T>) score *= scale;  // of queries it would be rounded
            if (MASKED) score = seen(i) ? score : vec{} + LOWEST;
            *(vec *)(row + i) = score;
            top = larger(top, score);
        }
        float most = largest_of(top);
        for (int i = 0; i < chunk.padded; i += LANES) {
            vec weight = exponential(*(const vec *)(row + i) - most);
            if (MASKED) weight = seen(i) ? weight : vec{};
            *(vec *)(row + i) = weight;
            sum += weight;
        }
        factor[r] = most == sums.most[r] ? 1.0f : exponential(vec{} + (sums.most[r] - most))[0];
        sums.total[r] = sums.total[r] * factor[r] + sum_of(sum);
        sums.most[r] = most;
    }

    void add_values(Rows<T> values, const Chunk &now, const Chunk &later) {
        auto fetch = [&](int i, int64_t d, int64_t numbers) {
            if (i < later.count) values.fetch(later.index[i], d, numbers);
        };
        if constexpr (PAIRS<T>) {
            to_pairs(weights, all, pairs);
            add<R>(values, now.index, now.count, pairs, factor, sums.output, all, apart_v, fetch);
        } else add<R>(values, now.index, now.count, weights, factor, sums.output, all, apart_v, fetch);
    }

public:
    static int64_t numbers(const Call &call) {
        int64_t rows = call.size * (call.heads / call.kv_heads) + R;
        return rows * (whole(call.dim) + whole(call.dim_v) + 2 * CHUNK) + 3 * (rows + LANES);
    }

    Group(const Call &call, float scale, Memory &memory)
        : call(call), scale(scale), heads(call.heads / call.kv_heads), rows(call.size * heads),
          all((rows + R - 1) / R * R), apart(whole(call.dim)), apart_v(whole(call.dim_v)) {
        queries = (Number *)memory.take(all * apart), weights = memory.take(all * CHUNK);
        pairs = (Number *)memory.take(all * CHUNK);
        sums.output = memory.take(all * apart_v);
        factor = memory.take(all), sums.most = memory.take(all), sums.total = memory.take(all);
        memset(queries, 0, sizeof(Number) * all * apart);
    }

    // The sums of each group of a walk, given to `finish`.
    template <class F> void run(int64_t b, int64_t kv, Walk walk, F finish) {
        Rows<T> keys = rows_of<T>(call.k, b, kv, call.dim), values = rows_of<T>(call.v, b, kv, call.dim_v);
        walk.waiting([&](const Chunk &chunk) {
            for (int i = 0; i < chunk.count; i++) keys.fetch(chunk.index[i]), values.fetch(chunk.index[i]);
        });
        while (walk.more()) {
            auto [now, later] = walk.next();
            if (now.first) begin(b, kv, now.group);
            if (later.first) ask(b, kv, later.group);
            if (now.chunk.count) {
                scores(keys, now.chunk, later.chunk);
                for (int64_t r = 0; r < all; r++)
                    now.chunk.masked ? softmax<true>(r, now.chunk) : softmax<false>(r, now.chunk);
                add_values(values, now.chunk, later.chunk);
            }
            if (now.last) finish(now.group, sums);
        }
    }
};

// ---- work, shared out among threads ---------------------------------------------------------------------------------

struct Unit {  // groups of a head of keys, or a part of the list of one, whose sums go to a place of their own
    int64_t b, kv, group, end, from, to, place;
};

struct Shares {
    std::vector<Unit> units;
    std::vector<std::pair<int64_t, int64_t>> merged;  // of one list: the first of its units, and how many they are
    int64_t places = 0;

    explicit Shares(const Call &call) {
        int64_t groups = call.batch * call.kv_heads * call.blocks;
        bool cut = groups < UNITS * call.threads;
        int64_t keys = cut ? keys_of_all(call) : 0, shortest = keys / (UNITS * call.threads);
        if (shortest < SHORTEST) shortest = SHORTEST;
        for (int64_t b = 0; b < call.batch; b++)
            for (int64_t kv = 0; kv < call.kv_heads; kv++)
                for (int64_t first = first_of(call, b, kv), g = first; g < first + call.blocks;)
                    if (cut) cut_list(call, b, kv, g++, shortest);
                    else {
                        int64_t end = g + NEIGHBOURS < first + call.blocks ? g + NEIGHBOURS : first + call.blocks;
                        units.push_back({b, kv, g, end, 0, INT64_MAX, -1});
                        g = end;
                    }
    }

    static int64_t first_of(const Call &call, int64_t b, int64_t kv) {
        return call.lists(b, kv * (call.heads / call.kv_heads));
    }

private:
    static int64_t keys_of(const Call &call, int64_t group) {
        int64_t keys = 0;
        for (int64_t e = call.offsets[group]; e < call.offsets[group + 1]; e++) keys += call.stop[e] - call.start[e];
        return keys;
    }

    static int64_t keys_of_all(const Call &call) {
        int64_t keys = 0;
        for (int64_t i = 0; i < call.batch * call.kv_heads * call.blocks; i++) {
            int64_t head = i / call.blocks;
            keys += keys_of(call, first_of(call, head / call.kv_heads, head % call.kv_heads) + i % call.blocks);
        }
        return keys;
    }

    void cut_list(const Call &call, int64_t b, int64_t kv, int64_t group, int64_t shortest) {
        int64_t keys = keys_of(call, group), parts = keys / shortest > 1 ? keys / shortest : 1;
        if (parts > 1) merged.push_back({int64_t(units.size()), parts});
        for (int64_t i = 0; i < parts; i++) {
            int64_t from = i * keys / parts, to = i + 1 < parts ? (i + 1) * keys / parts : INT64_MAX;
            units.push_back({b, kv, group, group + 1, from, to, parts > 1 ? places++ : -1});
        }
    }
};

// ---- from sums to the output ----------------------------------------------------------------------------------------

template <class T> void give(const Call &call, const Unit &unit, int64_t group, Sums sums) {
    int64_t heads = call.heads / call.kv_heads, apart = whole(call.dim_v);
    for (int64_t r = 0; r < call.size * heads; r++) {
        int32_t position = call.rows[group * call.size + r / heads];
        if (position < 0) continue;
        int64_t h = unit.kv * heads + r % heads;
        float total = sums.total[r], inverse = total == 0.0f ? 0.0f : 1.0f / total;  // NaN stays NaN
        T *to = call.output.of<T>(unit.b, h) + position * call.output.row;
        for (int64_t d = 0; d < call.dim_v; d += LANES)
            store_up_to(to + d, *(const vec *)(sums.output + r * apart + d) * inverse, call.dim_v - d);
        float lse = total == 0.0f ? -INFINITY : sums.most[r] + logf(total);
        call.lse.of<float>(unit.b, h)[position * call.lse.row] = lse;
    }
}

struct Places {  // for the sums of parts of lists
    int64_t rows, apart;
    std::vector<float> all;

    Places(const Call &call, int64_t places)
        : rows(call.size * (call.heads / call.kv_heads)), apart(whole(call.dim_v)), all(places * size() + LANES) {}

    int64_t size() const { return rows * (apart + 2); }
    Sums at(int64_t place) {
        uintptr_t aligned = ((uintptr_t)all.data() + sizeof(vec) - 1) / sizeof(vec) * sizeof(vec);
        float *start = (float *)aligned + place * rows * apart;
        float *numbers = all.data() + all.size() - (place + 1) * 2 * rows;
        return {start, numbers, numbers + rows};
    }

    void keep(int64_t place, Sums sums) {
        Sums own = at(place);
        memcpy(own.output, sums.output, sizeof(float) * rows * apart);
        memcpy(own.most, sums.most, sizeof(float) * rows), memcpy(own.total, sums.total, sizeof(float) * rows);
    }

    void merge(int64_t into, int64_t place) {
        Sums one = at(into), other = at(place);
        for (int64_t r = 0; r < rows; r++) {
            float most = one.most[r] > other.most[r] ? one.most[r] : other.most[r];
            float a = exponential(vec{} + (one.most[r] - most))[0], b = exponential(vec{} + (other.most[r] - most))[0];
            for (int64_t d = 0; d < apart; d += LANES) {
                vec &x = *(vec *)(one.output + r * apart + d);
                x = x * a + *(const vec *)(other.output + r * apart + d) * b;
            }
            one.most[r] = most, one.total[r] = one.total[r] * a + other.total[r] * b;
        }
    }
};

template <int R, class T> void forward_of_groups(const Call &call, float scale) {
    Shares shares(call);
    Places places(call, shares.places);
#pragma omp parallel num_threads(call.threads)
    {
        Memory memory(Group<R, T>::numbers(call));
        Group<R, T> work(call, scale, memory);
#pragma omp for schedule(dynamic, 1)
        for (size_t i = 0; i < shares.units.size(); i++) {
            const Unit &unit = shares.units[i];
            work.run(unit.b, unit.kv, Walk(call, unit.group, unit.end, unit.from, unit.to),
                     [&](int64_t group, Sums sums) {
                         if (unit.place < 0) give<T>(call, unit, group, sums);
                         else places.keep(unit.place, sums);
                     });
        }
#pragma omp for schedule(dynamic, 1)
        for (size_t i = 0; i < shares.merged.size(); i++) {
            const Unit &unit = shares.units[shares.merged[i].first];
            for (int64_t n = 1; n < shares.merged[i].second; n++) places.merge(unit.place, unit.place + n);
            give<T>(call, unit, unit.group, places.at(unit.place));
        }
    }
}

template <class T> void forward_of(const Call &call, float scale) {
    int64_t rows = call.size * (call.heads / call.kv_heads);
    if (rows == 1) forward_of_groups<1, T>(call, scale);
    else if (TILE > 2 && rows > 2) forward_of_groups<TILE, T>(call, scale);
    else forward_of_groups<TILE < 2 ? 1 : 2, T>(call, scale);
}

extern "C" void attnmask_groups_forward(const Call *call, float scale) {
    if (call->type == 0) forward_of<float>(*call, scale);
    if (call->type == 1) forward_of<bfloat16>(*call, scale);
    if (call->type == 2) forward_of<half>(*call, scale);
}
