// The gradient of one row at the hidden units, and of the first layer's weights.
#pragma once

#include "forward.hpp"

namespace gcn {

// Nodes whose part of the weight gradient is summed at a time: their features fit into the L1 cache.
constexpr int kNodesPerBlock = 64;

// Vectors of the weight gradient that are kept in registers at a time.
constexpr int kMaxFeatureVectors = kVectorLanes == 16 ? 12 : kVectorLanes == 8 ? 5 : 2;

// Which of a block's nodes are active, one bit each, for every unit.
struct ActiveNodes {
    alignas(kCacheLine) uint32_t low[kLanes], high[kLanes];

    uint64_t of(int unit) const { return static_cast<uint64_t>(high[unit]) << 32 | low[unit]; }
};

// dP of row y: the transposed product, through the ReLU and the dropout that made `hidden`.
template <int kReach>
GCN_STAGE void hidden_gradient_row(const Image& image, Rows& rows, int y, float keep_scale, float* gradient,
                         float* bias_gradient) {
    const float* hidden = rows.hidden.row(y);
    const float* scale = image.column_scale.data() + static_cast<size_t>(y) * image.padded_width;
    Floats row_sum = all(0.0f);
    spread_row<kReach>(image.affinity, rows.gradient, y, image.padded_width, [&](int x, const Floats* sums) {
#pragma GCC unroll 16
        for (int j = 0; j < kNodesInRegisters; ++j) {
            const Floats scaled = sums[j] * all(keep_scale * scale[x + j]);
            const Floats passed = where_positive(load(hidden + (x + j) * kLanes), scaled);
            store(gradient + (x + j) * kLanes, passed);
            row_sum = row_sum + passed;
        }
    });
    store(bias_gradient, load(bias_gradient) + row_sum);
}

inline void find_active(const float* hidden, int num_nodes, ActiveNodes& active) {
    Words bits[2] = {all(0u), all(0u)};
    for (int half = 0; half < 2; ++half) {
        const int count = std::min(32, num_nodes - 32 * half);
        for (int j = 0; j < count; ++j) {
            bits[half] = bits[half] | where_positive(load(hidden + (32 * half + j) * kLanes), all(1u << j));
        }
    }
    store(active.low, bits[0]);
    store(active.high, bits[1]);
}

// weight_gradient[unit][...] += sum over the unit's active nodes of its gradient times the node's features.
//
// ReLU and dropout leave about a third of the units active, and their nodes are known: the other two thirds of the
// product AX^T dP are products with 0 and are left out.
template <int kVectors>
GCN_INLINE void add_active(const float* features, size_t pitch, const float* gradient, uint64_t active, float* target) {
    Floats sums[kVectors];
#pragma GCC unroll 12
    for (int v = 0; v < kVectors; ++v) sums[v] = all(0.0f);
    while (active) {
        const int node = __builtin_ctzll(active);
        active &= active - 1;
        const Floats g = all(gradient[node * kLanes]);
        const float* row = features + node * pitch;
#pragma GCC unroll 12
        for (int v = 0; v < kVectors; ++v) sums[v] = multiply_add(load(row + v * kLanes), g, sums[v]);
    }
#pragma GCC unroll 12
    for (int v = 0; v < kVectors; ++v) store(target + v * kLanes, load(target + v * kLanes) + sums[v]);
}

template <int kVectors>
void add_active_for_units(const Shape& shape, const float* features, const float* gradient, const ActiveNodes& active,
                          float* weight_gradient) {
    for (int u = 0; u < shape.num_hidden; ++u) {
        float* target = weight_gradient + u * shape.feature_pitch;
        add_active<kVectors>(features, shape.feature_pitch, gradient + u, active.of(u), target);
    }
}

// Calls the kernel for as many vectors as are left, which is at most kMost.
template <int kMost>
void add_active_remainder(int num_vectors, const Shape& shape, const float* features, const float* gradient,
                          const ActiveNodes& active, float* weight_gradient) {
    if constexpr (kMost > 0) {
        if (num_vectors == kMost) {
            add_active_for_units<kMost>(shape, features, gradient, active, weight_gradient);
        } else {
            add_active_remainder<kMost - 1>(num_vectors, shape, features, gradient, active, weight_gradient);
        }
    }
}

// Row y's part of the gradient of W1, [16][feature_pitch].
GCN_STAGE inline void weight1_gradient_row(const Image& image, const float* hidden, int y, const float* gradient,
                                 float* weight_gradient) {
    const Shape& shape = image.shape;
    const int num_vectors = static_cast<int>(round_up(shape.num_features, kLanes) / kLanes);
    for (int x = 0; x < image.width; x += kNodesPerBlock) {
        ActiveNodes active;
        find_active(hidden + x * kLanes, std::min(kNodesPerBlock, image.width - x), active);
        const float* features = image.feature_row(y) + x * shape.feature_pitch;
        for (int v = 0; v < num_vectors; v += kMaxFeatureVectors) {
            add_active_remainder<kMaxFeatureVectors>(std::min(kMaxFeatureVectors, num_vectors - v), shape,
                                                     features + v * kLanes, gradient + x * kLanes, active,
                                                     weight_gradient + v * kLanes);
        }
    }
}

}  // namespace gcn
