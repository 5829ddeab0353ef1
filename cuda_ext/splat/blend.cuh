// Blending front to back (arXiv:2308.04079, eq. 3): a block a tile, a thread a pixel.
#pragma once

#include "tile.cuh"

template <bool NORMALS>
static __device__ __forceinline__ void blend(const Params& p) {
    __shared__ Batch<NORMALS> batch;
    const Tile t = load_tile(p);
    const int lane = threadIdx.x % 32;
    const float x = t.x + 0.5f, y = t.y + 0.5f;
    float transmittance = 1, red = 0, green = 0, blue = 0, z = 0, nx = 0, ny = 0, nz = 0;
    int last = -1;
    bool open = t.inside;  // light still comes through
    for (int base = t.begin; base < t.end; base += blockDim.x) {
        if (!__syncthreads_or(open)) break;
        if (base + int(threadIdx.x) < t.end) batch.load(p, t, base + threadIdx.x);
        __syncthreads();
        const int size = min(int(blockDim.x), t.end - base);
        for (int group = 0; group < size && __any_sync(ALL_LANES, open); group += 32) {
            unsigned hits = __ballot_sync(ALL_LANES, group + lane < size && batch.reaches(t, group + lane));
            for (; hits; hits &= hits - 1) {
                const int k = group + __ffs(hits) - 1;
                const float4 place = batch.place[k];
                const float power = log2_alpha(batch.shape[k], place.x - x, place.y - y);
                if (!open || !(power >= LOG2_ALPHA_MIN)) continue;
                const float alpha = fminf(exp2_fast(power), ALPHA_MAX), next = transmittance * (1 - alpha);
                if (next <= TRANSMITTANCE_MIN) {
                    open = false;
                    continue;
                }
                const float4 color = batch.color[k];
                const float weight = alpha * transmittance;
                red = fmaf(weight, color.x, red);
                green = fmaf(weight, color.y, green);
                blue = fmaf(weight, color.z, blue);
                z = fmaf(weight, color.w, z);
                if (NORMALS) {
                    const float4 normal = batch.normal[k];
                    nx = fmaf(weight, normal.x, nx);
                    ny = fmaf(weight, normal.y, ny);
                    nz = fmaf(weight, normal.z, nz);
                }
                transmittance = next;
                last = base - t.begin + k;
            }
        }
    }
    if (!t.inside) return;
    const float* background = p.backgrounds + t.view * 3;
    const float alpha = 1 - transmittance;
    float* rgb = p.out_colors + t.pixel * 3;
    rgb[0] = fmaf(transmittance, background[0], red);
    rgb[1] = fmaf(transmittance, background[1], green);
    rgb[2] = fmaf(transmittance, background[2], blue);
    p.out_alphas[t.pixel] = alpha;
    p.out_depths[t.pixel] = alpha > 0 ? z / fmaxf(alpha, 1e-10f) : 0.0f;
    if (NORMALS) {
        float* normal = p.out_normals + t.pixel * 3;
        normal[0] = nx, normal[1] = ny, normal[2] = nz;
    }
    p.transmittances[t.pixel] = transmittance;
    p.lasts[t.pixel] = last;
}

extern "C" __global__ void __launch_bounds__(MAX_THREADS) splat_blend(const Params p) { blend<false>(p); }
extern "C" __global__ void __launch_bounds__(MAX_THREADS) splat_blend_normals(const Params p) { blend<true>(p); }
