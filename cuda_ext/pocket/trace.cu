// GPU entry point of the tracer: one thread a pixel, one block a tile of 16 x 8 pixels, whose rays go much the same way.
// The parts are read from shared memory, where all threads of a warp read one word at once. Compiled by NVRTC behind the
// text of trace.h.
extern "C" __global__ void __launch_bounds__(128) sds3d_trace_kernel(const float* all_parts, const float* cameras, float* out,
                                                                     int images, int views, int resolution, int samples) {
    using namespace sds3d_tracer;
    __shared__ float parts[MAX_PARTS * COLUMNS];
    int image = blockIdx.y, tiles = (resolution + 15) / 16;
    const float* source = all_parts + size_t(image / views) * MAX_PARTS * COLUMNS;
    for (int i = threadIdx.x; i < MAX_PARTS * COLUMNS; i += blockDim.x) parts[i] = source[i];
    __syncthreads();
    int x = int(blockIdx.x) % tiles * 16 + int(threadIdx.x) % 16, y = int(blockIdx.x) / tiles * 8 + int(threadIdx.x) / 16;
    if (x >= resolution || y >= resolution) return;
    trace_pixel(parts, cameras + size_t(image) * 13, resolution, samples, x, y,
                out + ((size_t(image) * resolution + y) * resolution + x) * 4);
}
