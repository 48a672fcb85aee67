// Dropout bits as a hash of (key of image and step, node, unit): the same as `counter_random.hash_bits`.
#pragma once

#include "simd.hpp"

namespace gcn {

class KeepMask {
  public:
    KeepMask(const uint32_t* key, uint32_t threshold, float scale, int num_units)
        : first_(all(key[0])),
          second_(all(key[1])),
          threshold_(all(threshold)),
          scale_(scale),
          num_units_(static_cast<uint32_t>(num_units)) {}

    // The positive part of one node's units, dropped or scaled up; `factor` scales it further.
    GCN_INLINE Floats apply(uint32_t node, Floats units, float factor) const {
        static constexpr uint32_t kUnits[kLanes] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
        const Words counter = all(node * num_units_) + load(kUnits);
        const Floats kept = where_at_least(bits(counter), threshold_, units);
        return maximum(kept, all(0.0f)) * all(scale_ * factor);
    }

  private:
    GCN_INLINE Words bits(Words x) const {
        x = x ^ first_;
        x = (x ^ (x >> 16)) * all(0x7FEB352Du);
        x = (x ^ (x >> 15) ^ second_) * all(0x846CA68Bu);
        return x ^ (x >> 16);
    }

    Words first_, second_, threshold_;
    float scale_;
    uint32_t num_units_;
};

}  // namespace gcn
