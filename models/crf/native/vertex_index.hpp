// From codes of lattice points to vertex numbers 0..M-1, in ascending order of (high, low).
//
// Two indexes with the same interface and the same numbering. Use: `insert` every code and keep the slot that it
// returns, `finish`, then ask `number_of_slot`.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "buffer.hpp"
#include "simd.hpp"

namespace dense_crf {

// Thrown by `insert` of an index that cannot take more.
struct IndexFull {};

// A bitmap over all possible codes, cut into pages that exist only where an image has vertices. The number of a vertex
// is the count of bits before its own: no hashing, no sorting, no search, and hardly a branch.
class BitmapIndex {
  public:
    static constexpr int kPageBits = 10, kWords = 1 << (kPageBits - 6);
    static constexpr int64_t kMaxDirectory = int64_t{1} << 25;  // 128 MiB of page numbers
    static constexpr size_t kMaxPages = size_t{1} << 18;        // 64 MiB of pages, more than twice a 4K photograph

    static bool can_hold(int64_t num_high, int64_t num_low) {
        return num_high <= kMaxDirectory && num_high * pages_per_high(num_low) <= kMaxDirectory;
    }

    void start(int64_t num_high, int64_t num_low, size_t) {
        pages_per_high_ = static_cast<int32_t>(pages_per_high(num_low));
        num_entries_ = static_cast<int32_t>(num_high * pages_per_high_);
        directory_.resize(num_entries_);
        std::fill_n(directory_.data(), num_entries_, 0);
        words_.assign(kWords, Word{0, 0});
    }

    // Insert the points of kLanes codes; their slots go to `slots`.
    void insert(Ints high, Ints low, uint32_t* slots) {
        alignas(64) int32_t entry[kLanes], bit[kLanes];
        store(entry, high * pages_per_high_ + (low >> kPageBits));
        store(bit, low & ((1 << kPageBits) - 1));
        int32_t* directory = directory_.data();
        Word* words = words_.data();
        for (int i = 0; i < kLanes; ++i) {
            int32_t page = directory[entry[i]];
            if (page == 0) {
                page = directory[entry[i]] = add_page();
                words = words_.data();
            }
            const uint32_t slot = (static_cast<uint32_t>(page) << kPageBits) | bit[i];
            words[slot >> 6].bits |= uint64_t{1} << (slot & 63);
            slots[i] = slot;
        }
    }

    // Number all points; returns how many there are.
    uint32_t finish() {
        uint32_t count = 0;
        for_each_page([&](int32_t, Word* words) {
            for (int w = 0; w < kWords; ++w) {
                words[w].before = count;
                count += __builtin_popcountll(words[w].bits);
            }
        });
        return count;
    }

    uint32_t number_of_slot(uint32_t slot) const {
        const Word& word = words_[slot >> 6];
        return word.before - 1 + __builtin_popcountll(word.bits << (~slot & 63));  // its own bit is set
    }

    // visit(number, high, low) for every vertex, in order.
    template <typename Visit>
    void for_each(Visit visit) {
        uint32_t number = 0;
        for_each_page([&](int32_t entry, Word* words) {
            const int32_t high = entry / pages_per_high_;
            const int32_t first_low = entry % pages_per_high_ << kPageBits;
            for (int w = 0; w < kWords; ++w) {
                for (uint64_t bits = words[w].bits; bits != 0; bits &= bits - 1) {
                    visit(number++, high, first_low + w * 64 + __builtin_ctzll(bits));
                }
            }
        });
    }

    size_t bytes() const { return directory_.bytes() + words_.capacity() * sizeof(Word); }

  private:
    struct Word {
        uint64_t bits;
        uint32_t before;  // number of vertices in front of this word
    };

    static int64_t pages_per_high(int64_t num_low) { return (num_low >> kPageBits) + 1; }

    int32_t add_page() {
        const size_t page = words_.size() / kWords;
        if (page == kMaxPages) {
            std::vector<Word>().swap(words_);
            throw IndexFull();
        }
        words_.resize(words_.size() + kWords, Word{0, 0});
        return static_cast<int32_t>(page);
    }

    template <typename Visit>
    void for_each_page(Visit visit) {
        for (int32_t entry = 0; entry < num_entries_; ++entry) {
            if (directory_[entry] != 0) visit(entry, &words_[static_cast<size_t>(directory_[entry]) * kWords]);
        }
    }

    Buffer<int32_t> directory_;  // page of each run of 2^kPageBits codes; page 0 stays empty and stands for none
    std::vector<Word> words_;
    int32_t pages_per_high_ = 0, num_entries_ = 0;
};

// A sorted list of codes, for standard deviations so small that the bitmap's directory would be too large.
class SortedIndex {
  public:
    void start(int64_t, int64_t num_low, size_t num_codes) {
        num_low_ = static_cast<uint64_t>(num_low);
        inserted_.clear();
        inserted_.reserve(num_codes);
    }

    void insert(Ints high, Ints low, uint32_t* slots) {
        for (int i = 0; i < kLanes; ++i) {
            slots[i] = static_cast<uint32_t>(inserted_.size());
            inserted_.push_back(static_cast<uint64_t>(high[i]) * num_low_ + static_cast<uint64_t>(low[i]));
        }
    }

    uint32_t finish() {
        sorted_ = inserted_;
        std::sort(sorted_.begin(), sorted_.end());
        sorted_.erase(std::unique(sorted_.begin(), sorted_.end()), sorted_.end());
        return static_cast<uint32_t>(sorted_.size());
    }

    uint32_t number_of_slot(uint32_t slot) const {
        return static_cast<uint32_t>(std::lower_bound(sorted_.begin(), sorted_.end(), inserted_[slot]) -
                                     sorted_.begin());
    }

    template <typename Visit>
    void for_each(Visit visit) {
        for (uint32_t number = 0; number < sorted_.size(); ++number) {
            visit(number, static_cast<int32_t>(sorted_[number] / num_low_),
                  static_cast<int32_t>(sorted_[number] % num_low_));
        }
    }

    size_t bytes() const { return (inserted_.capacity() + sorted_.capacity()) * sizeof(uint64_t); }

  private:
    std::vector<uint64_t> inserted_, sorted_;
    uint64_t num_low_ = 1;
};

}  // namespace dense_crf
