// From the sums over pixels to the gradients of the parameters, and on to Adam: a thread a splat.
#pragma once

#include "scene.cuh"

// Sums over all views.
struct SplatGradient {
    float mean[3], quat[4], scale[3], opacity, color[3];
    float means2d_norm;
    int views;  // that saw the splat
};

// Deterministic: the sum of the splat's records in the tiles of its rectangle, in their order. Each tile's list is sorted
// by key, so the splat is found in it, unless the list overflowed and the splat's entry was dropped.
static __device__ __forceinline__ void gather_moments(const Params& p, float (&moments)[MOMENTS], int view,
                                                      unsigned long long key, const TileRect& rect) {
    for (int k = 0; k < rect.count(); ++k) {
        const int tile = view * p.tiles_x * p.tiles_y + rect.at(k, p.tiles_x);
        const unsigned end = min(p.tile_starts[tile + 1], p.capacity);
        unsigned low = p.tile_starts[tile], high = end;
        while (low < high) {
            const unsigned middle = (low + high) / 2;
            if (p.keys[middle] < key)
                low = middle + 1;
            else
                high = middle;
        }
        if (low >= end || p.keys[low] != key) continue;
        const float* record = p.gradients + size_t(low) * p.gradient_stride;
        for (int i = 0; i < MOMENTS; ++i)
            if (i < p.gradient_stride) moments[i] += record[i];
    }
}

static __device__ __forceinline__ void load_moments(const Params& p, float (&moments)[MOMENTS], int view, int n) {
    const size_t at = size_t(view) * p.num_splats + n;
    for (int i = 0; i < MOMENTS; ++i) moments[i] = 0;
    if (p.deterministic) {
        const float4 place = p.records[at * 2];
        const TileRect rect = tile_rect(p, __float_as_uint(place.z), __float_as_uint(place.w));
        gather_moments(p, moments, view, key_of(p, view, n), rect);
    } else {
        for (int i = 0; i < MOMENTS; ++i)
            if (i < p.gradient_stride) moments[i] = p.gradients[at * p.gradient_stride + i];
    }
}

// d loss / d mean and d loss / d (R diag(s)) of what one view saw, added to `v_mean` and `v_m`. `pull` is d loss / d log of
// the compensation, 0 without it.
static __device__ __forceinline__ void unproject(const View& view, const Projected& o, const float (&m)[MOMENTS],
                                                 float v_u, float v_v, float pull, float (&v_mean)[3], float (&v_m)[3][3]) {
    // With the moments M over pixel offsets, d loss / d conic is -M / 2, so d loss / d covariance = conic M conic / 2, which
    // is L W L^T / 2 with the moments W over s and t.
    const float ss = m[QSS] / (WHITE * WHITE), st = m[QST] / (WHITE * WHITE), tt = m[QTT] / (WHITE * WHITE);
    const float row = o.l10 * ss + o.l11 * st;
    float twice_v_uu = o.l00 * o.l00 * ss, twice_v_uv = o.l00 * row;
    float twice_v_vv = o.l10 * row + o.l11 * (o.l10 * st + o.l11 * tt);
    // log compensation = (log det(t t^T) - log det(t t^T + LOW_PASS I)) / 2. The second term has the gradient -conic / 2,
    // the first one the gradient (t[1] x n, n x t[0]) / n^2 with respect to t, in which nothing cancels.
    twice_v_uu -= pull * o.l00 * o.l00;
    twice_v_uv -= pull * o.l00 * o.l10;
    twice_v_vv -= pull * (o.l10 * o.l10 + o.l11 * o.l11);
    const float per_n2 = pull != 0 ? pull / squared_n(o) : 0.0f;
    const float fx = view.fx * o.inverse_z, fy = view.fy * o.inverse_z;
    float v_mc[3][3], v_xc = 0, v_yc = 0, shrink = 0;
    for (int j = 0; j < 3; ++j) {
        const int k = (j + 1) % 3, l = (j + 2) % 3;
        const float v_t0 = twice_v_uu * o.t[0][j] + twice_v_uv * o.t[1][j] +
                           per_n2 * (o.t[1][k] * o.n[l] - o.t[1][l] * o.n[k]);
        const float v_t1 = twice_v_uv * o.t[0][j] + twice_v_vv * o.t[1][j] +
                           per_n2 * (o.n[k] * o.t[0][l] - o.n[l] * o.t[0][k]);
        v_mc[0][j] = fx * v_t0;
        v_mc[1][j] = fy * v_t1;
        v_mc[2][j] = -(o.xc * v_mc[0][j] + o.yc * v_mc[1][j]);
        v_xc -= v_mc[0][j] * o.mc[2][j];
        v_yc -= v_mc[1][j] * o.mc[2][j];
        shrink += v_t0 * o.t[0][j] + v_t1 * o.t[1][j];
    }
    const float v_xn = view.fx * v_u + (o.xc == o.xn ? v_xc : 0.0f);
    const float v_yn = view.fy * v_v + (o.yc == o.yn ? v_yc : 0.0f);
    const float v_point[3] = {v_xn * o.inverse_z, v_yn * o.inverse_z,
                              m[V_Z] - (v_xn * o.xn + v_yn * o.yn + shrink) * o.inverse_z};
    for (int j = 0; j < 3; ++j) {
        v_mean[j] += view.r[0][j] * v_point[0] + view.r[1][j] * v_point[1] + view.r[2][j] * v_point[2];
        for (int k = 0; k < 3; ++k)
            v_m[j][k] += view.r[0][j] * v_mc[0][k] + view.r[1][j] * v_mc[1][k] + view.r[2][j] * v_mc[2][k];
    }
}

