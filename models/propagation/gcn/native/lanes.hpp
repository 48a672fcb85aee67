// Sixteen lanes on every instruction set: one vector of AVX-512, a pair of AVX2's, a pair of pairs of SSE2's or NEON's.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace gcn {

#define GCN_INLINE inline __attribute__((always_inline))

// Stages are functions of their own: in one large function GCC runs out of registers for their inner loops.
#define GCN_STAGE __attribute__((noinline))

constexpr int kLanes = 16;

#if defined(__AVX512F__)
constexpr int kVectorLanes = 16;
#elif defined(__AVX2__)
constexpr int kVectorLanes = 8;
#else
constexpr int kVectorLanes = 4;
#endif

typedef float FloatVector __attribute__((vector_size(kVectorLanes * 4)));
typedef uint32_t WordVector __attribute__((vector_size(kVectorLanes * 4)));

template <typename Half>
struct Pair {
    Half low, high;
};

template <typename Vector>
using SixteenLanes = std::conditional_t<
    kVectorLanes == 16, Vector,
    std::conditional_t<kVectorLanes == 8, Pair<Vector>, Pair<Pair<Vector>>>>;

using Floats = SixteenLanes<FloatVector>;
using Words = SixteenLanes<WordVector>;

// What follows is said once for a vector of the machine, and once, for every operation alike, for pairs.

#define GCN_LIFT_2(name)                                    \
    template <typename T, typename U>                       \
    GCN_INLINE Pair<U> name(Pair<T> a, Pair<U> b) {         \
        return {name(a.low, b.low), name(a.high, b.high)};  \
    }
#define GCN_LIFT_3(name)                                                          \
    template <typename T, typename U>                                             \
    GCN_INLINE Pair<U> name(Pair<T> a, Pair<T> b, Pair<U> c) {                    \
        return {name(a.low, b.low, c.low), name(a.high, b.high, c.high)};         \
    }

#define GCN_LIFT_OPERATOR(symbol)                                  \
    template <typename T>                                          \
    GCN_INLINE Pair<T> operator symbol(Pair<T> a, Pair<T> b) {     \
        return {a.low symbol b.low, a.high symbol b.high};         \
    }
GCN_LIFT_OPERATOR(+)
GCN_LIFT_OPERATOR(-)
GCN_LIFT_OPERATOR(*)
GCN_LIFT_OPERATOR(/)
GCN_LIFT_OPERATOR(^)
GCN_LIFT_OPERATOR(|)
GCN_LIFT_OPERATOR(&)

template <typename T>
GCN_INLINE Pair<T> operator>>(Pair<T> a, int shift) {
    return {a.low >> shift, a.high >> shift};
}
template <typename T>
GCN_INLINE Pair<T> operator<<(Pair<T> a, int shift) {
    return {a.low << shift, a.high << shift};
}

// Memory, and one number in all lanes.

template <typename T>
struct LanesOf {
    template <typename Number>
    GCN_INLINE static T load(const Number* source) {
        T value;
        std::memcpy(&value, source, sizeof value);
        return value;
    }
    template <typename Number>
    GCN_INLINE static void store(Number* target, T value) {
        std::memcpy(target, &value, sizeof value);
    }
    template <typename Number>
    GCN_INLINE static T all(Number x) {
        return x - T{};  // not `+`: 0 + x is work, since it turns -0 into 0
    }
};

template <typename Half>
struct LanesOf<Pair<Half>> {
    static constexpr int kHalf = sizeof(Half) / 4;
    template <typename Number>
    GCN_INLINE static Pair<Half> load(const Number* source) {
        return {LanesOf<Half>::load(source), LanesOf<Half>::load(source + kHalf)};
    }
    template <typename Number>
    GCN_INLINE static void store(Number* target, Pair<Half> value) {
        LanesOf<Half>::store(target, value.low);
        LanesOf<Half>::store(target + kHalf, value.high);
    }
    template <typename Number>
    GCN_INLINE static Pair<Half> all(Number x) {
        return {LanesOf<Half>::all(x), LanesOf<Half>::all(x)};
    }
};

GCN_INLINE Floats load(const float* source) { return LanesOf<Floats>::load(source); }
GCN_INLINE Words load(const uint32_t* source) { return LanesOf<Words>::load(source); }
GCN_INLINE void store(float* target, Floats value) { LanesOf<Floats>::store(target, value); }
GCN_INLINE void store(uint32_t* target, Words value) { LanesOf<Words>::store(target, value); }
GCN_INLINE Floats all(float x) { return LanesOf<Floats>::all(x); }
GCN_INLINE Words all(uint32_t x) { return LanesOf<Words>::all(x); }

// a * b + c, rounded once where the machine can.
GCN_INLINE FloatVector multiply_add(FloatVector a, FloatVector b, FloatVector c) {
#if defined(__AVX512F__)
    return (FloatVector)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__)
    return (FloatVector)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    return a * b + c;
#endif
}
GCN_LIFT_3(multiply_add)

// c - a * b
GCN_INLINE FloatVector subtract_product(FloatVector a, FloatVector b, FloatVector c) { return multiply_add(-a, b, c); }
GCN_LIFT_3(subtract_product)

GCN_INLINE FloatVector maximum(FloatVector a, FloatVector b) { return a > b ? a : b; }
GCN_LIFT_2(maximum)

// `value` where `gate` is above 0, else 0.
GCN_INLINE FloatVector where_positive(FloatVector gate, FloatVector value) { return gate > 0 ? value : FloatVector{}; }
GCN_INLINE WordVector where_positive(FloatVector gate, WordVector value) { return gate > 0 ? value : WordVector{}; }
GCN_LIFT_2(where_positive)

// `value` where the unsigned `a` is at least `b`, else 0.
GCN_INLINE FloatVector where_at_least(WordVector a, WordVector b, FloatVector value) {
    return a >= b ? value : FloatVector{};
}
GCN_LIFT_3(where_at_least)

// `value` where `a` equals `b`, else 0.
GCN_INLINE FloatVector where_equal(WordVector a, WordVector b, FloatVector value) {
    return a == b ? value : FloatVector{};
}
GCN_LIFT_3(where_equal)

// The same 32 bits, read as the other type.
GCN_INLINE WordVector as_words(FloatVector a) { return (WordVector)a; }
GCN_INLINE FloatVector as_floats(WordVector a) { return (FloatVector)a; }
template <typename T>
GCN_INLINE auto as_words(Pair<T> a) -> Pair<decltype(as_words(a.low))> {
    return {as_words(a.low), as_words(a.high)};
}
template <typename T>
GCN_INLINE auto as_floats(Pair<T> a) -> Pair<decltype(as_floats(a.low))> {
    return {as_floats(a.low), as_floats(a.high)};
}

}  // namespace gcn
