// Functions of 16 lanes: exponential, logarithm, transposition.
//
// The number of lanes and the order of every sum are the same everywhere. AVX2 and AVX-512 both have a fused
// multiply-add, so their results are the same bits; the baseline build rounds twice where they round once.
#pragma once

#include "lanes.hpp"

namespace gcn {

// Nodes whose 16 sums each are kept in registers at a time: AVX-512 has room for 32 times 16 numbers, AVX2 for 8 times,
// SSE2 for 4 times.
constexpr int kNodesInRegisters = kVectorLanes == 16 ? 16 : kVectorLanes == 8 ? 4 : 2;

// exp(x) for x <= 0, to 2 units in the last place; below -87 it stays at exp(-87), so that no denormal number arises.
//
// x = n ln 2 + r, |r| <= ln(2) / 2; exp(r) by the polynomial of Cephes (S. Moshier), 2^n by the exponent bits.
GCN_INLINE Floats exp_of_nonpositive(Floats x) {
    const Floats clamped = maximum(x, all(-87.0f));
    const Floats shifted = multiply_add(clamped, all(1.44269504088896341f), all(12582912.0f));
    const Floats n = shifted - all(12582912.0f);  // adding 1.5 * 2^23 leaves an integer in the low bits
    Floats r = subtract_product(n, all(0.693359375f), clamped);
    r = subtract_product(n, all(-2.12194440e-4f), r);
    Floats p = all(1.9875691500e-4f);
    p = multiply_add(p, r, all(1.3981999507e-3f));
    p = multiply_add(p, r, all(8.3334519073e-3f));
    p = multiply_add(p, r, all(4.1665795894e-2f));
    p = multiply_add(p, r, all(1.6666665459e-1f));
    p = multiply_add(p, r, all(5.0000001201e-1f));
    p = multiply_add(p, r * r, r + all(1.0f));
    return p * as_floats((as_words(shifted) + all(127u - 0x4B400000u)) << 23);
}

// ln(x) for normal x > 0, to 2 units in the last place: x = 2^e m, m in [0.75, 1.5), ln(m) = 2 artanh((m-1)/(m+1)).
GCN_INLINE Floats log_of_positive(Floats x) {
    const Words bits = as_words(x), fraction = bits & all(0x007FFFFFu);
    const Words carry = (fraction >> 22) & all(1u);  // m >= 1.5: take half of it, and one more in the exponent
    const Floats mantissa = as_floats(fraction | ((all(127u) - carry) << 23));
    const Floats exponent = as_floats(((bits >> 23) + carry) | all(0x4B000000u)) - all(8388608.0f + 127.0f);
    const Floats s = (mantissa - all(1.0f)) / (mantissa + all(1.0f)), s2 = s * s;
    Floats p = all(2.0f / 11);
    p = multiply_add(p, s2, all(2.0f / 9));
    p = multiply_add(p, s2, all(2.0f / 7));
    p = multiply_add(p, s2, all(2.0f / 5));
    p = multiply_add(p, s2, all(2.0f / 3));
    p = multiply_add(p, s2, all(2.0f));
    return multiply_add(exponent, all(0.69314718056f), p * s);
}

// target[i][j] = source[j][i] for 16 x 16 numbers, by tiles of 4 x 4.
GCN_INLINE void transpose_16x16(const float* source, float* target) {
    typedef float Four __attribute__((vector_size(16)));
    for (int i = 0; i < 16; i += 4) {
        for (int j = 0; j < 16; j += 4) {
            Four row[4];
            for (int k = 0; k < 4; ++k) std::memcpy(&row[k], source + (i + k) * 16 + j, 16);
            const Four low01 = __builtin_shufflevector(row[0], row[1], 0, 4, 1, 5);
            const Four high01 = __builtin_shufflevector(row[0], row[1], 2, 6, 3, 7);
            const Four low23 = __builtin_shufflevector(row[2], row[3], 0, 4, 1, 5);
            const Four high23 = __builtin_shufflevector(row[2], row[3], 2, 6, 3, 7);
            const Four column[4] = {__builtin_shufflevector(low01, low23, 0, 1, 4, 5),
                                    __builtin_shufflevector(low01, low23, 2, 3, 6, 7),
                                    __builtin_shufflevector(high01, high23, 0, 1, 4, 5),
                                    __builtin_shufflevector(high01, high23, 2, 3, 6, 7)};
            for (int k = 0; k < 4; ++k) std::memcpy(target + (j + k) * 16 + i, &column[k], 16);
        }
    }
}

}  // namespace gcn
