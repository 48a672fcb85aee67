// Splat, blur and slice of rows of channels over a lattice (Adams et al. 2010, section 3).
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#include "lattice.hpp"

namespace dense_crf {

// The W channels of one vertex or pixel.
template <int W>
struct RowType {
    typedef float type __attribute__((vector_size(W * 4)));
};
template <>
struct RowType<1> {
    typedef float type;
};
template <int W>
using Row = typename RowType<W>::type;

// table[vertex] += weight * row, for every pixel of one block.
template <int W, int D>
inline void splat_block(const Lattice<D>& lattice, size_t block, const float* rows, float* table) {
    const uint32_t* vertex = lattice.vertex.data() + block * (D + 1) * kBlock;
    const float* weight = lattice.weight.data() + block * (D + 1) * kBlock;
    const Row<W>* row = reinterpret_cast<const Row<W>*>(rows);
    Row<W>* values = reinterpret_cast<Row<W>*>(table);
    for (int p = 0; p < kBlock; ++p) {
        for (int c = 0; c <= D; ++c) values[vertex[c * kBlock + p]] += row[p] * weight[c * kBlock + p];
    }
}

// row += scale * (weighted sum of the table's rows), for every pixel of one block.
template <int W, int D>
inline void slice_block(const Lattice<D>& lattice, size_t block, const float* table, float scale, float* rows) {
    const uint32_t* vertex = lattice.vertex.data() + block * (D + 1) * kBlock;
    const float* weight = lattice.weight.data() + block * (D + 1) * kBlock;
    const Row<W>* values = reinterpret_cast<const Row<W>*>(table);
    Row<W>* row = reinterpret_cast<Row<W>*>(rows);
    for (int p = 0; p < kBlock; ++p) {
        Row<W> sum = values[vertex[p]] * weight[p];
        for (int c = 1; c <= D; ++c) sum += values[vertex[c * kBlock + p]] * weight[c * kBlock + p];
        row[p] += sum * scale;
    }
}

// One pass of the kernel (1/2, 1, 1/2) along one axis; what lies outside the lattice is 0. The gain of 2 an axis
// cancels in the normalisation.
template <int W, int D>
inline void blur_axis(const Lattice<D>& lattice, int axis, const float* source, float* target) {
    const size_t num_vertices = lattice.num_vertices;
    const uint32_t* next = lattice.next.data() + axis * (num_vertices + 1);
    const uint32_t* previous = lattice.previous.data() + axis * (num_vertices + 1);
    const Row<W>* in = reinterpret_cast<const Row<W>*>(source);
    Row<W>* out = reinterpret_cast<Row<W>*>(target);
    for (size_t v = 0; v < num_vertices; ++v) out[v] = in[v] + 0.5f * (in[next[v]] + in[previous[v]]);
}

// Blur along every axis in turn. Row num_vertices must be 0 in both buffers. The result is in `table`; the two may
// have changed places.
template <int W, int D>
inline void blur(const Lattice<D>& lattice, float*& table, float*& spare) {
    for (int axis = 0; axis <= D; ++axis) {
        blur_axis<W>(lattice, axis, table, spare);
        std::swap(table, spare);
    }
}

// Planes of a block to rows: channel c of pixel p from planes[c * kBlock + p] to rows[p * W + c].
template <int W>
inline void planes_to_rows(const float* planes, float* rows) {
    for (int p = 0; p < kBlock; p += kLanes) {
        Floats vectors[W];
        for (int c = 0; c < W; ++c) vectors[c] = load(planes + c * kBlock + p);
        columns_to_rows<W>(vectors);
        for (int c = 0; c < W; ++c) store(rows + p * W + c * kLanes, vectors[c]);
    }
}

template <int W>
inline void rows_to_planes(const float* rows, float* planes) {
    for (int p = 0; p < kBlock; p += kLanes) {
        Floats vectors[W];
        for (int c = 0; c < W; ++c) vectors[c] = load(rows + p * W + c * kLanes);
        rows_to_columns<W>(vectors);
        for (int c = 0; c < W; ++c) store(planes + c * kBlock + p, vectors[c]);
    }
}

}  // namespace dense_crf
