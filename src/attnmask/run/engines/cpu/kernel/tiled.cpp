// Attention of blocks of rows over listed keys, forward and backward, in products of bfloat16.
//
// Blocks and lists are those of blocks.cpp, and rows are the lanes of vectors here too:
//
//     scores^T [key][row] = key . query^T              a: rows of keys          b: queries, in columns
//     output^T [number][row] += value^T . weights^T    a: columns of values     b: weights, as the softmax leaves them
//
// Keys are taken in groups of 32, a few of them at once. Python calls this through ctypes.

#include <cmath>

#include "packing.h"

constexpr float LOWEST = -1e30f;  // below all scores, and a number, so that differences are numbers
constexpr float LOG2E = 1.44269504f, LOG2 = 0.693147181f;
constexpr int GROUP = SIDE * SIDE;  // pairs of a group of keys and a block of rows

struct Calm {  // results too small for a float are 0 while it lives, or each would cost hundreds of cycles
    unsigned before = _mm_getcsr();
    Calm() { _mm_setcsr(before | 0x8040); }
    ~Calm() { _mm_setcsr(before); }
};

INLINE __mmask16 sees(uint32_t seen, int half) { return __mmask16(seen >> (16 * half)); }
INLINE vec select(__mmask16 lanes, vec x, vec other) { return (vec)_mm512_mask_mov_ps((__m512)other, lanes, (__m512)x); }

// 2^x to 3e-6 of itself, exactly 1 for 0, and 0 for other lanes than `seen`: 2^floor(x) times a polynomial of the rest.
INLINE vec power_of_2(vec x, __mmask16 seen = 0xffff) {
    vec f = (vec)_mm512_reduce_ps((__m512)x, 9);  // x - floor(x)
    vec p = f * 0.0134267012f + 0.052242447f;
    p = p * f + 0.241280217f;
    p = p * f + 0.693044843f;
    p = p * f + 1.0f;
    return (vec)_mm512_maskz_scalef_ps(seen, (__m512)p, (__m512)x);
}

// Rows (SIDE, whole(dim)) as columns in pairs of numbers.
INLINE void to_columns(const bfloat16 *rows, int64_t width, uint32_t *columns) {
    turn(rows, int(width / 2), SIDE, width / 2, columns, SIDE);
}

// ---- forward --------------------------------------------------------------------------------------------------------

class Forward {
    static constexpr int GROUPS = 2;  // at once
    const Call &call;
    Packs &packs;
    float factor;   // of scores, to powers of 2
    bool negative;  // scale, which the queries then take
    int64_t width, width_v;
    float *scratch, *output, *scores;
    uint32_t *queries, *weights;
    bfloat16 *rows, *own, *known;
    Group group[GROUPS];
    const bfloat16 *keys[GROUPS], *values[GROUPS];
    int groups;
    vec most[2], total[2];  // of each row: the largest score so far, and the sum of 2^(score - largest)

    void score() {
        for (int g = 0; g < groups; g++)
            square<false>(int(width / SIDE), [&](int s) { return keys[g] + s * SIDE; }, width,
                          [&](int s) { return queries + s * GROUP / 2; }, SIDE, scores + g * GROUP, SIDE);
    }

    void sum_values() {
        for (int64_t d = 0; d < width_v; d += SIDE)
            square<true>(groups, [&](int g) { return values[g] + d * SIDE; }, SIDE,
                         [&](int g) { return weights + g * GROUP / 2; }, SIDE, output + d * SIDE, SIDE);
    }

    template <bool MASKED> void find_largest(int g, vec *top) {
        const float *score = scores + g * GROUP;
        for (int i = 0; i < SIDE; i += 2)
            for (int w = 0; w < 2; w++) {
                vec one = load(score + i * SIDE + 16 * w), two = load(score + (i + 1) * SIDE + 16 * w);
                if (MASKED) one = select(sees(group[g].seen[i], w), one, vec{} - INFINITY);
                if (MASKED) two = select(sees(group[g].seen[i + 1], w), two, vec{} - INFINITY);
                top[w] = larger(top[w], larger(one, two));
            }
    }

