// How a block draws a tile: a warp has 8 x 4 of its pixels and looks only at the splats that reach those.
#pragma once

#include "scene.cuh"

constexpr int MAX_THREADS = MAX_TILE * MAX_TILE;

struct Tile {
    int view, begin, end;          // its list in `keys`
    int left, top;                 // of the pixels of the warp
    int x, y;                      // pixel of the thread
    bool inside;                   // the image
    size_t pixel;                  // of all views
};

static __device__ __forceinline__ Tile load_tile(const Params& p) {
    const int tiles = p.tiles_x * p.tiles_y, lane = threadIdx.x % 32, warp = threadIdx.x / 32, columns = p.tile / 8;
    Tile t;
    t.view = blockIdx.x / tiles;
    const int tile = blockIdx.x % tiles;
    t.begin = min(p.tile_starts[blockIdx.x], p.capacity);
    t.end = min(p.tile_starts[blockIdx.x + 1], p.capacity);
    t.left = tile % p.tiles_x * p.tile + warp % columns * 8;
    t.top = tile / p.tiles_x * p.tile + warp / columns * 4;
    t.x = t.left + lane % 8;
    t.y = t.top + lane / 8;
    t.inside = t.x < p.width && t.y < p.height;
    t.pixel = (size_t(t.view) * p.height + t.y) * p.width + t.x;
    return t;
}

// As many records as the block has threads, which all of its warps read.
template <bool NORMALS>
struct Batch {
    float4 place[MAX_THREADS], shape[MAX_THREADS], color[MAX_THREADS], normal[NORMALS ? MAX_THREADS : 1];
    int splat[MAX_THREADS];

    __device__ __forceinline__ void load(const Params& p, const Tile& t, int entry) {
        const int n = int(unsigned(p.keys[entry])), k = threadIdx.x;
        const size_t at = size_t(t.view) * p.num_splats + n;
        place[k] = p.records[at * 3];
        shape[k] = p.records[at * 3 + 1];
        color[k] = p.records[at * 3 + 2];
        if (NORMALS) normal[k] = p.splat_normals[at];
        splat[k] = n;
    }

    // Whether entry `k` can reach a pixel of the warp.
    __device__ __forceinline__ bool reaches(const Tile& t, int k) const {
        const unsigned columns = __float_as_uint(place[k].z), rows = __float_as_uint(place[k].w);
        return int(columns & 0xffff) < t.left + 8 && int(columns >> 16) > t.left && int(rows & 0xffff) < t.top + 4 &&
               int(rows >> 16) > t.top;
    }
};

// log2 of alpha at an offset from the centre: one expression for both passes, so that both draw the same pixels.
static __device__ __forceinline__ float log2_alpha(const float4& shape, float dx, float dy) {
    return fmaf(fmaf(shape.x, dx, shape.y * dy), dx, fmaf(shape.z * dy, dy, shape.w));
}

static __device__ __forceinline__ float exp2_fast(float x) {  // relative error below 2^-22
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
