// Sphere tracing of packed signed-distance parts (sds3d/procedural/parts.py), one pixel a call.
// The same source serves the CPU library (g++) and the GPU (nvcc, NVRTC), so it includes nothing on the device.
// Distances: Inigo Quilez, "distance functions" (iquilezles.org/articles/distfunctions), re-derived here; the ellipsoid's
// is a first-order bound, hence the relaxed steps. Tracing: Hart, "Sphere tracing" (The Visual Computer 12, 1996).
#ifndef SDS3D_TRACE_H
#define SDS3D_TRACE_H

#ifdef __CUDACC__
#define SDS3D_FN __device__ __forceinline__
#else
#include <cmath>
#define SDS3D_FN static inline
#endif

namespace sds3d_tracer {

constexpr int MAX_PARTS = 28, COLUMNS = 32, STEPS = 64;
constexpr float HIT = 1.5e-3f, RELAX = 0.9f;

struct Vec { float x, y, z; };
SDS3D_FN Vec operator+(Vec a, Vec b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
SDS3D_FN Vec operator*(Vec a, float s) { return {a.x * s, a.y * s, a.z * s}; }
SDS3D_FN float dot(Vec a, Vec b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
SDS3D_FN float length(Vec a) { return sqrtf(dot(a, a)); }
SDS3D_FN float length2(float x, float y) { return sqrtf(x * x + y * y); }
SDS3D_FN float clampf(float x, float low, float high) { return fminf(fmaxf(x, low), high); }

// Columns of a part, as parts.pack writes them.
enum { KIND, CUT, PATTERN, PATTERN_SCALE, SHINE, ROUNDING, TAPER, PRESENT, CENTER, SIZE = 11, COLOR = 14, COLOR2 = 17, ROTATION = 20, BOUND = 29, BLEND, TAPER_Y };
constexpr int ARC_SINE = SIZE + 1, ARC_COSINE = ROUNDING;

SDS3D_FN Vec to_local(const float* part, Vec p) {
    const float* r = part + ROTATION;
    Vec d = {p.x - part[CENTER], p.y - part[CENTER + 1], p.z - part[CENTER + 2]};
    return {r[0] * d.x + r[3] * d.y + r[6] * d.z, r[1] * d.x + r[4] * d.y + r[7] * d.z, r[2] * d.x + r[5] * d.y + r[8] * d.z};
}

SDS3D_FN float ellipsoid(Vec q, Vec s) {
    Vec a = {q.x / s.x, q.y / s.y, q.z / s.z};
    Vec b = {a.x / s.x, a.y / s.y, a.z / s.z};
    float k0 = length(a), k1 = length(b);
    return k1 > 1e-6f ? k0 * (k0 - 1.0f) / k1 : -fminf(s.x, fminf(s.y, s.z));
}

SDS3D_FN float box(Vec q, Vec s, float rounding) {
    Vec d = {fabsf(q.x) - s.x + rounding, fabsf(q.y) - s.y + rounding, fabsf(q.z) - s.z + rounding};
    Vec outside = {fmaxf(d.x, 0.0f), fmaxf(d.y, 0.0f), fmaxf(d.z, 0.0f)};
    return length(outside) + fminf(fmaxf(d.x, fmaxf(d.y, d.z)), 0.0f) - rounding;
}

SDS3D_FN float frustum(Vec q, float bottom, float top, float half, float rounding) {
    bottom = fmaxf(bottom - rounding, 0.0f), top = fmaxf(top - rounding, 0.0f), half = fmaxf(half - rounding, 1e-4f);
    float r = length2(q.x, q.y);
    float cap_x = r - fminf(r, q.z < 0.0f ? bottom : top), cap_y = fabsf(q.z) - half;
    float k2x = top - bottom, k2y = 2.0f * half;
    float t = clampf(((top - r) * k2x + (half - q.z) * k2y) / (k2x * k2x + k2y * k2y), 0.0f, 1.0f);
    float side_x = r - top + k2x * t, side_y = q.z - half + k2y * t;
    float sign = side_x < 0.0f && cap_y < 0.0f ? -1.0f : 1.0f;
    return sign * sqrtf(fminf(cap_x * cap_x + cap_y * cap_y, side_x * side_x + side_y * side_y)) - rounding;
}

SDS3D_FN float capsule(Vec q, float radius, float half, float taper) {
    float along = clampf(q.z, -half, half);
    return length(Vec{q.x, q.y, q.z - along}) - radius * (1.0f + (taper - 1.0f) * (0.5f + 0.5f * along / half));
}

// A piece of a torus: the ends are caps, as those of a capsule.
SDS3D_FN float arc(Vec q, float radius, float sine, float cosine, float tube, float taper) {
    float x = fabsf(q.x), along = clampf(q.x / (radius * (cosine > 0.0f ? sine : 1.0f)), -1.0f, 1.0f);
    float toward = cosine * x > sine * q.z ? x * sine + q.z * cosine : length2(x, q.z);
    float to_ring = sqrtf(fmaxf(dot(q, q) + radius * radius - 2.0f * radius * toward, 0.0f));
    return to_ring - tube * (1.0f + (taper - 1.0f) * (0.5f + 0.5f * along));
}

// The greatest distance to a plane: exact inside and over the faces, less than the distance beside an edge.
SDS3D_FN float wedge(Vec q, Vec s, float taper_x, float taper_y) {
    float slope_x = s.x * (1.0f - taper_x) / (2.0f * s.z), slope_y = s.y * (1.0f - taper_y) / (2.0f * s.z);
    float up = q.z + s.z;
    float side_x = (fabsf(q.x) - s.x + slope_x * up) / sqrtf(1.0f + slope_x * slope_x);
    float side_y = (fabsf(q.y) - s.y + slope_y * up) / sqrtf(1.0f + slope_y * slope_y);
    return fmaxf(fmaxf(side_x, side_y), fabsf(q.z) - s.z);
}

SDS3D_FN float part_distance(const float* part, Vec p) {
    Vec q = to_local(part, p), s = {part[SIZE], part[SIZE + 1], part[SIZE + 2]};
    switch (int(part[KIND])) {
        case 0: return ellipsoid(q, s);
        case 1: return box(q, s, part[ROUNDING]);
        case 2: return frustum(q, s.x, s.x * part[TAPER], s.z, part[ROUNDING]);
        case 3: return length2(length2(q.x, q.y) - s.x, q.z) - s.z;
        case 4: return capsule(q, s.x, s.z, part[TAPER]);
        case 5: return arc(q, s.x, part[ARC_SINE], part[ARC_COSINE], s.z, part[TAPER]);
        default: return wedge(q, s, part[TAPER], part[TAPER_Y]);
    }
}

// Distance to those parts of the object whose bit is in `seen`, and the part whose color is seen there.
SDS3D_FN float object_distance(const float* parts, unsigned seen, Vec p, int* nearest) {
    float solid = 1e9f, cut = -1e9f;
    int solid_part = 0, cut_part = 0;
    for (int k = 0; seen >> k; ++k) {
        if (!(seen >> k & 1u)) continue;
        const float* part = parts + k * COLUMNS;
        if (part[CUT] == 0.0f) {  // skip what lies in a ball further away than the nearest part so far
            Vec d = {p.x - part[CENTER], p.y - part[CENTER + 1], p.z - part[CENTER + 2]};
            float reach = part[BOUND] + solid + part[BLEND];
            if (reach > 0.0f && dot(d, d) > reach * reach) continue;
        }
        float d = part_distance(part, p);
        if (part[CUT] != 0.0f) {
            if (-d > cut) cut = -d, cut_part = k;
        } else {
            float blend = part[BLEND], near = blend - fabsf(d - solid);
            if (d < solid) solid = d, solid_part = k;
            if (near > 0.0f) solid -= 0.25f * near * near / blend;  // smooth minimum of second order, Quilez
        }
    }
    if (nearest) *nearest = cut > solid ? cut_part : solid_part;
    return fmaxf(solid, cut);
}

SDS3D_FN bool second_color(const float* part, Vec p) {
    Vec q = to_local(part, p);
    float s = part[PATTERN_SCALE];
    switch (int(part[PATTERN])) {
        case 1: {  // dots: balls on a lattice whose rows are shifted, cut by the surface
            float row = floorf(q.z * s), x = q.x * s + 0.5f * row, y = q.y * s + 0.25f * row;
            Vec f = {x - floorf(x) - 0.5f, y - floorf(y) - 0.5f, q.z * s - row - 0.5f};
            return dot(f, f) < 0.38f * 0.38f;
        }
        case 2: return sinf(6.2831853f * s * q.z) > 0.0f;
        case 3: return (int(floorf(q.x * s) + floorf(q.y * s) + floorf(q.z * s)) & 1) != 0;
        case 4: return q.z > s;
        default: return false;
    }
}

// View-independent shading, so that what the prior learns is a texture: hemisphere light, one key light, contact shadow.
// The unit normal goes into `normal`.
SDS3D_FN Vec shade(const float* parts, unsigned all, Vec p, const Vec& light, Vec* normal) {
    int index = 0;
    float d0 = object_distance(parts, all, p, &index);
    const float e = 2e-3f;
    Vec n = {0, 0, 0};
    const Vec corners[4] = {{1, -1, -1}, {-1, -1, 1}, {-1, 1, -1}, {1, 1, 1}};
    for (int i = 0; i < 4; ++i) n = n + corners[i] * object_distance(parts, all, p + corners[i] * e, nullptr);
    n = n * (1.0f / fmaxf(length(n), 1e-9f));
    *normal = n;
    const float* part = parts + index * COLUMNS;
    const float* c = part + (second_color(part, p) ? COLOR2 : COLOR);
    float reach = 0.12f, open = clampf((object_distance(parts, all, p + n * reach, nullptr) - d0) / reach, 0.0f, 1.0f);
    float key = fmaxf(dot(n, light), 0.0f), shine = part[SHINE];
    if (shine > 1.5f)  // gives light itself: paler than its color, and no shadow falls on it
        return {0.7f * c[0] + 0.3f, 0.7f * c[1] + 0.3f, 0.7f * c[2] + 0.3f};
    float diffuse = (0.62f + 0.14f * n.z + 0.30f * key) * (0.72f + 0.28f * open);
    float contrast = shine > 0.75f ? 0.75f + 0.45f * clampf(0.5f + 1.5f * n.z * (1.0f - n.z), 0.0f, 1.0f) : 1.0f;
    float gloss = shine > 0.0f ? (0.25f + 0.35f * shine) * powf(key, 20.0f) : 0.0f;
    Vec rgb = {c[0], c[1], c[2]};
    rgb = rgb * (diffuse * contrast) + Vec{gloss, gloss, gloss};
    return {clampf(rgb.x, 0, 1), clampf(rgb.y, 0, 1), clampf(rgb.z, 0, 1)};
}

// The parts that a ray can meet: those whose ball it goes through, from `enter` to `leave`; a part beside the ray changes
// nothing on it, since the ball is wide enough for where the part melts into others.
SDS3D_FN unsigned parts_on_ray(const float* parts, Vec origin, Vec dir, float* enter, float* leave, unsigned* all) {
    unsigned seen = 0, present = 0;
    *enter = 1e9f, *leave = 0.0f;
    for (int k = 0; k < MAX_PARTS; ++k) {
        const float* part = parts + k * COLUMNS;
        if (part[PRESENT] == 0.0f) break;  // parts are packed without gaps
        present |= 1u << k;
        Vec d = {part[CENTER] - origin.x, part[CENTER + 1] - origin.y, part[CENTER + 2] - origin.z};
        float along = dot(d, dir), miss = part[BOUND] * part[BOUND] + along * along - dot(d, d);
        if (miss < 0.0f) continue;
        seen |= 1u << k;
        if (part[CUT] != 0.0f) continue;
        float half = sqrtf(miss);
        *enter = fminf(*enter, along - half), *leave = fmaxf(*leave, along + half);
    }
    *all = present;
    return seen;
}

// Color times coverage and coverage of one pixel; camera = camera-to-world rows [3, 4] OpenCV, then focal length in pixels.
// World-space normal times coverage too, unless `normals` is null.
SDS3D_FN void trace_pixel(const float* parts, const float* camera, int resolution, int samples, int px, int py, float* rgba,
                          float* normals) {
    const Vec light = {0.502f, 0.301f, 0.811f};
    const Vec origin = {camera[3], camera[7], camera[11]};
    float sum[4] = {0, 0, 0, 0};
    Vec normal, normal_sum = {0, 0, 0};
    for (int sub = 0; sub < samples * samples; ++sub) {
        float x = (px + (sub % samples + 0.5f) / samples - 0.5f * resolution) / camera[12];
        float y = (py + (sub / samples + 0.5f) / samples - 0.5f * resolution) / camera[12];
        Vec dir = {camera[0] * x + camera[1] * y + camera[2], camera[4] * x + camera[5] * y + camera[6], camera[8] * x + camera[9] * y + camera[10]};
        dir = dir * (1.0f / length(dir));
        float t, end;
        unsigned all, seen = parts_on_ray(parts, origin, dir, &t, &end, &all);
        bool hit = false;
        for (int step = 0; step < STEPS && t < end; ++step) {
            float d = object_distance(parts, seen, origin + dir * t, nullptr);
            if (d < HIT) { hit = true; break; }
            t += RELAX * d;
        }
        if (!hit) continue;
        Vec rgb = shade(parts, all, origin + dir * t, light, &normal);
        sum[0] += rgb.x, sum[1] += rgb.y, sum[2] += rgb.z, sum[3] += 1.0f;
        normal_sum = normal_sum + normal;
    }
    for (int i = 0; i < 4; ++i) rgba[i] = sum[i] / (samples * samples);
    if (!normals) return;
    normal_sum = normal_sum * (1.0f / (samples * samples));
    normals[0] = normal_sum.x, normals[1] = normal_sum.y, normals[2] = normal_sum.z;
}

}  // namespace sds3d_tracer

#endif
