// Memory that grows and is kept for the next image: fresh pages from the system cost more than the work on them.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <new>

namespace dense_crf {

// An uninitialised array on a cache line border. `resize` keeps nothing of what was there.
template <typename T>
class Buffer {
  public:
    Buffer() = default;
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    ~Buffer() { std::free(data_); }

    void resize(size_t size) {
        if (size <= capacity_) return;
        std::free(data_);
        data_ = nullptr;
        capacity_ = 0;
        void* memory = nullptr;
        if (posix_memalign(&memory, 64, size * sizeof(T)) != 0) throw std::bad_alloc();
        data_ = static_cast<T*>(memory);
        capacity_ = size;
    }

    T* data() { return data_; }
    const T* data() const { return data_; }
    T& operator[](size_t i) { return data_[i]; }
    const T& operator[](size_t i) const { return data_[i]; }
    size_t bytes() const { return capacity_ * sizeof(T); }

  private:
    T* data_ = nullptr;
    size_t capacity_ = 0;
};

}  // namespace dense_crf
