// Gradients of the blending: each pixel walks from the last splat blended to the first. Let w = alpha T, g be the product
// of a splat's color (depth, normal) with the pixel's cotangents, and A the adjoint of the transmittance behind the splat:
//   d loss / d alpha = T (g - A),    the adjoint in front of it = A + alpha (g - A),
// so that neither colors nor transmittances of the forward pass need be stored.
#pragma once

#include "tile.cuh"

// Sums K values over groups of 2 STEP lanes with half the exchanges at each step: a lane hands over the half of the values
// that it gives up and adds to the other half.
template <int K, int STEP>
struct PackedSum {
    static constexpr int HALF = (K + 1) / 2;

    template <int SIZE>
    static __device__ __forceinline__ float run(float (&v)[SIZE], int lane) {
        const bool upper = lane & STEP;
#pragma unroll
        for (int i = 0; i < HALF; ++i) {
            const float other = i + HALF < K ? v[i + HALF] : 0.0f;
            v[i] = (upper ? other : v[i]) + __shfl_xor_sync(ALL_LANES, upper ? v[i] : other, STEP);
        }
        return PackedSum<HALF, STEP / 2>::run(v, lane);
    }
    // Which of the values a lane ends up with, or -1: `mine` is how many of its K are not padding.
    static __device__ __forceinline__ int value(int lane, int first = 0, int mine = K) {
        return lane & STEP ? PackedSum<HALF, STEP / 2>::value(lane, first + HALF, mine - HALF)
                           : PackedSum<HALF, STEP / 2>::value(lane, first, mine < HALF ? mine : HALF);
    }
};
template <int K>
struct PackedSum<K, 0> {
    template <int SIZE>
    static __device__ __forceinline__ float run(float (&v)[SIZE], int) {
        return v[0];
    }
    static __device__ __forceinline__ int value(int, int first, int mine) { return mine > 0 ? first : -1; }
};

// What a pixel hands to its splats.
struct Cotangents {
    float red, green, blue, z, nx, ny, nz;
    float transmittance, adjoint;
    int last;
};

template <int VALUES>
static __device__ __forceinline__ Cotangents load_cotangents(const Params& p, const Tile& t) {
    Cotangents c = {0, 0, 0, 0, 0, 0, 0, 1, 0, -1};
    if (!t.inside) return c;
    c.transmittance = p.transmittances[t.pixel];
    c.last = p.lasts[t.pixel];
    if (p.v_colors) {
        const float* rgb = p.v_colors + t.pixel * 3;
        const float* background = p.backgrounds + t.view * 3;
        c.red = rgb[0], c.green = rgb[1], c.blue = rgb[2];
        c.adjoint = background[0] * c.red + background[1] * c.green + background[2] * c.blue;
    }
    if (p.v_alphas) c.adjoint -= p.v_alphas[t.pixel];
    if (VALUES > V_Z && p.v_depths && c.last >= 0) {
        c.z = p.v_depths[t.pixel] / (1 - c.transmittance);
        c.adjoint += c.z * p.out_depths[t.pixel];
    }
    if (VALUES > V_NORMAL && p.v_normals) {
        const float* normal = p.v_normals + t.pixel * 3;
        c.nx = normal[0], c.ny = normal[1], c.nz = normal[2];
    }
    return c;
}

// The pixel's contributions to a splat's gradient are products of these; zero where it did not blend the splat.
struct Factors {
    float q, s, t, weight;
};

template <int VALUES>
static __device__ __forceinline__ Factors walk_past(Cotangents& c, const Batch<(VALUES > V_NORMAL)>& batch, int k,
                                                    const Offset& o, bool drawn) {
    const float raw = drawn ? exp2_fast(o.log2_alpha) : 0.0f, alpha = fminf(raw, ALPHA_MAX);
    c.transmittance = __fdividef(c.transmittance, 1 - alpha);
    const float weight = alpha * c.transmittance;
    const float4 color = batch.color[k];
    float along = fmaf(color.x, c.red, fmaf(color.y, c.green, color.z * c.blue));
    if (VALUES > V_Z) along = fmaf(color.w, c.z, along);
    if (VALUES > V_NORMAL) {
        const float4 normal = batch.normal[k];
        along = fmaf(normal.x, c.nx, fmaf(normal.y, c.ny, fmaf(normal.z, c.nz, along)));
    }
    const float difference = along - c.adjoint;
    c.adjoint = fmaf(alpha, difference, c.adjoint);
    return {raw <= ALPHA_MAX ? weight * difference : 0.0f, o.s, o.t, weight};  // a clamped alpha does not move
}

template <int VALUES>
static __device__ __forceinline__ void moments(float (&v)[VALUES], const Factors& f, const Cotangents& c) {
    v[Q] = f.q;
    v[QS] = f.q * f.s;
    v[QT] = f.q * f.t;
    v[QSS] = v[QS] * f.s;
    v[QST] = v[QS] * f.t;
    v[QTT] = v[QT] * f.t;
    v[V_RGB] = f.weight * c.red;
    v[V_RGB + 1] = f.weight * c.green;
    v[V_RGB + 2] = f.weight * c.blue;
    if constexpr (VALUES > V_Z) v[V_Z] = f.weight * c.z;
    if constexpr (VALUES > V_NORMAL) {
        v[V_NORMAL] = f.weight * c.nx;
        v[V_NORMAL + 1] = f.weight * c.ny;
        v[V_NORMAL + 2] = f.weight * c.nz;
    }
}

