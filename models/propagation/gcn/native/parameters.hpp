// The weights of both layers in the layouts of the kernels, and Adam.
#pragma once

#include <cmath>

#include "arrays.hpp"
#include "interface.hpp"
#include "simd.hpp"

namespace gcn {

struct Shape {
    int num_features, num_hidden, num_classes;
    size_t feature_pitch;  // features rounded up to whole vectors

    Shape(int features, int hidden, int classes)
        : num_features(features), num_hidden(hidden), num_classes(classes), feature_pitch(round_up(features, kLanes)) {
        // Rows of nodes that lie a multiple of 1 KiB apart would fall into the same few sets of the L1 cache.
        if (feature_pitch % 256 == 0) feature_pitch += kLanes;
    }

    // One flat array: weight1 [16][feature_pitch], weight2 [classes][16], bias1 [16], bias2 [16-padded classes].
    size_t weight2() const { return kLanes * feature_pitch; }
    size_t bias1() const { return weight2() + static_cast<size_t>(num_classes) * kLanes; }
    size_t bias2() const { return bias1() + kLanes; }
    size_t total() const { return bias2() + round_up(num_classes, kLanes); }

    // Calls `visit(position here, position in the caller's layout)` for every parameter.
    template <typename Visit>
    void for_each(Visit visit) const {
        size_t outer = 0;
        for (int d = 0; d < num_features; ++d) {
            for (int u = 0; u < num_hidden; ++u) visit(u * feature_pitch + d, outer++);
        }
        for (int u = 0; u < num_hidden; ++u) visit(bias1() + u, outer++);
        for (int u = 0; u < num_hidden; ++u) {
            for (int c = 0; c < num_classes; ++c) visit(weight2() + static_cast<size_t>(c) * kLanes + u, outer++);
        }
        for (int c = 0; c < num_classes; ++c) visit(bias2() + c, outer++);
    }
};

class Parameters {
  public:
    Parameters(const Shape& shape, const float* initial)
        : weight1_by_feature(shape.feature_pitch * kLanes),
          weight2_by_unit(kLanes * round_up(shape.num_classes, kLanes)),
          shape_(shape),
          values_(shape.total()),
          means_(shape.total()),
          squares_(shape.total()) {
        shape.for_each([&](size_t here, size_t outer) { values_[here] = initial[outer]; });
        refresh_copies();
    }

    const float* weight2_by_class() const { return values_.data() + shape_.weight2(); }  // [classes][16]
    const float* bias1() const { return values_.data() + shape_.bias1(); }
    const float* bias2() const { return values_.data() + shape_.bias2(); }
    const float* values() const { return values_.data(); }

    bool are_finite() const {
        for (size_t i = 0; i < shape_.total(); ++i) {
            if (!std::isfinite(values_[i])) return false;
        }
        return true;
    }

    // One step of Adam with the L2 penalty in the gradient (Kingma & Ba 2015, algorithm 1).
    void update(const float* gradients, const GcnSettings& settings) {
        first_power_ *= 0.9;
        second_power_ *= 0.999;
        const float step_size = static_cast<float>(settings.learning_rate / (1.0 - first_power_));
        const float root = static_cast<float>(1.0 / std::sqrt(1.0 - second_power_));
        const float decay = settings.weight_decay;
        float *value = values_.data(), *mean = means_.data(), *square = squares_.data();
        const size_t total = shape_.total(), num_trained = settings.has_bias ? total : shape_.bias1();
        for (size_t i = 0; i < num_trained; ++i) {
            const float gradient = gradients[i] + decay * value[i];
            mean[i] = 0.9f * mean[i] + 0.1f * gradient;
            square[i] = 0.999f * square[i] + 0.001f * gradient * gradient;
            value[i] -= step_size * mean[i] / (std::sqrt(square[i]) * root + 1e-8f);
        }
        refresh_copies();
    }

    Array<float> weight1_by_feature;  // [feature][16]
    Array<float> weight2_by_unit;     // [16][16-padded classes]

  private:
    void refresh_copies() {
        for (size_t d = 0; d < shape_.feature_pitch; d += kLanes) {
            for (int u = 0; u < kLanes; ++u) {
                for (int lane = 0; lane < kLanes; ++lane) {
                    weight1_by_feature[(d + lane) * kLanes + u] = values_[u * shape_.feature_pitch + d + lane];
                }
            }
        }
        const size_t pitch = round_up(shape_.num_classes, kLanes);
        for (int c = 0; c < shape_.num_classes; ++c) {
            for (int u = 0; u < kLanes; ++u) weight2_by_unit[u * pitch + c] = weight2_by_class()[c * kLanes + u];
        }
    }

    Shape shape_;
    Array<float> values_, means_, squares_;
    double first_power_ = 1.0, second_power_ = 1.0;
};

}  // namespace gcn
