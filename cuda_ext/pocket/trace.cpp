// CPU entry point of the tracer: images are dealt to plain threads.
#include "trace.h"

#include "../api.h"

#include <atomic>
#include <thread>
#include <vector>

// parts [B, 28, 29], cameras [B, V, 13], out [B, V, resolution, resolution, 4]; float32, contiguous.
extern "C" SDS3D_API int sds3d_trace(const float* parts, const float* cameras, float* out, int objects, int views, int resolution,
                           int samples, int threads) {
    using namespace sds3d_tracer;
    std::atomic<int> next{0};
    auto work = [&] {
        for (int image; (image = next++) < objects * views;)
            for (int pixel = 0; pixel < resolution * resolution; ++pixel)
                trace_pixel(parts + size_t(image / views) * MAX_PARTS * COLUMNS, cameras + size_t(image) * 13, resolution, samples,
                            pixel % resolution, pixel / resolution, out + (size_t(image) * resolution * resolution + pixel) * 4);
    };
    std::vector<std::thread> pool;
    for (int i = 1; i < threads; ++i) pool.emplace_back(work);
    work();
    for (auto& thread : pool) thread.join();
    return 0;
}
