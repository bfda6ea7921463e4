#include <array>

#include "base/check.h"
#include "base/strings.h"
#include "reports/cost_model.h"
#include "reports/number_text.h"

namespace entrain::reports {
namespace {

// arXiv 2501.03489, GPT-2 width and heads.
constexpr std::array<PaperRow, 12> kRows = {{
    {"SM+LN+G", 12, 128, 50257, 25.32, 8.21, true},     {"SM+LN+R", 12, 128, 50257, 9.44, 6.06, true},
    {"SM+ScFuFFN", 12, 128, 50257, 6.43, 4.76, true},   {"SM+LN+G", 12, 256, 50257, 58.51, 16.57, true},
    {"SM+LN+R", 12, 256, 50257, 26.73, 12.59, true},    {"SM+ScFuFFN", 12, 256, 50257, 20.72, 10.45, true},
    {"SM+LN+G", 18, 128, 50257, 37.17, 10.77, false},   {"SM+LN+R", 18, 128, 50257, 13.34, 8.04, true},
    {"SM+ScFuFFN", 18, 128, 50257, 8.83, 6.07, false},  {"SM+LN+G", 12, 512, 16384, 145.24, 30.74, false},
    {"SM+LN+R", 12, 512, 16384, 81.71, 23.54, false},   {"SM+ScFuFFN", 12, 512, 16384, 69.68, 19.44, false},
}};

std::string ErrorText(double modelled, double measured) {
  const double percent = 100.0 * (modelled / measured - 1.0);
  return StrCat(percent < 0 ? "" : "+", FixedText(percent, 1), " %");
}

}  // namespace

std::span<const PaperRow> PaperRows() { return kRows; }

domain::ModelConfig PaperModel(const PaperRow& row) {
  domain::ModelConfig model;
  model.vocab_size = row.vocab_size;
  model.n_positions = row.context;
  model.n_layer = row.n_layer;
  model.n_head = 12;
  model.n_embd = 768;
  if (row.variant == "SM+LN+R") model.layer.activation = domain::Activation::kRelu;
  if (row.variant == "SM+ScFuFFN") {
    model.layer.norm = domain::Norm::kNone;
    model.layer.activation = domain::Activation::kIdentity;
    model.layer.ffn = domain::Ffn::kFused;
    model.layer.ffn_scale = true;
  }
  return model;
}

std::string ResidualsMarkdown() {
  std::string text =
      "| L, T, V | variant | used | GB, paper | GB, model | error | min, paper | min, model | error |\n"
      "|---|---|---|---|---|---|---|---|---|\n";
  for (const PaperRow& row : kRows) {
    const InferenceCost cost = PrivateInferenceCost(PaperModel(row), row.context);
    StrAppend(&text, "| ", row.n_layer, ", ", row.context, ", ", row.vocab_size, " | ", row.variant, " | ",
              row.calibration ? "fit" : "prediction", " | ", FixedText(row.communication_gb, 2), " | ",
              FixedText(cost.communication_gb, 2), " | ", ErrorText(cost.communication_gb, row.communication_gb), " | ",
              FixedText(row.latency_minutes, 2), " | ", FixedText(cost.latency_minutes, 2), " | ",
              ErrorText(cost.latency_minutes, row.latency_minutes), " |\n");
  }
  return text;
}

}  // namespace entrain::reports
