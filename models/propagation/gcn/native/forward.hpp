// The two layers of one row of the grid: hidden units, and log-probabilities.
#pragma once

#include "dropout.hpp"
#include "image.hpp"

namespace gcn {

// Rows that stages hand to each other. Hidden units and gradients are 16 numbers a node; log-probabilities and
// probabilities are one row of nodes per class, so that 16 nodes fill a vector.
struct Rows {
    Rows(const Image& image, int laplacian_reach_y, int laplacian_reach_x)
        : class_pitch(image.padded_width + 2 * round_up(laplacian_reach_x, kLanes)),
          class_lead(round_up(laplacian_reach_x, kLanes)),
          hidden(2 * reach(image) + laplacian_reach_y + 1, node_row(image), lead(image)),
          gradient(2 * reach(image) + 1, node_row(image), lead(image)),
          spread(laplacian_reach_y + 1, node_row(image), 0),
          log_prob(2 * laplacian_reach_y + 1, class_pitch * image.shape.num_classes, class_lead),
          prob(2 * laplacian_reach_y + 1, class_pitch * image.shape.num_classes, class_lead) {}

    size_t class_pitch, class_lead;
    RowRing hidden, gradient, spread, log_prob, prob;

  private:
    static int reach(const Image& image) { return image.affinity.neighbourhood().reach_y; }
    static size_t node_row(const Image& image) { return static_cast<size_t>(image.padded_width) * kLanes; }
    static size_t lead(const Image& image) {
        return static_cast<size_t>(image.affinity.neighbourhood().reach_x) * kLanes;
    }
};

// A X W1 + b1 of kNodesInRegisters nodes.
GCN_INLINE void first_layer(const Image& image, const Parameters& parameters, const float* features, Floats* sums) {
    const size_t pitch = image.shape.feature_pitch;
    const Floats bias = load(parameters.bias1());
    const float* weight = parameters.weight1_by_feature.data();
#pragma GCC unroll 16
    for (int j = 0; j < kNodesInRegisters; ++j) sums[j] = bias;
    for (int d = 0; d < image.shape.num_features; ++d, weight += kLanes) {
        const Floats w = load(weight);
        // The features of the next nodes, a line at a time: whole rows of them do not stay in the L2 cache.
        __builtin_prefetch(features + kNodesInRegisters * pitch + d * kNodesInRegisters);
#pragma GCC unroll 16
        for (int j = 0; j < kNodesInRegisters; ++j) sums[j] = multiply_add(all(features[j * pitch + d]), w, sums[j]);
    }
}

// Hidden units of row y times the column scale of A, with dropout.
GCN_STAGE inline void hidden_row(const Image& image, const Parameters& parameters, const KeepMask& mask, int y,
                                 float* hidden) {
    const float* features = image.feature_row(y);
    const float* scale = image.column_scale.data() + static_cast<size_t>(y) * image.padded_width;
    for (int x = 0; x < image.padded_width; x += kNodesInRegisters) {
        Floats sums[kNodesInRegisters];
        first_layer(image, parameters, features + x * image.shape.feature_pitch, sums);
        const uint32_t node = static_cast<uint32_t>(y) * image.width + x;
#pragma GCC unroll 16
        for (int j = 0; j < kNodesInRegisters; ++j) {
            store(hidden + (x + j) * kLanes, mask.apply(node + j, sums[j], scale[x + j]));
        }
    }
}

// The same without dropout, for the read-out.
GCN_STAGE inline void hidden_row_without_dropout(const Image& image, const Parameters& parameters, int y,
                                                 float* hidden) {
    const float* features = image.feature_row(y);
    const float* scale = image.column_scale.data() + static_cast<size_t>(y) * image.padded_width;
    for (int x = 0; x < image.padded_width; x += kNodesInRegisters) {
        Floats sums[kNodesInRegisters];
        first_layer(image, parameters, features + x * image.shape.feature_pitch, sums);
        for (int j = 0; j < kNodesInRegisters; ++j) {
            store(hidden + (x + j) * kLanes, maximum(sums[j], all(0.0f)) * all(scale[x + j]));
        }
    }
}

// Logits of 16 nodes, `units` [16][16 nodes], for kCount classes from `first` on; updates the running maximum.
template <int kCount>
GCN_INLINE void logits(const Parameters& parameters, const float* units, int first, size_t weight_pitch,
                       Floats& largest, float* target, size_t target_pitch) {
    Floats sums[kCount];
#pragma GCC unroll 16
    for (int c = 0; c < kCount; ++c) sums[c] = all(parameters.bias2()[first + c]);
#pragma GCC unroll 2
    for (int u = 0; u < kLanes; ++u) {
        const Floats unit = load(units + u * kLanes);
        const float* weight = parameters.weight2_by_unit.data() + u * weight_pitch + first;
#pragma GCC unroll 16
        for (int c = 0; c < kCount; ++c) sums[c] = multiply_add(all(weight[c]), unit, sums[c]);
    }
#pragma GCC unroll 16
    for (int c = 0; c < kCount; ++c) {
        largest = maximum(largest, sums[c]);
        store(target + (first + c) * target_pitch, sums[c]);
    }
}

// Log-probabilities and probabilities of 16 nodes, one row per class.
inline void softmax_block(const Shape& shape, const Parameters& parameters, const float* units, float* log_prob,
                          float* prob, size_t pitch) {
    constexpr int kClassesAtOnce = kVectorLanes == 16 ? 11 : kVectorLanes == 8 ? 4 : 2;
    const int num_classes = shape.num_classes;
    const size_t weight_pitch = round_up(num_classes, kLanes);
    Floats largest = all(-3.4e38f);
    int c = 0;
    for (; c + kClassesAtOnce <= num_classes; c += kClassesAtOnce) {
        logits<kClassesAtOnce>(parameters, units, c, weight_pitch, largest, log_prob, pitch);
    }
    if constexpr (kClassesAtOnce > 5) {
        for (; c + 5 <= num_classes; c += 5) logits<5>(parameters, units, c, weight_pitch, largest, log_prob, pitch);
    }
    for (; c < num_classes; ++c) logits<1>(parameters, units, c, weight_pitch, largest, log_prob, pitch);
    Floats total = all(0.0f);
    for (c = 0; c < num_classes; ++c) {
        const Floats e = exp_of_nonpositive(load(log_prob + c * pitch) - largest);
        total = total + e;
        store(prob + c * pitch, e);
    }
    const Floats log_total = largest + log_of_positive(total), inverse = all(1.0f) / total;
    for (c = 0; c < num_classes; ++c) {
        store(log_prob + c * pitch, load(log_prob + c * pitch) - log_total);
        store(prob + c * pitch, load(prob + c * pitch) * inverse);
    }
}

// Row y of A H, and of the softmax of A H W2 + b2.
template <int kReach>
GCN_STAGE void output_row(const Image& image, const Parameters& parameters, Rows& rows, int y, float* scratch) {
    float* spread = rows.spread.row(y);
    const float* scale = image.row_scale.data() + static_cast<size_t>(y) * image.padded_width;
    spread_row<kReach>(image.affinity, rows.hidden, y, image.padded_width, [&](int x, const Floats* sums) {
#pragma GCC unroll 16
        for (int j = 0; j < kNodesInRegisters; ++j) store(spread + (x + j) * kLanes, sums[j] * all(scale[x + j]));
    });
    // All tiles are transposed before the first is used: a vector cannot be loaded at once from four fresh quarters.
    for (int x = 0; x < image.padded_width; x += kLanes) transpose_16x16(spread + x * kLanes, scratch + x * kLanes);
    float *log_prob = rows.log_prob.row(y), *prob = rows.prob.row(y);
    for (int x = 0; x < image.padded_width; x += kLanes) {
        softmax_block(image.shape, parameters, scratch + x * kLanes, log_prob + x, prob + x, rows.class_pitch);
    }
}

}  // namespace gcn
