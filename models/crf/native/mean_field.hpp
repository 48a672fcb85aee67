// Mean-field inference in the fully connected CRF with Potts compatibility (Kraehenbuehl and Koltun 2011, algorithm 1).
//
// Q <- softmax(-U + sum_m w_m K_m Q). Every K_m is linear and the labels of Q sum to 1, so the message of one of L
// labels is K_m 1 less the others' messages: only L - 1 channels are filtered. Several unaries of one image (variants)
// are more channels of the same filters.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include "filter.hpp"
#include "normalise.hpp"

namespace dense_crf {

// Consecutive channels that are filtered together, in rows of `width` floats.
struct Chunk {
    int first, width;
};

inline std::vector<Chunk> make_chunks(int num_channels) {
    std::vector<Chunk> chunks;
    for (int first = 0; first < num_channels; first += chunks.back().width) {
        const int left = num_channels - first;
        const int width = left > 8 ? 16 : left > 4 ? 8 : left > 2 ? 4 : left;
        chunks.push_back({first, width});
    }
    return chunks;
}

// work(std::integral_constant<int, width>())
template <typename Work>
inline void with_width(int width, Work work) {
    switch (width) {
        case 1: return work(std::integral_constant<int, 1>());
        case 2: return work(std::integral_constant<int, 2>());
        case 4: return work(std::integral_constant<int, 4>());
        case 8: return work(std::integral_constant<int, 8>());
        default: return work(std::integral_constant<int, 16>());
    }
}

// A lattice with a table of every chunk that is read (blurred) and one that is written (splatted into).
template <int D>
struct Filter {
    const Lattice<D>* lattice = nullptr;  // none: the kernel is not in use
    float compat = 0;                     // w_m
    Buffer<float> memory;
    std::vector<float*> read, write;

    void start(const Lattice<D>* of, float weight, const std::vector<Chunk>& chunks) {
        lattice = of;
        compat = weight;
        read.clear();
        write.clear();
        if (lattice == nullptr) return;
        size_t total = 0;
        for (const Chunk& chunk : chunks) total += 2 * table_size(chunk);
        memory.resize(total);
        std::fill_n(memory.data(), total, 0.0f);
        float* table = memory.data();
        for (const Chunk& chunk : chunks) {
            read.push_back(table);
            write.push_back(table + table_size(chunk));
            table += 2 * table_size(chunk);
        }
    }

    // Blur what was splatted and make it the table to read; the other becomes an empty table to write.
    template <int W>
    void turn(size_t chunk) {
        if (lattice == nullptr) return;
        blur<W>(*lattice, write[chunk], read[chunk]);
        std::swap(read[chunk], write[chunk]);
        std::fill_n(write[chunk], static_cast<size_t>(lattice->num_vertices) * W, 0.0f);
    }

    template <int W>
    void splat(size_t block, size_t chunk, const float* rows) {
        if (lattice != nullptr) splat_block<W>(*lattice, block, rows, write[chunk]);
    }

    template <int W>
    void add_message(size_t block, size_t chunk, float* rows) const {
        if (lattice != nullptr) slice_block<W>(*lattice, block, read[chunk], compat, rows);
    }

