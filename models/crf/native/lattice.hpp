// The sparse permutohedral lattice of one image: vertices, neighbours, and each pixel's weights on its simplex.
#pragma once

#include <algorithm>
#include <cstdint>

#include "buffer.hpp"
#include "pixel_order.hpp"
#include "point_codes.hpp"
#include "simplex.hpp"
#include "vertex_index.hpp"

namespace dense_crf {

template <int D>
struct Lattice {
    static constexpr int kCorners = D + 1;  // vertices of a simplex; also the number of blur axes

    // Corner c of the simplex around the pixel in lane p of block b: entry (b * kCorners + c) * kBlock + p.
    Buffer<uint32_t> vertex;
    Buffer<float> weight;
    // Neighbours of vertex v along axis a: entry a * (num_vertices + 1) + v; num_vertices stands for none.
    Buffer<uint32_t> next, previous;
    // What the normalised filter makes of the constant 1: lane p of block b is entry b * kBlock + p.
    Buffer<float> row_sum;
    size_t num_blocks = 0;
    uint32_t num_vertices = 0;

    size_t bytes() const {
        return vertex.bytes() + weight.bytes() + next.bytes() + previous.bytes() + row_sum.bytes();
    }
};

// The features of the pixels of one block as planes feature[f][lane].
template <int D>
using FeatureBlock = float[D][kBlock];

// Simplices of all pixels: weights, and in place of vertices the slots of `index`.
// `features(block, out)` fills the planes and returns the number of pixels in the block.
template <int D, typename Index, typename Features>
void locate_pixels(Lattice<D>& lattice, Index& index, const PointCodes<D>& codes, const Features& features) {
    float scale[D];
    axis_scales<D>(scale);
    alignas(64) FeatureBlock<D> feature = {};
    for (size_t b = 0; b < lattice.num_blocks; ++b) {
        const int count = features(b, feature);
        for (int f = 0; f < D; ++f) {  // lanes without a pixel repeat one, so that they add no vertex
            for (int p = count; p < kBlock; ++p) feature[f][p] = feature[f][std::max(count - 1, 0)];
        }
        uint32_t* slots = lattice.vertex.data() + b * (D + 1) * kBlock;
        float* weights = lattice.weight.data() + b * (D + 1) * kBlock;
        for (int p = 0; p < kBlock; p += kLanes) {
            Floats point[D];
            Simplices<D> simplices;
            for (int f = 0; f < D; ++f) point[f] = load(feature[f] + p);
            locate<D>(point, scale, codes, simplices);
            for (int c = 0; c <= D; ++c) {
                store(weights + c * kBlock + p, simplices.weight[c]);
                index.insert(simplices.high[c], simplices.low[c], slots + c * kBlock + p);
            }
        }
        for (int c = 0; c <= D; ++c) std::fill(weights + c * kBlock + count, weights + (c + 1) * kBlock, 0.0f);
    }
}

// Where a sorted list of codes meets itself shifted by a step, for several axes at a time. The two positions move
// without a branch: which of them moves is as good as random.
template <int kAxes>
inline void link_neighbours(const int64_t* code, size_t num_codes, const int64_t* step, uint32_t* next) {
    size_t from[kAxes] = {}, to[kAxes] = {};
    for (size_t n = 0; n < 2 * num_codes; ++n) {
        for (int a = 0; a < kAxes; ++a) {
            const size_t i = from[a], j = to[a];
            const int64_t wanted = code[i] - step[a], found = code[j];
            next[a * (num_codes + 1) + i] = static_cast<uint32_t>(wanted == found ? j : num_codes);
            from[a] = i + ((wanted <= found) & (i < num_codes));
            to[a] = j + ((found <= wanted) & (j < num_codes));
        }
    }
}

// A step along an axis takes a constant off a point's code.
template <int D, typename Index>
void find_neighbours(Lattice<D>& lattice, Index& index, const CodeRange<D>& range, Buffer<int64_t>& code) {
    const size_t num_vertices = lattice.num_vertices, stride = num_vertices + 1;
    code.resize(stride);
    index.for_each([&](uint32_t v, int32_t high, int32_t low) { code[v] = high * range.num_low + low; });
    code[num_vertices] = INT64_MAX / 2;
    lattice.next.resize((D + 1) * stride);
    lattice.previous.resize((D + 1) * stride);
    std::fill_n(lattice.previous.data(), (D + 1) * stride, lattice.num_vertices);
    for (int axis = 0; axis <= D; axis += 3) {
        int64_t step[3];
        for (int a = 0; a < 3; ++a) step[a] = range.codes.high[axis + a] * range.num_low + range.codes.low[axis + a];
        link_neighbours<3>(code.data(), num_vertices, step, lattice.next.data() + axis * stride);
    }
    for (int axis = 0; axis <= D; ++axis) {
        const uint32_t* next = lattice.next.data() + axis * stride;
        uint32_t* previous = lattice.previous.data() + axis * stride;  // its last entry takes the links to none
        for (uint32_t v = 0; v < num_vertices; ++v) previous[next[v]] = v;
        previous[num_vertices] = lattice.num_vertices;
    }
}

}  // namespace dense_crf
