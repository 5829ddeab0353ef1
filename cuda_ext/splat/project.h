// Projection of Gaussians, forward and backward, eight splats at a time.
//
// EWA splatting (Zwicker et al. 2001) as in 3D Gaussian splatting (arXiv:2308.04079): with M = R(q) diag(s) and the affine
// map J of the perspective at the center, the image covariance is (J W M)(J W M)^T + LOW_PASS I.
// Included by kernels.h.

// Eight splats in registers, what all views share.
struct Splats {
    V mean[3];
    V rotation[3][3];  // of the normalized quaternion
    V scale[3];
    V m[3][3];         // rotation * diag(scale)
    V quat[4];         // normalized, wxyz
    V inverse_norm;
    V normal[3];       // the shortest axis
    I shortest[3];     // masks
};

// Column `column` of rows [begin, begin + 8) of a [N, stride] array; rows beyond N repeat the last one.
INLINE V gather(const float* data, int stride, int column, int begin, int num_splats) {
    V x;
    if (begin + LANES <= num_splats) {
        for (int i = 0; i < LANES; ++i) x[i] = data[size_t(begin + i) * stride + column];
    } else {
        for (int i = 0; i < LANES; ++i) {
            int row = begin + i < num_splats ? begin + i : num_splats - 1;
            x[i] = data[size_t(row) * stride + column];
        }
    }
    return x;
}

INLINE void load_splats(Splats& s, const sds3d_splat_scene& scene, int begin) {
    const int n = scene.num_splats;
    V q[4];
    for (int k = 0; k < 3; ++k) s.mean[k] = gather(scene.means, 3, k, begin, n);
    for (int k = 0; k < 3; ++k) s.scale[k] = gather(scene.scales, 3, k, begin, n);
    for (int k = 0; k < 4; ++k) q[k] = gather(scene.quats, 4, k, begin, n);
    V norm = max(sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]), splat(1e-12f));
    s.inverse_norm = splat(1.0f) / norm;
    for (int k = 0; k < 4; ++k) s.quat[k] = q[k] * s.inverse_norm;
    const V w = s.quat[0], x = s.quat[1], y = s.quat[2], z = s.quat[3], one = splat(1.0f), two = splat(2.0f);
    s.rotation[0][0] = one - two * (y * y + z * z);
    s.rotation[0][1] = two * (x * y - w * z);
    s.rotation[0][2] = two * (x * z + w * y);
    s.rotation[1][0] = two * (x * y + w * z);
    s.rotation[1][1] = one - two * (x * x + z * z);
    s.rotation[1][2] = two * (y * z - w * x);
    s.rotation[2][0] = two * (x * z - w * y);
    s.rotation[2][1] = two * (y * z + w * x);
    s.rotation[2][2] = one - two * (x * x + y * y);
    s.shortest[0] = (s.scale[0] <= s.scale[1]) & (s.scale[0] <= s.scale[2]);
    s.shortest[1] = ~s.shortest[0] & (s.scale[1] <= s.scale[2]);
    s.shortest[2] = ~s.shortest[0] & ~s.shortest[1];
    for (int i = 0; i < 3; ++i) {
        for (int j = 0; j < 3; ++j) s.m[i][j] = s.rotation[i][j] * s.scale[j];
        s.normal[i] = select(s.shortest[0], s.rotation[i][0], select(s.shortest[1], s.rotation[i][1], s.rotation[i][2]));
    }
}

struct View {
    float r[3][3], t[3], fx, fy, cx, cy;
    float x_min, x_max, y_min, y_max;  // of x/z and y/z where the projection is linearized
};

INLINE View load_view(const sds3d_splat_scene& scene, int view) {
    const float* e = scene.viewmats + size_t(view) * 16;
    const float* k = scene.Ks + size_t(view) * 9;
    View c;
    for (int i = 0; i < 3; ++i) {
        for (int j = 0; j < 3; ++j) c.r[i][j] = e[4 * i + j];
        c.t[i] = e[4 * i + 3];
    }
    c.fx = k[0], c.fy = k[4], c.cx = k[2], c.cy = k[5];
    const float margin_x = FRUSTUM_MARGIN * scene.width, margin_y = FRUSTUM_MARGIN * scene.height;
    c.x_min = -(c.cx + margin_x) / c.fx, c.x_max = (scene.width - c.cx + margin_x) / c.fx;
    c.y_min = -(c.cy + margin_y) / c.fy, c.y_max = (scene.height - c.cy + margin_y) / c.fy;
    return c;
}

