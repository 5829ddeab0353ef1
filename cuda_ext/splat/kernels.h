// Projection and blending of Gaussians, forward and backward, eight splats or eight pixels at a time.
//
// Projection is EWA splatting (Zwicker et al. 2001) as in 3D Gaussian splatting (arXiv:2308.04079): with M = R(q) diag(s)
// and the affine map J of the perspective at the center, the image covariance is (J W M)(J W M)^T + LOW_PASS I. Blending
// is front to back, the backward pass walks from the last blended splat of each pixel to the first.
// Included once per instruction set, inside its namespace and after vector.h.

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
    V a, b, c;        // conic
    V sign;           // +-1: turns the shortest axis towards the camera
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
    const V c0 = o.t[0][1] * o.t[1][2] - o.t[0][2] * o.t[1][1];
    const V c1 = o.t[0][2] * o.t[1][0] - o.t[0][0] * o.t[1][2];
    const V c2 = o.t[0][0] * o.t[1][1] - o.t[0][1] * o.t[1][0];
    const V low_pass = splat(LOW_PASS);
    const V det = c0 * c0 + c1 * c1 + c2 * c2 + low_pass * (uu + vv) + low_pass * low_pass;
    o.var_u = uu + low_pass;
    o.var_v = vv + low_pass;
    const V inverse = splat(1.0f) / det;
    o.a = o.var_v * inverse;
    o.b = -uv * inverse;
    o.c = o.var_u * inverse;
    V facing = splat(0.0f);
    for (int i = 0; i < 3; ++i)
        facing += o.p[i] * (splat(view.r[i][0]) * s.normal[0] + splat(view.r[i][1]) * s.normal[1] + splat(view.r[i][2]) * s.normal[2]);
    o.sign = select(facing > splat(0.0f), splat(-1.0f), splat(1.0f));
}

