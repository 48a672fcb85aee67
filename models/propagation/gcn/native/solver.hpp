// Trains the GCN of one image: a wavefront of row stages, so that rows are used again while they are in the cache.
//
// A step goes down the image once. When the hidden units of row t are made, row t - R has all neighbours to spread
// (R is the reach of A), row t - R - S all log-probabilities for its loss (S is the reach of the Laplacian), and row
// t - 2R - S all gradients for its hidden units. Only the propagated features A X are larger than the L2 cache.
#pragma once

#include <algorithm>

#include "backward.hpp"
#include "loss.hpp"

namespace gcn {

constexpr int kConvergenceWindow = 10;

// kReach: compile-time reach of A where its neighbourhood is the disc, else 0.
template <int kReach, typename Window>
class Solver {
  public:
    Solver(const Image& image, const GcnImage& problem, const GcnSettings& settings)
        : image_(image),
          settings_(settings),
          keys_(problem.keys),
          reach_(image.affinity.neighbourhood().reach_y),
          laplacian_reach_(image.laplacian.neighbourhood().reach_y),
          parameters_(image.shape, problem.initial),
          rows_(image, laplacian_reach_, image.laplacian.neighbourhood().reach_x),
          second_layer_(image.shape.num_classes),
          gradients_(image.shape.total()),
          row_scratch_(static_cast<size_t>(image.padded_width) * kLanes),
          block_scratch_(static_cast<size_t>(image.shape.num_classes) * kLanes) {}

    // False where the training left the finite numbers; comparisons would hide a NaN from the probabilities.
    bool run(GcnResult& result) {
        const bool wants_loss = result.losses != nullptr;
        int step = 0;
        while (step < settings_.num_steps && !has_converged(result.losses, step)) {
            const double loss = loss_and_gradients(step, wants_loss);
            if (wants_loss) result.losses[step] = loss;
            if (step == 0 && result.first_gradients) export_flat(gradients_.data(), result.first_gradients);
            parameters_.update(gradients_.data(), settings_);
            ++step;
        }
        result.num_steps = step;
        if (result.final) export_flat(parameters_.values(), result.final);
        read_out(result.probabilities);
        return parameters_.are_finite();
    }

  private:
    double loss_and_gradients(int step, bool wants_loss) {
        const KeepMask mask(keys_ + 2 * step, settings_.keep_threshold, settings_.keep_scale, image_.shape.num_hidden);
        const LossTerms terms{settings_.kappa, settings_.smooths_log != 0, wants_loss};
        gradients_.fill_zero();
        second_layer_.clear();
        double loss = 0.0;
        const int height = image_.height, lag = reach_ + laplacian_reach_;
        for (int t = 0; t < height + lag + reach_; ++t) {
            if (t < height) hidden_row(image_, parameters_, mask, t, rows_.hidden.row(t));
            if (is_row(t - reach_)) output_row<kReach>(image_, parameters_, rows_, t - reach_, row_scratch_.data());
            if (is_row(t - lag)) {
                float* scratch = block_scratch_.data();
                loss += loss_row<Window>(image_, parameters_, terms, rows_, t - lag, second_layer_, scratch);
            }
            if (is_row(t - lag - reach_)) backward_row(t - lag - reach_);
        }
        collect_second_layer();
        return loss;
    }

    bool is_row(int y) const { return y >= 0 && y < image_.height; }

    void backward_row(int y) {
        float* bias1 = gradients_.data() + image_.shape.bias1();
        hidden_gradient_row<kReach>(image_, rows_, y, settings_.keep_scale, row_scratch_.data(), bias1);
        weight1_gradient_row(image_, rows_.hidden.row(y), y, row_scratch_.data(), gradients_.data());
    }

    void collect_second_layer() {
        float* weight2 = gradients_.data() + image_.shape.weight2();
        float* bias2 = gradients_.data() + image_.shape.bias2();
        for (int i = 0; i < image_.shape.num_classes * kLanes; ++i) weight2[i] = second_layer_.weight2[i];
        for (int c = 0; c < image_.shape.num_classes; ++c) {
            for (int j = 0; j < kLanes; ++j) bias2[c] += second_layer_.bias2[c * kLanes + j];
        }
    }

    void read_out(float* probabilities) {
        const int num_classes = image_.shape.num_classes;
        for (int t = 0; t < image_.height + reach_; ++t) {
            if (t < image_.height) hidden_row_without_dropout(image_, parameters_, t, rows_.hidden.row(t));
            const int y = t - reach_;
            if (!is_row(y)) continue;
            output_row<kReach>(image_, parameters_, rows_, y, row_scratch_.data());
            const float* prob = rows_.prob.row(y);
            float* target = probabilities + static_cast<size_t>(y) * image_.width * num_classes;
            for (int x = 0; x < image_.width; ++x) {
                for (int c = 0; c < num_classes; ++c) target[x * num_classes + c] = prob[c * rows_.class_pitch + x];
            }
        }
    }

    bool has_converged(const double* losses, int count) const {
        if (settings_.tolerance < 0 || count < 2 * kConvergenceWindow) return false;
        double last = 0.0, before = 0.0;
        for (int i = 1; i <= kConvergenceWindow; ++i) {
            last += losses[count - i];
            before += losses[count - i - kConvergenceWindow];
        }
        return std::fabs(last - before) <= settings_.tolerance * std::fabs(before);
    }

    void export_flat(const float* values, float* target) const {
        image_.shape.for_each([&](size_t here, size_t outer) { target[outer] = values[here]; });
        if (settings_.has_bias) return;
        const size_t U = image_.shape.num_hidden, C = image_.shape.num_classes;
        float* bias1 = target + image_.shape.num_features * U;
        float* bias2 = bias1 + U + U * C;
        std::fill(bias1, bias1 + U, 0.0f);
        std::fill(bias2, bias2 + C, 0.0f);
    }

    const Image& image_;
    const GcnSettings& settings_;
    const uint32_t* keys_;
    int reach_, laplacian_reach_;
    Parameters parameters_;
    Rows rows_;
    SecondLayerGradients second_layer_;
    Array<float> gradients_, row_scratch_, block_scratch_;
};

}  // namespace gcn
