// What the CUDA kernels of the splatter share: their one argument, what they keep of a splat in a view, the projection.
//
// Projection is EWA splatting (Zwicker et al. 2001) as in 3D Gaussian splatting (arXiv:2308.04079): with M = R(q) diag(s)
// and the affine map J of the perspective at the center, the image covariance is (J W M)(J W M)^T + LOW_PASS I.
#pragma once

#include "constants.h"

using namespace sds3d;

constexpr unsigned ALL_LANES = 0xffffffffu;
constexpr float LOG2_ALPHA_MIN = -7.99435344f;  // log2(1 / 255)
constexpr int MAX_TILE = 16;                    // pixels; a block has a thread for each pixel of its tile
constexpr int PARAMETERS = 5;                   // kinds: means, quats, scales, opacities, colors

// The argument of every kernel. sds3d/renderers/splat_cuda.py fills the same fields in the same order. Arrays are
// contiguous, float32 unless they say otherwise. Letters: N splats, C views, H x W pixels, T tiles of all views.
struct Params {
    int num_splats, num_views, width, height;
    int tile, tiles_x, tiles_y;      // pixels along a side of a tile: 8 or 16; tiles in a row and in a column
    unsigned capacity;               // entries that `keys` has room for
    int splats_per_block;            // of splat_project and splat_scatter
    int shared_counters;             // 1: they count the tiles of a view in shared memory
    float near_plane;                // splats with a smaller camera-space z are culled
    int antialiased;                 // 1: opacities are multiplied by compensation_of
    int raw;                         // 1: scales, opacities, colors are given before exp, sigmoid, sigmoid
    int deterministic;               // 1: sums have one order; `gradients` then has a record for each entry of `keys`
    int gradient_stride;             // floats in a record of `gradients`: 9, 10 with depth, 13 with normals

    float* means;                    // [N, 3] world; only splat_adam writes the parameters
    float* quats;                    // [N, 4] wxyz, normalized inside
    float* scales;                   // [N, 3] world units
    float* opacities;                // [N]
    float* colors;                   // [N, 3]
    const float* viewmats;           // [C, 4, 4] world-to-camera, OpenCV axes
    const float* Ks;                 // [C, 3, 3] pixels
    const float* backgrounds;        // [C, 3]
    const float* means2d_offsets;    // [C, N, 2] pixels, or null

    float4* records;                 // [C, N, 2] see Record; zeros where nothing is visible
    float4* splat_normals;           // [C, N] world-space normal toward the camera, or null: no normals are rasterized
    float* radii;                    // [C, N] pixels, 0 = not visible
    unsigned* cursors;               // [T] zero at first; splats of each tile, then where the next one goes
    unsigned* tile_starts;           // [T + 1] into `keys`
    unsigned long long* keys;        // [capacity] depth bits << 32 | splat, sorted within each tile
    unsigned* status;                // [2] zero at first; entries needed, and 1 if they are more than `capacity`

    float* out_colors;               // [C, H, W, 3] over the background
    float* out_alphas;               // [C, H, W]
    float* out_depths;               // [C, H, W] expected z, 0 where alpha is 0
    float* out_normals;              // [C, H, W, 3] world space, weighted by alpha, or null
    float* transmittances;           // [C, H, W] what is left behind the last splat
    int* lasts;                      // [C, H, W] position in the tile's list of the last splat blended, or -1

    const float* v_colors;           // [C, H, W, 3] cotangents, or null
    const float* v_alphas;           // [C, H, W], or null
    const float* v_depths;           // [C, H, W], or null
    const float* v_normals;          // [C, H, W, 3], or null
    float* gradients;                // [C * N or entries, gradient_stride] see Moment; zero at first

    float* v_parameters[PARAMETERS]; // like the parameters, written by splat_project_backward; for splat_adam what else
                                     // the loss adds for raw parameters, or null
    float* v_means2d;                // [C, N, 2] per pixel, or null
    float* means2d_grad_norm;        // [N] sum over views of |(W/2 d/du, H/2 d/dv)|

    float* exp_avg[PARAMETERS];          // Adam's first moments, like the parameters
    float* exp_avg_sq[PARAMETERS];       // and second
    const float* learning_rates;         // [PARAMETERS]
    const float* steps;                  // [1] done so far
    float beta1, beta2, epsilon;
    float* stat_gradients;               // [N] += means2d_grad_norm
    float* stat_counts;                  // [N] += views that saw the splat
};

// What a view keeps of a splat, two float4s. Its color is the same in all views, and its depth is in its keys. With the
// Cholesky factor L of the conic, dx = u - x and dy = v - y,
//   s = a dx + b dy,  t = c dy,  log2 alpha = log2_opacity - s^2 - t^2.
// Squares do not cancel, while the terms of dx^2, dx dy and dy^2 do for a needle.
struct Record {
    float u, v;                  // center, pixels
    unsigned columns, rows;      // first | end << 16 of the pixels that it can reach
    float a, b, c;               // L[0][0], L[1][0], L[1][1] times WHITE
    float log2_opacity;
};
constexpr float WHITE = 0.849321800f;  // sqrt(log2(e) / 2)

