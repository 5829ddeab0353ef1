// The CUDA kernels of the splatter, in the order in which a step launches them.
#include "project.cuh"
#include "bin.cuh"
#include "blend.cuh"
#include "blend_backward.cuh"
#include "project_backward.cuh"
