// Products with a symmetric grid matrix: its weights in the order in which they are used, and the kernels.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "arrays.hpp"
#include "interface.hpp"
#include "simd.hpp"

namespace gcn {

struct Offset {
    int dy, dx;
};

inline bool operator<(Offset a, Offset b) { return a.dy != b.dy ? a.dy < b.dy : a.dx < b.dx; }

// All neighbours of a cell, itself included, row by row; each with the plane that holds the pair's weight.
struct Neighbourhood {
    struct Entry {
        Offset offset;
        int plane;        // -1 is the diagonal
        bool is_mirrored; // the weight is stored at the neighbour
    };
    std::vector<Entry> entries;
    int reach_y = 0, reach_x = 0;

    explicit Neighbourhood(const GcnStencil& stencil) {
        entries.push_back({{0, 0}, -1, false});
        for (int k = 0; k < stencil.num_planes; ++k) {
            const int dy = stencil.offsets[2 * k], dx = stencil.offsets[2 * k + 1];
            entries.push_back({{dy, dx}, k, false});
            entries.push_back({{-dy, -dx}, k, true});
            reach_y = std::max(reach_y, std::abs(dy));
            reach_x = std::max(reach_x, std::abs(dx));
        }
        std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.offset < b.offset; });
    }
};

// Weights as [row][group of kGroup columns][entry][kGroup]: each group's weights lie in the order of use.
template <int kGroup>
class PackedStencil {
  public:
    PackedStencil(const GcnStencil& stencil, int height, int width, int padded_width)
        : neighbourhood_(stencil),
          num_groups_(padded_width / kGroup),
          group_size_(neighbourhood_.entries.size() * kGroup),
          weights_(static_cast<size_t>(height) * num_groups_ * group_size_) {
        const size_t num_nodes = static_cast<size_t>(height) * width;
        for (int y = 0; y < height; ++y) {
            for (size_t e = 0; e < neighbourhood_.entries.size(); ++e) {
                const auto& entry = neighbourhood_.entries[e];
                const int neighbour_y = y + entry.offset.dy, dx = entry.offset.dx;
                if (neighbour_y < 0 || neighbour_y >= height) continue;
                const float* source = entry.plane < 0 ? stencil.diagonal : stencil.planes + entry.plane * num_nodes;
                source += static_cast<size_t>(entry.is_mirrored ? neighbour_y : y) * width;
                if (entry.is_mirrored) source += dx;
                const int first = std::max(0, -dx), last = std::min(width, width - dx);
                float* target = weights_.data() + group_start(y, 0) + e * kGroup;
                for (int x = first; x < last; ++x) target[(x / kGroup) * group_size_ + x % kGroup] = source[x];
            }
        }
    }

    const Neighbourhood& neighbourhood() const { return neighbourhood_; }
    const float* group(int y, int index) const { return weights_.data() + group_start(y, index); }

  private:
    size_t group_start(int y, int index) const { return (static_cast<size_t>(y) * num_groups_ + index) * group_size_; }

    Neighbourhood neighbourhood_;
    size_t num_groups_, group_size_;
    Array<float> weights_;
};

constexpr int kSpreadGroup = 16;  // columns of a group of affinity weights
using PackedAffinity = PackedStencil<kSpreadGroup>;

constexpr int max_dx_on_disc(int reach, int dy) {
    int dx = 0;
    while ((dx + 1) * (dx + 1) + dy * dy < (reach + 1) * (reach + 1) && dx < reach) ++dx;
    return dx;
}

// The sums of kNodesInRegisters neighbouring nodes, 16 units each, for the open disc of radius kReach + 1: straight
// code, in which every neighbour is loaded once for all nodes that it belongs to.
template <int kReach>
class DiscKernel {
  public:
    static constexpr int num_entries() {
        int count = 0;
        for (int dy = -kReach; dy <= kReach; ++dy) count += 2 * max_dx_on_disc(kReach, dy) + 1;
        return count;
    }

    // `rows` start at row -kReach; `x` is the first node; `weights` are those of its group, from its lane on.
    GCN_INLINE static void run(const float* weights, const float* const* rows, int x, Floats* sums) {
        all_rows(weights, rows, x, sums, std::make_integer_sequence<int, 2 * kReach + 1>());
    }

  private:
    template <int... kRows>
    GCN_INLINE static void all_rows(const float* weights, const float* const* rows, int x, Floats* sums,
                                    std::integer_sequence<int, kRows...>) {
        (one_row<kRows - kReach>(weights, rows[kRows] + x * kLanes, sums), ...);
    }

    template <int kDy>
    GCN_INLINE static void one_row(const float*& weights, const float* row, Floats* sums) {
        constexpr int kHalf = max_dx_on_disc(kReach, kDy);
#pragma GCC unroll 32
        for (int i = 0; i < kNodesInRegisters + 2 * kHalf; ++i) {
            const Floats neighbour = load(row + (i - kHalf) * kLanes);
            if (i <= 2 * kHalf) __builtin_prefetch(weights + (2 * num_entries() + i) * kSpreadGroup);  // 2 groups ahead
#pragma GCC unroll 16
            for (int j = 0; j < kNodesInRegisters; ++j) {
                if (j > i || j < i - 2 * kHalf) continue;
                sums[j] = multiply_add(all(weights[(i - j) * kSpreadGroup + j]), neighbour, sums[j]);
            }
        }
        weights += (2 * kHalf + 1) * kSpreadGroup;
    }
};

// The same for any neighbourhood, in the same order of summation.
class AnyKernel {
  public:
    GCN_INLINE static void run(const Neighbourhood& neighbourhood, const float* weights, const float* const* rows,
                               int x, Floats* sums) {
        for (const auto& entry : neighbourhood.entries) {
            const float* source = rows[entry.offset.dy + neighbourhood.reach_y] + (x + entry.offset.dx) * kLanes;
#pragma GCC unroll 16
            for (int j = 0; j < kNodesInRegisters; ++j) {
                sums[j] = multiply_add(all(weights[j]), load(source + j * kLanes), sums[j]);
            }
            weights += kSpreadGroup;
        }
    }
};

// Calls `finish(x, sums)` for every kNodesInRegisters nodes of row y, with the product of the matrix and the rows; the
// nodes of a source row begin `start` floats after its beginning.
template <int kReach, typename Finish>
GCN_INLINE void spread_row(const PackedAffinity& matrix, RowRing& source, int y, int padded_width, Finish finish,
                           size_t start = 0) {
    const Neighbourhood& neighbourhood = matrix.neighbourhood();
    const int reach = neighbourhood.reach_y;
    std::vector<const float*> rows(2 * reach + 1);
    for (int dy = -reach; dy <= reach; ++dy) rows[dy + reach] = source.row(y + dy) + start;
    for (int x = 0; x < padded_width; x += kNodesInRegisters) {
        const float* weights = matrix.group(y, x / kSpreadGroup) + x % kSpreadGroup;
        Floats sums[kNodesInRegisters];
#pragma GCC unroll 16
        for (int j = 0; j < kNodesInRegisters; ++j) sums[j] = all(0.0f);
        if constexpr (kReach > 0) {
            DiscKernel<kReach>::run(weights, rows.data(), x, sums);
        } else {
            AnyKernel::run(neighbourhood, weights, rows.data(), x, sums);
        }
        finish(x, sums);
    }
}

}  // namespace gcn
