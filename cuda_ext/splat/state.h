// What the forward pass leaves for the backward pass, and the kernels that both instruction sets offer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

#include "../api.h"
#include "constants.h"

namespace sds3d {

constexpr int LANES = 8;
constexpr int TILE = 16;  // pixels; 8 was never faster, from 64x64 to 256x256

// Grow-only array without initialisation, aligned for vectors.
template <class T>
struct Buffer {
    T* data = nullptr;
    size_t capacity = 0;

    Buffer() = default;
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    ~Buffer() { std::free(data); }
    T& operator[](size_t i) { return data[i]; }
    const T& operator[](size_t i) const { return data[i]; }
    size_t bytes() const { return capacity * sizeof(T); }

    void reserve(size_t size) {
        if (size <= capacity) return;
        size_t wanted = (size + size / 4 + 64) * sizeof(T);
        wanted = (wanted + 63) / 64 * 64;
        std::free(data);
        data = nullptr;
        capacity = 0;
        data = static_cast<T*>(std::aligned_alloc(64, wanted));
        if (!data) throw std::bad_alloc();
        capacity = wanted / sizeof(T);
    }
};

// Pixels [x0, x1) x [y0, y1) that a splat can reach; x0 == x1 when it is not visible.
struct Rect {
    uint16_t x0, y0, x1, y1;

    size_t num_tiles() const {  // that it touches
        if (x0 == x1) return 0;
        return size_t((x1 - 1) / TILE - x0 / TILE + 1) * ((y1 - 1) / TILE - y0 / TILE + 1);
    }
};

// One splat as one view sees it: exactly a cache line.
struct alignas(64) Record {
    float u, v;                       // center, pixels
    float half_a, b, half_c;          // sigma = half_a dx^2 + b dx dy + half_c dy^2
    float opacity, sigma_max;         // alpha >= ALPHA_MIN exactly where sigma <= sigma_max
    float z;
    float rgb[3];
    float normal[3];
    Rect rect;
};
static_assert(sizeof(Record) == 64, "Record must fill one cache line");

// A splat in the list of a tile. `slot` numbers the instances of a view by depth, so those of one splat are adjacent.
struct Entry {
    uint32_t splat, slot;
};

// d loss / d (what the splat adds to one tile): moments of q = alpha * d loss / d alpha, then the weighted cotangents.
struct alignas(64) InstanceGradient {
    float q, qx, qy, qxx, qxy, qyy;
    float rgb[3], z, normal[3];
    float spare[3];
};
static_assert(sizeof(InstanceGradient) == 64, "InstanceGradient must fill one cache line");

struct ViewLists {
    Buffer<uint64_t> order, scratch;  // depth bits << 32 | splat
    Buffer<uint32_t> tile_starts;     // [tiles + 1]
    Buffer<uint32_t> cursors;         // [tiles]
    Buffer<uint32_t> first_slots;     // [N]
    Buffer<Entry> entries;
    uint32_t num_entries = 0;
};

struct Kernels;

struct State {
    const Kernels* kernels = nullptr;
    int num_splats = 0, num_views = 0;
    int tiles_x = 0, tiles_y = 0;
    Buffer<Record> records;             // [C, N]
    Buffer<float> z;                    // [C, N]
    Buffer<Rect> rects;                 // [C, N]
    Buffer<float> transmittances;       // [C, tiles, TILE, TILE] of the finished pixels
    Buffer<int32_t> lasts;              // likewise: position in the tile's list of the last splat that was blended, or -1
    ViewLists* views = nullptr;         // [C]
    int num_lists = 0;
    Buffer<size_t> slot_bases;          // [C + 1]
    Buffer<InstanceGradient> instance_gradients;

    State() = default;
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    ~State() { delete[] views; }
    int num_tiles() const { return tiles_x * tiles_y; }
};

struct Kernels {
    const char* name;
    // Splats [begin, end) in all views; begin is a multiple of LANES.
    void (*project)(State&, const sds3d_splat_scene&, const sds3d_splat_images&, int begin, int end);
    void (*blend)(State&, const sds3d_splat_scene&, const sds3d_splat_images&, int view, int tile);
    void (*blend_backward)(State&, const sds3d_splat_scene&, const sds3d_splat_images&, const sds3d_splat_cotangents&,
                           int view, int tile);
    void (*project_backward)(State&, const sds3d_splat_scene&, const sds3d_splat_gradients&, int begin, int end);
};

extern const Kernels baseline_kernels;
#if defined(__x86_64__)
extern const Kernels avx2_kernels;
#endif

}  // namespace sds3d
