// Gradients of attention in one pass over the keys, for graphs: each key with the rows that see it.
//
// The lists are those of `groups.cpp` turned round: a group is one key, and its list names the rows that see it. The key
// and its value stay near while the rows come by; what they get for their queries is added to where that is:
//
//     weight = e^(query . key - lse)              slope = weight (grad . value - inner)
//     grad_value += weight grad      grad_key += slope query      grad_query += slope key
//
// A task has a part of the keys of a head, and sums of its own for the gradients of queries.

#include <cmath>
#include <vector>

#include "walk.h"

struct Row {  // what a pair wants to know of its row: the log of its sum, and what is taken from its slopes
    float lse, inner;
};

// Of each row (batch, heads, q_len): inner is the weighted mean of the gradients of its weights.
template <class T> std::vector<Row> rows_known(const Call &call) {
    std::vector<Row> rows(call.batch * call.heads * call.q_len);
#pragma omp parallel for num_threads(call.threads)
    for (int64_t i = 0; i < int64_t(rows.size()); i++) {
        int64_t b = i / call.q_len / call.heads, h = i / call.q_len % call.heads, position = i % call.q_len;
        const T *output = call.output.of<T>(b, h) + position * call.output.row;
        const T *grad = call.grad.of<T>(b, h) + position * call.grad.row;
        vec sum = {};
        for (int64_t d = 0; d < call.dim_v; d += LANES)
            sum += load_up_to(output + d, call.dim_v - d) * load_up_to(grad + d, call.dim_v - d);
        float inner = sum_of(sum);
        if (call.grad_lse.data) inner -= call.grad_lse.of<float>(b, h)[position * call.grad_lse.row];
        rows[i] = {call.lse.of<float>(b, h)[position * call.lse.row], inner};
    }
    return rows;
}

