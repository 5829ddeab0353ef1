// Group normalization of channels-last images in half precision, with its neighbors in an autoencoder: the sum of a
// residual and a convolution's bias before it, the SiLU after it. Each pass reads and writes every value once.
//
// A block has a run of pixels of one image, a thread always the same eight channels of them. Sums are taken in a fixed order.
#include "half.h"

constexpr int THREADS = 256;  // THREADS of sds3d/priors/norm_cuda.py
constexpr int MAX_GROUPS = 64;

struct NormParams {  // NormParams of sds3d/priors/norm_cuda.py
    const void* images;      // [images, pixels, channels]
    const void* residual;    // the same, or null
    const float* offset;     // [channels], added to the images, or null
    const float* weight;     // [channels]
    const float* bias;       // [channels]
    void* sum;               // [images, pixels, channels] images + residual + offset, or null; see `padded`
    float* partial;          // [images, splits, groups, 2] sums of a run of pixels
    float* stats;            // [images, groups, 2] mean, 1 / standard deviation
    void* out;               // [images, pixels, channels]
    const void* v_out;       // the same: gradient of `out`
    const void* v_sum;       // the same: gradient of `sum`, or null
    void* v_images;          // the same: gradient of `images`, which is that of `residual`
    int pixels, width, channels, groups, splits;
    int padded;              // `sum` has one more row and column of pixels, which are not written
    int bfloat;              // values are bfloat16, else float16
    int silu;
    float eps;
};

struct Place {  // what a thread works on
    int channel;        // the first of its eight
    int first, last, step;  // pixels
    size_t image;       // index of the first value of its image
    __device__ size_t at(int pixel, int channels) const { return image + size_t(pixel) * channels + channel; }
};

static __device__ Place place(const NormParams& p) {
    const int lanes = p.channels / 8, run = (p.pixels + p.splits - 1) / p.splits;
    Place o;
    o.channel = threadIdx.x % lanes * 8;
    o.step = THREADS / lanes;
    o.first = blockIdx.x * run + threadIdx.x / lanes;
    o.last = min(p.pixels, int(blockIdx.x + 1) * run);
    o.image = size_t(blockIdx.y) * p.pixels * p.channels;
    return o;
}

static __device__ void load_offset(const NormParams& p, int channel, float offset[8]) {
    for (int k = 0; k < 8; ++k) offset[k] = p.offset ? p.offset[channel + k] : 0.0f;
}

struct Sums {  // of each thread, in shared memory
    float values[2][THREADS * 8];
};

// Adds up what all threads of the block have summed, by group, into this block's entry of `partial`; before that,
// weigh(channel, first, second) may change the two sums of a channel.
template <class Weigh>
static __device__ void store_partial(const NormParams& p, Sums& shared, const float first[8], const float second[8],
                                     Weigh weigh) {
    for (int k = 0; k < 8; ++k) {
        shared.values[0][threadIdx.x * 8 + k] = first[k];
        shared.values[1][threadIdx.x * 8 + k] = second[k];
    }
    __syncthreads();
    const int width = p.channels / p.groups, rows = THREADS * 8 / p.channels;
    if (threadIdx.x >= p.groups) return;
    float totals[2] = {};
    for (int channel = threadIdx.x * width; channel < (threadIdx.x + 1) * width; ++channel) {
        float sums[2] = {};
        for (int row = 0; row < rows; ++row)
            for (int k = 0; k < 2; ++k) sums[k] += shared.values[k][row * p.channels + channel];
        weigh(channel, sums[0], sums[1]);
        for (int k = 0; k < 2; ++k) totals[k] += sums[k];
    }
    float* target = p.partial + ((size_t(blockIdx.y) * p.splits + blockIdx.x) * p.groups + threadIdx.x) * 2;
    target[0] = totals[0], target[1] = totals[1];
}