static __device__ __forceinline__ void store_record(float4* to, const Record& r) {
    to[0] = make_float4(r.u, r.v, __uint_as_float(r.columns), __uint_as_float(r.rows));
    to[1] = make_float4(r.a, r.b, r.c, r.log2_opacity);
}

// Where the sums over pixels stand in a record of `gradients`: moments of q = alpha d loss / d alpha over the s and t of
// Record, then the weighted cotangents of the splat's color, depth and normal.
enum Moment { Q, QS, QT, QSS, QST, QTT, V_RGB, V_Z = V_RGB + 3, V_NORMAL, MOMENTS = V_NORMAL + 3 };

// A splat, its activations applied.
struct Splat {
    float mean[3], quat[4], inverse_norm, scale[3], opacity;
    float rotation[3][3];
    int shortest;                // axis
};

static __device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

static __device__ __forceinline__ Splat load_splat(const Params& p, int n) {
    Splat s;
    float norm = 0;
    for (int k = 0; k < 4; ++k) {
        s.quat[k] = p.quats[size_t(n) * 4 + k];
        norm += s.quat[k] * s.quat[k];
    }
    s.inverse_norm = 1.0f / fmaxf(sqrtf(norm), 1e-12f);
    for (int k = 0; k < 4; ++k) s.quat[k] *= s.inverse_norm;
    for (int k = 0; k < 3; ++k) {
        s.mean[k] = p.means[size_t(n) * 3 + k];
        const float scale = p.scales[size_t(n) * 3 + k];
        s.scale[k] = p.raw ? expf(scale) : scale;
    }
    s.opacity = p.raw ? sigmoid(p.opacities[n]) : p.opacities[n];
    const float w = s.quat[0], x = s.quat[1], y = s.quat[2], z = s.quat[3];
    s.rotation[0][0] = 1 - 2 * (y * y + z * z);
    s.rotation[0][1] = 2 * (x * y - w * z);
    s.rotation[0][2] = 2 * (x * z + w * y);
    s.rotation[1][0] = 2 * (x * y + w * z);
    s.rotation[1][1] = 1 - 2 * (x * x + z * z);
    s.rotation[1][2] = 2 * (y * z - w * x);
    s.rotation[2][0] = 2 * (x * z - w * y);
    s.rotation[2][1] = 2 * (y * z + w * x);
    s.rotation[2][2] = 1 - 2 * (x * x + y * y);
    s.shortest = s.scale[0] <= s.scale[1] && s.scale[0] <= s.scale[2] ? 0 : s.scale[1] <= s.scale[2] ? 1 : 2;
    return s;
}

// Of the shortest axis; an index that is not constant would move the rotation from registers to memory.
static __device__ __forceinline__ float axis(const Splat& s, int row) {
    return s.shortest == 0 ? s.rotation[row][0] : s.shortest == 1 ? s.rotation[row][1] : s.rotation[row][2];
}

// Camera-space z as the keys hold it: bit for bit the same in every kernel.
static __device__ __forceinline__ float depth_of(const Params& p, int view, int n) {
    const float* row = p.viewmats + view * 16 + 8;
    const float* mean = p.means + size_t(n) * 3;
    return fmaf(row[0], mean[0], fmaf(row[1], mean[1], fmaf(row[2], mean[2], row[3])));
}

// Where a splat stands in the lists of its tiles: the bits of a positive float are in the order of the float.
static __device__ __forceinline__ unsigned long long key_of(const Params& p, int view, int n) {
    return (unsigned long long)(__float_as_uint(depth_of(p, view, n))) << 32 | unsigned(n);
}

struct View {
    float r[3][3], t[3], fx, fy, cx, cy;
    float x_min, x_max, y_min, y_max;  // of x/z and y/z where the projection is linearized
};

static __device__ __forceinline__ View load_view(const Params& p, int view) {
    const float* e = p.viewmats + view * 16;
    const float* k = p.Ks + view * 9;
    View c;
    for (int i = 0; i < 3; ++i) {
        for (int j = 0; j < 3; ++j) c.r[i][j] = e[4 * i + j];
        c.t[i] = e[4 * i + 3];
    }
    c.fx = k[0], c.fy = k[4], c.cx = k[2], c.cy = k[5];
    const float margin_x = FRUSTUM_MARGIN * p.width, margin_y = FRUSTUM_MARGIN * p.height;
    c.x_min = -(c.cx + margin_x) / c.fx, c.x_max = (p.width - c.cx + margin_x) / c.fx;
    c.y_min = -(c.cy + margin_y) / c.fy, c.y_max = (p.height - c.cy + margin_y) / c.fy;
    return c;
}