static void project(State& state, const sds3d_splat_scene& scene, const sds3d_splat_images& images, int begin, int end) {
    const float width = scene.width, height = scene.height;
    for (int block = begin; block < end; block += LANES) {
        const int lanes = end - block < LANES ? end - block : LANES;
        Splats s;
        load_splats(s, scene, block);
        const V opacity = gather(scene.opacities, 1, 0, block, scene.num_splats);
        V sigma_max;
        for (int i = 0; i < LANES; ++i) sigma_max[i] = logf(opacity[i] / ALPHA_MIN);
        const V reach = sqrt(max(splat(2.0f) * sigma_max, splat(0.0f)));
        for (int c = 0; c < scene.num_views; ++c) {
            const View view = load_view(scene, c);
            Projected o;
            project_splats(o, s, view);
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

// sigma on eight pixels of a row: one expression for both passes, so that both blend the same pixels.
INLINE V sigma_at(const Record& r, V dx, float dy) {
    return fma(fma(splat(r.half_a), dx, splat(r.b * dy)), dx, splat(r.half_c * dy * dy));
}

constexpr int COLUMNS = TILE / LANES, STRIPS = TILE * COLUMNS;

INLINE V lane_centres() { return V{0.5f, 1.5f, 2.5f, 3.5f, 4.5f, 5.5f, 6.5f, 7.5f}; }

INLINE int at_least(int a, int b) { return a > b ? a : b; }
INLINE int at_most(int a, int b) { return a < b ? a : b; }

// The strips (eight pixels of a row) of a tile that a splat can reach: rows [y0, y1), columns [s0, s1).
struct Strips {
    int y0, y1, s0, s1;
};

INLINE Strips strips_of(const Rect& rect, int left, int top) {
    return {at_least(rect.y0 - top, 0), at_most(rect.y1 - top, TILE), at_least(rect.x0 - left, 0) / LANES,
            (at_most(rect.x1 - left, TILE) + LANES - 1) / LANES};
}

template <bool NORMALS>
static void blend_tile(State& state, const sds3d_splat_scene& scene, const sds3d_splat_images& images, int view,
                       int tile) {
    const int width = scene.width, height = scene.height;
    const int left = tile % state.tiles_x * TILE, top = tile / state.tiles_x * TILE;
    const ViewLists& lists = state.views[view];
    const uint32_t begin = lists.tile_starts[tile], count = lists.tile_starts[tile + 1] - begin;
    const Entry* entries = lists.entries.data + begin;
    const Record* records = state.records.data + size_t(view) * scene.num_splats;

    // Transmittance is negative where the pixel is finished, or outside the image.
    struct alignas(64) Strip {
        V transmittance, r, g, b, z, nx, ny, nz;
    };
    Strip strips[STRIPS];
    I lasts[STRIPS];
    uint64_t open = 0;  // strips with an unfinished pixel; STRIPS <= 64
    const V centres = lane_centres(), zero = splat(0.0f), one = splat(1.0f);
    for (int s = 0; s < STRIPS; ++s) {
        const int y = top + s / COLUMNS, x = left + s % COLUMNS * LANES;
        const I inside = y < height ? splat(float(x)) + centres < splat(float(width)) : I{};
        strips[s] = {select(inside, one, -one), zero, zero, zero, zero, zero, zero, zero};
        lasts[s] = ~I{};
        if (any(inside)) open |= uint64_t(1) << s;
    }
    for (uint32_t n = 0; n < count && open; ++n) {
        const Record& r = records[entries[n].splat];
        const Strips reach = strips_of(r.rect, left, top);
        const V alpha_max = splat(ALPHA_MAX), opacity = splat(r.opacity), sigma_max = splat(r.sigma_max);
        const V index = (V)(I{} + int32_t(n));
        for (int y = reach.y0; y < reach.y1; ++y) {
            const float dy = r.v - (float(top + y) + 0.5f);
            for (int column = reach.s0; column < reach.s1; ++column) {
                const int s = y * COLUMNS + column;
                Strip& p = strips[s];
                const V dx = splat(r.u - float(left + column * LANES)) - centres;
                const V sigma = sigma_at(r, dx, dy);
                const I drawn = (sigma <= sigma_max) & (p.transmittance > zero);
                if (!any(drawn)) continue;
                const V alpha = select(drawn, min(opacity * exp_negative(-sigma), alpha_max), zero);
                const V next = p.transmittance * (one - alpha);
                const I stop = drawn & (next <= splat(TRANSMITTANCE_MIN));
                const I live = drawn & ~stop;
                const V weight = select(live, alpha * p.transmittance, zero);
                p.r = fma(weight, splat(r.rgb[0]), p.r);
                p.g = fma(weight, splat(r.rgb[1]), p.g);
                p.b = fma(weight, splat(r.rgb[2]), p.b);
                p.z = fma(weight, splat(r.z), p.z);
                if (NORMALS) {
                    p.nx = fma(weight, splat(r.normal[0]), p.nx);
                    p.ny = fma(weight, splat(r.normal[1]), p.ny);
                    p.nz = fma(weight, splat(r.normal[2]), p.nz);
                }
                p.transmittance = select(stop, -p.transmittance, next);
                lasts[s] = (I)select(live, index, (V)lasts[s]);
                if (any(stop) && !any(p.transmittance > zero)) open &= ~(uint64_t(1) << s);
            }
        }
    }
    const size_t base = (size_t(view) * state.num_tiles() + tile) * (TILE * TILE);
    const float* background = scene.backgrounds + size_t(view) * 3;
    for (int s = 0; s < STRIPS; ++s) {
        Strip& p = strips[s];
        const V transmittance = max(p.transmittance, -p.transmittance), alpha = one - transmittance;
        const V depth = select(alpha > zero, p.z / max(alpha, splat(1e-10f)), zero);
        p.r = fma(transmittance, splat(background[0]), p.r);
        p.g = fma(transmittance, splat(background[1]), p.g);
        p.b = fma(transmittance, splat(background[2]), p.b);
        store(state.transmittances.data + base + s * LANES, transmittance);
        store((float*)(state.lasts.data + base + s * LANES), (V)lasts[s]);
        const int y = top + s / COLUMNS, x = left + s % COLUMNS * LANES;
        if (y >= height) break;
        const int lanes = at_most(width - x, LANES);
        for (int i = 0; i < lanes; ++i) {
            const size_t pixel = (size_t(view) * height + y) * width + x + i;
            float* rgb = images.colors + pixel * 3;
            rgb[0] = p.r[i], rgb[1] = p.g[i], rgb[2] = p.b[i];
            if (NORMALS) {
                float* normal = images.normals + pixel * 3;
                normal[0] = p.nx[i], normal[1] = p.ny[i], normal[2] = p.nz[i];
            }
            images.alphas[pixel] = alpha[i];
            images.depths[pixel] = depth[i];
        }
    }
}

template <bool GEOMETRY>
static void blend_tile_backward(State& state, const sds3d_splat_scene& scene, const sds3d_splat_images& images,
                                const sds3d_splat_cotangents& cotangents, int view, int tile) {
    const int width = scene.width, height = scene.height;
    const int left = tile % state.tiles_x * TILE, top = tile / state.tiles_x * TILE;
    const ViewLists& lists = state.views[view];
    const uint32_t begin = lists.tile_starts[tile], count = lists.tile_starts[tile + 1] - begin;
    if (!count) return;
    const Entry* entries = lists.entries.data + begin;
    const Record* records = state.records.data + size_t(view) * scene.num_splats;
    InstanceGradient* gradients = state.instance_gradients.data + state.slot_bases[view];

    // behind = sum over the splats behind the current one of weight * (cotangent of its color, depth and normal), plus
    // what the cotangents of background and alpha see through all of them.
    struct alignas(64) Strip {
        V transmittance, behind, r, g, b, z, nx, ny, nz;
    };
    Strip strips[STRIPS];
    I lasts[STRIPS];
    const V centres = lane_centres(), zero = splat(0.0f), one = splat(1.0f);
    const size_t base = (size_t(view) * state.num_tiles() + tile) * (TILE * TILE);
    const float* background = scene.backgrounds + size_t(view) * 3;
    int last = -1;
    for (int s = 0; s < STRIPS; ++s) {
        const int y = top + s / COLUMNS, x = left + s % COLUMNS * LANES;
        Strip p = {load(state.transmittances.data + base + s * LANES), zero, zero, zero, zero, zero, zero, zero, zero};
        lasts[s] = (I)load((const float*)(state.lasts.data + base + s * LANES));
        const int lanes = y < height ? at_most(width - x, LANES) : 0;
        V v_alpha = zero;
        for (int i = 0; i < lanes; ++i) {
            const size_t pixel = (size_t(view) * height + y) * width + x + i;
            if (cotangents.colors) {
                const float* rgb = cotangents.colors + pixel * 3;
                p.r[i] = rgb[0], p.g[i] = rgb[1], p.b[i] = rgb[2];
            }
            if (cotangents.alphas) v_alpha[i] = cotangents.alphas[pixel];
            if (GEOMETRY && cotangents.depths && lasts[s][i] >= 0) {
                const float v_depth = cotangents.depths[pixel] / (1.0f - p.transmittance[i]);
                p.z[i] = v_depth;
                v_alpha[i] -= v_depth * images.depths[pixel];
            }
            if (GEOMETRY && cotangents.normals) {
                const float* normal = cotangents.normals + pixel * 3;
                p.nx[i] = normal[0], p.ny[i] = normal[1], p.nz[i] = normal[2];
            }
            last = at_least(last, lasts[s][i]);
        }
        p.behind = p.transmittance *
                   (splat(background[0]) * p.r + splat(background[1]) * p.g + splat(background[2]) * p.b - v_alpha);
        strips[s] = p;
    }
    for (int n = int(count) - 1; n > last; --n) __builtin_memset(gradients + entries[n].slot, 0, sizeof(InstanceGradient));
    for (int n = last; n >= 0; --n) {
        const Record& r = records[entries[n].splat];
        const Strips reach = strips_of(r.rect, left, top);
        const V alpha_max = splat(ALPHA_MAX), opacity = splat(r.opacity), sigma_max = splat(r.sigma_max);
        const I index = I{} + int32_t(n);
        V q = zero, qx = zero, qy = zero, qxx = zero, qxy = zero, qyy = zero;
        V v_r = zero, v_g = zero, v_b = zero, v_z = zero, v_nx = zero, v_ny = zero, v_nz = zero;
        for (int y = reach.y0; y < reach.y1; ++y) {
            const float dy = r.v - (float(top + y) + 0.5f);
            for (int column = reach.s0; column < reach.s1; ++column) {
                const int s = y * COLUMNS + column;
                Strip& p = strips[s];
                const V dx = splat(r.u - float(left + column * LANES)) - centres;
                const V sigma = sigma_at(r, dx, dy);
                const I drawn = (sigma <= sigma_max) & (index <= lasts[s]);
                if (!any(drawn)) continue;
                const V raw = select(drawn, opacity * exp_negative(-sigma), zero);
                const V alpha = min(raw, alpha_max);
                const V rest = one / (one - alpha);
                p.transmittance *= rest;
                const V weight = alpha * p.transmittance;
                v_r = fma(weight, p.r, v_r);
                v_g = fma(weight, p.g, v_g);
                v_b = fma(weight, p.b, v_b);
                V along = fma(splat(r.rgb[0]), p.r, fma(splat(r.rgb[1]), p.g, splat(r.rgb[2]) * p.b));
                if (GEOMETRY) {
                    v_z = fma(weight, p.z, v_z);
                    v_nx = fma(weight, p.nx, v_nx);
                    v_ny = fma(weight, p.ny, v_ny);
                    v_nz = fma(weight, p.nz, v_nz);
                    along = fma(splat(r.z), p.z, along);
                    along = fma(splat(r.normal[0]), p.nx, fma(splat(r.normal[1]), p.ny, fma(splat(r.normal[2]), p.nz, along)));
                }
                const V v_alpha = p.transmittance * along - p.behind * rest;
                p.behind = fma(weight, along, p.behind);
                const V pull = select(raw <= alpha_max, alpha * v_alpha, zero);  // a clamped alpha does not move
                const V pull_x = pull * dx, pull_y = pull * splat(dy);
                q += pull;
                qx += pull_x;
                qy += pull_y;
                qxx = fma(pull_x, dx, qxx);
                qxy = fma(pull_x, splat(dy), qxy);
                qyy = fma(pull_y, splat(dy), qyy);
            }
        }
        float* out = &gradients[entries[n].slot].q;
        store(out, horizontal_sums(q, qx, qy, qxx, qxy, qyy, v_r, v_g));
        store(out + LANES, horizontal_sums(v_b, v_z, v_nx, v_ny, v_nz, zero, zero, zero));
    }
}

static void project_backward(State& state, const sds3d_splat_scene& scene, const sds3d_splat_gradients& gradients, int begin,
                             int end) {
    const int num_splats = scene.num_splats;
    const V zero = splat(0.0f), two = splat(2.0f);
    for (int block = begin; block < end; block += LANES) {
        const int lanes = end - block < LANES ? end - block : LANES;
        Splats s;
        load_splats(s, scene, block);
        V v_mean[3] = {zero, zero, zero}, v_m[3][3] = {}, v_normal[3] = {zero, zero, zero}, v_rgb[3] = {zero, zero, zero};
        V pull = zero, grad_norm = zero;
        for (int c = 0; c < scene.num_views; ++c) {
            const ViewLists& lists = state.views[c];
            const size_t first = size_t(c) * num_splats + block;
            const InstanceGradient* instances = state.instance_gradients.data + state.slot_bases[c];
            // The sums over the tiles of each splat, in the order of its slots.
            alignas(64) float sums[2 * LANES][LANES] = {};
            bool seen = false;
            for (int i = 0; i < lanes; ++i) {
                const Rect rect = state.rects[first + i];
                if (rect.x0 == rect.x1) continue;
                seen = true;
                const int num = ((rect.x1 - 1) / TILE - rect.x0 / TILE + 1) * ((rect.y1 - 1) / TILE - rect.y0 / TILE + 1);
                const float* slot = &instances[lists.first_slots[block + i]].q;
                V low = zero, high = zero;
                for (int k = 0; k < num; ++k, slot += 2 * LANES) {
                    low += load(slot);
                    high += load(slot + LANES);
                }
                for (int k = 0; k < LANES; ++k) sums[k][i] = low[k], sums[LANES + k][i] = high[k];
            }
            if (!seen) {
                if (gradients.means2d) __builtin_memset(gradients.means2d + first * 2, 0, sizeof(float) * 2 * lanes);
                continue;
            }
            const V q = load(sums[0]), qx = load(sums[1]), qy = load(sums[2]);
            const V qxx = load(sums[3]), qxy = load(sums[4]), qyy = load(sums[5]);
            const V v_z_drawn = load(sums[9]);
            const View view = load_view(scene, c);
            Projected o;
            project_splats(o, s, view);
            // Lanes that are not visible have zero sums, but their projection may be infinite.
            const I visible = (load(sums[0]) != zero) | (qxx != zero) | (qyy != zero) | (v_z_drawn != zero) |
                              (load(sums[6]) != zero) | (load(sums[7]) != zero) | (load(sums[8]) != zero) |
                              (load(sums[10]) != zero) | (load(sums[11]) != zero) | (load(sums[12]) != zero);
            const V v_u = select(visible, -(o.a * qx + o.b * qy), zero), v_v = select(visible, -(o.b * qx + o.c * qy), zero);
            // d loss / d conic is -1/2 of the moment matrix, so d loss / d covariance = 1/2 conic * moments * conic.
            const V h00 = o.a * qxx + o.b * qxy, h01 = o.a * qxy + o.b * qyy;
            const V h10 = o.b * qxx + o.c * qxy, h11 = o.b * qxy + o.c * qyy;
            const V twice_v_uu = h00 * o.a + h01 * o.b, twice_v_uv = h00 * o.b + h01 * o.c, twice_v_vv = h10 * o.b + h11 * o.c;
            const V fx = splat(view.fx) * o.inverse_z, fy = splat(view.fy) * o.inverse_z;
            V v_mc[3][3], v_xc = zero, v_yc = zero, shrink = zero;
            for (int j = 0; j < 3; ++j) {
                const V v_t0 = twice_v_uu * o.t[0][j] + twice_v_uv * o.t[1][j];
                const V v_t1 = twice_v_uv * o.t[0][j] + twice_v_vv * o.t[1][j];
                v_mc[0][j] = fx * v_t0;
                v_mc[1][j] = fy * v_t1;
                v_mc[2][j] = -(o.xc * v_mc[0][j] + o.yc * v_mc[1][j]);
                v_xc -= v_mc[0][j] * o.mc[2][j];
                v_yc -= v_mc[1][j] * o.mc[2][j];
                shrink += v_t0 * o.t[0][j] + v_t1 * o.t[1][j];
            }
            const V v_xn = splat(view.fx) * v_u + select(o.xc == o.xn, v_xc, zero);
            const V v_yn = splat(view.fy) * v_v + select(o.yc == o.yn, v_yc, zero);
            V v_p[3];
            v_p[0] = v_xn * o.inverse_z;
            v_p[1] = v_yn * o.inverse_z;
            v_p[2] = v_z_drawn - (v_xn * o.xn + v_yn * o.yn + shrink) * o.inverse_z;
            for (int j = 0; j < 3; ++j) {
                V down = zero;
                for (int i = 0; i < 3; ++i) down += splat(view.r[i][j]) * v_p[i];
                v_mean[j] += select(visible, down, zero);
                for (int k = 0; k < 3; ++k) {
                    V v = zero;
                    for (int i = 0; i < 3; ++i) v += splat(view.r[i][j]) * v_mc[i][k];
                    v_m[j][k] += select(visible, v, zero);
                }
                v_rgb[j] += load(sums[6 + j]);
                v_normal[j] += o.sign * load(sums[10 + j]);
            }
            pull += q;
            const V norm_u = v_u * splat(0.5f * scene.width), norm_v = v_v * splat(0.5f * scene.height);
            grad_norm += sqrt(norm_u * norm_u + norm_v * norm_v);
            if (gradients.means2d)
                for (int i = 0; i < lanes; ++i)
                    gradients.means2d[(first + i) * 2] = v_u[i], gradients.means2d[(first + i) * 2 + 1] = v_v[i];
        }
        V g[3][3];  // d loss / d rotation
        V v_scale[3];
        for (int j = 0; j < 3; ++j) {
            v_scale[j] = v_m[0][j] * s.rotation[0][j] + v_m[1][j] * s.rotation[1][j] + v_m[2][j] * s.rotation[2][j];
            for (int i = 0; i < 3; ++i) g[i][j] = v_m[i][j] * s.scale[j] + select(s.shortest[j], v_normal[i], zero);
        }
        const V w = s.quat[0], x = s.quat[1], y = s.quat[2], z = s.quat[3];
        V v_unit[4];
        v_unit[0] = two * (x * (g[2][1] - g[1][2]) + y * (g[0][2] - g[2][0]) + z * (g[1][0] - g[0][1]));
        v_unit[1] = two * (y * (g[0][1] + g[1][0]) + z * (g[0][2] + g[2][0]) + w * (g[2][1] - g[1][2]) -
                           two * x * (g[1][1] + g[2][2]));
        v_unit[2] = two * (x * (g[0][1] + g[1][0]) + z * (g[1][2] + g[2][1]) + w * (g[0][2] - g[2][0]) -
                           two * y * (g[0][0] + g[2][2]));
        v_unit[3] = two * (x * (g[0][2] + g[2][0]) + y * (g[1][2] + g[2][1]) + w * (g[1][0] - g[0][1]) -
                           two * z * (g[0][0] + g[1][1]));
        const V along = w * v_unit[0] + x * v_unit[1] + y * v_unit[2] + z * v_unit[3];
        const V opacity = gather(scene.opacities, 1, 0, block, num_splats);
        const V v_opacity = select(pull != zero, pull / opacity, zero);
        for (int i = 0; i < lanes; ++i) {
            const size_t n = block + i;
            for (int k = 0; k < 3; ++k) {
                gradients.means[n * 3 + k] = v_mean[k][i];
                gradients.scales[n * 3 + k] = v_scale[k][i];
                gradients.colors[n * 3 + k] = v_rgb[k][i];
            }
            for (int k = 0; k < 4; ++k)
                gradients.quats[n * 4 + k] = (v_unit[k][i] - s.quat[k][i] * along[i]) * s.inverse_norm[i];
            gradients.opacities[n] = v_opacity[i];
            gradients.means2d_grad_norm[n] = grad_norm[i];
        }
    }
}

static void blend(State& state, const sds3d_splat_scene& scene, const sds3d_splat_images& images, int view, int tile) {
    if (images.normals)
        blend_tile<true>(state, scene, images, view, tile);
    else
        blend_tile<false>(state, scene, images, view, tile);
}

static void blend_backward(State& state, const sds3d_splat_scene& scene, const sds3d_splat_images& images,
                           const sds3d_splat_cotangents& cotangents, int view, int tile) {
    if (cotangents.depths || cotangents.normals)
        blend_tile_backward<true>(state, scene, images, cotangents, view, tile);
    else
        blend_tile_backward<false>(state, scene, images, cotangents, view, tile);
}

static constexpr Kernels table(const char* name) { return {name, project, blend, blend_backward, project_backward}; }