// Eight splats in one view.
struct Projected {
    V p[3];           // camera space
    V inverse_z, xn, yn;
    V xc, yc;         // xn, yn clamped to the linearized region
    V mc[3][3];       // R M
    V t[2][3];        // J R M
    V var_u, var_v;   // pixels^2
    V n[3];           // t[0] x t[1]
    V n2;             // its square: the determinant of the image covariance without the low-pass filter
    V det;            // and with it
    V a, b, c;        // conic
    V sign;           // +-1: turns the shortest axis toward the camera
};

INLINE void project_splats(Projected& o, const Splats& s, const View& view) {
    for (int i = 0; i < 3; ++i) {
        o.p[i] = fma(splat(view.r[i][0]), s.mean[0], fma(splat(view.r[i][1]), s.mean[1],
                 fma(splat(view.r[i][2]), s.mean[2], splat(view.t[i]))));
        for (int j = 0; j < 3; ++j)
            o.mc[i][j] = splat(view.r[i][0]) * s.m[0][j] + splat(view.r[i][1]) * s.m[1][j] + splat(view.r[i][2]) * s.m[2][j];
    }
    o.inverse_z = splat(1.0f) / o.p[2];
    o.xn = o.p[0] * o.inverse_z;
    o.yn = o.p[1] * o.inverse_z;
    o.xc = min(max(o.xn, splat(view.x_min)), splat(view.x_max));
    o.yc = min(max(o.yn, splat(view.y_min)), splat(view.y_max));
    const V fx = splat(view.fx) * o.inverse_z, fy = splat(view.fy) * o.inverse_z;
    for (int j = 0; j < 3; ++j) {
        o.t[0][j] = fx * (o.mc[0][j] - o.xc * o.mc[2][j]);
        o.t[1][j] = fy * (o.mc[1][j] - o.yc * o.mc[2][j]);
    }
    const V uu = o.t[0][0] * o.t[0][0] + o.t[0][1] * o.t[0][1] + o.t[0][2] * o.t[0][2];
    const V uv = o.t[0][0] * o.t[1][0] + o.t[0][1] * o.t[1][1] + o.t[0][2] * o.t[1][2];
    const V vv = o.t[1][0] * o.t[1][0] + o.t[1][1] * o.t[1][1] + o.t[1][2] * o.t[1][2];
    // Determinant by Cauchy-Binet: the difference of products cancels for needles that span the image.
    o.n[0] = o.t[0][1] * o.t[1][2] - o.t[0][2] * o.t[1][1];
    o.n[1] = o.t[0][2] * o.t[1][0] - o.t[0][0] * o.t[1][2];
    o.n[2] = o.t[0][0] * o.t[1][1] - o.t[0][1] * o.t[1][0];
    const V low_pass = splat(LOW_PASS);
    o.n2 = o.n[0] * o.n[0] + o.n[1] * o.n[1] + o.n[2] * o.n[2];
    o.det = o.n2 + low_pass * (uu + vv) + low_pass * low_pass;
    o.var_u = uu + low_pass;
    o.var_v = vv + low_pass;
    const V inverse = splat(1.0f) / o.det;
    o.a = o.var_v * inverse;
    o.b = -uv * inverse;
    o.c = o.var_u * inverse;
    V facing = splat(0.0f);
    for (int i = 0; i < 3; ++i)
        facing += o.p[i] * (splat(view.r[i][0]) * s.normal[0] + splat(view.r[i][1]) * s.normal[1] +
                            splat(view.r[i][2]) * s.normal[2]);
    o.sign = select(facing > splat(0.0f), splat(-1.0f), splat(1.0f));
}

// What keeps the alpha that a splat spreads over the image when the low-pass filter widens it: the ratio of the Gaussians'
// integrals without and with the filter, sqrt(det(cov) / det(cov + LOW_PASS I)), as in Mip-Splatting (arXiv:2311.16493).
INLINE V compensation_of(const Projected& o) { return sqrt(o.n2 / o.det); }

// The largest sigma at which alpha reaches ALPHA_MIN; not positive where it never does.
INLINE V sigma_max_of(V opacity) {
    V sigma_max;
    for (int i = 0; i < LANES; ++i) sigma_max[i] = logf(opacity[i] / ALPHA_MIN);
    return sigma_max;
}

