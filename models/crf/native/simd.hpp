// Vectors of the compiler (GCC and Clang vector extensions): the same code for SSE2, AVX2, AVX-512 and NEON.
//
// Every operation is lane by lane, so the number of lanes never changes a result.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

namespace dense_crf {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float Floats __attribute__((vector_size(kLanes * 4)));
typedef int32_t Ints __attribute__((vector_size(kLanes * 4)));

inline Floats load(const float* source) {
    Floats values;
    std::memcpy(&values, source, sizeof values);
    return values;
}

template <typename Vector, typename Element>
inline void store(Element* target, Vector values) {
    std::memcpy(target, &values, sizeof values);
}

inline Ints to_ints(Floats values) { return __builtin_convertvector(values, Ints); }    // towards zero
inline Floats to_floats(Ints values) { return __builtin_convertvector(values, Floats); }

inline Floats maximum(Floats a, Floats b) { return a > b ? a : b; }
inline Floats minimum(Floats a, Floats b) { return a < b ? a : b; }

// Largest integer that is not above each value; |value| < 2^31.
inline Ints floor_to_ints(Floats values) {
    const Ints truncated = to_ints(values);
    return truncated + (to_floats(truncated) > values);  // a comparison that holds is -1
}

// exp(x) for x <= 0, relative error below 3e-7; below -60 it stays at exp(-60), so that no denormal number arises.
//
// x = n ln 2 + r with |r| <= ln(2)/2, exp(r) by its Taylor polynomial of degree 6, 2^n by the exponent bits. Only
// multiplications and additions, which IEEE 754 rounds the same everywhere.
inline Floats exp_of_nonpositive(Floats x) {
    constexpr float kLog2E = 1.44269504f, kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
    constexpr float kRoundShift = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer in the low bits
    const Floats clamped = maximum(x, Floats{} - 60.0f);
    const Floats shifted = clamped * kLog2E + kRoundShift;
    const Floats n = shifted - kRoundShift;
    const Floats r = (clamped - n * kLn2High) - n * kLn2Low;
    Floats p = r * (1.0f / 720.0f) + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    const Ints exponent = (to_ints(n) + 127) << 23;
    Floats power;
    std::memcpy(&power, &exponent, sizeof power);
    return p * power;
}

// Elements of (a, b) at the given positions, counted through both.
template <int... I>
inline Floats pick(Floats a, Floats b, std::integer_sequence<int, I...>) {
#if defined(__clang__)
    return __builtin_shufflevector(a, b, I...);
#else
    return __builtin_shuffle(a, b, Ints{I...});
#endif
}

template <int... I>
inline std::integer_sequence<int, (2 * I)...> even_positions(std::integer_sequence<int, I...>);
template <int... I>
inline std::integer_sequence<int, (2 * I + 1)...> odd_positions(std::integer_sequence<int, I...>);
template <int... I>
inline std::integer_sequence<int, (I / 2 + I % 2 * kLanes)...> low_pairs(std::integer_sequence<int, I...>);
template <int... I>
inline std::integer_sequence<int, (I / 2 + I % 2 * kLanes + kLanes / 2)...> high_pairs(
    std::integer_sequence<int, I...>);
using Positions = std::make_integer_sequence<int, kLanes>;

// kLanes rows of W elements, one after the other in W vectors, become W columns; W is a power of two.
template <int W>
inline void rows_to_columns(Floats* vectors) {
    if constexpr (W > 1) {
        Floats even[W / 2], odd[W / 2];
        for (int i = 0; i < W / 2; ++i) {
            even[i] = pick(vectors[2 * i], vectors[2 * i + 1], decltype(even_positions(Positions()))());
            odd[i] = pick(vectors[2 * i], vectors[2 * i + 1], decltype(odd_positions(Positions()))());
        }
        rows_to_columns<W / 2>(even);
        rows_to_columns<W / 2>(odd);
        for (int i = 0; i < W / 2; ++i) {
            vectors[2 * i] = even[i];
            vectors[2 * i + 1] = odd[i];
        }
    }
}

// The inverse of rows_to_columns.
template <int W>
inline void columns_to_rows(Floats* vectors) {
    if constexpr (W > 1) {
        Floats even[W / 2], odd[W / 2];
        for (int i = 0; i < W / 2; ++i) {
            even[i] = vectors[2 * i];
            odd[i] = vectors[2 * i + 1];
        }
        columns_to_rows<W / 2>(even);
        columns_to_rows<W / 2>(odd);
        for (int i = 0; i < W / 2; ++i) {
            vectors[2 * i] = pick(even[i], odd[i], decltype(low_pairs(Positions()))());
            vectors[2 * i + 1] = pick(even[i], odd[i], decltype(high_pairs(Positions()))());
        }
    }
}

}  // namespace dense_crf
