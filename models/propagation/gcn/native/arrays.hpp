// Zeroed arrays on cache-line borders, and rings of the latest rows of a grid.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace gcn {

constexpr size_t kCacheLine = 64;
constexpr size_t kHugePage = size_t{1} << 21;

inline size_t round_up(size_t size, size_t multiple) { return (size + multiple - 1) / multiple * multiple; }

// An array of zeros. Large ones ask for huge pages: the solver walks through tens of streams at a time, more than
// the first-level TLB holds pages of 4 KiB.
template <typename T>
class Array {
  public:
    explicit Array(size_t size) {
        const size_t bytes = size * sizeof(T) + kCacheLine;  // kernels may read one vector past the end
        const size_t alignment = bytes >= kHugePage ? kHugePage : kCacheLine;
        memory_ = std::calloc(bytes + alignment, 1);  // of the system's fresh pages, which are zeros already
        if (memory_ == nullptr) throw std::bad_alloc();
        const uintptr_t start = round_up(reinterpret_cast<uintptr_t>(memory_), alignment);
#if defined(__linux__)
        const size_t whole_pages = bytes / kHugePage * kHugePage;
        if (whole_pages > 0) madvise(reinterpret_cast<void*>(start), whole_pages, MADV_HUGEPAGE);
#endif
        data_ = reinterpret_cast<T*>(start);
        size_ = size;
    }
    Array(const Array&) = delete;
    Array& operator=(const Array&) = delete;
    ~Array() { std::free(memory_); }

    T* data() { return data_; }
    const T* data() const { return data_; }
    T& operator[](size_t i) { return data_[i]; }
    const T& operator[](size_t i) const { return data_[i]; }
    void fill_zero() { std::memset(data_, 0, size_ * sizeof(T)); }

  private:
    void* memory_ = nullptr;
    T* data_ = nullptr;
    size_t size_ = 0;
};

// The latest rows of a grid: row y overwrites row y - capacity. Rows before the first are zeros; a row further down
// than the last one written holds an older row, which a stencil multiplies by a weight of 0.
class RowRing {
  public:
    // `lead` floats of zeros go before and after each row.
    RowRing(int min_rows, size_t row_size, size_t lead)
        : capacity_(power_of_two(min_rows)), pitch_(row_size + 2 * lead), lead_(lead), data_(capacity_ * pitch_) {}

    float* row(int y) { return data_.data() + (static_cast<size_t>(y) & (capacity_ - 1)) * pitch_ + lead_; }

  private:
    static size_t power_of_two(int minimum) {
        size_t capacity = 1;
        while (capacity < static_cast<size_t>(minimum)) capacity *= 2;
        return capacity;
    }

    size_t capacity_, pitch_, lead_;
    Array<float> data_;
};

}  // namespace gcn