static void project(State& state, const sds3d_splat_scene& scene, const sds3d_splat_images& images, int begin, int end) {
    const float width = scene.width, height = scene.height;
    for (int block = begin; block < end; block += LANES) {
        const int lanes = end - block < LANES ? end - block : LANES;
        Splats s;
        load_splats(s, scene, block);
        const V full_opacity = gather(scene.opacities, 1, 0, block, scene.num_splats);
        const V full_sigma_max = sigma_max_of(full_opacity);
        for (int c = 0; c < scene.num_views; ++c) {
            const View view = load_view(scene, c);
            Projected o;
            project_splats(o, s, view);
            const V opacity = scene.antialiased ? full_opacity * compensation_of(o) : full_opacity;
            const V sigma_max = scene.antialiased ? sigma_max_of(opacity) : full_sigma_max;
            const V reach = sqrt(max(splat(2.0f) * sigma_max, splat(0.0f)));
            V u = fma(splat(view.fx), o.xn, splat(view.cx));
            V v = fma(splat(view.fy), o.yn, splat(view.cy));
            if (scene.means2d_offsets) {
                const float* offsets = scene.means2d_offsets + size_t(c) * scene.num_splats * 2;
                u += gather(offsets, 2, 0, block, scene.num_splats);
                v += gather(offsets, 2, 1, block, scene.num_splats);
            }
            const V reach_u = reach * sqrt(o.var_u), reach_v = reach * sqrt(o.var_v), zero = splat(0.0f);
            // Comparisons are false for NaN, so a splat with NaN is skipped.
            const I visible = (o.p[2] >= splat(scene.near_plane)) & (sigma_max > zero) & (u + reach_u > zero) &
                              (u - reach_u < splat(width)) & (v + reach_v > zero) & (v - reach_v < splat(height)) &
                              (o.a > zero) & (o.c > zero);
            const V x0 = max(u - reach_u - splat(0.5f), zero), x1 = min(u + reach_u + splat(0.5f), splat(width));
            const V y0 = max(v - reach_v - splat(0.5f), zero), y1 = min(v + reach_v + splat(0.5f), splat(height));
            const V radius = max(reach_u, reach_v);
            const size_t first = size_t(c) * scene.num_splats + block;
            for (int i = 0; i < lanes; ++i) {
                Rect rect = {0, 0, 0, 0};
                float pixels = 0;
                if (visible[i]) {
                    rect.x0 = uint16_t(__builtin_ceilf(x0[i])), rect.x1 = uint16_t(x1[i]);
                    rect.y0 = uint16_t(__builtin_ceilf(y0[i])), rect.y1 = uint16_t(y1[i]);
                    if (rect.x0 >= rect.x1 || rect.y0 >= rect.y1) {
                        rect = {0, 0, 0, 0};
                    } else {
                        pixels = __builtin_ceilf(radius[i]);
                        Record& r = state.records[first + i];
                        r.u = u[i], r.v = v[i];
                        r.half_a = 0.5f * o.a[i], r.b = o.b[i], r.half_c = 0.5f * o.c[i];
                        r.opacity = opacity[i], r.sigma_max = sigma_max[i];
                        r.z = o.p[2][i];
                        for (int k = 0; k < 3; ++k) {
                            r.rgb[k] = scene.colors[size_t(block + i) * 3 + k];
                            r.normal[k] = o.sign[i] * s.normal[k][i];
                        }
                        r.rect = rect;
                    }
                }
                state.rects[first + i] = rect;
                state.z[first + i] = o.p[2][i];
                images.radii[first + i] = pixels;
            }
        }
    }
}

// The sums over the tiles of each of eight splats in a view, in the order of its slots: floats of InstanceGradient by lane.
// False where the view sees none of the splats.
INLINE bool sum_instances(float (&sums)[2 * LANES][LANES], const State& state, int view, int block, int lanes) {
    const ViewLists& lists = state.views[view];
    const InstanceGradient* instances = state.instance_gradients.data + state.slot_bases[view];
    const Rect* rects = state.rects.data + size_t(view) * state.num_splats + block;
    bool seen = false;
    for (int i = 0; i < lanes; ++i) {
        const size_t num = rects[i].num_tiles();
        if (!num) continue;
        seen = true;
        const float* slot = &instances[lists.first_slots[block + i]].q;
        V low = splat(0.0f), high = splat(0.0f);
        for (size_t k = 0; k < num; ++k, slot += 2 * LANES) {
            low += load(slot);
            high += load(slot + LANES);
        }
        for (int k = 0; k < LANES; ++k) sums[k][i] = low[k], sums[LANES + k][i] = high[k];
    }
    return seen;
}

// d loss / d (parameters of eight splats) so far, over the views.
struct SplatsGradient {
    V mean[3], m[3][3], normal[3], rgb[3];
    V pull;       // d loss / d log opacity
    V grad_norm;  // of the centers, in units of half the image
    I drawn;      // masks
};

