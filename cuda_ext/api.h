// The whole extern "C" surface of the native library: plain structs, raw pointers, no torch, no Python.
// Every array is contiguous float32 in row-major order. Letters: N splats, C views, H x W pixels.
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SDS3D_API __attribute__((visibility("default")))
#define SDS3D_ABI_VERSION 4

typedef struct {
    int32_t num_splats, num_views, width, height;
    float near_plane;              // splats with a smaller camera-space z are culled
    int32_t antialiased;           // 1: the low-pass filter keeps the alpha of a splat
    const float* means;            // [N, 3] world
    const float* quats;            // [N, 4] wxyz, normalized inside
    const float* scales;           // [N, 3] world units
    const float* opacities;        // [N]
    const float* colors;           // [N, 3]
    const float* viewmats;         // [C, 4, 4] world-to-camera, OpenCV axes
    const float* Ks;               // [C, 3, 3] pixels
    const float* backgrounds;      // [C, 3]
    const float* means2d_offsets;  // [C, N, 2] pixels, or null
} sds3d_splat_scene;

typedef struct {
    float* colors;   // [C, H, W, 3] over the background
    float* alphas;   // [C, H, W]
    float* depths;   // [C, H, W] expected z, 0 where alpha is 0
    float* normals;  // [C, H, W, 3] world space, weighted by alpha, or null: not rasterized
    float* radii;    // [C, N] pixels, 0 = not visible
} sds3d_splat_images;

typedef struct {
    const float* colors;   // [C, H, W, 3], or null
    const float* alphas;   // [C, H, W], or null
    const float* depths;   // [C, H, W], or null
    const float* normals;  // [C, H, W, 3], or null
} sds3d_splat_cotangents;

typedef struct {
    float* means;              // [N, 3]
    float* quats;              // [N, 4]
    float* scales;             // [N, 3]
    float* opacities;          // [N]
    float* colors;             // [N, 3]
    float* means2d;            // [C, N, 2] per pixel, or null
    float* means2d_grad_norm;  // [N] sum over views of |(W/2 d/du, H/2 d/dv)|: half the image counts as 1
} sds3d_splat_gradients;

SDS3D_API int32_t sds3d_abi_version(void);

// What `use_simd` would run: "avx2" or "baseline".
SDS3D_API const char* sds3d_simd_name(int32_t use_simd);

// Low-pass variance (pixels^2), largest alpha, smallest alpha, smallest transmittance, frustum margin.
SDS3D_API void sds3d_splat_cutoffs(float values[5]);

// Rasterizes all views. Returns the state that `sds3d_splat_backward` needs, to be handed to `sds3d_splat_free`; null when
// memory runs out. The result is bitwise independent of num_threads and of scheduling.
SDS3D_API void* sds3d_splat_forward(const sds3d_splat_scene* scene, const sds3d_splat_images* images,
                                    int32_t num_threads, int32_t use_simd);

// Gradients of sum(cotangents * images). `scene` and `images` must hold the values that forward saw and wrote; of the
// images only the depths are read. 0, or 1 when memory runs out.
SDS3D_API int32_t sds3d_splat_backward(void* state, const sds3d_splat_scene* scene, const sds3d_splat_images* images,
                                       const sds3d_splat_cotangents* cotangents,
                                       const sds3d_splat_gradients* gradients, int32_t num_threads);

SDS3D_API void sds3d_splat_free(void* state);

// Premultiplied colors and coverage [B, V, resolution, resolution, 4] of B packed objects [B, 28, 32], each seen by V
// cameras [B, V, 13] (camera-to-world rows [3, 4], OpenCV axes, then the focal length in pixels); samples^2 rays a pixel.
// World-space normals times coverage [B, V, resolution, resolution, 3] go into `normals`, which may be null.
SDS3D_API int32_t sds3d_trace(const float* parts, const float* cameras, float* out, float* normals, int32_t objects,
                              int32_t views, int32_t resolution, int32_t samples, int32_t num_threads);

#ifdef __cplusplus
}
#endif
