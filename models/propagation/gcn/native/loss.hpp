// The loss of one row and its gradient at the logits, passed on to the second layer's weights and to A H.
#pragma once

#include "forward.hpp"

namespace gcn {

struct LossTerms {
    float kappa;       // 2 * laplacian_weight / num_nodes
    bool smooths_log;  // the Laplacian acts on log-probabilities
    bool wants_loss;
};

// The Laplacian of one class at 16 nodes: the square window of reach 2 with its 25 weights in registers.
struct Window5x5 {
    Floats weight[25];

    GCN_INLINE Window5x5(const Neighbourhood&, const float* packed) {
#pragma GCC unroll 25
        for (int e = 0; e < 25; ++e) weight[e] = load(packed + e * kLanes);
    }

    GCN_INLINE Floats apply(const float* const* rows, size_t position) const {
        Floats even = all(0.0f), odd = all(0.0f);
#pragma GCC unroll 5
        for (int dy = 0; dy < 5; ++dy) {
            const float* source = rows[dy] + position - 2;
#pragma GCC unroll 5
            for (int dx = 0; dx < 5; ++dx) {
                Floats& sum = dx % 2 ? odd : even;
                sum = multiply_add(weight[dy * 5 + dx], load(source + dx), sum);
            }
        }
        return even + odd;
    }
};

// The same for any neighbourhood.
struct AnyWindow {
    const Neighbourhood& neighbourhood;
    const float* packed;

    GCN_INLINE AnyWindow(const Neighbourhood& n, const float* weights) : neighbourhood(n), packed(weights) {}

    GCN_INLINE Floats apply(const float* const* rows, size_t position) const {
        Floats sum = all(0.0f);
        const float* weight = packed;
        for (const auto& entry : neighbourhood.entries) {
            const float* source = rows[entry.offset.dy + neighbourhood.reach_y] + position + entry.offset.dx;
            sum = multiply_add(load(weight), load(source), sum);
            weight += kLanes;
        }
        return sum;
    }
};

// Gradients of the second layer. Each row is summed by itself first: one long chain of sums would round more.
struct SecondLayerGradients {
    explicit SecondLayerGradients(int classes)
        : num_classes(classes), weight2(classes * kLanes), bias2(classes * kLanes), row_weight2(classes * kLanes),
          row_bias2(classes * kLanes) {}

    void clear() {
        weight2.fill_zero();
        bias2.fill_zero();
    }

    void finish_row() {
        for (int i = 0; i < num_classes * kLanes; ++i) {
            weight2[i] += row_weight2[i];
            bias2[i] += row_bias2[i];
        }
        row_weight2.fill_zero();
        row_bias2.fill_zero();
    }

