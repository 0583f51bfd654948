// Attention of blocks of rows over listed keys, forward and backward, for CPUs with AVX-512, AVX2 or NEON.
//
// A block is ROWS query rows, wherever they stand; its list names the keys that some of them see, and by one bit per
// row which do. Rows are the lanes of the vectors:
//
//     scores^T [key][row] = key . query^T        a number of a key is broadcast to all rows
//     output^T [number][row] += value^T . weights^T
//
// so the softmax never looks across lanes, keys may stand anywhere, and a hidden pair costs something only where
// another row of the block sees the key. Numbers of 16 bits are computed in 32. Python calls this through ctypes.

#include <cmath>

#include "lists.h"

constexpr float LOWEST = -1e30f;  // below all scores, and a number, so that differences are numbers

INLINE vec &at(float *columns, int line, int half) { return *(vec *)(columns + line * ROWS + half * LANES); }

// ---- forward --------------------------------------------------------------------------------------------------------

class Forward {
    const Call &call;
    float scale, *rows, *queries, *output_rows, *output, *keys, *weights;
    vec most[2], total[2];  // of each row: the largest score so far, and the sum of e^(score - largest)
    Chunk chunk;

    // Scores to weights; factor is what scales sums so far to a new largest score.
    template <bool MASKED> void softmax(vec *factor) {
        vec top[2] = {most[0], most[1]}, sum[2] = {};
        for (int i = 0; i < chunk.padded; i++)
            for (int w = 0; w < 2; w++) {
                vec score = at(weights, i, w);
                if (MASKED) at(weights, i, w) = score = sees(chunk.seen[i], w) ? score : vec{} + LOWEST;
                top[w] = larger(top[w], score);
            }
        for (int i = 0; i < chunk.padded; i++)
            for (int w = 0; w < 2; w++) {
                vec weight = exponential(at(weights, i, w) - top[w]);
                if (MASKED) weight = sees(chunk.seen[i], w) ? weight : vec{};
                at(weights, i, w) = weight;
                sum[w] += weight;
            }
        for (int w = 0; w < 2; w++) {
            factor[w] = exponential(most[w] - top[w]);
            total[w] = total[w] * factor[w] + sum[w];
            most[w] = top[w];
        }
    }

    template <class T> void finish(int64_t b, int64_t h, const int32_t *index) {
        vec inverse[2];
        for (int w = 0; w < 2; w++) inverse[w] = total[w] == 0.0f ? vec{} : 1.0f / total[w];  // NaN stays NaN
        for (int d = 0; d < padded(call.dim_v); d++)
            for (int w = 0; w < 2; w++) at(output, d, w) *= inverse[w];
        to_rows(output, output_rows, call.dim_v);
        scatter(output_rows, call.output.of<T>(b, h), call.output.row, index, call.dim_v);
        float *lse = call.lse.of<float>(b, h);
        for (int w = 0; w < 2; w++) {
            vec all = most[w] + logarithm(total[w]);
            for (int i = 0; i < LANES; i++)
                if (int32_t row = index[w * LANES + i]; row >= 0)
                    lse[row * call.lse.row] = total[w][i] == 0.0f ? -INFINITY : all[i];
        }
    }

public:
    static int64_t numbers(const Call &call) {
        return (2 * ROWS + CHUNK) * (padded(call.dim) + padded(call.dim_v)) + CHUNK * ROWS;
    }

    Forward(const Call &call, float scale, Memory &memory) : call(call), scale(scale) {
        rows = memory.take(ROWS * padded(call.dim)), queries = memory.take(ROWS * padded(call.dim));
        output_rows = memory.take(ROWS * padded(call.dim_v)), output = memory.take(ROWS * padded(call.dim_v));
        keys = memory.take(CHUNK * padded(call.dim > call.dim_v ? call.dim : call.dim_v));
        weights = memory.take(CHUNK * ROWS);
    }

    template <class T> void block(int64_t b, int64_t h, int64_t number) {
        const int32_t *index = call.rows + number * ROWS;
        int64_t kv = h / (call.heads / call.kv_heads);
        gather(call.q.of<T>(b, h), call.q.row, index, ROWS, call.dim, ROWS, rows);
        scale_all(rows, ROWS * padded(call.dim), scale);
        to_columns(rows, queries, call.dim);
        memset(output, 0, sizeof(float) * ROWS * padded(call.dim_v));
        for (int w = 0; w < 2; w++) most[w] = vec{} + LOWEST, total[w] = vec{};
        for (List list(call, number); list.next(chunk);) {
            Lines k = lines(call.k.of<T>(b, kv), call.k.row, chunk, call.kv_len, call.dim, keys);
            Ahead next = ahead_of<T>(call.v, b, kv, chunk.index[0], call.dim_v);
            sum_numbers(k, queries, chunk.padded, call.dim, weights, next);
            vec factor[2];
            chunk.masked ? softmax<true>(factor) : softmax<false>(factor);
            Lines v = lines(call.v.of<T>(b, kv), call.v.row, chunk, call.kv_len, call.dim_v, keys);
            next = chunk.last ? ahead_of<T>(call.q, b, h, index[0] + ROWS, call.dim)
                              : ahead_of<T>(call.k, b, kv, chunk.index[0] + chunk.count, call.dim);
            sum_keys<SCALE>(v, weights, chunk.count, call.dim_v, output, next, factor);
        }
        finish<T>(b, h, index);
    }
};

