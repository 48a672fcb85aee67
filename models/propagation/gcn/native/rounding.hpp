// Numbers rounded to a 16-bit type and back, to nearest, ties to even.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "simd.hpp"

namespace gcn {

enum Rounding { kNoRounding = 0, kFloat16 = 1, kBfloat16 = 2 };

inline float round_to_bfloat16(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    bits += 0x7FFFu + ((bits >> 16) & 1u);
    bits &= 0xFFFF0000u;
    std::memcpy(&x, &bits, sizeof bits);
    return x;
}

// 11 significant bits; numbers below 2^-14 are multiples of 2^-24; from 65520 on, infinity.
inline float round_to_float16(float x) {
    const float magnitude = std::fabs(x);
    if (magnitude >= 65520.0f) return std::copysign(INFINITY, x);
    // Adding a power of two large enough leaves no more than the wanted bits.
    const float exponent_base = magnitude < 6.103515625e-5f ? 6.103515625e-5f : magnitude;
    uint32_t bits;
    std::memcpy(&bits, &exponent_base, sizeof bits);
    bits = (bits & 0x7F800000u) + (13u << 23);
    float shift;
    std::memcpy(&shift, &bits, sizeof shift);
    volatile float moved = magnitude + shift;
    return std::copysign(moved - shift, x);
}

inline Floats rounded(Floats values, int rounding) {
    if (rounding == kNoRounding) return values;
    float lanes[kLanes];
    store(lanes, values);
    for (float& lane : lanes) lane = rounding == kFloat16 ? round_to_float16(lane) : round_to_bfloat16(lane);
    return load(lanes);
}

}  // namespace gcn