// d loss / d t of the projection, from the moments of q over the pixels (see InstanceGradient).
INLINE void covariance_gradient(V (&v_t)[2][3], const Projected& o, V q, V qxx, V qxy, V qyy, bool antialiased) {
    // d loss / d conic is -1/2 of the moment matrix, so d loss / d covariance = 1/2 conic * moments * conic.
    const V h00 = o.a * qxx + o.b * qxy, h01 = o.a * qxy + o.b * qyy;
    const V h10 = o.b * qxx + o.c * qxy, h11 = o.b * qxy + o.c * qyy;
    V twice_v_uu = h00 * o.a + h01 * o.b, twice_v_uv = h00 * o.b + h01 * o.c, twice_v_vv = h10 * o.b + h11 * o.c;
    if (antialiased) {  // d log det(covariance) / d covariance = conic, of which the compensation has -1/2
        twice_v_uu -= q * o.a;
        twice_v_uv -= q * o.b;
        twice_v_vv -= q * o.c;
    }
    for (int j = 0; j < 3; ++j) {
        v_t[0][j] = twice_v_uu * o.t[0][j] + twice_v_uv * o.t[1][j];
        v_t[1][j] = twice_v_uv * o.t[0][j] + twice_v_vv * o.t[1][j];
    }
    if (!antialiased) return;
    // d log det(t t^T) / d t = 2 (t[1] x n, n x t[0]) / n^2, in which nothing cancels; the compensation has 1/2 of it.
    const V per_n2 = q / o.n2;
    for (int j = 0; j < 3; ++j) {
        const int k = (j + 1) % 3, l = (j + 2) % 3;
        v_t[0][j] += per_n2 * (o.t[1][k] * o.n[l] - o.t[1][l] * o.n[k]);
        v_t[1][j] += per_n2 * (o.n[k] * o.t[0][l] - o.n[l] * o.t[0][k]);
    }
}

// Adds what one view saw to `g`, and returns d loss / d center in `v_u` and `v_v`.
INLINE void unproject(SplatsGradient& g, V& v_u, V& v_v, const Splats& s, const sds3d_splat_scene& scene, int c,
                      const float (&sums)[2 * LANES][LANES]) {
    const V zero = splat(0.0f);
    const V q = load(sums[0]), qx = load(sums[1]), qy = load(sums[2]), v_z_drawn = load(sums[9]);
    const View view = load_view(scene, c);
    Projected o;
    project_splats(o, s, view);
    // Lanes that are not visible have zero sums, but their projection may be infinite.
    I visible = I{};
    for (int k = 0; k < 13; ++k) visible |= load(sums[k]) != zero;
    v_u = select(visible, -(o.a * qx + o.b * qy), zero), v_v = select(visible, -(o.b * qx + o.c * qy), zero);
    V v_t[2][3];
    covariance_gradient(v_t, o, q, load(sums[3]), load(sums[4]), load(sums[5]), scene.antialiased);
    const V fx = splat(view.fx) * o.inverse_z, fy = splat(view.fy) * o.inverse_z;
    V v_mc[3][3], v_xc = zero, v_yc = zero, shrink = zero;
    for (int j = 0; j < 3; ++j) {
        v_mc[0][j] = fx * v_t[0][j];
        v_mc[1][j] = fy * v_t[1][j];
        v_mc[2][j] = -(o.xc * v_mc[0][j] + o.yc * v_mc[1][j]);
        v_xc -= v_mc[0][j] * o.mc[2][j];
        v_yc -= v_mc[1][j] * o.mc[2][j];
        shrink += v_t[0][j] * o.t[0][j] + v_t[1][j] * o.t[1][j];
    }
    const V v_xn = splat(view.fx) * v_u + select(o.xc == o.xn, v_xc, zero);
    const V v_yn = splat(view.fy) * v_v + select(o.yc == o.yn, v_yc, zero);
    const V v_p[3] = {v_xn * o.inverse_z, v_yn * o.inverse_z,
                      v_z_drawn - (v_xn * o.xn + v_yn * o.yn + shrink) * o.inverse_z};
    for (int j = 0; j < 3; ++j) {
        V down = zero;
        for (int i = 0; i < 3; ++i) down += splat(view.r[i][j]) * v_p[i];
        g.mean[j] += select(visible, down, zero);
        for (int k = 0; k < 3; ++k) {
            V v = zero;
            for (int i = 0; i < 3; ++i) v += splat(view.r[i][j]) * v_mc[i][k];
            g.m[j][k] += select(visible, v, zero);
        }
        g.rgb[j] += load(sums[6 + j]);
        g.normal[j] += o.sign * load(sums[10 + j]);
    }
    g.pull += q;
    const V norm_u = v_u * splat(0.5f * scene.width), norm_v = v_v * splat(0.5f * scene.height);
    g.grad_norm += sqrt(norm_u * norm_u + norm_v * norm_v);
    g.drawn |= visible;
}