// Through R(q / |q|); `g` is d loss / d R.
static __device__ __forceinline__ void quat_gradient(const Splat& s, const float (&g)[3][3], float (&v_quat)[4]) {
    const float w = s.quat[0], x = s.quat[1], y = s.quat[2], z = s.quat[3];
    const float v[4] = {
        2 * (x * (g[2][1] - g[1][2]) + y * (g[0][2] - g[2][0]) + z * (g[1][0] - g[0][1])),
        2 * (y * (g[0][1] + g[1][0]) + z * (g[0][2] + g[2][0]) + w * (g[2][1] - g[1][2]) - 2 * x * (g[1][1] + g[2][2])),
        2 * (x * (g[0][1] + g[1][0]) + z * (g[1][2] + g[2][1]) + w * (g[0][2] - g[2][0]) - 2 * y * (g[0][0] + g[2][2])),
        2 * (x * (g[0][2] + g[2][0]) + y * (g[1][2] + g[2][1]) + w * (g[1][0] - g[0][1]) - 2 * z * (g[0][0] + g[1][1]))};
    const float along = w * v[0] + x * v[1] + y * v[2] + z * v[3];
    for (int k = 0; k < 4; ++k) v_quat[k] = (v[k] - s.quat[k] * along) * s.inverse_norm;
}

static __device__ __forceinline__ SplatGradient splat_gradient(const Params& p, int n) {
    const Splat s = load_splat(p, n);
    SplatGradient out = {};
    float v_m[3][3] = {}, v_normal[3] = {}, pull = 0;
    for (int c = 0; c < p.num_views; ++c) {
        const size_t at = size_t(c) * p.num_splats + n;
        float v_u = 0, v_v = 0;
        if (p.radii[at] > 0) {
            float m[MOMENTS];
            load_moments(p, m, c, n);
            const View view = load_view(p, c);
            const Projected o = project(s, view);
            v_u = -o.l00 * m[QS] / WHITE;
            v_v = -(o.l10 * m[QS] + o.l11 * m[QT]) / WHITE;
            unproject(view, o, m, v_u, v_v, p.antialiased ? m[Q] : 0.0f, out.mean, v_m);
            for (int k = 0; k < 3; ++k) {
                out.color[k] += m[V_RGB + k];
                v_normal[k] += o.sign * m[V_NORMAL + k];
            }
            pull += m[Q];
            out.means2d_norm += sqrtf(v_u * v_u * (0.25f * p.width * p.width) + v_v * v_v * (0.25f * p.height * p.height));
            ++out.views;
        }
        if (p.v_means2d) p.v_means2d[at * 2] = v_u, p.v_means2d[at * 2 + 1] = v_v;
    }
    if (!out.views) return out;  // also where NaN or infinity in a splat would make NaN of the zeros
    float g[3][3];  // d loss / d rotation
    for (int j = 0; j < 3; ++j) {
        out.scale[j] = v_m[0][j] * s.rotation[0][j] + v_m[1][j] * s.rotation[1][j] + v_m[2][j] * s.rotation[2][j];
        for (int i = 0; i < 3; ++i) g[i][j] = v_m[i][j] * s.scale[j] + (s.shortest == j ? v_normal[i] : 0.0f);
    }
    quat_gradient(s, g, out.quat);
    out.opacity = pull != 0 ? pull / s.opacity : 0.0f;
    if (p.raw) {
        out.opacity = pull * (1 - s.opacity);
        for (int k = 0; k < 3; ++k) {
            const float color = sigmoid(p.colors[size_t(n) * 3 + k]);
            out.scale[k] *= s.scale[k];
            out.color[k] *= color * (1 - color);
        }
    }
    return out;
}

