// Where a point lies in the permutohedral lattice A*_d: its enclosing simplex and its barycentric coordinates there.
//
// Adams, Baek, Davis: Fast High-Dimensional Filtering Using the Permutohedral Lattice, Eurographics 2010, section 3.
// A lattice point is k = r 1 + (d+1) m with r its remainder class and m in Z^(d+1), the entries of k summing to 0.
// (r, m) and (r + d + 1, m - 1) are the same point, so a point is m up to the addition of a constant to every entry,
// and one step along blur axis j is m_j -> m_j - 1. Linear codes of m whose coefficients sum to 0 identify points.
#pragma once

#include <cmath>

#include "simd.hpp"

namespace dense_crf {

// What turns m into a pair of codes: high = sum_i high[i] m_i + high_origin, low likewise. The coefficients sum to 0.
template <int D>
struct PointCodes {
    int32_t high[D + 1], low[D + 1];
    int32_t high_origin, low_origin;
};

// The D + 1 vertices of the simplices around kLanes points, and the points' weights on them.
template <int D>
struct Simplices {
    Ints high[D + 1], low[D + 1];
    Floats weight[D + 1];
};

// The scale of each feature axis that makes splat, blur and slice together a Gaussian of standard deviation 1.
template <int D>
inline void axis_scales(float scale[D]) {
    const float deviation = std::sqrt(2.0f / 3.0f) * (D + 1);
    for (int i = 0; i < D; ++i) scale[i] = deviation / std::sqrt(static_cast<float>((i + 1) * (i + 2)));
}

// The point's image in the hyperplane sum = 0 of R^(D+1): the triangular basis of section 3.1.
template <int D>
inline void elevate(const Floats feature[D], const float scale[D], Floats elevated[D + 1]) {
    Floats sum = {};
    for (int i = D; i > 0; --i) {
        const Floats scaled = feature[i - 1] * scale[i - 1];
        elevated[i] = sum - scaled * static_cast<float>(i);
        sum += scaled;
    }
    elevated[0] = sum;
}

// The remainder-0 vertex (D+1) m of the simplex, the point's distances from it, and their ranks, largest first.
template <int D>
inline void nearest_vertex(const Floats elevated[D + 1], Ints m[D + 1], Floats distance[D + 1], Ints rank[D + 1]) {
    Ints sum = {};
    for (int i = 0; i <= D; ++i) {
        m[i] = floor_to_ints(elevated[i] * (1.0f / (D + 1)) + 0.5f);
        distance[i] = elevated[i] - to_floats(m[i]) * static_cast<float>(D + 1);
        sum += m[i];
        rank[i] = Ints{};
    }
    for (int i = 0; i < D; ++i) {
        for (int j = i + 1; j <= D; ++j) {
            const Ints below = distance[i] < distance[j];
            rank[i] -= below;
            rank[j] += below + 1;
        }
    }
    for (int i = 0; i <= D; ++i) {  // back into the hyperplane: the entries with the worst rounding move by one
        rank[i] += sum;
        const Ints move = (rank[i] > D) - (rank[i] < 0);  // -1: too large, m + 1 wanted where the rank is negative
        m[i] += move;
        rank[i] += move * (D + 1);
        distance[i] -= to_floats(move) * static_cast<float>(D + 1);
    }
}

// Vertex v + 1 is vertex v after one step along the axis whose entry has rank D - v.
template <int D>
inline void locate(const Floats feature[D], const float scale[D], const PointCodes<D>& codes, Simplices<D>& out) {
    Floats elevated[D + 1], distance[D + 1];
    Ints m[D + 1], rank[D + 1];
    elevate<D>(feature, scale, elevated);
    nearest_vertex<D>(elevated, m, distance, rank);

    Ints high = Ints{} + codes.high_origin, low = Ints{} + codes.low_origin;
    for (int i = 0; i <= D; ++i) {
        high += m[i] * codes.high[i];
        low += m[i] * codes.low[i];
    }
    Floats previous = {}, first = {};
    for (int v = 0; v <= D; ++v) {
        out.high[v] = high;
        out.low[v] = low;
        Floats ranked = {};
        for (int i = 0; i <= D; ++i) {
            const Ints here = rank[i] == D - v;
            ranked = here ? distance[i] : ranked;
            high -= here & codes.high[i];
            low -= here & codes.low[i];
        }
        ranked *= 1.0f / (D + 1);
        if (v == 0) first = ranked;
        else out.weight[v] = ranked - previous;
        previous = ranked;
    }
    out.weight[0] = first + (1.0f - previous);
}

}  // namespace dense_crf
