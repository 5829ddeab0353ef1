// The extern "C" functions: dispatch, depth sort, tile lists, and the order in which the kernels run.
#include "../api.h"

#include <atomic>
#include <cstring>
#include <mutex>

#include "state.h"
#include "thread_pool.h"

namespace sds3d {
namespace {

constexpr int SPLATS_PER_TASK = 32 * LANES;
constexpr size_t STATES_KEPT = 4;
constexpr size_t STATE_BYTES_KEPT = size_t(256) << 20;

// Freed states, kept for their memory: touching fresh pages costs as much as rasterizing a small image.
struct StateCache {
    std::mutex mutex;
    State* states[STATES_KEPT];
    size_t count = 0;
};

StateCache& cache() {
    static StateCache* kept = new StateCache;
    return *kept;
}

State* take_state() {
    StateCache& kept = cache();
    {
        std::lock_guard<std::mutex> lock(kept.mutex);
        if (kept.count) return kept.states[--kept.count];
    }
    return new (std::nothrow) State;
}

size_t state_bytes(const State& state) {
    size_t bytes = state.records.bytes() + state.z.bytes() + state.rects.bytes() + state.transmittances.bytes() +
                   state.lasts.bytes() + state.instance_gradients.bytes();
    for (int c = 0; c < state.num_lists; ++c) {
        const ViewLists& lists = state.views[c];
        bytes += lists.order.bytes() + lists.scratch.bytes() + lists.tile_starts.bytes() + lists.cursors.bytes() +
                 lists.first_slots.bytes() + lists.entries.bytes();
    }
    return bytes;
}

void give_state(State* state) {
    StateCache& kept = cache();
    if (state_bytes(*state) <= STATE_BYTES_KEPT) {
        std::lock_guard<std::mutex> lock(kept.mutex);
        if (kept.count < STATES_KEPT) {
            kept.states[kept.count++] = state;
            return;
        }
    }
    delete state;
}

// Runs body(i) like parallel_for and passes on a failed allocation.
template <class F>
void parallel_allocating(int num_threads, int num_tasks, F&& body) {
    std::atomic<bool> failed{false};
    parallel_for(num_threads, num_tasks, [&](int i) {
        try {
            body(i);
        } catch (const std::bad_alloc&) {
            failed = true;
        }
    });
    if (failed) throw std::bad_alloc();
}

// Sorts by the upper 32 bits, stable: three counting passes, skipping those whose digit is the same for all.
void radix_sort(uint64_t*& keys, uint64_t*& scratch, size_t count) {
    constexpr int PASSES = 3, BITS = 11, BINS = 1 << BITS;
    uint32_t histograms[PASSES][BINS] = {};
    for (size_t i = 0; i < count; ++i)
        for (int pass = 0; pass < PASSES; ++pass) ++histograms[pass][keys[i] >> (32 + pass * BITS) & (BINS - 1)];
    for (int pass = 0; pass < PASSES; ++pass) {
        const int shift = 32 + pass * BITS;
        uint32_t* histogram = histograms[pass];
        if (count && histogram[keys[0] >> shift & (BINS - 1)] == count) continue;
        uint32_t sum = 0;
        for (int bin = 0; bin < BINS; ++bin) {
            const uint32_t here = histogram[bin];
            histogram[bin] = sum;
            sum += here;
        }
        for (size_t i = 0; i < count; ++i) scratch[histogram[keys[i] >> shift & (BINS - 1)]++] = keys[i];
        std::swap(keys, scratch);
    }
}

template <class F>
void for_each_tile(const Rect& rect, int tiles_x, F&& body) {
    const int x0 = rect.x0 / TILE, x1 = (rect.x1 - 1) / TILE, y0 = rect.y0 / TILE, y1 = (rect.y1 - 1) / TILE;
    for (int y = y0; y <= y1; ++y)
        for (int x = x0; x <= x1; ++x) body(y * tiles_x + x);
}

// The list of each tile, nearest splat first, ties in the order of the splats.
void build_lists(State& state, int view) {
    ViewLists& lists = state.views[view];
    const size_t num_splats = state.num_splats, num_tiles = state.num_tiles();
    const Rect* rects = state.rects.data + view * num_splats;
    const float* z = state.z.data + view * num_splats;
    lists.order.reserve(num_splats);
    lists.scratch.reserve(num_splats);
    lists.first_slots.reserve(num_splats);
    lists.tile_starts.reserve(num_tiles + 1);
    lists.cursors.reserve(num_tiles);
    uint64_t* order = lists.order.data;
    uint64_t* scratch = lists.scratch.data;
    size_t count = 0, entries = 0;
    for (size_t i = 0; i < num_splats; ++i) entries += rects[i].num_tiles();
    if (entries > UINT32_MAX) throw std::bad_alloc();  // tile_starts and slots have 32 bits
    std::memset(lists.tile_starts.data, 0, (num_tiles + 1) * sizeof(uint32_t));
    for (size_t i = 0; i < num_splats; ++i) {
        if (rects[i].x0 == rects[i].x1) continue;
        uint32_t bits;  // of a positive float: ordered like it
        std::memcpy(&bits, &z[i], sizeof bits);
        order[count++] = uint64_t(bits) << 32 | i;
        for_each_tile(rects[i], state.tiles_x, [&](int tile) { ++lists.tile_starts[tile + 1]; });
    }
    radix_sort(order, scratch, count);
    for (size_t tile = 0; tile < num_tiles; ++tile) {
        lists.cursors[tile] = lists.tile_starts[tile];
        lists.tile_starts[tile + 1] += lists.tile_starts[tile];
    }
    lists.num_entries = lists.tile_starts[num_tiles];
    lists.entries.reserve(lists.num_entries);
    uint32_t slot = 0;
    for (size_t k = 0; k < count; ++k) {
        const uint32_t splat = uint32_t(order[k]);
        lists.first_slots[splat] = slot;
        for_each_tile(rects[splat], state.tiles_x,
                      [&](int tile) { lists.entries[lists.cursors[tile]++] = {splat, slot++}; });
    }
}

const Kernels& choose_kernels(bool use_simd) {
#if defined(__x86_64__)
    static const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (use_simd && has_avx2) return avx2_kernels;
#endif
    (void)use_simd;
    return baseline_kernels;
}

void forward(State& state, const sds3d_splat_scene& scene, const sds3d_splat_images& images, int num_threads) {
    const size_t num_splats = scene.num_splats, num_views = scene.num_views;
    state.num_splats = scene.num_splats, state.num_views = scene.num_views;
    state.tiles_x = (scene.width + TILE - 1) / TILE;
    state.tiles_y = (scene.height + TILE - 1) / TILE;
    const size_t num_tiles = state.num_tiles(), num_pixels = num_tiles * TILE * TILE;
    state.records.reserve(num_views * num_splats);
    state.z.reserve(num_views * num_splats);
    state.rects.reserve(num_views * num_splats);
    state.transmittances.reserve(num_views * num_pixels);
    state.lasts.reserve(num_views * num_pixels);
    state.slot_bases.reserve(num_views + 1);
    if (state.num_lists < scene.num_views) {
        ViewLists* views = new ViewLists[num_views];
        delete[] state.views;
        state.views = views;
        state.num_lists = scene.num_views;
    }
    const Kernels& kernels = *state.kernels;
    const int chunks = (scene.num_splats + SPLATS_PER_TASK - 1) / SPLATS_PER_TASK;
    parallel_for(num_threads, chunks, [&](int chunk) {
        const int begin = chunk * SPLATS_PER_TASK, end = begin + SPLATS_PER_TASK;
        kernels.project(state, scene, images, begin, end < scene.num_splats ? end : scene.num_splats);
    });
    parallel_allocating(num_threads, scene.num_views, [&](int view) { build_lists(state, view); });
    state.slot_bases[0] = 0;
    for (size_t c = 0; c < num_views; ++c) state.slot_bases[c + 1] = state.slot_bases[c] + state.views[c].num_entries;
    parallel_for(num_threads, scene.num_views * state.num_tiles(), [&](int i) {
        kernels.blend(state, scene, images, i / state.num_tiles(), i % state.num_tiles());
    });
}

void backward(State& state, const sds3d_splat_scene& scene, const sds3d_splat_images& images,
              const sds3d_splat_cotangents& cotangents, const sds3d_splat_gradients& gradients, int num_threads) {
    const Kernels& kernels = *state.kernels;
    state.instance_gradients.reserve(state.slot_bases[state.num_views]);
    parallel_for(num_threads, state.num_views * state.num_tiles(), [&](int i) {
        kernels.blend_backward(state, scene, images, cotangents, i / state.num_tiles(), i % state.num_tiles());
    });
    const int chunks = (state.num_splats + SPLATS_PER_TASK - 1) / SPLATS_PER_TASK;
    parallel_for(num_threads, chunks, [&](int chunk) {
        const int begin = chunk * SPLATS_PER_TASK, end = begin + SPLATS_PER_TASK;
        kernels.project_backward(state, scene, gradients, begin, end < state.num_splats ? end : state.num_splats);
    });
}

}  // namespace
}  // namespace sds3d

