// How a block rasterizes a tile: a warp has 8 x 4 of its pixels and visits only the splats that reach those.
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
    float4 place[MAX_THREADS], shape[MAX_THREADS];  // see Record
    float4 color[MAX_THREADS];                      // and depth
    float4 normal[NORMALS ? MAX_THREADS : 1];
    int splat[MAX_THREADS];

    __device__ __forceinline__ void load(const Params& p, const Tile& t, int entry) {
        const unsigned long long key = p.keys[entry];
        const int n = int(unsigned(key)), k = threadIdx.x;
        const size_t at = size_t(t.view) * p.num_splats + n;
        place[k] = p.records[at * 2];
        shape[k] = p.records[at * 2 + 1];
        const float* rgb = p.colors + size_t(n) * 3;
        color[k] = make_float4(rgb[0], rgb[1], rgb[2], __uint_as_float(unsigned(key >> 32)));
        if (p.raw) color[k] = make_float4(sigmoid(rgb[0]), sigmoid(rgb[1]), sigmoid(rgb[2]), color[k].w);
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

// A pixel as a splat sees it: see Record. One expression for both passes, so that both blend the same pixels.
struct Offset {
    float s, t, log2_alpha;
};
static __device__ __forceinline__ Offset offset_of(const float4& place, const float4& shape, float x, float y) {
    const float dx = place.x - x, dy = place.y - y;
    Offset o;
    o.s = fmaf(shape.x, dx, shape.y * dy);
    o.t = shape.z * dy;
    o.log2_alpha = fmaf(-o.s, o.s, fmaf(-o.t, o.t, shape.w));
    return o;
}

static __device__ __forceinline__ float exp2_fast(float x) {  // relative error below 2^-22
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