template <class T> void forward(const Call &call, float scale) {
    int64_t blocks = call.batch * call.heads * call.blocks;
    int64_t at_once = blocks < 32 * call.threads ? 1 : 4;  // neighbours share keys in the cache
#pragma omp parallel num_threads(call.threads)
    {
        Memory memory(Forward::numbers(call));
        Forward work(call, scale, memory);
#pragma omp for schedule(dynamic, at_once)
        for (int64_t i = 0; i < blocks; i++) {
            int64_t b = i / call.blocks / call.heads, h = i / call.blocks % call.heads;
            work.block<T>(b, h, call.lists(b, h) + i % call.blocks);
        }
    }
}

// ---- backward -------------------------------------------------------------------------------------------------------

class Backward {
    const Call &call;
    float scale, *rows, *queries, *grad_rows, *grads, *grad_q, *output, *keys, *values, *weights, *slopes;
    vec lse[2], inner[2];  // of each row: log of the sum of e^score; what is taken from the gradients of its weights
    Chunk chunk;

    // Scores to weights, and gradients of weights to gradients of scores.
    template <bool MASKED> void softmax() {
        for (int i = 0; i < chunk.padded; i++)
            for (int w = 0; w < 2; w++) {
                vec weight = exponential(at(weights, i, w) - lse[w]);
                vec slope = weight * (at(slopes, i, w) - inner[w]);
                if (MASKED) weight = sees(chunk.seen[i], w) ? weight : vec{};
                if (MASKED) slope = sees(chunk.seen[i], w) ? slope : vec{};
                at(weights, i, w) = weight;
                at(slopes, i, w) = slope;
            }
    }

    template <class T> void begin(int64_t b, int64_t h, const int32_t *index) {
        gather(call.q.of<T>(b, h), call.q.row, index, ROWS, call.dim, ROWS, rows);
        gather(call.grad.of<T>(b, h), call.grad.row, index, ROWS, call.dim_v, ROWS, grad_rows);
        gather(call.output.of<T>(b, h), call.output.row, index, ROWS, call.dim_v, ROWS, output);
        scale_all(rows, ROWS * padded(call.dim), scale);
        to_columns(rows, queries, call.dim);
        to_columns(grad_rows, grads, call.dim_v);
        known<T>(b, h, index);
    }

    // What the forward pass and the gradients of its results say of each row.
    template <class T> void known(int64_t b, int64_t h, const int32_t *index) {
        alignas(64) float sums[ROWS * LANES], columns[LANES * ROWS];
        for (int r = 0; r < ROWS; r++) {
            vec sum = {};
            for (int64_t d = 0; d < padded(call.dim_v); d += LANES) {
                int64_t place = (d / PANEL * ROWS + r) * PANEL + d % PANEL;
                sum += load(output + place) * load(grad_rows + place);
            }
            store(sums + r * LANES, sum);
        }
        const float *of_rows = call.lse.of<float>(b, h), *of_lse = call.grad_lse.of<float>(b, h);
        for (int w = 0; w < 2; w++) {
            transpose(sums + w * LANES * LANES, LANES, columns + w * LANES, ROWS);
            lse[w] = inner[w] = vec{};
            for (int i = 0; i < LANES; i++) inner[w] += at(columns, i, w);
            for (int i = 0; i < LANES; i++) {
                int32_t row = index[w * LANES + i];
                if (row < 0) continue;
                float found = of_rows[row * call.lse.row];
                lse[w][i] = found == -INFINITY ? 0.0f : found;  // which none of its weights is asked for
                if (call.grad_lse.data) inner[w][i] -= of_lse[row * call.grad_lse.row];
            }
        }
    }

public:
    static int64_t numbers(const Call &call) {
        return (3 * ROWS + CHUNK) * (padded(call.dim) + padded(call.dim_v)) + 2 * CHUNK * ROWS;
    }

