// The same kernels with AVX2 and FMA; called only where the processor has both.
#if defined(__x86_64__)
#include <immintrin.h>

#include <cmath>

#include "state.h"

#pragma GCC diagnostic ignored "-Wpsabi"
// After the system headers: an inline function of theirs compiled for AVX2 could be linked into the baseline kernels.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#define SDS3D_AVX2 1
namespace sds3d {
namespace avx2 {
#include "vector.h"
#include "kernels.h"
}  // namespace avx2
}  // namespace sds3d
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
namespace sds3d {
const Kernels avx2_kernels = avx2::table("avx2");
}  // namespace sds3d
#endif
