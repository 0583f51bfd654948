// Products of bfloat16: squares of SIDE x SIDE floats, by AMX tiles, by `vdpbf16ps`, or by a plain emulation of tiles.
//
// All three flush denormal numbers to 0, and sum products of pairs in float.

#pragma once
#include <sys/syscall.h>
#include <unistd.h>

#include "vectors.h"

constexpr int SIDE = 32;  // of a square; rows of a block, keys of a group, and numbers that are multiplied at once

#if defined __AMX_BF16__ && !defined EMULATED

// Own statements, since the intrinsics of g++ 12 do not say that they read and write memory.
#define ZERO(t) asm volatile("tilezero %%tmm" #t :::)
#define LOAD(t, from, pitch) asm volatile("tileloadd (%0,%1,1), %%tmm" #t ::"r"(from), "r"(int64_t(pitch)) : "memory")
#define STORE(t, to, pitch) asm volatile("tilestored %%tmm" #t ", (%0,%1,1)" ::"r"(to), "r"(int64_t(pitch)) : "memory")
#define DOT(c, a, b) asm volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #c :::)

INLINE bool tiles_allowed() {  // Linux keeps tiles for processes that ask for them, once, before their first tile
    return syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* XTILEDATA */) == 0;
}

struct Tiles {  // of this thread: eight of 16 rows of 64 bytes
    Tiles() {
        struct { uint8_t palette, start, zeros[14]; uint16_t bytes[16]; uint8_t rows[16]; } config = {};
        config.palette = 1;
        for (int t = 0; t < 8; t++) config.bytes[t] = 64, config.rows[t] = 16;
        asm volatile("ldtilecfg %0" ::"m"(config));
    }
    ~Tiles() { asm volatile("tilerelease"); }  // or every switch of the thread saves 8 KB
};

#else

INLINE bool tiles_allowed() { return true; }

struct Tiles {
    ~Tiles() {}
};

#endif

#if defined EMULATED  // the statements above, in plain C++

struct Tile { uint32_t words[16][16]; };
static thread_local Tile emulated[8];

static void load_tile(Tile &t, const void *from, int64_t pitch) {
    for (int i = 0; i < 16; i++) memcpy(t.words[i], (const char *)from + i * pitch, 64);
}
static void store_tile(const Tile &t, void *to, int64_t pitch) {
    for (int i = 0; i < 16; i++) memcpy((char *)to + i * pitch, t.words[i], 64);
}

INLINE float as_float(uint32_t bits) { float x; memcpy(&x, &bits, sizeof x); return x; }

static void dot_tiles(Tile &c, const Tile &a, const Tile &b) {  // numbers 0, 2, 4 ... are summed, then 1, 3, 5 ...
    for (int m = 0; m < 16; m++)
        for (int n = 0; n < 16; n++) {
            float even = 0, odd = 0;
            for (int k = 0; k < 16; k++) {
                uint32_t x = a.words[m][k], y = b.words[k][n];
                even += as_float(x << 16) * as_float(y << 16);
                odd += as_float(x & 0xffff0000) * as_float(y & 0xffff0000);
            }
            float sum = as_float(c.words[m][n]) + (even + odd);
            memcpy(&c.words[m][n], &sum, sizeof sum);
        }
}

#define ZERO(t) memset(&emulated[t], 0, sizeof(Tile))
#define LOAD(t, from, pitch) load_tile(emulated[t], from, pitch)
#define STORE(t, to, pitch) store_tile(emulated[t], to, pitch)
#define DOT(c, a, b) dot_tiles(emulated[c], emulated[a], emulated[b])

#endif

// c (SIDE rows of SIDE floats) = or += a . b for every step s, of SIDE numbers: a(s) has SIDE rows of them, and b(s) half
// as many rows, of SIDE pairs of numbers that multiply those of a row of a. Pitches count numbers, pairs and floats.
#ifdef DOT

template <bool ADD, class A, class B>
INLINE void square(int steps, A a, int64_t a_pitch, B b, int64_t b_pitch, float *c, int64_t c_pitch) {
    float *below = c + 16 * c_pitch;
    if (ADD) {
        LOAD(0, c, c_pitch * 4); LOAD(1, c + 16, c_pitch * 4); LOAD(2, below, c_pitch * 4); LOAD(3, below + 16, c_pitch * 4);
    } else {
        ZERO(0); ZERO(1); ZERO(2); ZERO(3);
    }
    for (int s = 0; s < steps; s++) {
        const bfloat16 *left = a(s);
        const uint32_t *right = b(s);
        LOAD(4, left, a_pitch * 2); LOAD(6, right, b_pitch * 4);
        DOT(0, 4, 6);
        LOAD(7, right + 16, b_pitch * 4);
        DOT(1, 4, 7);
        LOAD(5, left + 16 * a_pitch, a_pitch * 2);
        DOT(2, 5, 6);
        DOT(3, 5, 7);
    }
    STORE(0, c, c_pitch * 4); STORE(1, c + 16, c_pitch * 4); STORE(2, below, c_pitch * 4); STORE(3, below + 16, c_pitch * 4);
}

#else

template <bool ADD, class A, class B>
INLINE void square(int steps, A a, int64_t a_pitch, B b, int64_t b_pitch, float *c, int64_t c_pitch) {
    constexpr int STRIP = 8;  // rows whose sums stay in registers
    for (int r = 0; r < SIDE; r += STRIP) {
        __m512 sum[STRIP][2];
#pragma GCC unroll 8
        for (int t = 0; t < STRIP; t++)
            for (int w = 0; w < 2; w++)
                sum[t][w] = ADD ? _mm512_loadu_ps(c + (r + t) * c_pitch + 16 * w) : _mm512_setzero_ps();
        for (int s = 0; s < steps; s++) {
            const bfloat16 *left = a(s) + r * a_pitch;
            const uint32_t *right = b(s);
            for (int j = 0; j < SIDE / 2; j++) {
                __m512bh one = (__m512bh)_mm512_loadu_si512(right + j * b_pitch);
                __m512bh two = (__m512bh)_mm512_loadu_si512(right + j * b_pitch + 16);
#pragma GCC unroll 8
                for (int t = 0; t < STRIP; t++) {
                    int32_t pair;
                    memcpy(&pair, left + t * a_pitch + 2 * j, sizeof pair);
                    __m512bh x = (__m512bh)_mm512_set1_epi32(pair);
                    sum[t][0] = _mm512_dpbf16_ps(sum[t][0], one, x);
                    sum[t][1] = _mm512_dpbf16_ps(sum[t][1], two, x);
                }
            }
        }
#pragma GCC unroll 8
        for (int t = 0; t < STRIP; t++)
            for (int w = 0; w < 2; w++) _mm512_storeu_ps(c + (r + t) * c_pitch + 16 * w, sum[t][w]);
    }
}

#endif
