// Blending of Gaussians front to back (arXiv:2308.04079, eq. 3), eight pixels at a time, and its gradients: the backward
// pass walks from the last blended splat of each pixel to the first. Included by kernels.h.

// sigma on eight pixels of a row: one expression for both passes, so that both blend the same pixels.
INLINE V sigma_at(const Record& r, V dx, float dy) {
    return fma(fma(splat(r.half_a), dx, splat(r.b * dy)), dx, splat(r.half_c * dy * dy));
}

constexpr int COLUMNS = TILE / LANES, STRIPS = TILE * COLUMNS;

INLINE V lane_centers() { return V{0.5f, 1.5f, 2.5f, 3.5f, 4.5f, 5.5f, 6.5f, 7.5f}; }

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
    const V centers = lane_centers(), zero = splat(0.0f), one = splat(1.0f);
    for (int s = 0; s < STRIPS; ++s) {
        const int y = top + s / COLUMNS, x = left + s % COLUMNS * LANES;
        const I inside = y < height ? splat(float(x)) + centers < splat(float(width)) : I{};
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
                const V dx = splat(r.u - float(left + column * LANES)) - centers;
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
    const V centers = lane_centers(), zero = splat(0.0f), one = splat(1.0f);
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
                const V dx = splat(r.u - float(left + column * LANES)) - centers;
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
                    along = fma(splat(r.normal[2]), p.nz, along);
                    along = fma(splat(r.normal[0]), p.nx, fma(splat(r.normal[1]), p.ny, along));
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
