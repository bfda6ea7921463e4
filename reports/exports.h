// One run's samples in the formats of other programs. Pure: values to bytes.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "reports/report.h"

namespace entrain::reports {

// One row a step: step, loss, reg, grad_norm, lr, tokens, tokens_per_second, wall_ms, then entropy_nats_L<layer>_H<head>, max_abs_score_L<layer>
// and theta_L<layer>_H<head> where there are any. Numbers that come back the same; "nan", "inf", "-inf".
std::string SamplesCsv(const RunData& run);
// One row an evaluation: step, loss, perplexity, tokens, wall_ms.
std::string EvaluationsCsv(const RunData& run);
// One row a run: id, label, variant, axes, state, reason, steps, result_step, parameters, last loss, last held-out loss and perplexity.
std::string RunsCsv(const SweepData& sweep);

// The same as arrays, little-endian, in the order of their names.
struct Array {
  enum class Type { kInt64, kFloat64, kFloat32 };
  Type type = Type::kFloat64;
  std::vector<std::int64_t> shape;
  std::string bytes;
};
// step [n], loss [n], ..., entropy_nats [n, layer, head], max_abs_score [n, layer], theta [n, layer, head]; eval_step [m], eval_loss [m].
std::map<std::string, Array> RunArrays(const RunData& run);
// A NumPy archive (.npz): a ZIP of .npy files, not packed.
std::string Npz(const std::map<std::string, Array>& arrays);

// A TensorBoard event file: TFRecords of Event messages. Scalars as in SamplesCsv, with layer means as shares of U = ln(T!)/T, and
// a histogram of all heads' shares at about 100 steps.
std::string TensorBoardEvents(const RunData& run);

// Training loss (median of 9 steps) and the entropy of the lowest layer over steps, one line a run, a cross where a rule stopped it; an SVG file.
std::string CurvesSvg(const SweepData& sweep);

}  // namespace entrain::reports
