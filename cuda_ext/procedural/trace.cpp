// CPU entry point of the tracer: images are dealt to plain threads.
#include "trace.h"

#include "../api.h"

#include <atomic>
#include <thread>
#include <vector>

extern "C" int32_t sds3d_trace(const float* parts, const float* cameras, float* out, float* normals, int32_t objects,
                               int32_t views, int32_t resolution, int32_t samples, int32_t num_threads) {
    using namespace sds3d_tracer;
    std::atomic<int> next{0};
    auto work = [&] {
        for (int image; (image = next++) < objects * views;)
            for (int pixel = 0; pixel < resolution * resolution; ++pixel) {
                size_t index = size_t(image) * resolution * resolution + pixel;
                trace_pixel(parts + size_t(image / views) * MAX_PARTS * COLUMNS, cameras + size_t(image) * 13, resolution, samples,
                            pixel % resolution, pixel / resolution, out + index * 4, normals ? normals + index * 3 : nullptr);
            }
    };
    std::vector<std::thread> pool;
    for (int i = 1; i < num_threads; ++i) pool.emplace_back(work);
    work();
    for (auto& thread : pool) thread.join();
    return 0;
}