    int num_classes;
    Array<float> weight2;  // [classes][16 units]
    Array<float> bias2;    // [classes][16 lanes of nodes]
    Array<float> row_weight2, row_bias2;
};

// dZ of 16 nodes, [classes][16], and the loss where it is wanted.
template <typename Window>
GCN_INLINE double logit_gradient(const Image& image, const LossTerms& terms, const Window& window,
                                 const float* log_prob, const float* prob, const float* const* smoothed_rows,
                                 size_t class_pitch, size_t node, size_t x, float* dz) {
    const int num_classes = image.shape.num_classes;
    Floats rough_sum = all(0.0f), negative_entropy = all(0.0f);
    double smoothness = 0.0;
    for (int c = 0; c < num_classes; ++c) {
        const size_t position = c * class_pitch + x;
        const Floats rough = window.apply(smoothed_rows, position);
        const Floats q = load(prob + position), l = load(log_prob + position);
        rough_sum = terms.smooths_log ? rough_sum + rough : multiply_add(q, rough, rough_sum);
        negative_entropy = multiply_add(q, l, negative_entropy);
        store(dz + c * kLanes, rough);
        if (terms.wants_loss) {
            float value[kLanes], rough_lanes[kLanes];
            store(value, terms.smooths_log ? l : q);
            store(rough_lanes, rough);
            for (int j = 0; j < kLanes; ++j) smoothness += static_cast<double>(value[j]) * rough_lanes[j];
        }
    }
    const Floats cross_entropy = load(image.cross_entropy.data() + node), entropy = load(image.entropy.data() + node);
    const Words label = load(image.labels.data() + node);
    const Floats kappa = all(terms.kappa);
    const Floats shared = subtract_product(kappa, rough_sum, multiply_add(entropy, negative_entropy, cross_entropy));
    for (int c = 0; c < num_classes; ++c) {
        const size_t position = c * class_pitch + x;
        const Floats q = load(prob + position), smooth = kappa * load(dz + c * kLanes);
        const Floats at_prob = subtract_product(entropy, load(log_prob + position), shared);
        const Floats target = where_equal(label, all(static_cast<uint32_t>(c)), cross_entropy);
        const Floats gradient = terms.smooths_log ? multiply_add(q, at_prob, smooth) : q * (at_prob + smooth);
        store(dz + c * kLanes, gradient - target);
    }
    if (!terms.wants_loss) return 0.0;
    double loss = 0.5 * terms.kappa * smoothness;
    float entropy_lanes[kLanes];
    store(entropy_lanes, negative_entropy);
    for (int j = 0; j < kLanes; ++j) {
        const uint32_t known = image.labels[node + j];
        loss -= static_cast<double>(image.entropy[node + j]) * entropy_lanes[j];
        if (known != kUnknownLabel) {
            loss -= static_cast<double>(image.cross_entropy[node + j]) * log_prob[known * class_pitch + x + j];
        }
    }
    return loss;
}

// Adds 16 nodes' part of the gradients of W2 and b2, and stores the gradient at A H (times the row scale of A).
GCN_INLINE void second_layer_gradients(const Shape& shape, const Parameters& parameters, const float* dz,
                                       const float* spread, const float* row_scale, SecondLayerGradients& gradients,
                                       float* spread_gradient) {
    const float* weight2 = parameters.weight2_by_class();
    float *weight2_gradient = gradients.row_weight2.data(), *bias2_gradient = gradients.row_bias2.data();
    for (int first = 0; first < kLanes; first += kNodesInRegisters) {
        Floats sums[kNodesInRegisters];
#pragma GCC unroll 16
        for (int j = 0; j < kNodesInRegisters; ++j) sums[j] = all(0.0f);
        for (int c = 0; c < shape.num_classes; ++c) {
            const Floats w = load(weight2 + c * kLanes);
#pragma GCC unroll 16
            for (int j = 0; j < kNodesInRegisters; ++j) {
                sums[j] = multiply_add(all(dz[c * kLanes + first + j]), w, sums[j]);
            }
        }
#pragma GCC unroll 16
        for (int j = 0; j < kNodesInRegisters; ++j) {
            store(spread_gradient + (first + j) * kLanes, sums[j] * all(row_scale[first + j]));
        }
    }
    for (int first = 0; first < kLanes; first += kNodesInRegisters) {
        Floats node[kNodesInRegisters];
#pragma GCC unroll 16
        for (int j = 0; j < kNodesInRegisters; ++j) node[j] = load(spread + (first + j) * kLanes);
        for (int c = 0; c < shape.num_classes; ++c) {
            Floats sum = load(weight2_gradient + c * kLanes);
#pragma GCC unroll 16
            for (int j = 0; j < kNodesInRegisters; ++j) {
                sum = multiply_add(all(dz[c * kLanes + first + j]), node[j], sum);
            }
            store(weight2_gradient + c * kLanes, sum);
        }
    }
    for (int c = 0; c < shape.num_classes; ++c) {
        store(bias2_gradient + c * kLanes, load(bias2_gradient + c * kLanes) + load(dz + c * kLanes));
    }
}

// Row y of the loss; returns it where it is wanted.
template <typename Window>
GCN_STAGE double loss_row(const Image& image, const Parameters& parameters, const LossTerms& terms, Rows& rows, int y,
                SecondLayerGradients& gradients, float* dz) {
    const Neighbourhood& neighbourhood = image.laplacian.neighbourhood();
    std::vector<const float*> smoothed(2 * neighbourhood.reach_y + 1);
    for (int dy = -neighbourhood.reach_y; dy <= neighbourhood.reach_y; ++dy) {
        smoothed[dy + neighbourhood.reach_y] = (terms.smooths_log ? rows.log_prob : rows.prob).row(y + dy);
    }
    const float *log_prob = rows.log_prob.row(y), *prob = rows.prob.row(y), *spread = rows.spread.row(y);
    float* spread_gradient = rows.gradient.row(y);
    double loss = 0.0;
    for (int x = 0; x < image.padded_width; x += kLanes) {
        const size_t node = static_cast<size_t>(y) * image.padded_width + x;
        const Window window(neighbourhood, image.laplacian.group(y, x / kLanes));
        loss += logit_gradient(image, terms, window, log_prob, prob, smoothed.data(), rows.class_pitch, node, x, dz);
        second_layer_gradients(image.shape, parameters, dz, spread + x * kLanes, image.row_scale.data() + node,
                               gradients, spread_gradient + x * kLanes);
    }
    gradients.finish_row();
    return loss;
}

}  // namespace gcn