    template <bool MASKED> void weigh(int g, vec *sum) {
        const float *score = scores + g * GROUP;
        uint32_t *to = weights + g * GROUP / 2;
        for (int i = 0; i < SIDE; i += 2)
            for (int w = 0; w < 2; w++) {
                vec one = load(score + i * SIDE + 16 * w) * factor - most[w];
                vec two = load(score + (i + 1) * SIDE + 16 * w) * factor - most[w];
                one = MASKED ? power_of_2(one, sees(group[g].seen[i], w)) : power_of_2(one);
                two = MASKED ? power_of_2(two, sees(group[g].seen[i + 1], w)) : power_of_2(two);
                sum[w] += one + two;
                _mm512_store_si512(to + i / 2 * SIDE + 16 * w, pairs(one, two));
            }
    }

    // Scores to weights; what came before is scaled to a new largest score.
    void softmax() {
        vec top[2] = {vec{} - INFINITY, vec{} - INFINITY}, sum[2] = {}, before[2];
        for (int g = 0; g < groups; g++) group[g].masked ? find_largest<true>(g, top) : find_largest<false>(g, top);
        bool grown = false;
        for (int w = 0; w < 2; w++) {
            vec next = larger(most[w], top[w] * factor);  // most, where that is NaN
            grown |= _mm512_cmp_ps_mask((__m512)next, (__m512)most[w], _CMP_NEQ_UQ);
            before[w] = power_of_2(most[w] - next), most[w] = next;
        }
        for (int g = 0; g < groups; g++) group[g].masked ? weigh<true>(g, sum) : weigh<false>(g, sum);
        for (int w = 0; w < 2; w++) total[w] = total[w] * before[w] + sum[w];
        for (int64_t d = 0; d < width_v && grown; d++)
            for (int w = 0; w < 2; w++) *(vec *)(output + d * SIDE + 16 * w) *= before[w];
    }

    void begin(int64_t b, int64_t h, const int32_t *index) {
        copy_rows(call.q.of<bfloat16>(b, h), call.q.row, [&](int r) { return index[r]; }, call.dim, rows);
        to_columns(rows, width, queries);
        const __m512i sign = _mm512_set1_epi16(negative ? int16_t(0x8000) : 0);
        for (int64_t i = 0; i < SIDE * width / 2; i += 16)
            _mm512_store_si512(queries + i, _mm512_xor_si512(_mm512_load_si512(queries + i), sign));
        memset(output, 0, sizeof(float) * SIDE * width_v);
        for (int w = 0; w < 2; w++) most[w] = vec{} + LOWEST, total[w] = vec{};
    }

    void finish(int64_t b, int64_t h, const int32_t *index) {
        vec inverse[2];
        for (int w = 0; w < 2; w++) inverse[w] = total[w] == 0.0f ? vec{} : 1.0f / total[w];  // NaN stays NaN
        scatter_columns(output, inverse, index, call.dim_v, (uint32_t *)scratch, (uint32_t *)own,
                        call.output.of<bfloat16>(b, h), call.output.row);
        float *lse = call.lse.of<float>(b, h);
        for (int r = 0; r < SIDE; r++) {
            float sum = total[r / 16][r % 16], largest = most[r / 16][r % 16];
            if (index[r] >= 0) lse[index[r] * call.lse.row] = sum == 0.0f ? -INFINITY : largest * LOG2 + logf(sum);
        }
    }

public:
    static constexpr bool BACKWARD = false;

    static int64_t numbers(const Call &call, const Pack &pack) {
        int64_t width = whole(call.dim), width_v = whole(call.dim_v);
        return pack.scratch + SIDE * (width_v + width) + GROUPS * (GROUP + GROUP / 2 + pack.size / 2 + SIDE * width_v / 2);
    }

    Forward(const Call &call, float scale, Packs &packs, Memory &memory)
        : call(call), packs(packs), factor(fabsf(scale) * LOG2E), negative(scale < 0), width(whole(call.dim)),
          width_v(whole(call.dim_v)) {
        scratch = memory.take(packs.pack.scratch), output = memory.take(SIDE * width_v);
        queries = (uint32_t *)memory.take(SIDE * width / 2), rows = (bfloat16 *)memory.take(SIDE * width / 2);
        scores = memory.take(GROUPS * GROUP), weights = (uint32_t *)memory.take(GROUPS * GROUP / 2);
        own = (bfloat16 *)memory.take(GROUPS * packs.pack.size / 2);
        known = (bfloat16 *)memory.take(GROUPS * SIDE * width_v / 2);
    }