// The sums of the whole image by group, twice `groups` of them, in shared memory.
static __device__ const float* load_totals(const NormParams& p) {
    __shared__ float totals[2 * MAX_GROUPS];
    __shared__ float parts[THREADS];
    const int count = 2 * p.groups, teams = THREADS / count;  // each team adds every teams-th run
    const float* source = p.partial + size_t(blockIdx.y) * p.splits * count;
    float total = 0;
    if (threadIdx.x < teams * count)
#pragma unroll 8  // else it waits for one load after the other
        for (int split = threadIdx.x / count; split < p.splits; split += teams)
            total += source[split * count + threadIdx.x % count];
    parts[threadIdx.x] = total;
    __syncthreads();
    if (threadIdx.x < count) {
        total = 0;
        for (int team = 0; team < teams; ++team) total += parts[team * count + threadIdx.x];
        totals[threadIdx.x] = total;
    }
    __syncthreads();
    return totals;
}

// Where `pixel` stands among images with one more row and column.
static __device__ size_t padded_at(const NormParams& p, const Place& o, int pixel) {
    const int row = pixel / p.width, width = p.width + 1, height = p.pixels / p.width + 1;
    return ((size_t(blockIdx.y) * height + row) * width + pixel % p.width) * p.channels + o.channel;
}

// images + residual + offset.
template <bool BFLOAT>
static __device__ void load_input(const NormParams& p, size_t at, const float offset[8], float x[8]) {
    load8<BFLOAT>(p.images, at, x);
    if (p.residual) {
        float r[8];
        load8<BFLOAT>(p.residual, at, r);
        for (int k = 0; k < 8; ++k) x[k] += r[k];
    }
    for (int k = 0; k < 8; ++k) x[k] += offset[k];
}

// Writes `sum` and, unless `partial` is null, the sums of x and x^2.
template <bool BFLOAT>
static __device__ void sum_body(const NormParams& p, Sums& shared) {
    const Place o = place(p);
    float offset[8], first[8] = {}, second[8] = {};
    load_offset(p, o.channel, offset);
#pragma unroll 2
    for (int pixel = o.first; pixel < o.last; pixel += o.step) {
        float x[8];
        const size_t at = o.at(pixel, p.channels);
        load_input<BFLOAT>(p, at, offset, x);
        if (p.sum) store8<BFLOAT>(p.sum, p.padded ? padded_at(p, o, pixel) : at, x);
        for (int k = 0; k < 8; ++k) first[k] += x[k], second[k] += x[k] * x[k];
    }
    if (p.partial) store_partial(p, shared, first, second, [](int, float&, float&) {});
}

extern "C" __global__ void __launch_bounds__(THREADS, 3) norm_sum(const NormParams p) {
    __shared__ Sums shared;
    p.bfloat ? sum_body<true>(p, shared) : sum_body<false>(p, shared);
}

// The logistic function; the quick division is as exact as a half needs.
static __device__ float logistic(float x) { return __fdividef(1.0f, 1.0f + __expf(-x)); }

// For each channel: x * scale + shift is the normalized value, x * gain + lift what the layer makes of it.
struct Affine {
    float scale[8], shift[8], gain[8], lift[8];
};

static __device__ Affine affine(const NormParams& p, int channel, const float* stats) {
    Affine o;
    float offset[8];
    load_offset(p, channel, offset);
    for (int k = 0; k < 8; ++k) {
        const int group = (channel + k) / (p.channels / p.groups);
        const float weight = p.weight[channel + k];
        o.scale[k] = stats[2 * group + 1];
        o.shift[k] = (offset[k] - stats[2 * group]) * o.scale[k];
        o.gain[k] = o.scale[k] * weight;
        o.lift[k] = o.shift[k] * weight + p.bias[channel + k];
    }
    return o;
}