// The sums of two splats over the lanes of a warp, one value a lane: the lower half of the lanes has the first splat's, the
// upper half the second's. They part before the products are made: choosing among factors is cheaper than among products.
template <int VALUES>
static __device__ __forceinline__ float sum_two(const Factors& first, const Factors& second, const Cotangents& c, int lane) {
    const bool upper = lane & 16;
    float keep[VALUES], give[VALUES];
    moments<VALUES>(keep, upper ? second : first, c);
    moments<VALUES>(give, upper ? first : second, c);
#pragma unroll
    for (int i = 0; i < VALUES; ++i) keep[i] += __shfl_xor_sync(ALL_LANES, give[i], 16);
    return PackedSum<VALUES, 8>::run(keep, lane);
}

static __device__ __forceinline__ int warp_max(int x) {
    for (int step = 16; step; step /= 2) x = max(x, __shfl_xor_sync(ALL_LANES, x, step));
    return x;
}

// Deterministic: each warp has left its sums over its pixels in `sums`; their sum, in the order of the warps, goes to the
// records of entries [first, first + count).
template <int VALUES>
static __device__ __forceinline__ void store_sums(const Params& p, const float* sums, int first, int count) {
    const int warps = blockDim.x / 32;
    __syncthreads();
    for (int i = threadIdx.x; i < count * VALUES; i += blockDim.x) {
        float sum = 0;
        for (int warp = 0; warp < warps; ++warp) sum += sums[warp * 32 * VALUES + i];
        p.gradients[size_t(first + i / VALUES) * p.gradient_stride + i % VALUES] = sum;
    }
    __syncthreads();
}

template <int VALUES>  // V_Z without cotangents of depth and normals, V_NORMAL without those of normals, or MOMENTS
static __device__ __forceinline__ void blend_backward(const Params& p) {
    __shared__ Batch<(VALUES > V_NORMAL)> batch;
    __shared__ int block_last;
    extern __shared__ float all_sums[];  // deterministic: [warps, 32, VALUES]
    const Tile t = load_tile(p);
    if (t.begin == t.end) return;
    const int lane = threadIdx.x % 32;
    const float x = t.x + 0.5f, y = t.y + 0.5f;
    float* sums = all_sums + threadIdx.x / 32 * 32 * VALUES;
    const int slot = PackedSum<VALUES, 8>::value(lane);
    const bool upper = lane & 16;
    Cotangents c = load_cotangents<VALUES>(p, t);
    const int warp_last = warp_max(c.last);
    if (threadIdx.x == 0) block_last = -1;
    __syncthreads();
    if (lane == 0) atomicMax(&block_last, warp_last);
    __syncthreads();
    float* gradients = p.gradients + size_t(t.view) * p.num_splats * p.gradient_stride;
    for (int stop = block_last + 1; stop > 0; stop -= blockDim.x) {
        const int first = max(stop - int(blockDim.x), 0), size = stop - first;
        __syncthreads();
        if (int(threadIdx.x) < size) batch.load(p, t, t.begin + first + threadIdx.x);
        __syncthreads();
        for (int group = (size - 1) / 32 * 32; group >= 0; group -= 32) {
            if (p.deterministic)
                for (int i = lane; i < 32 * VALUES; i += 32) sums[i] = 0;
            __syncwarp();
            const int mine = group + lane;
            unsigned hits = __ballot_sync(ALL_LANES, mine < size && first + mine <= warp_last && batch.reaches(t, mine));
            // Two at a time: one reduction for both, and half as many waits for one.
            while (hits) {
                const int high = 31 - __clz(hits);
                hits ^= 1u << high;
                const bool pair = hits;
                const int low = pair ? 31 - __clz(hits) : high;
                hits &= ~(1u << low);
                const int k = group + high, next = group + low;
                const Offset here = offset_of(batch.place[k], batch.shape[k], x, y);
                const Offset there = offset_of(batch.place[next], batch.shape[next], x, y);
                const bool drawn = first + k <= c.last && here.log2_alpha >= LOG2_ALPHA_MIN;
                const bool next_drawn = pair && first + next <= c.last && there.log2_alpha >= LOG2_ALPHA_MIN;
                if (!__any_sync(ALL_LANES, drawn || next_drawn)) continue;
                const Factors one = walk_past<VALUES>(c, batch, k, here, drawn);
                const Factors other = walk_past<VALUES>(c, batch, next, there, next_drawn);
                const float sum = sum_two<VALUES>(one, other, c, lane);
                if (slot < 0 || (upper && !pair)) continue;
                if (p.deterministic)
                    sums[(upper ? low : high) * VALUES + slot] = sum;
                else
                    atomicAdd(gradients + size_t(batch.splat[upper ? next : k]) * p.gradient_stride + slot, sum);
            }
            if (p.deterministic) store_sums<VALUES>(p, all_sums, t.begin + first + group, min(32, size - group));
        }
    }
}

// Left to itself the compiler takes too few registers and spills; a multiprocessor of sm_75 holds but 1024 threads.
#if __CUDA_ARCH__ >= 800
constexpr int BLOCKS = 5;
#else
constexpr int BLOCKS = 4;
#endif
extern "C" __global__ void __launch_bounds__(MAX_THREADS, BLOCKS) splat_blend_backward(const Params p) {
    blend_backward<V_Z>(p);
}
extern "C" __global__ void __launch_bounds__(MAX_THREADS, BLOCKS) splat_blend_backward_depth(const Params p) {
    blend_backward<V_NORMAL>(p);
}
extern "C" __global__ void __launch_bounds__(MAX_THREADS, BLOCKS) splat_blend_backward_normals(const Params p) {
    blend_backward<MOMENTS>(p);
}
