// What Python asks of a kernel, and the memory of a thread.

#pragma once
#include <cstdint>
#include <cstdlib>

struct Array {  // (batch, heads, length, numbers): numbers from one to the next, those of a row side by side
    char *data;
    int64_t batch, head, row;

    template <class T> T *of(int64_t b, int64_t h) const { return (T *)data + b * batch + h * head; }
};

struct Call {  // as attnmask/run/engines/cpu/kernel/__init__.py writes it
    int64_t type;  // 0: float, 1: bfloat16, 2: half
    int64_t threads;
    int64_t batch, heads, kv_heads, kv_len, dim, dim_v;
    int64_t list_batch, list_heads, blocks;  // lists per batch and per head, or 1 for all; blocks in each
    const int32_t *rows;                     // (lists, blocks, rows of a block), -1 where a block has fewer
    const int64_t *offsets;                  // of each block's entries (lists * blocks + 1)
    const int32_t *start, *stop;             // keys of each entry
    const uint32_t *seen;                    // and the rows that see them
    Array q, k, v, output, lse;              // lse: float, -inf where a row sees nothing
    Array grad, grad_q, grad_lse;            // grad_lse: float, or nowhere
    int64_t parts;           // of the blocks of a head, whose gradients of keys are summed apart
    float *grad_k, *grad_v;  // (parts, batch, kv_heads, kv_len, dim), zeros

    int64_t size;  // of groups (groups.cpp): positions in each
    int64_t q_len;
    Array key_grad, value_grad;  // the gradients of keys, where a pass by keys makes them,
    float *grad_q_sums;          // and of queries (parts, batch, heads, q_len, dim)

    int64_t lists(int64_t b, int64_t h) const {  // the first block of a head
        return ((list_batch > 1 ? b : 0) * list_heads + (list_heads > 1 ? h : 0)) * blocks;
    }
};

struct Memory {  // of one thread, handed out in parts
    float *start, *next;
    explicit Memory(int64_t numbers) { next = start = (float *)aligned_alloc(64, numbers * sizeof(float)); }
    ~Memory() { free(start); }
    float *take(int64_t numbers) { return (next += numbers) - numbers; }
};
