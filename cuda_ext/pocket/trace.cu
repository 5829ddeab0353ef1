// GPU entry point of the tracer: one thread a pixel. Compiled by NVRTC behind the text of trace.h.
extern "C" __global__ void sds3d_trace_kernel(const float* parts, const float* cameras, float* out, int images, int views,
                                              int resolution, int samples) {
    using namespace sds3d_tracer;
    int pixels = resolution * resolution, image = blockIdx.y, pixel = blockIdx.x * blockDim.x + threadIdx.x;
    if (image >= images || pixel >= pixels) return;
    trace_pixel(parts + size_t(image / views) * MAX_PARTS * COLUMNS, cameras + size_t(image) * 13, resolution, samples,
                pixel % resolution, pixel / resolution, out + (size_t(image) * pixels + pixel) * 4);
}
