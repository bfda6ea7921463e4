#include <charconv>
#include <cmath>

#include "base/strings.h"
#include "reports/exports.h"

namespace entrain::reports {
namespace {

// The shortest text that reads back as the same number.
template <typename Real>
std::string ExactText(Real value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char text[40];
  const auto end = std::to_chars(text, text + sizeof text, value);
  return std::string(text, end.ptr);
}

std::string CsvText(std::string_view text) {
  if (text.find_first_of(",\"\n\r") == std::string_view::npos) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

void AddHeadColumns(const RunData& run, std::string_view name, std::string* header) {
  for (std::int64_t layer = 0; layer < run.n_layer; ++layer) {
    for (std::int64_t head = 0; head < run.n_head; ++head) StrAppend(header, ",", name, "_L", layer, "_H", head);
  }
}

bool HasTheta(const RunData& run) { return !run.samples.empty() && !run.samples.front().theta.empty(); }

std::string CsvHeader(const RunData& run) {
  std::string header = "step,loss,reg,grad_norm,lr,tokens,tokens_per_second,wall_ms";
  AddHeadColumns(run, "entropy_nats", &header);
  for (std::int64_t layer = 0; layer < run.n_layer; ++layer) StrAppend(&header, ",max_abs_score_L", layer);
  if (HasTheta(run)) AddHeadColumns(run, "theta", &header);
  return header + "\n";
}

void AddRow(const std::vector<float>& values, std::size_t size, std::string* csv) {
  for (std::size_t i = 0; i < size; ++i) StrAppend(csv, ",", i < values.size() ? ExactText(values[i]) : std::string());
}

}  // namespace

std::string SamplesCsv(const RunData& run) {
  const auto heads = static_cast<std::size_t>(run.n_layer * run.n_head);
  std::string csv = CsvHeader(run);
  for (const domain::EntropySample& sample : run.samples) {
    StrAppend(&csv, sample.step, ",", ExactText(sample.loss), ",", ExactText(sample.reg), ",", ExactText(sample.grad_norm), ",",
              ExactText(sample.lr), ",", sample.tokens, ",", ExactText(sample.tokens_per_second), ",", sample.wall_ms);
    AddRow(sample.entropy_nats, heads, &csv);
    AddRow(sample.max_abs_score, static_cast<std::size_t>(run.n_layer), &csv);
    if (HasTheta(run)) AddRow(sample.theta, heads, &csv);
    csv += "\n";
  }
  return csv;
}

std::string EvaluationsCsv(const RunData& run) {
  std::string csv = "step,loss,perplexity,tokens,wall_ms\n";
  for (const domain::Evaluation& evaluation : run.evaluations) {
    StrAppend(&csv, evaluation.step, ",", ExactText(evaluation.loss), ",", ExactText(std::exp(evaluation.loss)), ",", evaluation.tokens, ",",
              evaluation.wall_ms, "\n");
  }
  return csv;
}

std::string RunsCsv(const SweepData& sweep) {
  std::string csv = "id,label,variant,axes,state,reason,rule,steps,result_step,parameters,loss,eval_loss,eval_perplexity\n";
  for (const RunData& run : sweep.runs) {
    std::string axes;
    for (const auto& [axis, value] : run.axes) StrAppend(&axes, axes.empty() ? "" : " ", axis, "=", value);
    StrAppend(&csv, CsvText(run.id), ",", CsvText(run.label), ",", CsvText(run.variant), ",", CsvText(axes), ",", ToString(run.state), ",",
              CsvText(run.reason), ",", CsvText(run.verdict.rule), ",", run.steps, ",", run.result_step, ",", run.parameters, ",");
    if (!run.samples.empty()) csv += ExactText(run.samples.back().loss);
    if (run.evaluations.empty()) csv += ",,\n";
    else StrAppend(&csv, ",", ExactText(run.evaluations.back().loss), ",", ExactText(std::exp(run.evaluations.back().loss)), "\n");
  }
  return csv;
}

}  // namespace entrain::reports
