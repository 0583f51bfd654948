// One call of the kernel on another processor: one_call < arguments > results. test_neon.py writes and reads them.

#include <cstdio>
#include <vector>

#include "call.h"

extern "C" {
int attnmask_rows();
bool attnmask_runs_here();
void attnmask_forward(const Call *, float);
void attnmask_backward(const Call *, float);
void attnmask_groups_forward(const Call *, float);
}

struct Sizes {
    int64_t rows, entries, q_len, bytes;  // of a block; of all lists; queries; of a number
    int64_t grouped;                      // whether blocks are groups, forward only
    Call call;                            // without its addresses
    double scale;
};

struct Room : std::vector<char> {
    explicit Room(int64_t bytes, bool given) : std::vector<char>(bytes) {
        if (given && fread(data(), 1, bytes, stdin) != size_t(bytes)) exit(3);
    }
    template <class T> const T *of() const { return (const T *)data(); }
};

static Array array(Room &room, int64_t heads, int64_t length, int64_t dim) {
    return {room.data(), heads * length * dim, length * dim, dim};
}

int main() {
    Sizes sizes;
    if (fread(&sizes, sizeof sizes, 1, stdin) != 1 || !attnmask_runs_here()) return 2;
    Call &call = sizes.call;
    int64_t lists = call.list_batch * call.list_heads * call.blocks, entries = 4 * sizes.entries;
    Room rows(4 * lists * sizes.rows, true), offsets(8 * (lists + 1), true);
    Room start(entries, true), stop(entries, true), seen(entries, true);
    call.rows = rows.of<int32_t>(), call.offsets = offsets.of<int64_t>(), call.seen = seen.of<uint32_t>();
    call.start = start.of<int32_t>(), call.stop = stop.of<int32_t>();

    int64_t queries = call.batch * call.heads * sizes.q_len, keys = call.batch * call.kv_heads * call.kv_len;
    int64_t bytes = sizes.bytes, dim = call.dim, dim_v = call.dim_v;
    Room q(queries * dim * bytes, true), k(keys * dim * bytes, true), v(keys * dim_v * bytes, true);
    Room grad(queries * dim_v * bytes, true);
    Room output(queries * dim_v * bytes, false), lse(queries * 4, false), grad_q(queries * dim * bytes, false);
    Room grad_k(call.parts * keys * dim * 4, false), grad_v(call.parts * keys * dim_v * 4, false);
    call.q = array(q, call.heads, sizes.q_len, dim), call.grad_q = array(grad_q, call.heads, sizes.q_len, dim);
    call.k = array(k, call.kv_heads, call.kv_len, dim), call.v = array(v, call.kv_heads, call.kv_len, dim_v);
    call.output = array(output, call.heads, sizes.q_len, dim_v), call.grad = array(grad, call.heads, sizes.q_len, dim_v);
    call.lse = array(lse, call.heads, sizes.q_len, 1);
    call.grad_k = (float *)grad_k.data(), call.grad_v = (float *)grad_v.data();

    call.size = sizes.rows, call.q_len = sizes.q_len;
    if (sizes.grouped) attnmask_groups_forward(&call, sizes.scale);
    else if (sizes.rows == attnmask_rows()) attnmask_forward(&call, sizes.scale), attnmask_backward(&call, sizes.scale);
    else return 4;
    for (const Room *room : {&output, &lse, &grad_q, &grad_k, &grad_v}) fwrite(room->data(), 1, room->size(), stdout);
}
