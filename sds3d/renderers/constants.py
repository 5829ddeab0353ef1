"""The cut-offs of Gaussian blending; cuda_ext/splat/constants.h holds the same numbers; a test compares them."""

LOW_PASS = 0.3  # pixels^2, added to both image-space variances so that no splat is thinner than a pixel
ALPHA_MAX = 0.999  # a splat never hides everything behind it
ALPHA_MIN = 1 / 255  # a fainter contribution is skipped
TRANSMITTANCE_MIN = 1e-4  # a pixel is finished before it gets darker than this
FRUSTUM_MARGIN = 0.15  # of the image size: how far outside the projection is still linearized
NEAR_PLANE = 0.05  # world units