template <class T> class ByKey {
    const Call &call;
    const float scale;
    const std::vector<Row> &known;
    const int64_t apart, apart_v;
    float *key, *value, *grad_key, *grad_value, *weights, *slopes;

    void load_row(Rows<T> from, int32_t index, float *to, float factor) {
        for (int64_t d = 0; d < from.dim; d += LANES)
            *(vec *)(to + d) = load_up_to(from.at(index) + d, from.dim - d) * factor;
    }

    void store_row(const float *from, Rows<T> to, int32_t index) {
        T *at = (T *)to.at(index);
        for (int64_t d = 0; d < to.dim; d += LANES) store_up_to(at + d, *(const vec *)(from + d), to.dim - d);
    }

    // Scores to weights, and gradients of weights to gradients of scores.
    void softmax(const Chunk &chunk, const Row *rows) {
        alignas(64) float lse[CHUNK], inner[CHUNK];
        for (int i = 0; i < chunk.padded; i++) lse[i] = rows[chunk.index[i]].lse, inner[i] = rows[chunk.index[i]].inner;
        for (int i = 0; i < chunk.padded; i += LANES) {
            vec weight = exponential(*(const vec *)(weights + i) - *(const vec *)(lse + i));
            *(vec *)(weights + i) = weight;
            *(vec *)(slopes + i) = weight * (*(const vec *)(slopes + i) - *(const vec *)(inner + i));
        }
    }

    // Rows of sums by index += slopes x key
    void add_to_rows(const Chunk &chunk, float *sums) {
        for (int i = 0; i < chunk.count; i++) {
            float *row = sums + chunk.index[i] * call.dim;
            int64_t d = 0;
            for (; d + LANES <= call.dim; d += LANES) store(row + d, load(row + d) + slopes[i] * load(key + d));
            for (; d < call.dim; d++) row[d] += slopes[i] * key[d];
        }
    }

    // One head's rows of a chunk; the rows of later ones are fetched.
    void chunk(int64_t b, int64_t h, const Chunk &now, const Chunk &later, float *sums) {
        Rows<T> queries = rows_of<T>(call.q, b, h, call.dim), grads = rows_of<T>(call.grad, b, h, call.dim_v);
        Rows<float> grad_queries = {sums, call.dim, call.dim};
        const float one = 1.0f;
        for (int i = 0; i < now.padded; i += LANES)
            dots<1>(queries, now.index + i, key, apart, weights + i, [&](int t) {
                if (i + t >= later.count) return;
                queries.fetch(later.index[i + t]), grad_queries.template fetch<true>(later.index[i + t]);
            });
        for (int i = 0; i < now.padded; i += LANES)
            dots<1>(grads, now.index + i, value, apart_v, slopes + i, [&](int t) {
                if (i + t < later.count) grads.fetch(later.index[i + t]);
            });
        softmax(now, known.data() + (b * call.heads + h) * call.q_len);
        auto nothing = [](int, int64_t, int64_t) {};
        add<1>(queries, now.index, now.count, slopes, &one, grad_key, 1, apart, nothing);
        add<1>(grads, now.index, now.count, weights, &one, grad_value, 1, apart_v, nothing);
        add_to_rows(now, sums);
    }

public:
    static int64_t numbers(const Call &call) { return 2 * (whole(call.dim) + whole(call.dim_v) + CHUNK); }

    ByKey(const Call &call, float scale, const std::vector<Row> &known, Memory &memory)
        : call(call), scale(scale), known(known), apart(whole(call.dim)), apart_v(whole(call.dim_v)) {
        key = memory.take(apart), grad_key = memory.take(apart);
        value = memory.take(apart_v), grad_value = memory.take(apart_v);
        weights = memory.take(CHUNK), slopes = memory.take(CHUNK);
    }

    // The keys `first` to `end` of a list, and all query heads that share them; sums (heads, q_len, dim).
    void run(int64_t b, int64_t kv, int64_t first, int64_t end, float *sums) {
        int64_t heads = call.heads / call.kv_heads;
        Rows<T> grad_keys = rows_of<T>(call.key_grad, b, kv, call.dim);
        Rows<T> grad_values = rows_of<T>(call.value_grad, b, kv, call.dim_v);
        for (Walk walk(call, first, end); walk.more();) {
            auto [now, later] = walk.next();
            int32_t number = call.rows[now.group];
            if (now.first) {
                load_row(rows_of<T>(call.k, b, kv, call.dim), number, key, scale);
                load_row(rows_of<T>(call.v, b, kv, call.dim_v), number, value, 1.0f);
                memset(grad_key, 0, sizeof(float) * apart), memset(grad_value, 0, sizeof(float) * apart_v);
            }
            for (int64_t h = 0; h < heads && now.chunk.count; h++)
                chunk(b, kv * heads + h, now.chunk, later.chunk, sums + h * call.q_len * call.dim);
            if (!now.last) continue;
            for (int64_t d = 0; d < apart; d += LANES) *(vec *)(grad_key + d) *= scale;
            store_row(grad_key, grad_keys, number), store_row(grad_value, grad_values, number);
        }
    }
};

template <class T> void backward_by_key(const Call &call, float scale) {
    std::vector<Row> known = rows_known<T>(call);
    int64_t heads = call.batch * call.kv_heads, group = call.heads / call.kv_heads;
#pragma omp parallel num_threads(call.threads)
    {
        Memory memory(ByKey<T>::numbers(call));
        ByKey<T> work(call, scale, known, memory);
#pragma omp for schedule(dynamic, 1)
        for (int64_t i = 0; i < call.parts * heads; i++) {
            int64_t b = i % heads / call.kv_heads, kv = i % call.kv_heads, part = i / heads;
            int64_t first = call.lists(b, kv * group);
            int64_t numbers = group * call.q_len * call.dim;
            float *sums = call.grad_q_sums + i * numbers;
            memset(sums, 0, sizeof(float) * numbers);
            work.run(b, kv, first + part * call.blocks / call.parts, first + (part + 1) * call.blocks / call.parts, sums);
        }
    }
}

extern "C" void attnmask_by_key_backward(const Call *call, float scale) {
    if (call->type == 0) backward_by_key<float>(*call, scale);
    if (call->type == 1) backward_by_key<bfloat16>(*call, scale);
    if (call->type == 2) backward_by_key<half>(*call, scale);
}
