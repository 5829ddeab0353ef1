// From splats to records, and how many of them each tile gets.
#pragma once

#include "scene.cuh"

// Calls body(tile, value) for every tile that the rectangle of each lane touches. A splat that covers the image would make
// the other lanes of its warp wait for hundreds of atomics, so the whole warp shares the tiles of a large rectangle.
template <class F>
static __device__ __forceinline__ void for_each_tile(const TileRect& rect, int tiles_x, unsigned long long value, F body) {
    const int lane = threadIdx.x % 32, count = rect.count();
    const bool large = count > 16;
    if (!large)
        for (int y = rect.y0; y < rect.y1; ++y)
            for (int x = rect.x0; x < rect.x1; ++x) body(y * tiles_x + x, value);
    for (unsigned rest = __ballot_sync(ALL_LANES, large); rest; rest &= rest - 1) {
        const int owner = __ffs(rest) - 1;
        TileRect theirs;
        theirs.x0 = __shfl_sync(ALL_LANES, rect.x0, owner);
        theirs.y0 = __shfl_sync(ALL_LANES, rect.y0, owner);
        theirs.x1 = __shfl_sync(ALL_LANES, rect.x1, owner);
        const int their_count = __shfl_sync(ALL_LANES, count, owner);
        const unsigned long long their_value = __shfl_sync(ALL_LANES, value, owner);
        for (int k = lane; k < their_count; k += 32) body(theirs.at(k, tiles_x), their_value);
    }
}

// The record of splat `n` in `view` and its radius in pixels, 0 if it is invisible.
static __device__ __forceinline__ float project_splat(const Params& p, int view, int n, Record& r, float4& normal) {
    const Splat s = load_splat(p, n);
    const View camera = load_view(p, view);
    const Projected o = project(s, camera);
    r.u = camera.fx * o.xn + camera.cx, r.v = camera.fy * o.yn + camera.cy;
    if (p.means2d_offsets) {
        const float* offset = p.means2d_offsets + (size_t(view) * p.num_splats + n) * 2;
        r.u += offset[0], r.v += offset[1];
    }
    const float opacity = p.antialiased ? s.opacity * compensation_of(o) : s.opacity;
    const float sigma_max = logf(opacity / ALPHA_MIN), reach = sqrtf(fmaxf(2 * sigma_max, 0.0f));
    const float reach_u = reach * sqrtf(o.var_u), reach_v = reach * sqrtf(o.var_v);
    // Comparisons are false for NaN, so a splat with NaN is skipped.
    const bool visible = o.point[2] >= p.near_plane && sigma_max > 0 && r.u + reach_u > 0 && r.u - reach_u < p.width &&
                         r.v + reach_v > 0 && r.v - reach_v < p.height && o.l00 > 0 && o.l11 > 0;
    if (!visible) return 0;
    const unsigned x0 = unsigned(ceilf(fmaxf(r.u - reach_u - 0.5f, 0.0f)));
    const unsigned x1 = unsigned(fminf(r.u + reach_u + 0.5f, p.width));
    const unsigned y0 = unsigned(ceilf(fmaxf(r.v - reach_v - 0.5f, 0.0f)));
    const unsigned y1 = unsigned(fminf(r.v + reach_v + 0.5f, p.height));
    if (x0 >= x1 || y0 >= y1) return 0;
    r.columns = x0 | x1 << 16, r.rows = y0 | y1 << 16;
    r.a = WHITE * o.l00, r.b = WHITE * o.l10, r.c = WHITE * o.l11;
    r.log2_opacity = log2f(opacity);
    normal = make_float4(o.sign * axis(s, 0), o.sign * axis(s, 1), o.sign * axis(s, 2), 0.0f);
    return ceilf(fmaxf(reach_u, reach_v));
}

// Writes what `view` keeps of splat `n`; the tiles that it touches.
static __device__ __forceinline__ TileRect keep_splat(const Params& p, int view, int n) {
    const size_t at = size_t(view) * p.num_splats + n;
    Record r = {};
    float4 normal = make_float4(0, 0, 0, 0);
    const float radius = project_splat(p, view, n, r, normal);
    if (!(radius > 0)) r = {};
    p.radii[at] = radius;
    store_record(p.records + at * 2, r);
    if (p.splat_normals) p.splat_normals[at] = normal;
    return tile_rect(p, r.columns, r.rows);
}

// Blocks (x: a stretch of the splats, y: the view) meet at the counters of the tiles. Where they fit, a block counts in its
// shared memory first: then a tile's counter sees one atomic a block instead of one a splat.
static __device__ __forceinline__ unsigned* tile_counters(const Params& p) {
    extern __shared__ unsigned shared_tiles[];
    const int tiles = p.tiles_x * p.tiles_y;
    if (!p.shared_counters) return p.cursors + size_t(blockIdx.y) * tiles;
    for (int k = threadIdx.x; k < tiles; k += blockDim.x) shared_tiles[k] = 0;
    __syncthreads();
    return shared_tiles;
}

extern "C" __global__ void __launch_bounds__(256) splat_project(const Params p) {
    unsigned* counters = tile_counters(p);
    const int begin = blockIdx.x * p.splats_per_block, end = min(begin + p.splats_per_block, p.num_splats);
    for (int base = begin; base < end; base += blockDim.x) {
        const int n = base + threadIdx.x;
        TileRect rect = {0, 0, 0, 0};
        if (n < end) rect = keep_splat(p, blockIdx.y, n);
        for_each_tile(rect, p.tiles_x, 0, [&](int tile, unsigned long long) { atomicAdd(&counters[tile], 1u); });
    }
    if (!p.shared_counters) return;
    __syncthreads();
    const int tiles = p.tiles_x * p.tiles_y;
    for (int k = threadIdx.x; k < tiles; k += blockDim.x)
        if (counters[k]) atomicAdd(&p.cursors[size_t(blockIdx.y) * tiles + k], counters[k]);
}
