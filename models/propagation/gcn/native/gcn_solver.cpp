// The native backend of the per-image GCN: a plain C interface, built once for each instruction set (see setup.py).
//
// The equations are in docs/gcn_solver.md. One call trains one image on the calling thread and touches nothing global.

#include <new>

#include "denormals.hpp"
#include "solver.hpp"

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace gcn {
namespace {

template <int kReach>
bool is_disc(const Neighbourhood& neighbourhood) {
    constexpr size_t kEntries = DiscKernel<kReach>::num_entries();
    if (neighbourhood.reach_y != kReach || neighbourhood.entries.size() != kEntries) return false;
    for (const auto& entry : neighbourhood.entries) {
        if (std::abs(entry.offset.dx) > max_dx_on_disc(kReach, entry.offset.dy)) return false;
    }
    return true;
}

bool is_window_5x5(const Neighbourhood& neighbourhood) {
    return neighbourhood.entries.size() == 25 && neighbourhood.reach_y == 2 && neighbourhood.reach_x == 2;
}

template <int kReach>
bool solve(const GcnImage& problem, const GcnSettings& settings, GcnResult& result) {
    Image image(problem);
    image.propagate_features<kReach>(problem.features, settings.feature_rounding);
    if (is_window_5x5(image.laplacian.neighbourhood())) {
        return Solver<kReach, Window5x5>(image, problem, settings).run(result);
    }
    return Solver<kReach, AnyWindow>(image, problem, settings).run(result);
}

}  // namespace
}  // namespace gcn

EXPORT int32_t gcn_interface_version() { return 1; }

// 0: done; 1: out of memory; 2: the training left the finite numbers.
EXPORT int32_t gcn_solve(const GcnImage* problem, const GcnSettings* settings, GcnResult* result) {
    const gcn::FlushDenormals flush;
    try {
        const gcn::Neighbourhood affinity(problem->affinity);
        const bool is_finite = gcn::is_disc<4>(affinity) ? gcn::solve<4>(*problem, *settings, *result)
                                                         : gcn::solve<0>(*problem, *settings, *result);
        return is_finite ? 0 : 2;
    } catch (const std::bad_alloc&) {
        return 1;
    }
}
