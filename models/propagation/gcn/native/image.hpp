// What does not change while an image is trained: packed matrices, label weights, and the propagated features A X.
#pragma once

#include <cstdint>

#include "arrays.hpp"
#include "interface.hpp"
#include "parameters.hpp"
#include "rounding.hpp"
#include "stencil.hpp"

namespace gcn {

constexpr uint8_t kUnknownLabel = 255;

class Image {
  public:
    explicit Image(const GcnImage& image)
        : height(image.height),
          width(image.width),
          padded_width(static_cast<int>(round_up(image.width, kLanes))),
          shape(image.num_features, image.num_hidden, image.num_classes),
          affinity(image.affinity, height, width, padded_width),
          laplacian(image.laplacian, height, width, padded_width),
          row_scale(num_padded()),
          column_scale(num_padded()),
          cross_entropy(num_padded()),
          entropy(num_padded()),
          labels(num_padded()),
          features(num_padded() * shape.feature_pitch) {
        copy_rows(image.row_scale, row_scale);
        copy_rows(image.column_scale, column_scale);
        copy_rows(image.cross_entropy, cross_entropy);
        copy_rows(image.entropy, entropy);
        for (size_t i = 0; i < num_padded(); ++i) labels[i] = kUnknownLabel;
        copy_rows(image.labels, labels);
    }

    // A X, 16 features at a time, with the kernel that the training uses on 16 hidden units.
    template <int kReach>
    void propagate_features(const float* source, int rounding) {
        const int reach = affinity.neighbourhood().reach_y, reach_x = affinity.neighbourhood().reach_x;
        const size_t group_size = static_cast<size_t>(padded_width) * kLanes;
        const int num_groups = static_cast<int>(round_up(shape.num_features, kLanes)) / kLanes;
        RowRing ring(2 * reach + 1, num_groups * group_size, static_cast<size_t>(reach_x) * kLanes);
        for (int y = -reach; y < height; ++y) {
            if (y + reach < height) load_row(source, y + reach, ring.row(y + reach));
            for (int group = 0; y >= 0 && group < num_groups; ++group) {
                float* target = features.data() + (static_cast<size_t>(y) * padded_width) * shape.feature_pitch;
                target += group * kLanes;
                const float* scale = row_scale.data() + static_cast<size_t>(y) * padded_width;
                const auto finish = [&](int x, const Floats* sums) {
                    for (int j = 0; j < kNodesInRegisters; ++j) {
                        const Floats value = rounded(sums[j] * all(scale[x + j]), rounding);
                        store(target + (x + j) * shape.feature_pitch, value);
                    }
                };
                spread_row<kReach>(affinity, ring, y, padded_width, finish, group * group_size);
            }
        }
    }

    size_t num_padded() const { return static_cast<size_t>(height) * padded_width; }
    const float* feature_row(int y) const {
        return features.data() + static_cast<size_t>(y) * padded_width * shape.feature_pitch;
    }

    int height, width, padded_width;
    Shape shape;
    PackedAffinity affinity;
    PackedStencil<kLanes> laplacian;
    Array<float> row_scale, column_scale, cross_entropy, entropy;  // [height][padded_width]
    Array<uint32_t> labels;                                        // [height][padded_width]
    Array<float> features;                                         // A X: [height][padded_width][feature_pitch]

  private:
    template <typename From, typename To>
    void copy_rows(const From* source, Array<To>& target) {
        for (int y = 0; y < height; ++y) {
            const From* from = source + static_cast<size_t>(y) * width;
            To* to = target.data() + static_cast<size_t>(y) * padded_width;
            for (int x = 0; x < width; ++x) to[x] = from[x];
        }
    }

    // Row y of the feature planes times the column scale, [group of 16 features][padded_width][16].
    void load_row(const float* planes, int y, float* target) const {
        const size_t num_nodes = static_cast<size_t>(height) * width, start = static_cast<size_t>(y) * width;
        const float* scale = column_scale.data() + static_cast<size_t>(y) * padded_width;
        for (int first = 0; first < shape.num_features; first += kLanes) {
            const int count = std::min(kLanes, shape.num_features - first);
            for (int x0 = 0; x0 < padded_width; x0 += kLanes, target += kLanes * kLanes) {
                alignas(kCacheLine) float tile[kLanes * kLanes] = {};
                const int nodes = std::min(kLanes, width - x0);
                for (int f = 0; f < count; ++f) {
                    const float* from = planes + (first + f) * num_nodes + start + x0;
                    for (int j = 0; j < nodes; ++j) tile[f * kLanes + j] = from[j] * scale[x0 + j];
                }
                transpose_16x16(tile, target);
            }
        }
    }
};

}  // namespace gcn
