// Every printed figure that a sweep is compared with, in one place. Source of all: N. K. Jha, B. Reagen, "Entropy-Guided Attention for
// Private LLMs", arXiv 2501.03489.
#include <cmath>
#include <limits>

#include "domain/model_config.h"
#include "reports/paper.h"

namespace entrain::reports {
namespace {

using enum PaperMetric;

constexpr double kDiverged = std::numeric_limits<double>::quiet_NaN();
constexpr char kProposal[] = "EReg(SM(t)+ScFuFFN)";

PaperFigure Printed(PaperMetric metric, double value) { return {metric, value, value}; }

PaperTable Architectures() {
  const auto row = [](std::string name, double perplexity) {
    return PaperTableRow{std::move(name), {Printed(kPerplexity, perplexity)}};
  };
  return {"architectures", "Evaluation perplexity by architecture", "evaluation perplexity, CodeParrot, L=12, T=128", 12, 128, "SM+LN+G",
          {row("SM+LN+G", 2.69), row("SM+LN+R", 2.76), row("SM+R", 2.94), row("SM+G", 3.20), row("SM+LN", 3.38), row("SM", kDiverged)}};
}

PaperTable Heads() {
  return {"heads", "Share of heads by quarter of entropy", "heads by quarter of the largest entropy, CodeParrot, L=12, T=128", 12, 128,
          "SM+LN+G",
          {{"SM+LN+G", {Printed(kMiddleHalfPercent, 90)}},
           {"SM+LN+R", {Printed(kMiddleHalfPercent, 90)}},
           {"SM+G", {Printed(kTopQuarterPercent, 58)}},
           {"SM+R", {Printed(kTopQuarterPercent, 23)}},
           {"SM", {Printed(kTopQuarterPercent, 45), Printed(kBottomQuarterPercent, 33)}}}};
}

// The paper prints nats: layers 0-4 at 3.5..3.87, layers 8-11 at 0.04..0.9.
PaperTable Layers() {
  const double bound_nats = domain::EntropyBoundNats(128);
  return {"layers", "Entropy by layer of the softmax-only model", "layerwise entropy before NaN, CodeParrot, L=12, T=128", 12, 128, "SM",
          {{"SM", {{kEarlyLayersShare, 3.5 / bound_nats, 3.87 / bound_nats}, {kDeepLayersShare, 0.04 / bound_nats, 0.9 / bound_nats}}}}};
}

PaperTable Normalised() {
  PaperTable table{"normalised", "Normalised linears and scaled FFN in the softmax-only model",
                   "perplexity by normalised linears, CodeParrot, L=12, T=128", 12, 128,
                   "SM+ScFFN", {{"SM", {Printed(kPerplexity, kDiverged)}}, {"SM+ScFFN", {Printed(kPerplexity, 3.478)}}}};
  struct Target {
    const char* name;
    double weight;
    double spectral;
  };
  for (const Target& target : {Target{"QK", 3.89, 4.25}, Target{"FFN", 3.64, 3.63}, Target{"QK+FFN", 3.88, 4.23},
                               Target{"QKV+FFN", 3.93, 4.26}, Target{"QKVO+FFN", 3.98, 4.34}}) {
    table.rows.push_back({std::string("SM+WN(") + target.name + ")", {Printed(kPerplexity, target.weight)}});
    table.rows.push_back({std::string("SM+SN(") + target.name + ")", {Printed(kPerplexity, target.spectral)}});
  }
  return table;
}

struct InferenceRow {
  const char* variant;
  double perplexity;
  double communication_gb;
  double latency_minutes;
};

PaperTable Inference(std::string name, std::string source, std::int64_t n_layer, std::int64_t context, const std::vector<InferenceRow>& rows) {
  PaperTable table{std::move(name), "Private inference: perplexity against communication and latency", std::move(source), n_layer, context, "SM+LN+G", {}};
  for (const InferenceRow& row : rows) {
    table.rows.push_back({row.variant, {Printed(kPerplexity, row.perplexity), Printed(kCommunicationGb, row.communication_gb),
                                        Printed(kLatencyMinutes, row.latency_minutes)}});
  }
  return table;
}

PaperTable Languini() {
  PaperTable table = Inference("pi-languini-t512", "private inference, Languini, L=12, T=512, at 1.2, 2.4, 4.8 B tokens", 12, 512,
                               {{"SM+LN+G", 21.29, 145.24, 30.74},
                                {"SM+LN+R", 21.58, 81.71, 23.54},
                                {"SM+ScFuFFN", 28.59, 69.68, 19.44},
                                {kProposal, 26.55, 69.68, 19.44}});
  const double at_quarter[] = {25.71, 26.06, 33.77, 31.54};
  const double at_half[] = {23.32, 23.55, 30.82, 28.70};
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    auto& figures = table.rows[i].figures;
    figures.insert(figures.begin(), {Printed(kQuarterPerplexity, at_quarter[i]), Printed(kHalfPerplexity, at_half[i])});
  }
  return table;
}

PaperTable Gamma() {
  PaperTable table{"gamma", "Tolerance of the regulariser against overload",
                   "share of heads in the top quarter by gamma, CodeParrot, L=12, T=128", 12, 128, "gamma 0", {}};
  struct Step {
    const char* gamma;
    double percent;
  };
  for (const Step& step : {Step{"0", 0.7}, Step{"0.05", 0.7}, Step{"0.1", 0.7}, Step{"0.15", 0.7}, Step{"0.2", 2.08}, Step{"0.25", 3.47},
                           Step{"0.3", 6.25}}) {
    table.rows.push_back({std::string("gamma ") + step.gamma, {Printed(kTopQuarterPercent, step.percent)}});
  }
  return table;
}

PaperTable Temperature() {
  return {"temperature", "Regulariser, thresholds and temperature", "two rows of the private-inference table, L=12, T=128",
          12, 128, "SM+ScFuFFN",
          {{"SM+ScFuFFN", {Printed(kPerplexity, 3.48)}}, {kProposal, {Printed(kPerplexity, 3.21)}}}};
}

std::vector<PaperTable> MakeTables() {
  const std::string source = "private inference, CodeParrot, ";
  return {Architectures(),
          Heads(),
          Layers(),
          Normalised(),
          Inference("pi-l12-t128", source + "L=12, T=128", 12, 128,
                    {{"SM+LN+G", 2.69, 25.32, 8.21},
                     {"SM+LN+R", 2.76, 9.44, 6.06},
                     {"SM+ScFuFFN", 3.48, 6.43, 4.76},
                     {kProposal, 3.21, 6.43, 4.76}}),
          Inference("pi-l12-t256", source + "L=12, T=256", 12, 256,
                    {{"SM+LN+G", 2.35, 58.51, 16.57},
                     {"SM+LN+R", 2.41, 26.73, 12.59},
                     {"SM+ScFuFFN", 3.03, 20.72, 10.45},
                     {kProposal, 2.92, 20.72, 10.45}}),
          Inference("pi-l18-t128", source + "L=18, T=128", 18, 128,
                    {{"SM+LN+G", 2.56, 37.17, 10.77},
                     {"SM+LN+R", 2.63, 13.34, 8.04},
                     {"SM+ScFuFFN", 3.24, 8.83, 6.07},
                     {kProposal, 3.13, 8.83, 6.07}}),
          Languini(),
          Gamma(),
          Temperature()};
}

}  // namespace

const std::vector<PaperTable>& PaperTables() {
  static const std::vector<PaperTable> tables = MakeTables();
  return tables;
}

const PaperTable* FindPaperTable(std::string_view name) {
  for (const PaperTable& table : PaperTables()) {
    if (table.name == name) return &table;
  }
  return nullptr;
}

std::string_view MetricName(PaperMetric metric) {
  switch (metric) {
    case kPerplexity: return "perplexity";
    case kQuarterPerplexity: return "perplexity at a quarter of the tokens";
    case kHalfPerplexity: return "perplexity at half of the tokens";
    case kTopQuarterPercent: return "heads in the top quarter, %";
    case kMiddleHalfPercent: return "heads in the middle half, %";
    case kBottomQuarterPercent: return "heads in the bottom quarter, %";
    case kEarlyLayersShare: return "entropy of the first 5/12 of the layers, share of U";
    case kDeepLayersShare: return "entropy of the last third of the layers, share of U";
    case kCommunicationGb: return "communication, GB (cost model)";
    case kLatencyMinutes: return "latency, min (cost model)";
  }
  return "";
}

}  // namespace entrain::reports