extern "C" {

int32_t sds3d_abi_version(void) { return SDS3D_ABI_VERSION; }

const char* sds3d_simd_name(int32_t use_simd) { return sds3d::choose_kernels(use_simd != 0).name; }

void sds3d_splat_cutoffs(float values[5]) {
    values[0] = sds3d::LOW_PASS;
    values[1] = sds3d::ALPHA_MAX;
    values[2] = sds3d::ALPHA_MIN;
    values[3] = sds3d::TRANSMITTANCE_MIN;
    values[4] = sds3d::FRUSTUM_MARGIN;
}

void* sds3d_splat_forward(const sds3d_splat_scene* scene, const sds3d_splat_images* images, int32_t num_threads,
                          int32_t use_simd) {
    sds3d::State* state = sds3d::take_state();
    if (!state) return nullptr;
    try {
        state->kernels = &sds3d::choose_kernels(use_simd != 0);
        sds3d::forward(*state, *scene, *images, num_threads);
    } catch (const std::bad_alloc&) {
        delete state;
        return nullptr;
    }
    return state;
}

int32_t sds3d_splat_backward(void* state, const sds3d_splat_scene* scene, const sds3d_splat_images* images,
                             const sds3d_splat_cotangents* cotangents, const sds3d_splat_gradients* gradients,
                             int32_t num_threads) {
    try {
        sds3d::backward(*static_cast<sds3d::State*>(state), *scene, *images, *cotangents, *gradients, num_threads);
    } catch (const std::bad_alloc&) {
        return 1;
    }
    return 0;
}

void sds3d_splat_free(void* state) { sds3d::give_state(static_cast<sds3d::State*>(state)); }

}  // extern "C"