    void block(int64_t b, int64_t h, int64_t number) {
        const int32_t *index = call.rows + number * SIDE;
        int64_t kv = h / (call.heads / call.kv_heads);
        begin(b, h, index);
        for (GroupList list(call, number);;) {
            for (groups = 0; groups < GROUPS && list.next(group[groups]); groups++) {
                const Group &g = group[groups];
                const bfloat16 *pack = packs.of(b, kv, g, own + groups * packs.pack.size, scratch);
                keys[groups] = pack;
                values[groups] = known_columns(g, pack + packs.pack.values, width_v, known + groups * SIDE * width_v);
            }
            if (groups == 0) break;
            score();
            softmax();
            sum_values();
        }
        finish(b, h, index);
    }
};

void forward(const Call &call, float scale) {
    int64_t blocks = call.batch * call.heads * call.blocks;
    int64_t at_once = blocks < 32 * call.threads ? 1 : 4;  // neighbours share keys in the cache
    Packs packs(call, false);
#pragma omp parallel num_threads(call.threads)
    {
        Tiles tiles;
        Calm calm;
        Memory memory(Forward::numbers(call, packs.pack));
        Forward work(call, scale, packs, memory);
#pragma omp for schedule(dynamic, at_once)
        for (int64_t i = 0; i < blocks; i++) {
            int64_t b = i / call.blocks / call.heads, h = i / call.blocks % call.heads;
            work.block(b, h, call.lists(b, h) + i % call.blocks);
        }
    }
}

// ---- backward -------------------------------------------------------------------------------------------------------
//
//     weights^T, slopes^T [key][row]                   slopes: gradients of scores, as scores^T and the softmax above
//     grad_v [key][number] += weights . grad           a: pairs of rows 16 apart, as two vectors become one
//     grad_k [key][number] += slopes . queries         b: rows of queries or gradients, in such pairs
//     grad_q^T [number][row] += key^T . slopes^T       a: columns of keys        b: slopes again, in pairs of keys

class Backward {
    static constexpr int GROUPS = 4;  // at once
    const Call &call;
    Packs &packs;
    float scale;
    int64_t width, width_v;
    float *scratch, *grad_q, *scores, *inner, *sums;
    uint32_t *query_columns, *grad_columns, *query_pairs, *grad_pairs, *weights, *slopes, *slope_pairs;
    bfloat16 *rows, *outputs, *own, *known;
    Group group[GROUPS];
    const bfloat16 *keys[GROUPS], *values[GROUPS], *columns[GROUPS];
    int groups;
    vec lse[2], taken[2];  // of each row: log2 of the sum of e^score; scale times what is taken from gradients of weights

    void score() {
        for (int g = 0; g < groups; g++) {
            square<false>(int(width / SIDE), [&](int s) { return keys[g] + s * SIDE; }, width,
                          [&](int s) { return query_columns + s * GROUP / 2; }, SIDE, scores + g * GROUP, SIDE);
            square<false>(int(width_v / SIDE), [&](int s) { return values[g] + s * SIDE; }, width_v,
                          [&](int s) { return grad_columns + s * GROUP / 2; }, SIDE, inner + g * GROUP, SIDE);
        }
    }

    // Scores to weights, and gradients of weights to gradients of scores.
    template <bool MASKED> void softmax(int g) {
        float factor = scale * LOG2E;
        for (int i = 0; i < SIDE; i += 2) {
            vec weight[2][2], slope[2][2];
            int place = g * GROUP + i * SIDE;
#pragma GCC unroll 4
            for (int n = 0; n < 4; n++) {
                int j = n / 2, w = n % 2;
                __mmask16 seen = MASKED ? sees(group[g].seen[i + j], w) : 0xffff;
                vec power = load(scores + place + j * SIDE + 16 * w) * factor - lse[w];
                vec above = load(inner + place + j * SIDE + 16 * w) * scale - taken[w];
                weight[j][w] = MASKED ? power_of_2(power, seen) : power_of_2(power);
                slope[j][w] = MASKED ? select(seen, weight[j][w] * above, vec{}) : weight[j][w] * above;
            }
#pragma GCC unroll 2
            for (int j = 0; j < 2; j++) {
                _mm512_store_si512(weights + place / 2 + j * 16, pairs(weight[j][0], weight[j][1]));
                _mm512_store_si512(slopes + place / 2 + j * 16, pairs(slope[j][0], slope[j][1]));
                _mm512_store_si512(slope_pairs + place / 2 + j * 16, pairs(slope[0][j], slope[1][j]));
            }
        }
    }