extern "C" __global__ void __launch_bounds__(128) splat_project_backward(const Params p) {
    const int n = blockIdx.x * blockDim.x + threadIdx.x;
    if (n >= p.num_splats) return;
    const SplatGradient g = splat_gradient(p, n);
    for (int k = 0; k < 3; ++k) {
        p.v_parameters[0][size_t(n) * 3 + k] = g.mean[k];
        p.v_parameters[2][size_t(n) * 3 + k] = g.scale[k];
        p.v_parameters[4][size_t(n) * 3 + k] = g.color[k];
    }
    for (int k = 0; k < 4; ++k) p.v_parameters[1][size_t(n) * 4 + k] = g.quat[k];
    p.v_parameters[3][n] = g.opacity;
    p.means2d_grad_norm[n] = g.means2d_norm;
}

// The step of torch.optim.Adam for one number of one parameter (arXiv:1412.6980, algorithm 1).
static __device__ __forceinline__ void adam(const Params& p, int kind, float* parameter, size_t at, float gradient,
                                            float rate, float root_correction2) {
    if (p.v_parameters[kind]) gradient += p.v_parameters[kind][at];
    const float average = p.exp_avg[kind][at] + (1 - p.beta1) * (gradient - p.exp_avg[kind][at]);
    const float square = p.beta2 * p.exp_avg_sq[kind][at] + (1 - p.beta2) * gradient * gradient;
    p.exp_avg[kind][at] = average;
    p.exp_avg_sq[kind][at] = square;
    parameter[at] -= rate * average / (sqrtf(square) / root_correction2 + p.epsilon);
}

// Instead of writing gradients, takes the optimizer's step with them. A step whose lists overflowed changes nothing.
extern "C" __global__ void __launch_bounds__(128) splat_adam(const Params p) {
    const int n = blockIdx.x * blockDim.x + threadIdx.x;
    if (n >= p.num_splats || p.status[1]) return;
    const SplatGradient g = splat_gradient(p, n);
    const float step = p.steps[0] + 1, correction1 = 1 - powf(p.beta1, step), root2 = sqrtf(1 - powf(p.beta2, step));
    float rates[PARAMETERS];
    for (int i = 0; i < PARAMETERS; ++i) rates[i] = p.learning_rates[i] / correction1;
    for (int k = 0; k < 3; ++k) {
        adam(p, 0, p.means, size_t(n) * 3 + k, g.mean[k], rates[0], root2);
        adam(p, 2, p.scales, size_t(n) * 3 + k, g.scale[k], rates[2], root2);
        adam(p, 4, p.colors, size_t(n) * 3 + k, g.color[k], rates[4], root2);
    }
    for (int k = 0; k < 4; ++k) adam(p, 1, p.quats, size_t(n) * 4 + k, g.quat[k], rates[1], root2);
    adam(p, 3, p.opacities, n, g.opacity, rates[3], root2);
    p.stat_gradients[n] += g.means2d_norm;
    p.stat_counts[n] += g.views;
}
