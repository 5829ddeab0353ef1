// Blending front to back (arXiv:2308.04079, eq. 3): a block a tile, a thread a pixel.
#pragma once

#include "tile.cuh"

// What a pixel has accumulated so far.
struct Pixel {
    float transmittance, red, green, blue, z, nx, ny, nz;
    int last;   // position in the tile's list of the last splat blended, or -1
    bool open;  // light still comes through
};

// alpha of entry `k` at a pixel; 0 where it is not blended.
template <bool NORMALS>
static __device__ __forceinline__ float alpha_of(const Batch<NORMALS>& batch, int k, float x, float y) {
    const float power = offset_of(batch.place[k], batch.shape[k], x, y).log2_alpha;
    return power >= LOG2_ALPHA_MIN ? fminf(exp2_fast(power), ALPHA_MAX) : 0.0f;
}

template <bool NORMALS>
static __device__ __forceinline__ void put(Pixel& pixel, const Batch<NORMALS>& batch, int k, float alpha, int position) {
    const float next = pixel.transmittance * (1 - alpha);
    if (!(pixel.open && alpha > 0)) return;
    if (next <= TRANSMITTANCE_MIN) {
        pixel.open = false;
        return;
    }
    const float4 color = batch.color[k];
    const float weight = alpha * pixel.transmittance;
    pixel.red = fmaf(weight, color.x, pixel.red);
    pixel.green = fmaf(weight, color.y, pixel.green);
    pixel.blue = fmaf(weight, color.z, pixel.blue);
    pixel.z = fmaf(weight, color.w, pixel.z);
    if (NORMALS) {
        const float4 normal = batch.normal[k];
        pixel.nx = fmaf(weight, normal.x, pixel.nx);
        pixel.ny = fmaf(weight, normal.y, pixel.ny);
        pixel.nz = fmaf(weight, normal.z, pixel.nz);
    }
    pixel.transmittance = next;
    pixel.last = position;
}

template <bool NORMALS>
static __device__ __forceinline__ void blend(const Params& p) {
    __shared__ Batch<NORMALS> batch;
    const Tile t = load_tile(p);
    const int lane = threadIdx.x % 32;
    const float x = t.x + 0.5f, y = t.y + 0.5f;
    Pixel pixel = {1, 0, 0, 0, 0, 0, 0, 0, -1, t.inside};
    for (int base = t.begin; base < t.end; base += blockDim.x) {
        if (!__syncthreads_or(pixel.open)) break;
        if (base + int(threadIdx.x) < t.end) batch.load(p, t, base + threadIdx.x);
        __syncthreads();
        const int size = min(int(blockDim.x), t.end - base);
        for (int group = 0; group < size && __any_sync(ALL_LANES, pixel.open); group += 32) {
            unsigned hits = __ballot_sync(ALL_LANES, group + lane < size && batch.reaches(t, group + lane));
            // Two at a time: their alphas do not wait for each other.
            while (hits) {
                const int first = group + __ffs(hits) - 1;
                hits &= hits - 1;
                const int second = hits ? group + __ffs(hits) - 1 : first;
                const float alpha = alpha_of(batch, first, x, y), next_alpha = hits ? alpha_of(batch, second, x, y) : 0.0f;
                hits &= hits - 1;
                put(pixel, batch, first, alpha, base - t.begin + first);
                put(pixel, batch, second, next_alpha, base - t.begin + second);
            }
        }
    }
    if (!t.inside) return;
    const float* background = p.backgrounds + t.view * 3;
    const float alpha = 1 - pixel.transmittance;
    float* rgb = p.out_colors + t.pixel * 3;
    rgb[0] = fmaf(pixel.transmittance, background[0], pixel.red);
    rgb[1] = fmaf(pixel.transmittance, background[1], pixel.green);
    rgb[2] = fmaf(pixel.transmittance, background[2], pixel.blue);
    p.out_alphas[t.pixel] = alpha;
    p.out_depths[t.pixel] = alpha > 0 ? pixel.z / fmaxf(alpha, 1e-10f) : 0.0f;
    if (NORMALS) {
        float* normal = p.out_normals + t.pixel * 3;
        normal[0] = pixel.nx, normal[1] = pixel.ny, normal[2] = pixel.nz;
    }
    p.transmittances[t.pixel] = pixel.transmittance;
    p.lasts[t.pixel] = pixel.last;
}

extern "C" __global__ void __launch_bounds__(MAX_THREADS) splat_blend(const Params p) { blend<false>(p); }
extern "C" __global__ void __launch_bounds__(MAX_THREADS) splat_blend_normals(const Params p) { blend<true>(p); }