    // Gradients of a group of keys (length, dim) += factors . rows: in place, or beside it and key by key.
    void sum_rows(const Group &g, const uint32_t *factors, const uint32_t *pairs, int64_t width, int64_t dim, float *to) {
        bool in_place = g.first >= 0 && g.known == ~0u && dim == width;
        for (int64_t d = 0; d < width; d += SIDE) {
            auto a = [&](int) { return (const bfloat16 *)factors; };
            auto b = [&](int) { return pairs + d; };
            if (in_place) square<true>(1, a, SIDE, b, width, to + g.first * dim + d, dim);
            else square<false>(1, a, SIDE, b, width, sums + d, width);
        }
        for (int i = 0; i < SIDE && !in_place; i++) {
            if (g.key(i) < 0) continue;
            float *of_key = to + g.key(i) * dim, *sum = sums + i * width;
            for (int64_t d = 0; d < dim; d++) of_key[d] += sum[d];
        }
    }

    void sum(float *grad_k, float *grad_v) {
        for (int g = 0; g < groups; g++) {
            sum_rows(group[g], weights + g * GROUP / 2, grad_pairs, width_v, call.dim_v, grad_v);
            sum_rows(group[g], slopes + g * GROUP / 2, query_pairs, width, call.dim, grad_k);
        }
        for (int64_t d = 0; d < width; d += SIDE)
            square<true>(groups, [&](int g) { return columns[g] + d * SIDE; }, SIDE,
                         [&](int g) { return slope_pairs + g * GROUP / 2; }, SIDE, grad_q + d * SIDE, SIDE);
    }

    void begin(int64_t b, int64_t h, const int32_t *index) {
        auto row = [&](int r) { return index[r]; };
        copy_rows(call.q.of<bfloat16>(b, h), call.q.row, row, call.dim, rows);
        to_columns(rows, width, query_columns);
        pair_rows(rows, width, 16, query_pairs);
        copy_rows(call.grad.of<bfloat16>(b, h), call.grad.row, row, call.dim_v, rows);
        to_columns(rows, width_v, grad_columns);
        pair_rows(rows, width_v, 16, grad_pairs);
        copy_rows(call.output.of<bfloat16>(b, h), call.output.row, row, call.dim_v, outputs);
        memset(grad_q, 0, sizeof(float) * SIDE * width);
        const float *of_rows = call.lse.of<float>(b, h), *of_lse = call.grad_lse.of<float>(b, h);
        for (int r = 0; r < SIDE; r++) {
            vec products = {};
            for (int64_t d = r * width_v; d < (r + 1) * width_v; d += 16) products += load(outputs + d) * load(rows + d);
            float all = 0;
            for (int i = 0; i < 16; i++) all += products[i];
            if (call.grad_lse.data && index[r] >= 0) all -= of_lse[index[r] * call.grad_lse.row];
            taken[r / 16][r % 16] = all * scale;
            float found = index[r] < 0 ? 0.0f : of_rows[index[r] * call.lse.row];
            lse[r / 16][r % 16] = found == -INFINITY ? 0.0f : found * LOG2E;  // which none of its weights is asked for
        }
    }

public:
    static int64_t numbers(const Call &call, const Pack &pack) {
        int64_t width = whole(call.dim), width_v = whole(call.dim_v), wider = width > width_v ? width : width_v;
        return pack.scratch + SIDE * (2 * width + 2 * width_v + 2 * wider) +
               GROUPS * (2 * GROUP + 3 * GROUP / 2 + pack.size / 2 + SIDE * width / 2);
    }

