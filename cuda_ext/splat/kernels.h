// The kernels of one instruction set. Included once for each, inside its namespace and after vector.h.
#include "project.h"
#include "blend.h"

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
