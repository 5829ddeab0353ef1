// The list of each tile, nearest splat first, ties in the order of the splats: count (splat_project), scan, scatter, sort.
#pragma once

#include "project.cuh"

constexpr int SCAN_THREADS = 1024;
constexpr unsigned MAX_ENTRIES = 0x7fffffff;  // of all lists: tiles read their starts as int

static __device__ __forceinline__ unsigned capped(unsigned long long entries) {
    return entries < MAX_ENTRIES ? unsigned(entries) : MAX_ENTRIES;
}

// One block. Turns the counts in `cursors` into starts, and writes the number of entries to `status`. Sums have 64 bits;
// what is stored stops at MAX_ENTRIES, the largest capacity, so that it cannot wrap around.
extern "C" __global__ void __launch_bounds__(SCAN_THREADS) splat_scan(const Params p) {
    __shared__ unsigned long long sums[32];
    const int tiles = p.num_views * p.tiles_x * p.tiles_y, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int share = (tiles + SCAN_THREADS - 1) / SCAN_THREADS;
    const int begin = min(int(threadIdx.x) * share, tiles), end = min(begin + share, tiles);
    unsigned long long sum = 0;
    for (int i = begin; i < end; ++i) sum += p.cursors[i];
    unsigned long long before = sum;  // inclusive, then exclusive sums over threads
    for (int d = 1; d < 32; d *= 2) {
        const unsigned long long lower = __shfl_up_sync(ALL_LANES, before, d);
        if (lane >= d) before += lower;
    }
    if (lane == 31) sums[warp] = before;
    __syncthreads();
    if (warp == 0) {
        unsigned long long total = sums[lane];
        for (int d = 1; d < 32; d *= 2) {
            const unsigned long long lower = __shfl_up_sync(ALL_LANES, total, d);
            if (lane >= d) total += lower;
        }
        sums[lane] = total;
    }
    __syncthreads();
    before += (warp ? sums[warp - 1] : 0) - sum;
    for (int i = begin; i < end; ++i) {
        const unsigned count = p.cursors[i];
        p.cursors[i] = p.tile_starts[i] = capped(before);
        before += count;
    }
    if (threadIdx.x == SCAN_THREADS - 1) {
        p.tile_starts[tiles] = p.status[0] = capped(before);
        if (before > p.capacity) p.status[1] = 1;
    }
}

// The tiles of splat `n` in the view of the block, and its key.
static __device__ __forceinline__ TileRect load_rect(const Params& p, int n, int end, unsigned long long& key) {
    const size_t at = size_t(blockIdx.y) * p.num_splats + n;
    if (n >= end || !(p.radii[at] > 0)) return {0, 0, 0, 0};
    const float4 place = p.records[at * 2];
    key = key_of(p, blockIdx.y, n);
    return tile_rect(p, __float_as_uint(place.z), __float_as_uint(place.w));
}

// Puts each splat into the lists of its tiles. Entries beyond the capacity are dropped; `status` records that.
extern "C" __global__ void __launch_bounds__(256) splat_scatter(const Params p) {
    unsigned* counters = tile_counters(p);
    const int begin = blockIdx.x * p.splats_per_block, end = min(begin + p.splats_per_block, p.num_splats);
    const int tiles = p.tiles_x * p.tiles_y;
    unsigned long long key = 0;
    if (p.shared_counters) {  // the block takes as many places at once as it needs in each tile
        for (int base = begin; base < end; base += blockDim.x) {
            const TileRect rect = load_rect(p, base + threadIdx.x, end, key);
            for_each_tile(rect, p.tiles_x, 0, [&](int tile, unsigned long long) { atomicAdd(&counters[tile], 1u); });
        }
        __syncthreads();
        for (int k = threadIdx.x; k < tiles; k += blockDim.x)
            if (counters[k]) counters[k] = atomicAdd(&p.cursors[size_t(blockIdx.y) * tiles + k], counters[k]);
        __syncthreads();
    }
    for (int base = begin; base < end; base += blockDim.x) {
        const TileRect rect = load_rect(p, base + threadIdx.x, end, key);
        for_each_tile(rect, p.tiles_x, key, [&](int tile, unsigned long long value) {
            const unsigned slot = atomicAdd(&counters[tile], 1u);
            if (slot < p.capacity) p.keys[slot] = value;
        });
    }
}

