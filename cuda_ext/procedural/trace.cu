// GPU entry point of the tracer: one thread a pixel, one block a tile of 16 x 8 pixels, whose rays go much the same way.
// The parts are read from shared memory, where all threads of a warp read one word at once.
#include "trace.h"

struct TraceParams {  // TraceParams of sds3d/procedural/tracer.py
    const float* parts;    // [objects, MAX_PARTS, COLUMNS]
    const float* cameras;  // [images, 13], see trace_pixel
    float* out;            // [images, resolution, resolution, 4]
    float* normals;        // [images, resolution, resolution, 3] or null
    int views;             // images of one object
    int resolution;
    int samples;           // squared: rays a pixel
};

extern "C" __global__ void __launch_bounds__(128) sds3d_trace_kernel(const TraceParams p) {
    using namespace sds3d_tracer;
    __shared__ float parts[MAX_PARTS * COLUMNS];
    int image = blockIdx.y, tiles = (p.resolution + 15) / 16;
    const float* source = p.parts + size_t(image / p.views) * MAX_PARTS * COLUMNS;
    for (int i = threadIdx.x; i < MAX_PARTS * COLUMNS; i += blockDim.x) parts[i] = source[i];
    __syncthreads();
    int x = int(blockIdx.x) % tiles * 16 + int(threadIdx.x) % 16, y = int(blockIdx.x) / tiles * 8 + int(threadIdx.x) / 16;
    if (x >= p.resolution || y >= p.resolution) return;
    size_t index = (size_t(image) * p.resolution + y) * p.resolution + x;
    trace_pixel(parts, p.cameras + size_t(image) * 13, p.resolution, p.samples, x, y, p.out + index * 4,
                p.normals ? p.normals + index * 3 : nullptr);
}
