// The kernels in the instructions that every machine of the target has.
#include <cmath>

#include "state.h"

#pragma GCC diagnostic ignored "-Wpsabi"
#define SDS3D_AVX2 0
namespace sds3d {
namespace baseline {
#include "vector.h"
#include "kernels.h"
}  // namespace baseline
const Kernels baseline_kernels = baseline::table("baseline");
}  // namespace sds3d