    // Tables begin on cache line borders. One more row than vertices: the zeros outside the lattice.
    size_t table_size(const Chunk& chunk) const {
        return ((static_cast<size_t>(lattice->num_vertices) + 1) * chunk.width + kBlock - 1) / kBlock * kBlock;
    }
};

inline void copy_run(float* target, const float* source, int run) {
    if (run == kBlock) std::memcpy(target, source, kBlock * sizeof(float));  // a fixed size needs no call
    else std::memcpy(target, source, run * sizeof(float));
}

struct Problem {
    const float* unary;  // [V][L][height][width]
    float* prob;         // likewise
    int num_variants, num_labels, num_iterations;
    PixelOrder order;
};

class MeanField {
  public:
    void run(const Problem& problem, const Lattice<2>* gaussian, float gaussian_compat, const Lattice<5>* bilateral,
             float bilateral_compat) {
        problem_ = problem;
        chunks_ = make_chunks(problem.num_variants * (problem.num_labels - 1));
        num_planes_ = chunks_.back().first + chunks_.back().width;
        gaussian_.start(gaussian, gaussian_compat, chunks_);
        bilateral_.start(bilateral, bilateral_compat, chunks_);
        unary_.resize(problem.order.num_blocks() * problem.num_variants * problem.num_labels * kBlock);
        channel_.resize(num_planes_ * kTile);
        std::fill_n(channel_.data(), num_planes_ * kTile, 0.0f);
        first_.resize(problem.num_variants * kTile);
        for (int step = 0; step <= problem.num_iterations; ++step) {
            if (step > 0) turn();
            for (size_t tile = 0; tile < problem.order.num_tiles(); ++tile) work_on(tile, step);
        }
    }

    // That of one tile is not counted.
    size_t bytes() const { return gaussian_.memory.bytes() + bilateral_.memory.bytes() + unary_.bytes(); }

  private:
    void work_on(size_t tile, int step) {
        const bool is_last = step == problem_.num_iterations;
        if (step == 0) {
            for (int b = 0; b < kTileBlocks; ++b) read_unary(tile * kTileBlocks + b);
        } else {
            gather(tile);
        }
        for (int b = 0; b < kTileBlocks; ++b) {
            for (int v = 0; v < problem_.num_variants; ++v) update(tile, b, v, step > 0);
        }
        if (is_last) {
            for (int b = 0; b < kTileBlocks; ++b) write_prob(tile, b);
        } else {
            scatter(tile);
        }
        if (step == 0) {
            for (int b = 0; b < kTileBlocks; ++b) add_row_sums(tile * kTileBlocks + b);
        }
    }

    void turn() {
        for (size_t i = 0; i < chunks_.size(); ++i) {
            with_width(chunks_[i].width, [&](auto width) {
                gaussian_.template turn<decltype(width)::value>(i);
                bilateral_.template turn<decltype(width)::value>(i);
            });
        }
    }

    // The messages to the tile's pixels.
    void gather(size_t tile) {
        for (size_t i = 0; i < chunks_.size(); ++i) {
            with_width(chunks_[i].width, [&](auto width) {
                constexpr int W = decltype(width)::value;
                for (int b = 0; b < kTileBlocks; ++b) {
                    alignas(64) float rows[kBlock * W] = {};
                    gaussian_.template add_message<W>(tile * kTileBlocks + b, i, rows);
                    bilateral_.template add_message<W>(tile * kTileBlocks + b, i, rows);
                    rows_to_planes<W>(rows, channel_planes(b, chunks_[i].first));
                }
            });
        }
    }

    void scatter(size_t tile) {
        for (size_t i = 0; i < chunks_.size(); ++i) {
            with_width(chunks_[i].width, [&](auto width) {
                constexpr int W = decltype(width)::value;
                for (int b = 0; b < kTileBlocks; ++b) {
                    alignas(64) float rows[kBlock * W];
                    planes_to_rows<W>(channel_planes(b, chunks_[i].first), rows);
                    gaussian_.template splat<W>(tile * kTileBlocks + b, i, rows);
                    bilateral_.template splat<W>(tile * kTileBlocks + b, i, rows);
                }
            });
        }
    }

