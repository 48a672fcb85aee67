// The order in which pixels are worked on, and how what belongs to them lies in memory.
#pragma once

#include <algorithm>
#include <cstddef>

namespace dense_crf {

// The values of kBlock pixels lie plane by plane, one cache line a plane, and block by block: reading them is one
// stream, which the processor fetches ahead. With longer planes it does not, and waits.
constexpr int kBlock = 16;

// Work goes by tiles of kTile pixels: long enough to hide latency, small enough for the first-level cache.
constexpr int kTile = 64, kTileBlocks = kTile / kBlock;

// Pixels go in vertical strips, row by row within a strip: a few rows of a strip touch few enough lattice vertices for
// the first-level cache, and neighbouring rows mostly the same ones.
constexpr size_t kStripWidth = 32;

struct PixelOrder {
    size_t height, width;

    size_t num_pixels() const { return height * width; }
    size_t num_tiles() const { return (num_pixels() + kTile - 1) / kTile; }
    size_t num_blocks() const { return num_tiles() * kTileBlocks; }

    // visit(lane, pixel, run) for the pixels of one block: its lanes lane..lane+run-1 are pixels pixel..pixel+run-1 of
    // the image in row-major order. The last blocks may have fewer lanes than kBlock, or none.
    template <typename Visit>
    int for_each_run(size_t block, Visit visit) const {
        const size_t begin = std::min(block * kBlock, num_pixels());
        const int count = static_cast<int>(std::min<size_t>(kBlock, num_pixels() - begin));
        for (int lane = 0; lane < count;) {
            const size_t strip = (begin + lane) / (kStripWidth * height);
            const size_t within = begin + lane - strip * kStripWidth * height;
            const size_t strip_width = std::min(kStripWidth, width - strip * kStripWidth);
            const size_t y = within / strip_width, x = within % strip_width;
            const int run = static_cast<int>(std::min<size_t>(strip_width - x, count - lane));
            visit(lane, y * width + strip * kStripWidth + x, run);
            lane += run;
        }
        return count;
    }
};

}  // namespace dense_crf
