// Integer codes of lattice points: a pair (high, low) a point, ordered first by where the point is in the image.
//
// A field is a linear function of m whose coefficients sum to 0, so that it is a function of the lattice point alone.
// `high` packs the fields that depend on the position (row first), `low` those that depend on the colour. Sorting the
// vertices by (high, low) keeps what one image row touches together in memory, and makes every blur a walk along three
// ascending streams: a step along an axis adds a constant to both codes.
#pragma once

#include <cmath>
#include <cstdint>

#include "simplex.hpp"

namespace dense_crf {

template <int D>
struct Fields;

// Position only: row, column.
template <>
struct Fields<2> {
    static constexpr int kHigh = 1, kCount = 2;
    static constexpr int kCoefficients[kCount][3] = {{1, 1, -2}, {1, -1, 0}};
};

// Position and colour. The last field is the only one that m_5 enters: neighbours along axis 5 have codes next to
// each other.
template <>
struct Fields<5> {
    static constexpr int kHigh = 2, kCount = 5;
    static constexpr int kCoefficients[kCount][6] = {
        {1, 1, -2, 0, 0, 0}, {1, -1, 0, 0, 0, 0}, {0, 0, 0, 1, -1, 0}, {-1, 0, 0, 0, 1, 0}, {0, 0, 0, 0, -1, 1}};
};

template <int D>
struct CodeRange {
    PointCodes<D> codes;
    int64_t num_high = 0, num_low = 0;

    // False where the features span so many standard deviations that a code does not fit 31 bits.
    bool fits() const { return num_high < INT32_MAX && num_low < INT32_MAX; }
};

// First value and number of values of one field, over all points that lie in the box and those one blur step away.
template <int D>
inline void field_range(const int coefficient[D + 1], const float extent[D], double* first, double* count) {
    float scale[D];
    axis_scales<D>(scale);
    double low = 0, high = 0;
    for (int f = 0; f < D; ++f) {
        double slope = -(f + 1.0) * coefficient[f + 1];  // column f of the basis: 1 above entry f + 1, -(f + 1) in it
        for (int i = 0; i <= f; ++i) slope += coefficient[i];
        const double end = slope * scale[f] * extent[f] / (D + 1);
        (end < 0 ? low : high) += end;
    }
    double pad = 3;  // a vertex of the simplex differs from the point by less than 1 in every entry of k / (D + 1)
    for (int i = 0; i <= D; ++i) pad += 2 * std::abs(coefficient[i]);
    *first = std::floor(low) - pad;
    *count = std::ceil(high) + pad - *first + 1;
}

// Codes for points whose feature f lies in [0, extent[f]].
template <int D>
inline CodeRange<D> make_codes(const float extent[D]) {
    using F = Fields<D>;
    CodeRange<D> range;
    double coefficients[2][D + 1] = {}, origin[2] = {}, total[2] = {1, 1};
    for (int f = F::kCount - 1; f >= 0; --f) {
        const int part = f < F::kHigh ? 0 : 1;
        double first, count;
        field_range<D>(F::kCoefficients[f], extent, &first, &count);
        for (int i = 0; i <= D; ++i) coefficients[part][i] += total[part] * F::kCoefficients[f][i];
        origin[part] -= total[part] * first;
        total[part] *= count;
    }
    range.num_high = static_cast<int64_t>(std::fmin(total[0], INT32_MAX));
    range.num_low = static_cast<int64_t>(std::fmin(total[1], INT32_MAX));
    if (!range.fits()) return range;
    for (int i = 0; i <= D; ++i) {
        range.codes.high[i] = static_cast<int32_t>(coefficients[0][i]);
        range.codes.low[i] = static_cast<int32_t>(coefficients[1][i]);
    }
    range.codes.high_origin = static_cast<int32_t>(origin[0]);
    range.codes.low_origin = static_cast<int32_t>(origin[1]);
    return range;
}

}  // namespace dense_crf