// A splat in a view.
struct Projected {
    float point[3];              // camera space
    float inverse_z, xn, yn;
    float xc, yc;                // xn, yn clamped to the linearized region
    float mc[3][3];              // R M
    float t[2][3];               // J R M
    float var_u, var_v;          // pixels^2
    float n[3];                  // t[0] x t[1]; its square is the determinant without the low-pass filter
    float det;                   // determinant of the image covariance
    float l00, l10, l11;         // Cholesky factor of the conic
    float sign;                  // +-1: turns the shortest axis toward the camera
};

static __device__ __forceinline__ float squared_n(const Projected& o) {
    return o.n[0] * o.n[0] + o.n[1] * o.n[1] + o.n[2] * o.n[2];
}

// What keeps the alpha that a splat spreads over the image when the low-pass filter widens it: the ratio of the Gaussians'
// integrals without and with the filter, sqrt(det(cov) / det(cov + LOW_PASS I)), as in Mip-Splatting (arXiv:2311.16493).
static __device__ __forceinline__ float compensation_of(const Projected& o) { return sqrtf(squared_n(o) / o.det); }

static __device__ __forceinline__ Projected project(const Splat& s, const View& view) {
    Projected o;
    for (int i = 0; i < 3; ++i) {
        o.point[i] = view.r[i][0] * s.mean[0] + view.r[i][1] * s.mean[1] + view.r[i][2] * s.mean[2] + view.t[i];
        for (int j = 0; j < 3; ++j)
            o.mc[i][j] = (view.r[i][0] * s.rotation[0][j] + view.r[i][1] * s.rotation[1][j] +
                          view.r[i][2] * s.rotation[2][j]) * s.scale[j];
    }
    o.inverse_z = 1.0f / o.point[2];
    o.xn = o.point[0] * o.inverse_z;
    o.yn = o.point[1] * o.inverse_z;
    o.xc = fminf(fmaxf(o.xn, view.x_min), view.x_max);
    o.yc = fminf(fmaxf(o.yn, view.y_min), view.y_max);
    const float fx = view.fx * o.inverse_z, fy = view.fy * o.inverse_z;
    for (int j = 0; j < 3; ++j) {
        o.t[0][j] = fx * (o.mc[0][j] - o.xc * o.mc[2][j]);
        o.t[1][j] = fy * (o.mc[1][j] - o.yc * o.mc[2][j]);
    }
    const float uu = o.t[0][0] * o.t[0][0] + o.t[0][1] * o.t[0][1] + o.t[0][2] * o.t[0][2];
    const float uv = o.t[0][0] * o.t[1][0] + o.t[0][1] * o.t[1][1] + o.t[0][2] * o.t[1][2];
    const float vv = o.t[1][0] * o.t[1][0] + o.t[1][1] * o.t[1][1] + o.t[1][2] * o.t[1][2];
    // Determinant by Cauchy-Binet: the difference of products cancels for needles that span the image.
    o.n[0] = o.t[0][1] * o.t[1][2] - o.t[0][2] * o.t[1][1];
    o.n[1] = o.t[0][2] * o.t[1][0] - o.t[0][0] * o.t[1][2];
    o.n[2] = o.t[0][0] * o.t[1][1] - o.t[0][1] * o.t[1][0];
    o.det = squared_n(o) + LOW_PASS * (uu + vv) + LOW_PASS * LOW_PASS;
    o.var_u = uu + LOW_PASS;
    o.var_v = vv + LOW_PASS;
    o.l11 = rsqrtf(o.var_v);
    const float root = rsqrtf(o.det);
    o.l00 = o.var_v * o.l11 * root;  // sqrt(var_v / det)
    o.l10 = -uv * o.l11 * root;
    float facing = 0;
    for (int i = 0; i < 3; ++i)
        facing += o.point[i] * (view.r[i][0] * axis(s, 0) + view.r[i][1] * axis(s, 1) + view.r[i][2] * axis(s, 2));
    o.sign = facing > 0 ? -1.0f : 1.0f;
    return o;
}

// Tiles [x0, x1) x [y0, y1) of a view.
struct TileRect {
    int x0, y0, x1, y1;

    __device__ __forceinline__ int count() const { return (x1 - x0) * (y1 - y0); }
    __device__ __forceinline__ int at(int k, int tiles_x) const {  // the k-th of them
        const int row = k / (x1 - x0);
        return (y0 + row) * tiles_x + x0 + k - row * (x1 - x0);
    }
};

static __device__ __forceinline__ TileRect tile_rect(const Params& p, unsigned columns, unsigned rows) {
    const int last = p.tile - 1;
    return {int(columns & 0xffff) / p.tile, int(rows & 0xffff) / p.tile, (int(columns >> 16) + last) / p.tile,
            (int(rows >> 16) + last) / p.tile};
}