// Through R(q / |q|); `g` is d loss / d R.
INLINE void quat_gradient(V (&v_quat)[4], const Splats& s, const V (&g)[3][3]) {
    const V w = s.quat[0], x = s.quat[1], y = s.quat[2], z = s.quat[3], two = splat(2.0f);
    V v[4];
    v[0] = two * (x * (g[2][1] - g[1][2]) + y * (g[0][2] - g[2][0]) + z * (g[1][0] - g[0][1]));
    v[1] = two * (y * (g[0][1] + g[1][0]) + z * (g[0][2] + g[2][0]) + w * (g[2][1] - g[1][2]) -
                  two * x * (g[1][1] + g[2][2]));
    v[2] = two * (x * (g[0][1] + g[1][0]) + z * (g[1][2] + g[2][1]) + w * (g[0][2] - g[2][0]) -
                  two * y * (g[0][0] + g[2][2]));
    v[3] = two * (x * (g[0][2] + g[2][0]) + y * (g[1][2] + g[2][1]) + w * (g[1][0] - g[0][1]) -
                  two * z * (g[0][0] + g[1][1]));
    const V along = w * v[0] + x * v[1] + y * v[2] + z * v[3];
    for (int k = 0; k < 4; ++k) v_quat[k] = (v[k] - s.quat[k] * along) * s.inverse_norm;
}

// Writes the gradients of the parameters; zeros for splats that no view has drawn, also where they have NaN or infinity.
INLINE void store_gradients(const sds3d_splat_gradients& gradients, const SplatsGradient& g, const Splats& s, V opacity,
                            int block, int lanes) {
    const V zero = splat(0.0f);
    V v_rotation[3][3], v_scale[3], v_quat[4];
    for (int j = 0; j < 3; ++j) {
        v_scale[j] = g.m[0][j] * s.rotation[0][j] + g.m[1][j] * s.rotation[1][j] + g.m[2][j] * s.rotation[2][j];
        v_scale[j] = select(g.drawn, v_scale[j], zero);
        for (int i = 0; i < 3; ++i) v_rotation[i][j] = g.m[i][j] * s.scale[j] + select(s.shortest[j], g.normal[i], zero);
    }
    quat_gradient(v_quat, s, v_rotation);
    for (int k = 0; k < 4; ++k) v_quat[k] = select(g.drawn, v_quat[k], zero);
    const V v_opacity = select(g.pull != zero, g.pull / opacity, zero);
    for (int i = 0; i < lanes; ++i) {
        const size_t n = block + i;
        for (int k = 0; k < 3; ++k) {
            gradients.means[n * 3 + k] = g.mean[k][i];
            gradients.scales[n * 3 + k] = v_scale[k][i];
            gradients.colors[n * 3 + k] = g.rgb[k][i];
        }
        for (int k = 0; k < 4; ++k) gradients.quats[n * 4 + k] = v_quat[k][i];
        gradients.opacities[n] = v_opacity[i];
        gradients.means2d_grad_norm[n] = g.grad_norm[i];
    }
}

static void project_backward(State& state, const sds3d_splat_scene& scene, const sds3d_splat_gradients& gradients, int begin,
                             int end) {
    for (int block = begin; block < end; block += LANES) {
        const int lanes = end - block < LANES ? end - block : LANES;
        Splats s;
        load_splats(s, scene, block);
        SplatsGradient g = {};
        for (int c = 0; c < scene.num_views; ++c) {
            alignas(64) float sums[2 * LANES][LANES] = {};
            V v_u = splat(0.0f), v_v = splat(0.0f);
            if (sum_instances(sums, state, c, block, lanes)) unproject(g, v_u, v_v, s, scene, c, sums);
            if (!gradients.means2d) continue;
            float* v_means2d = gradients.means2d + (size_t(c) * scene.num_splats + block) * 2;
            for (int i = 0; i < lanes; ++i) v_means2d[i * 2] = v_u[i], v_means2d[i * 2 + 1] = v_v[i];
        }
        store_gradients(gradients, g, s, gather(scene.opacities, 1, 0, block, scene.num_splats), block, lanes);
    }
}