    // Softmax of one variant in one block. Labels 1.. go where their messages were.
    void update(size_t tile, int b, int v, bool has_message) {
        const int num_channels = problem_.num_labels - 1;
        const float* unary = unary_planes(tile * kTileBlocks + b, v);
        float* channel = channel_planes(b, v * num_channels);
        float* first = first_plane(b, v);
        for (int p = 0; p < kBlock; p += kLanes) {
            Floats score_0 = load(unary + p), top = score_0;
            for (int c = 0; c < num_channels; ++c) {
                Floats score = load(unary + (c + 1) * kBlock + p);
                if (has_message) {
                    const Floats message = load(channel + c * kBlock + p);
                    score_0 -= message;
                    score += message;
                }
                store(channel + c * kBlock + p, score);
                top = c == 0 ? score : maximum(top, score);
            }
            top = maximum(top, score_0);
            const Floats exp_0 = exp_of_nonpositive(score_0 - top);
            Floats sum = exp_0;
            for (int c = 0; c < num_channels; ++c) {
                const Floats e = exp_of_nonpositive(load(channel + c * kBlock + p) - top);
                store(channel + c * kBlock + p, e);
                sum += e;
            }
            const Floats inverse = 1.0f / sum;
            for (int c = 0; c < num_channels; ++c) {
                store(channel + c * kBlock + p, load(channel + c * kBlock + p) * inverse);
            }
            store(first + p, exp_0 * inverse);
        }
    }

    // -U, shifted so that the best label of a pixel has 0.
    void read_unary(size_t block) {
        const int L = problem_.num_labels;
        const size_t N = problem_.order.num_pixels();
        for (int v = 0; v < problem_.num_variants; ++v) {
            const float* source = problem_.unary + static_cast<size_t>(v) * L * N;
            float* planes = unary_planes(block, v);
            std::fill_n(planes, L * kBlock, 0.0f);
            problem_.order.for_each_run(block, [&](int lane, size_t pixel, int run) {
                for (int l = 0; l < L; ++l) copy_run(planes + l * kBlock + lane, source + l * N + pixel, run);
            });
            for (int p = 0; p < kBlock; p += kLanes) {
                Floats lowest = load(planes + p);
                for (int l = 1; l < L; ++l) lowest = minimum(lowest, load(planes + l * kBlock + p));
                for (int l = 0; l < L; ++l) store(planes + l * kBlock + p, lowest - load(planes + l * kBlock + p));
            }
        }
    }

    // From the first message on, label 0 gets K 1 less the other labels' messages.
    void add_row_sums(size_t block) {
        for (int v = 0; v < problem_.num_variants; ++v) {
            add_row_sum(gaussian_, block, unary_planes(block, v));
            add_row_sum(bilateral_, block, unary_planes(block, v));
        }
    }

    template <int D>
    static void add_row_sum(const Filter<D>& filter, size_t block, float* label_0) {
        if (filter.lattice == nullptr) return;
        const float* sums = filter.lattice->row_sum.data() + block * kBlock;
        for (int p = 0; p < kBlock; ++p) label_0[p] += filter.compat * sums[p];
    }

    void write_prob(size_t tile, int b) {
        const int L = problem_.num_labels;
        const size_t N = problem_.order.num_pixels();
        for (int v = 0; v < problem_.num_variants; ++v) {
            float* target = problem_.prob + static_cast<size_t>(v) * L * N;
            const float *first = first_plane(b, v), *channel = channel_planes(b, v * (L - 1));
            problem_.order.for_each_run(tile * kTileBlocks + b, [&](int lane, size_t pixel, int run) {
                copy_run(target + pixel, first + lane, run);
                for (int l = 1; l < L; ++l) {
                    copy_run(target + l * N + pixel, channel + (l - 1) * kBlock + lane, run);
                }
            });
        }
    }

    float* unary_planes(size_t block, int v) {
        return unary_.data() + (block * problem_.num_variants + v) * problem_.num_labels * kBlock;
    }
    float* channel_planes(int b, int channel) { return channel_.data() + (b * num_planes_ + channel) * kBlock; }
    float* first_plane(int b, int v) { return first_.data() + (b * problem_.num_variants + v) * kBlock; }

    Problem problem_{};
    std::vector<Chunk> chunks_;
    int num_planes_ = 0;
    Filter<2> gaussian_;
    Filter<5> bilateral_;
    Buffer<float> unary_;    // of all blocks
    Buffer<float> channel_;  // of one tile: messages, then scores, then probabilities of the labels from 1 on
    Buffer<float> first_;    // of one tile: probabilities of label 0
};

}  // namespace dense_crf
