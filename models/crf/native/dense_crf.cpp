// The C interface of the native dense CRF.
#include <cstdint>
#include <memory>
#include <new>

#include "mean_field.hpp"

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

using namespace dense_crf;

enum Status { kOk = 0, kOutOfMemory = 1, kOutOfRange = 2 };

struct PositionFeatures {
    PixelOrder order;
    float sigma_px;

    int operator()(size_t block, float (*feature)[kBlock]) const {
        return order.for_each_run(block, [&](int lane, size_t pixel, int run) {
            const size_t x = pixel % order.width, y = pixel / order.width;
            for (int p = 0; p < run; ++p) {
                feature[0][lane + p] = static_cast<float>(static_cast<int>(x) + p) / sigma_px;
                feature[1][lane + p] = static_cast<float>(static_cast<int>(y)) / sigma_px;
            }
        });
    }
};

struct PositionColourFeatures {
    PositionFeatures position;
    const uint8_t* image;
    float value[256];

    PositionColourFeatures(const PixelOrder& order, float sigma_px, const uint8_t* rgb, float sigma_rgb)
        : position{order, sigma_px}, image(rgb) {
        for (int i = 0; i < 256; ++i) value[i] = static_cast<float>(i) / sigma_rgb;
    }

    int operator()(size_t block, float (*feature)[kBlock]) const {
        position(block, feature);
        return position.order.for_each_run(block, [&](int lane, size_t pixel, int run) {
            const uint8_t* rgb = image + 3 * pixel;
            for (int p = 0; p < run; ++p) {
                for (int c = 0; c < 3; ++c) feature[2 + c][lane + p] = value[rgb[3 * p + c]];
            }
        });
    }
};

template <int D, typename Features>
bool build(Lattice<D>& lattice, BitmapIndex& index, const float* extent, const PixelOrder& order,
           const Features& features, BuildMemory& memory) {
    const CodeRange<D> range = make_codes<D>(extent);
    if (!range.fits()) return false;
    if (BitmapIndex::can_hold(range.num_high, range.num_low)) {
        try {
            build_lattice(lattice, index, range, order, features, memory);
            return true;
        } catch (const IndexFull&) {  // points strewn so thinly that sorting takes less memory
        }
    }
    SortedIndex sorted;
    build_lattice(lattice, sorted, range, order, features, memory);
    return true;
}

struct Workspace {
    BitmapIndex index;
    Lattice<5> bilateral;
    MeanField mean_field;
    BuildMemory memory;

    size_t bytes() const {
        return index.bytes() + bilateral.bytes() + mean_field.bytes() + memory.bytes();
    }
};

}  // namespace

EXPORT int dense_crf_abi_version() { return 1; }

EXPORT void* dense_crf_workspace_new() { return new (std::nothrow) Workspace(); }
EXPORT void dense_crf_workspace_free(void* workspace) { delete static_cast<Workspace*>(workspace); }
EXPORT uint64_t dense_crf_workspace_bytes(const void* workspace) {
    return static_cast<const Workspace*>(workspace)->bytes();
}

// The lattice of positions, or null where there is no memory for it or it does not fit the codes.
EXPORT void* dense_crf_gaussian_new(int64_t height, int64_t width, float sigma_px) {
    try {
        auto lattice = std::make_unique<Lattice<2>>();
        BitmapIndex index;
        BuildMemory memory;
        const float extent[2] = {(width - 1) / sigma_px, (height - 1) / sigma_px};
        const PixelOrder order{static_cast<size_t>(height), static_cast<size_t>(width)};
        const PositionFeatures features{order, sigma_px};
        return build<2>(*lattice, index, extent, order, features, memory) ? lattice.release() : nullptr;
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}
EXPORT void dense_crf_gaussian_free(void* lattice) { delete static_cast<Lattice<2>*>(lattice); }
EXPORT uint64_t dense_crf_gaussian_bytes(const void* lattice) {
    return static_cast<const Lattice<2>*>(lattice)->bytes();
}

// Marginals of `unary` into `prob`, both [num_variants][num_labels][height][width]; `image` is [height][width][3].
// A weight of 0 leaves a kernel out; `gaussian` may be null then. num_labels is 2 or more.
EXPORT int dense_crf_refine(void* workspace_pointer, const void* gaussian, float gaussian_weight, const uint8_t* image,
                            int64_t height, int64_t width, float sigma_px, float sigma_rgb, float bilateral_weight,
                            const float* unary, int64_t num_variants, int64_t num_labels, int64_t num_iterations,
                            float* prob) {
    Workspace& workspace = *static_cast<Workspace*>(workspace_pointer);
    const PixelOrder order{static_cast<size_t>(height), static_cast<size_t>(width)};
    try {
        const Lattice<5>* bilateral = nullptr;
        if (bilateral_weight > 0) {
            const float colour = 255.0f / sigma_rgb;
            const float extent[5] = {(width - 1) / sigma_px, (height - 1) / sigma_px, colour, colour, colour};
            const PositionColourFeatures features(order, sigma_px, image, sigma_rgb);
            if (!build<5>(workspace.bilateral, workspace.index, extent, order, features, workspace.memory)) {
                return kOutOfRange;
            }
            bilateral = &workspace.bilateral;
        }
        const Problem problem{unary,         prob, static_cast<int>(num_variants), static_cast<int>(num_labels),
                              static_cast<int>(num_iterations), order};
        workspace.mean_field.run(problem, static_cast<const Lattice<2>*>(gaussian), gaussian_weight, bilateral,
                                 bilateral_weight);
    } catch (const std::bad_alloc&) {
        return kOutOfMemory;
    }
    return kOk;
}