// Reads `images` with `offset`: those that were summed, if they were.
template <bool BFLOAT>
static __device__ void apply_body(const NormParams& p) {
    __shared__ float stats[2 * MAX_GROUPS];
    const float* totals = load_totals(p);
    if (threadIdx.x < p.groups) {
        const float count = float(p.pixels) * (p.channels / p.groups);
        const float mean = totals[2 * threadIdx.x] / count;
        const float variance = fmaxf(totals[2 * threadIdx.x + 1] / count - mean * mean, 0.0f);
        stats[2 * threadIdx.x] = mean, stats[2 * threadIdx.x + 1] = rsqrtf(variance + p.eps);
        if (blockIdx.x == 0)
            for (int k = 0; k < 2; ++k) p.stats[size_t(blockIdx.y) * p.groups * 2 + 2 * threadIdx.x + k] = stats[2 * threadIdx.x + k];
    }
    __syncthreads();
    const Place o = place(p);
    const Affine map = affine(p, o.channel, stats);
#pragma unroll 2
    for (int pixel = o.first; pixel < o.last; pixel += o.step) {
        float x[8];
        const size_t at = o.at(pixel, p.channels);
        load8<BFLOAT>(p.images, at, x);
        for (int k = 0; k < 8; ++k) {
            x[k] = x[k] * map.gain[k] + map.lift[k];
            if (p.silu) x[k] *= logistic(x[k]);
        }
        store8<BFLOAT>(p.out, at, x);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, 4) norm_apply(const NormParams p) {
    p.bfloat ? apply_body<true>(p) : apply_body<false>(p);
}

// x is what the layer was given, v the gradient of what it made, before its SiLU.
template <bool BFLOAT>
static __device__ void load_backward(const NormParams& p, size_t at, const Affine& map, float x[8], float v[8]) {
    load8<BFLOAT>(p.images, at, x);
    load8<BFLOAT>(p.v_out, at, v);
    if (!p.silu) return;
    for (int k = 0; k < 8; ++k) {
        const float z = x[k] * map.gain[k] + map.lift[k], s = logistic(z);
        v[k] *= s * (1 + z * (1 - s));
    }
}

// The sums of the gradient of the normalized values, v weight, and of its product with them.
template <bool BFLOAT>
static __device__ void backward_sum_body(const NormParams& p, Sums& shared) {
    const Place o = place(p);
    const float* stats = p.stats + size_t(blockIdx.y) * p.groups * 2;
    const Affine map = affine(p, o.channel, stats);
    float first[8] = {}, second[8] = {};
#pragma unroll 2
    for (int pixel = o.first; pixel < o.last; pixel += o.step) {
        float x[8], v[8];
        load_backward<BFLOAT>(p, o.at(pixel, p.channels), map, x, v);
        for (int k = 0; k < 8; ++k) first[k] += v[k], second[k] += v[k] * x[k];
    }
    store_partial(p, shared, first, second, [&](int channel, float& sum, float& product) {
        const float* of_group = stats + channel / (p.channels / p.groups) * 2;
        const float offset = p.offset ? p.offset[channel] : 0.0f;
        product = p.weight[channel] * of_group[1] * (product + (offset - of_group[0]) * sum);
        sum *= p.weight[channel];
    });
}

extern "C" __global__ void __launch_bounds__(THREADS, 3) norm_backward_sum(const NormParams p) {
    __shared__ Sums shared;
    p.bfloat ? backward_sum_body<true>(p, shared) : backward_sum_body<false>(p, shared);
}

// scale (v weight - mean - x slope), where x is normalized, is v gain - x_given times - plus.
template <bool BFLOAT>
static __device__ void backward_body(const NormParams& p) {
    const float* totals = load_totals(p);
    const Place o = place(p);
    float times[8], plus[8];
    const Affine map = affine(p, o.channel, p.stats + size_t(blockIdx.y) * p.groups * 2);
    const float count = float(p.pixels) * (p.channels / p.groups);
    for (int k = 0; k < 8; ++k) {
        const int group = (o.channel + k) / (p.channels / p.groups);
        const float mean = totals[2 * group] / count, slope = totals[2 * group + 1] / count;
        times[k] = map.scale[k] * map.scale[k] * slope;
        plus[k] = map.scale[k] * (mean + map.shift[k] * slope);
    }
#pragma unroll 2
    for (int pixel = o.first; pixel < o.last; pixel += o.step) {
        float x[8], v[8], more[8] = {};
        const size_t at = o.at(pixel, p.channels);
        if (p.v_sum) load8<BFLOAT>(p.v_sum, at, more);
        load_backward<BFLOAT>(p, at, map, x, v);
        for (int k = 0; k < 8; ++k) v[k] = v[k] * map.gain[k] - x[k] * times[k] - plus[k] + more[k];
        store8<BFLOAT>(p.v_images, at, v);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, 3) norm_backward(const NormParams p) {
    p.bfloat ? backward_body<true>(p) : backward_body<false>(p);
}