    Backward(const Call &call, float scale, Packs &packs, Memory &memory)
        : call(call), packs(packs), scale(scale), width(whole(call.dim)), width_v(whole(call.dim_v)) {
        int64_t wider = width > width_v ? width : width_v;
        scratch = memory.take(packs.pack.scratch), grad_q = memory.take(SIDE * width), sums = memory.take(SIDE * wider);
        rows = (bfloat16 *)memory.take(SIDE * wider / 2), outputs = (bfloat16 *)memory.take(SIDE * width_v / 2);
        for (uint32_t **at : {&query_columns, &query_pairs}) *at = (uint32_t *)memory.take(SIDE * width / 2);
        for (uint32_t **at : {&grad_columns, &grad_pairs}) *at = (uint32_t *)memory.take(SIDE * width_v / 2);
        for (float **at : {&scores, &inner}) *at = memory.take(GROUPS * GROUP);
        for (uint32_t **at : {&weights, &slopes, &slope_pairs}) *at = (uint32_t *)memory.take(GROUPS * GROUP / 2);
        own = (bfloat16 *)memory.take(GROUPS * packs.pack.size / 2);
        known = (bfloat16 *)memory.take(GROUPS * SIDE * width / 2);
    }

    void block(int64_t b, int64_t h, int64_t number, float *grad_k, float *grad_v) {
        const int32_t *index = call.rows + number * SIDE;
        int64_t kv = h / (call.heads / call.kv_heads);
        begin(b, h, index);
        for (GroupList list(call, number);;) {
            for (groups = 0; groups < GROUPS && list.next(group[groups]); groups++) {
                const Group &g = group[groups];
                const bfloat16 *pack = packs.of(b, kv, g, own + groups * packs.pack.size, scratch);
                keys[groups] = pack, values[groups] = pack + packs.pack.values;
                columns[groups] = known_columns(g, pack + packs.pack.columns, width, known + groups * SIDE * width);
            }
            if (groups == 0) break;
            score();
            for (int g = 0; g < groups; g++) group[g].masked ? softmax<true>(g) : softmax<false>(g);
            sum(grad_k, grad_v);
        }
        const vec one[2] = {vec{} + 1.0f, vec{} + 1.0f};
        scatter_columns(grad_q, one, index, call.dim, (uint32_t *)scratch, (uint32_t *)own,
                        call.grad_q.of<bfloat16>(b, h), call.grad_q.row);
    }
};

// Tasks are those of blocks.cpp.
void backward(const Call &call, float scale) {
    int64_t heads = call.batch * call.kv_heads, group = call.heads / call.kv_heads;
    Packs packs(call, true);
#pragma omp parallel num_threads(call.threads)
    {
        Tiles tiles;
        Calm calm;
        Memory memory(Backward::numbers(call, packs.pack));
        Backward work(call, scale, packs, memory);
#pragma omp for schedule(dynamic, 1)
        for (int64_t i = 0; i < call.parts * heads; i++) {
            int64_t b = i % heads / call.kv_heads, kv = i % call.kv_heads, part = i / heads;
            float *grad_k = call.grad_k + i * call.kv_len * call.dim, *grad_v = call.grad_v + i * call.kv_len * call.dim_v;
            for (int64_t h = kv * group; h < (kv + 1) * group; h++)
                for (int64_t n = part * call.blocks / call.parts; n < (part + 1) * call.blocks / call.parts; n++)
                    work.block(b, h, call.lists(b, h) + n, grad_k, grad_v);
        }
    }
}

// ---- what Python calls ----------------------------------------------------------------------------------------------

extern "C" {

int attnmask_rows() { return SIDE; }

bool attnmask_runs_here() {
    __builtin_cpu_init();
    bool vectors = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
#if defined EMULATED
    return vectors;
#elif defined __AMX_BF16__
    return vectors && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("amx-bf16") && tiles_allowed();
#else
    return vectors && __builtin_cpu_supports("avx512bf16");
#endif
}

bool attnmask_has_amx() {
    __builtin_cpu_init();
    return __builtin_cpu_supports("amx-bf16");
}

void attnmask_forward(const Call *call, float scale) { forward(*call, scale); }

void attnmask_backward(const Call *call, float scale) { backward(*call, scale); }
}
