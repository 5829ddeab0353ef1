// Eight float16 or bfloat16 values at once, as floats. Written out, since NVRTC comes without the headers of CUDA.
#pragma once

static __device__ __forceinline__ float half_to_float(unsigned short bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

static __device__ __forceinline__ unsigned short float_to_half(float value) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}

static __device__ __forceinline__ float bfloat_to_float(unsigned short bits) { return __uint_as_float(unsigned(bits) << 16); }

// To the nearest, ties to even; NaN stays NaN.
static __device__ __forceinline__ unsigned short float_to_bfloat(float value) {
    const unsigned bits = __float_as_uint(value);
    return value != value ? 0x7fff : (unsigned short)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// Here and below: BFLOAT says which of the two formats; `at` is a multiple of eight.
template <bool BFLOAT>
static __device__ __forceinline__ void load8(const void* values, size_t at, float out[8]) {
    const uint4 packed = *reinterpret_cast<const uint4*>(static_cast<const unsigned short*>(values) + at);
    const unsigned words[4] = {packed.x, packed.y, packed.z, packed.w};
    for (int k = 0; k < 8; ++k) {
        const unsigned short bits = (unsigned short)(words[k / 2] >> k % 2 * 16);
        out[k] = BFLOAT ? bfloat_to_float(bits) : half_to_float(bits);
    }
}

template <bool BFLOAT>
static __device__ __forceinline__ void store8(void* values, size_t at, const float in[8]) {
    unsigned words[4];
    for (int k = 0; k < 4; ++k) {
        const unsigned short low = BFLOAT ? float_to_bfloat(in[2 * k]) : float_to_half(in[2 * k]);
        const unsigned short high = BFLOAT ? float_to_bfloat(in[2 * k + 1]) : float_to_half(in[2 * k + 1]);
        words[k] = unsigned(low) | unsigned(high) << 16;
    }
    *reinterpret_cast<uint4*>(static_cast<unsigned short*>(values) + at) = make_uint4(words[0], words[1], words[2], words[3]);
}
