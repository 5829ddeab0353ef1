// The cut-offs of Gaussian blending, for CPU and CUDA; sds3d/renderers/constants.py holds the same numbers.
#pragma once

namespace sds3d {

constexpr float LOW_PASS = 0.3f;             // pixels^2, added to both image-space variances
constexpr float ALPHA_MAX = 0.999f;          // a splat never hides everything behind it
constexpr float ALPHA_MIN = 1.0f / 255.0f;   // a fainter contribution is skipped
constexpr float TRANSMITTANCE_MIN = 1e-4f;   // a pixel is finished before it gets darker than this
constexpr float FRUSTUM_MARGIN = 0.15f;      // of the image size: how far outside the projection is still linearized

}  // namespace sds3d