constexpr int SORT_CHUNK = 4096;  // keys that are sorted in shared memory: 32 KB

static __device__ __forceinline__ void order(unsigned long long* keys, int low, int high, int count) {
    if (high >= count) return;
    const unsigned long long a = keys[low], b = keys[high];
    if (a > b) keys[low] = b, keys[high] = a;
}

// Bitonic sorting in which every comparison puts the smaller key first, so that keys beyond `count` are as good as
// infinite: a level merges sorted halves of `size` keys, first against the mirror image, then at falling distances.
static __device__ __forceinline__ void merge_mirror(unsigned long long* keys, int size, int count) {
    for (int k = threadIdx.x; k < (count + 1) / 2 + size / 2; k += blockDim.x) {
        const int half = size / 2, base = k / half * size, offset = k % half;
        order(keys, base + offset, base + size - 1 - offset, count);
    }
}
static __device__ __forceinline__ void merge_stride(unsigned long long* keys, int stride, int count) {
    for (int k = threadIdx.x; k < (count + 1) / 2 + stride; k += blockDim.x) {
        const int low = k / stride * 2 * stride + k % stride;
        order(keys, low, low + stride, count);
    }
}

// Up to 32 apart, a warp compares keys among the same 64 as before and after: it need not wait for the others.
static __device__ __forceinline__ void wait(int stride) {
    if (stride > 32)
        __syncthreads();
    else
        __syncwarp();
}

// What follows the mirror step of a level: comparisons at size / 4, size / 8, ..., 1.
static __device__ __forceinline__ void merge_below(unsigned long long* keys, int size, int count) {
    for (int stride = size / 4; stride >= 1; stride /= 2) {
        wait(2 * stride);
        merge_stride(keys, stride, count);
    }
}

static __device__ __forceinline__ void copy_keys(unsigned long long* to, const unsigned long long* from, int count) {
    for (int k = threadIdx.x; k < count; k += blockDim.x) to[k] = from[k];
}

// A block a tile.
extern "C" __global__ void __launch_bounds__(1024) splat_sort(const Params p) {
    __shared__ unsigned long long chunk[SORT_CHUNK];
    const unsigned begin = p.tile_starts[blockIdx.x], end = min(p.tile_starts[blockIdx.x + 1], p.capacity);
    if (end <= begin + 1) return;
    unsigned long long* keys = p.keys + begin;
    const int count = end - begin;
    for (int base = 0; base < count; base += SORT_CHUNK) {
        const int here = min(count - base, SORT_CHUNK);
        copy_keys(chunk, keys + base, here);
        __syncthreads();
        for (int size = 2; size / 2 < here; size *= 2) {
            wait(size / 2);
            merge_mirror(chunk, size, here);
            merge_below(chunk, size, here);
        }
        __syncthreads();
        copy_keys(keys + base, chunk, here);
        __syncthreads();
    }
    // A longer list: far comparisons where it lies, near ones in shared memory again.
    for (int size = 2 * SORT_CHUNK; size / 2 < count; size *= 2) {
        merge_mirror(keys, size, count);
        __syncthreads();
        for (int stride = size / 4; stride >= SORT_CHUNK; stride /= 2) {
            merge_stride(keys, stride, count);
            __syncthreads();
        }
        for (int base = 0; base < count; base += SORT_CHUNK) {
            const int here = min(count - base, SORT_CHUNK);
            copy_keys(chunk, keys + base, here);
            merge_below(chunk, 2 * SORT_CHUNK, here);
            __syncthreads();
            copy_keys(keys + base, chunk, here);
            __syncthreads();
        }
    }
}