    Backward(const Call &call, float scale, Memory &memory) : call(call), scale(scale) {
        rows = memory.take(ROWS * padded(call.dim)), queries = memory.take(ROWS * padded(call.dim));
        grad_rows = memory.take(ROWS * padded(call.dim_v)), grads = memory.take(ROWS * padded(call.dim_v));
        grad_q = memory.take(ROWS * padded(call.dim)), output = memory.take(ROWS * padded(call.dim_v));
        keys = memory.take(CHUNK * padded(call.dim)), values = memory.take(CHUNK * padded(call.dim_v));
        weights = memory.take(CHUNK * ROWS), slopes = memory.take(CHUNK * ROWS);
    }

    template <class T> void block(int64_t b, int64_t h, int64_t number, float *grad_k, float *grad_v) {
        const int32_t *index = call.rows + number * ROWS;
        int64_t kv = h / (call.heads / call.kv_heads);
        begin<T>(b, h, index);
        memset(grad_q, 0, sizeof(float) * ROWS * padded(call.dim));
        for (List list(call, number); list.next(chunk);) {
            int32_t first = chunk.index[0], next = first + chunk.count, row = index[0] + ROWS;
            Lines k = lines(call.k.of<T>(b, kv), call.k.row, chunk, call.kv_len, call.dim, keys);
            Lines v = lines(call.v.of<T>(b, kv), call.v.row, chunk, call.kv_len, call.dim_v, values);
            sum_numbers(k, queries, chunk.padded, call.dim, weights, ahead_of(grad_k, call.dim, first, call.dim));
            sum_numbers(v, grads, chunk.padded, call.dim_v, slopes, ahead_of(grad_v, call.dim_v, first, call.dim_v));
            chunk.masked ? softmax<true>() : softmax<false>();
            bool last = chunk.last;  // the rows of the next block, most often; else the next keys
            sum_keys<ADD>(k, slopes, chunk.count, call.dim, grad_q,
                          last ? ahead_of<T>(call.q, b, h, row, call.dim) : ahead_of<T>(call.k, b, kv, next, call.dim));
            sum_rows(slopes, rows, chunk, call.dim, grad_k,
                     last ? ahead_of<T>(call.grad, b, h, row, call.dim_v)
                          : ahead_of<T>(call.v, b, kv, next, call.dim_v));
            sum_rows(weights, grad_rows, chunk, call.dim_v, grad_v,
                     last ? ahead_of<T>(call.output, b, h, row, call.dim_v) : nothing_ahead(rows));
        }
        scale_all(grad_q, ROWS * padded(call.dim), scale);
        to_rows(grad_q, queries, call.dim);
        scatter(queries, call.grad_q.of<T>(b, h), call.grad_q.row, index, call.dim);
    }
};

// One task has a part of the blocks of all heads that share a head of keys, whose gradients it alone adds up.
template <class T> void backward(const Call &call, float scale) {
    int64_t heads = call.batch * call.kv_heads, group = call.heads / call.kv_heads;
#pragma omp parallel num_threads(call.threads)
    {
        Memory memory(Backward::numbers(call));
        Backward work(call, scale, memory);
#pragma omp for schedule(dynamic, 1)
        for (int64_t i = 0; i < call.parts * heads; i++) {
            int64_t b = i % heads / call.kv_heads, kv = i % call.kv_heads, part = i / heads;
            float *grad_k = call.grad_k + i * call.kv_len * call.dim, *grad_v = call.grad_v + i * call.kv_len * call.dim_v;
            for (int64_t h = kv * group; h < (kv + 1) * group; h++)
                for (int64_t n = part * call.blocks / call.parts; n < (part + 1) * call.blocks / call.parts; n++)
                    work.block<T>(b, h, call.lists(b, h) + n, grad_k, grad_v);
        }
    }
}

// ---- what Python calls ----------------------------------------------------------------------------------------------

extern "C" {

int attnmask_rows() { return ROWS; }

#ifdef __ARM_NEON

bool attnmask_runs_here() { return true; }
bool attnmask_has_amx() { return false; }

#else

bool attnmask_runs_here() {
    __builtin_cpu_init();
#ifdef __AVX512F__
    return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq");
#else
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
#endif
}

bool attnmask_has_amx() {  // products of bfloat16 at many times the rate of those of float
    __builtin_cpu_init();
    return __builtin_cpu_supports("amx-bf16");
}

#endif

void attnmask_forward(const Call *call, float scale) {
    if (call->type == 0) forward<float>(*call, scale);
    if (call->type == 1) forward<bfloat16>(*call, scale);
    if (call->type == 2) forward<half>(*call, scale);
}

void attnmask_backward(const Call *call, float scale) {
    if (call->type == 0) backward<float>(*call, scale);
    if (call->type == 1) backward<bfloat16>(*call, scale);
    if (call->type == 2) backward<half>(*call, scale);
}
}
