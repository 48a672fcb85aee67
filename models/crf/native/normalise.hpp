// Building a lattice whose filter K is normalised: n^-1/2 K n^-1/2 with n = K 1 (Kraehenbuehl and Koltun 2011).
#pragma once

#include <algorithm>
#include <cmath>

#include "filter.hpp"

namespace dense_crf {

// Memory that building needs, kept from image to image.
struct BuildMemory {
    Buffer<int64_t> code;
    Buffer<float> tables;

    size_t bytes() const { return code.bytes() + tables.bytes(); }
};

// Fold n^-1/2 into the weights, which splat and slice share, and find the row sums of the normalised filter.
// `table` holds the splatted constant 1; `spare` and `empty` are 0.
template <int D>
void normalise(Lattice<D>& lattice, float* table, float* spare, float* empty, const float* ones) {
    blur<1>(lattice, table, spare);
    for (size_t b = 0; b < lattice.num_blocks; ++b) {
        float* weight = lattice.weight.data() + b * (D + 1) * kBlock;
        alignas(64) float n[kBlock] = {};
        slice_block<1>(lattice, b, table, 1.0f, n);
        for (int p = 0; p < kBlock; ++p) n[p] = 1.0f / std::sqrt(n[p] + 1e-20f);
        for (int c = 0; c <= D; ++c) {
            for (int p = 0; p < kBlock; ++p) weight[c * kBlock + p] *= n[p];
        }
        splat_block<1>(lattice, b, ones, empty);
    }
    blur<1>(lattice, empty, spare);
    float* sums = lattice.row_sum.data();
    std::fill_n(sums, lattice.num_blocks * kBlock, 0.0f);
    for (size_t b = 0; b < lattice.num_blocks; ++b) slice_block<1>(lattice, b, empty, 1.0f, sums + b * kBlock);
}

template <int D, typename Index, typename Features>
void build_lattice(Lattice<D>& lattice, Index& index, const CodeRange<D>& range, const PixelOrder& order,
                   const Features& features, BuildMemory& memory) {
    lattice.num_blocks = order.num_blocks();
    const size_t block_entries = (D + 1) * kBlock, num_entries = lattice.num_blocks * block_entries;
    lattice.vertex.resize(num_entries);
    lattice.weight.resize(num_entries);
    lattice.row_sum.resize(lattice.num_blocks * kBlock);
    index.start(range.num_high, range.num_low, num_entries);
    locate_pixels(lattice, index, range.codes, features);
    lattice.num_vertices = index.finish();

    alignas(64) float ones[kBlock];
    std::fill_n(ones, kBlock, 1.0f);
    const size_t table_size = (static_cast<size_t>(lattice.num_vertices) + kBlock) / kBlock * kBlock;
    memory.tables.resize(3 * table_size);
    std::fill_n(memory.tables.data(), 3 * table_size, 0.0f);
    float* table = memory.tables.data();
    for (size_t b = 0; b < lattice.num_blocks; ++b) {
        uint32_t* vertex = lattice.vertex.data() + b * block_entries;
        for (size_t i = 0; i < block_entries; ++i) vertex[i] = index.number_of_slot(vertex[i]);
        splat_block<1>(lattice, b, ones, table);
    }
    find_neighbours(lattice, index, range, memory.code);
    normalise(lattice, table, table + table_size, table + 2 * table_size, ones);
}

}  // namespace dense_crf
