// What Python hands over. The structures are mirrored field by field in native_solver.py.
#pragma once

#include <cstdint>

extern "C" {

// A symmetric matrix on the grid by its planes: plane k at (y, x) is the entry of (y, x) and (y + dy[k], x + dx[k]).
struct GcnStencil {
    int32_t num_planes;
    const int32_t* offsets;   // [num_planes][2]: dy, dx of a half plane, ascending
    const float* planes;      // [num_planes][height][width], 0 off the grid
    const float* diagonal;    // [height][width]
};

// One image. Nodes are cells, row by row.
struct GcnImage {
    int32_t height, width, num_features, num_classes, num_hidden;
    const float* features;            // [num_features][height][width]
    GcnStencil affinity;              // A = diag(row_scale) * affinity * diag(column_scale)
    const float* row_scale;           // [height][width]
    const float* column_scale;        // [height][width]
    GcnStencil laplacian;             // D - Phi
    const uint8_t* labels;            // [height][width], 255 where unknown
    const float* cross_entropy;       // [height][width] weights
    const float* entropy;             // [height][width] weights
    const float* initial;             // weight1 [D][U], bias1 [U], weight2 [U][C], bias2 [C], one after the other
    const uint32_t* keys;             // [num_steps][2]
};

struct GcnSettings {
    int32_t num_steps;
    int32_t smooths_log;              // the Laplacian acts on log-probabilities (else on probabilities)
    int32_t has_bias;
    int32_t feature_rounding;         // of A X: 0 none, 1 float16, 2 bfloat16
    uint32_t keep_threshold;
    float keep_scale;
    float learning_rate, weight_decay;
    float kappa;                      // 2 * laplacian_weight / num_nodes
    double tolerance;                 // negative: never stop early
};

struct GcnResult {
    float* probabilities;             // [height][width][num_classes]
    double* losses;                   // [num_steps], or null where the loss is not wanted
    float* first_gradients;           // as `initial`, or null
    float* final;                     // as `initial`, or null
    int32_t num_steps;                // steps that were taken
};

}  // extern "C"
