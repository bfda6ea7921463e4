#include "reports/report_data.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "domain/model_config.h"
#include "reports/base64.h"
#include "reports/run_result.h"
#include "reports/thin.h"

namespace entrain::reports {
namespace {

using nlohmann::json;

// Points that a run's figures get.
struct Detail {
  std::size_t curve_points = 0;
  std::size_t layer_points = 0;
  std::size_t frames = 0;
};

// A chart draws every run's curve, so many runs get fewer points each. Bytes: a curve's point is about 14, an
// entropy 2.7 in base64; a layer's point holds three entropies.
Detail DetailFor(const RunData& run, std::size_t runs, std::size_t run_bytes) {
  const auto points = [](double bytes, double bytes_each, double least, double most) {
    return static_cast<std::size_t>(std::clamp(bytes / bytes_each, least, most));
  };
  const auto budget = static_cast<double>(run_bytes);
  const auto layers = static_cast<double>(std::max<std::int64_t>(run.n_layer, 1));
  const auto heads = layers * static_cast<double>(std::max<std::int64_t>(run.n_head, 1));
  return {
      .curve_points = points(budget * 0.10, 14.0, 40, std::clamp(24'000.0 / static_cast<double>(runs), 160.0, 500.0)),
      .layer_points = points(budget * 0.25, layers * 8.0, 12, 240),
      .frames = points(budget * 0.45, heads * 2.7, 4, 120)};
}

// Five significant digits: what a figure can show.
json Number(double value) {
  if (!std::isfinite(value)) return nullptr;
  if (value == 0) return 0;
  const double scale = std::pow(10.0, 4 - std::floor(std::log10(std::abs(value))));
  return std::isfinite(scale) && scale > 0 ? std::round(value * scale) / scale : value;
}

json BandsJson(const Bands& bands) { return json(bands.quarter); }

// A curve of one value a sample; samples without the value (`get` gives nothing) are left out.
using GetValue = std::optional<double> (*)(const domain::EntropySample&);
json CurveJson(const std::vector<domain::EntropySample>& samples, GetValue get, std::size_t max_points) {
  std::vector<double> values;
  std::vector<std::int64_t> at;
  for (const auto& sample : samples) {
    if (const auto value = get(sample)) {
      values.push_back(*value);
      at.push_back(sample.step);
    }
  }
  json steps = json::array();
  json shown = json::array();
  for (std::size_t i : ThinIndices(values, max_points)) {
    steps.push_back(at[i]);
    shown.push_back(Number(values[i]));
  }
  return {{"s", steps}, {"v", shown}};
}

std::optional<double> LossOf(const domain::EntropySample& sample) { return sample.loss; }
std::optional<double> GradientNormOf(const domain::EntropySample& sample) { return sample.grad_norm; }
std::optional<double> LargestScoreOf(const domain::EntropySample& sample) {
  if (sample.max_abs_score.empty()) return std::nullopt;
  double largest = 0;
  for (float score : sample.max_abs_score) {
    if (std::isnan(score)) return score;
    largest = std::max(largest, static_cast<double>(score));
  }
  return largest;
}

json EvaluationsJson(const RunData& run, std::size_t max_points) {
  std::vector<double> values;
  for (const auto& evaluation : run.evaluations) values.push_back(evaluation.loss);
  json steps = json::array();
  json perplexities = json::array();
  for (std::size_t i : ThinIndices(values, max_points)) {
    steps.push_back(run.evaluations[i].step);
    perplexities.push_back(Number(std::exp(values[i])));
  }
  return {{"s", steps}, {"v", perplexities}};
}

bool HasHeads(const RunData& run, const domain::EntropySample& sample) {
  return run.n_layer > 0 && run.n_head > 0 &&
         sample.entropy_nats.size() == static_cast<std::size_t>(run.n_layer * run.n_head);
}

std::vector<const domain::EntropySample*> SamplesWithHeads(const RunData& run) {
  std::vector<const domain::EntropySample*> samples;
  for (const auto& sample : run.samples) {
    if (HasHeads(run, sample)) samples.push_back(&sample);
  }
  return samples;
}

struct LayerStretch {
  double low = INFINITY;
  double high = -INFINITY;
  double sum = 0;
  std::int64_t n = 0;
  bool nan = false;

  void Add(float value) {
    nan |= std::isnan(value);
    low = std::min(low, static_cast<double>(value));
    high = std::max(high, static_cast<double>(value));
    sum += value;
    ++n;
  }
};

void AppendStretch(const LayerStretch& stretch, double bound, std::vector<std::uint16_t>* values) {
  const double nan = std::nan("");
  values->push_back(QuantiseShare(stretch.nan ? nan : stretch.low, bound));
  values->push_back(QuantiseShare(stretch.nan ? nan : stretch.sum / static_cast<double>(stretch.n), bound));
  values->push_back(QuantiseShare(stretch.nan ? nan : stretch.high, bound));
}

// For each stretch of steps and each layer: smallest head, mean, largest head over the stretch.
json LayersJson(const RunData& run, std::size_t max_points) {
  const auto samples = SamplesWithHeads(run);
  const double bound = domain::EntropyBoundNats(run.context);
  const std::size_t stretches = std::min(samples.size(), max_points);
  const auto n_head = static_cast<std::size_t>(run.n_head);
  json steps = json::array();
  std::vector<std::uint16_t> values;
  for (std::size_t s = 0; s < stretches; ++s) {
    const std::size_t begin = s * samples.size() / stretches;
    const std::size_t end = (s + 1) * samples.size() / stretches;
    steps.push_back(samples[end - 1]->step);
    for (std::size_t layer = 0; layer < static_cast<std::size_t>(run.n_layer); ++layer) {
      LayerStretch stretch;
      for (std::size_t i = begin; i < end; ++i) {
        for (std::size_t head = 0; head < n_head; ++head) stretch.Add(samples[i]->entropy_nats[layer * n_head + head]);
      }
      AppendStretch(stretch, bound, &values);
    }
  }
  return {{"s", steps}, {"d", Base64(values)}};
}

// Every head at evenly spread steps.
json FramesJson(const RunData& run, std::size_t max_frames) {
  const auto samples = SamplesWithHeads(run);
  const double bound = domain::EntropyBoundNats(run.context);
  json steps = json::array();
  std::vector<std::uint16_t> values;
  for (std::size_t i : EvenIndices(samples.size(), max_frames)) {
    steps.push_back(samples[i]->step);
    for (float value : samples[i]->entropy_nats) values.push_back(QuantiseShare(value, bound));
  }
  return {{"s", steps}, {"d", Base64(values)}};
}

std::vector<double> LayerMeans(const RunData& run, const std::vector<float>& heads) {
  std::vector<double> means;
  const auto n_head = static_cast<std::size_t>(run.n_head);
  for (std::size_t layer = 0; layer < static_cast<std::size_t>(run.n_layer); ++layer) {
    double sum = 0;
    for (std::size_t head = 0; head < n_head; ++head) sum += heads[layer * n_head + head];
    means.push_back(sum / static_cast<double>(n_head));
  }
  return means;
}

// Layer means of theta over the steps, and every head's at the last.
json ThetaJson(const RunData& run, std::size_t max_points) {
  std::vector<const domain::EntropySample*> samples;
  for (const auto& sample : run.samples) {
    if (HasHeads(run, sample) && sample.theta.size() == sample.entropy_nats.size()) samples.push_back(&sample);
  }
  if (samples.empty()) return nullptr;
  json steps = json::array();
  json layers = json::array();
  for (std::size_t i : EvenIndices(samples.size(), max_points)) {
    steps.push_back(samples[i]->step);
    json means = json::array();
    for (double mean : LayerMeans(run, samples[i]->theta)) means.push_back(Number(mean));
    layers.push_back(means);
  }
  json last = json::array();
  for (float value : samples.back()->theta) last.push_back(Number(value));
  return {{"s", steps}, {"v", layers}, {"last", last}};
}

json VerdictJson(const domain::Verdict& verdict) {
  if (verdict.reason == domain::HaltReason::kNone) return nullptr;
  json values = json::array();
  for (double value : verdict.values) values.push_back(Number(value));
  return {{"reason", domain::ToString(verdict.reason)},
          {"rule", verdict.rule},
          {"step", verdict.step},
          {"heads", verdict.heads},
          {"steps", verdict.steps},
          {"values", values},
          {"limit", Number(verdict.limit)},
          {"text", verdict.explanation}};
}

json RungsJson(const RunData& run) {
  json rungs = json::array();
  for (const RungData& rung : run.rungs) {
    rungs.push_back({{"step", rung.step}, {"value", Number(rung.value)}, {"metric", rung.metric}, {"outcome", rung.outcome}, {"reason", rung.reason}});
  }
  return rungs;
}

json NoticesJson(const RunData& run) {
  json notices = json::array();
  for (const domain::Verdict& verdict : run.notices) notices.push_back(VerdictJson(verdict));
  return notices;
}

json ResultJson(const RunData& run) {
  const RunResult result = ResultOf(run);
  json bands = nullptr;
  if (result.sample != nullptr) {
    const auto& heads = result.sample->entropy_nats;
    bands = {{"log", BandsJson(CountBands(heads, run.context, BandBasis::kLogContext))},
             {"max", BandsJson(CountBands(heads, run.context, BandBasis::kObservedMaximum))}};
  }
  return {{"step", result.step},
          {"completed", result.completed},
          {"perplexity", Number(result.perplexity)},
          {"loss", Number(result.loss)},
          {"rate", Number(result.tokens_per_second)},
          {"bands", bands}};
}

json RunJson(const RunData& run, std::size_t runs, std::size_t run_bytes) {
  const Detail detail = DetailFor(run, runs, run_bytes);
  return {{"id", run.id},
          {"label", run.label},
          {"variant", run.variant},
          {"axes", run.axes},
          {"state", StateText(run)},
          {"outcome", OutcomeText(run)},
          {"stopped", WasStopped(run)},
          {"reason", ReasonText(run)},
          {"steps", run.steps},
          {"layers", run.n_layer},
          {"heads", run.n_head},
          {"context", run.context},
          {"bound", Number(domain::EntropyBoundNats(run.context))},
          {"parameters", run.parameters},
          {"ranks", run.world_size},
          {"attempts", run.attempts},
          {"thinned_every", run.samples_thinned_every},
          {"config", run.config_json},
          {"config_hash", run.config_hash},
          {"rungs", RungsJson(run)},
          {"notices", NoticesJson(run)},
          {"result", ResultJson(run)},
          {"verdict", VerdictJson(run.verdict)},
          {"rescue_of", run.rescue_of},
          {"rescued_by", run.rescued_by},
          {"fork_step", run.fork_step},
          {"loss", CurveJson(run.samples, LossOf, detail.curve_points)},
          {"grad", CurveJson(run.samples, GradientNormOf, detail.curve_points / 2)},
          {"score", CurveJson(run.samples, LargestScoreOf, detail.curve_points / 2)},
          {"eval", EvaluationsJson(run, 200)},
          {"entropy", LayersJson(run, detail.layer_points)},
          {"frames", FramesJson(run, detail.frames)},
          {"theta", ThetaJson(run, 60)}};
}

}  // namespace

json RowJson(const LeaderboardRow& row) {
  const auto number = [](double value) { return std::isfinite(value) ? json(value) : json(nullptr); };
  return {{"variant", row.variant},
          {"axes", row.axes},
          {"n", row.n},
          {"runs", row.runs},
          {"completed", row.completed},
          {"perplexity_mean", number(row.perplexity_mean)},
          {"perplexity_spread", number(row.perplexity_spread)},
          {"loss_mean", number(row.loss_mean)},
          {"tokens_per_second_mean", number(row.tokens_per_second_mean)},
          {"result_step_min", row.result_step_min},
          {"result_step_max", row.result_step_max},
          {"communication_gb", number(row.communication_gb)},
          {"latency_minutes", number(row.latency_minutes)},
          {"heads_by_quarter_log_context", BandsJson(row.bands_log_context)},
          {"heads_by_quarter_observed", BandsJson(row.bands_observed)},
          {"states", row.states},
          {"note", row.note}};
}

std::string DumpJson(const json& value, int indent) {
  return value.dump(indent, ' ', false, json::error_handler_t::replace);
}

json ReportJson(const SweepData& sweep, const PaperComparison* paper, std::size_t max_bytes) {
  const std::size_t run_bytes = max_bytes / std::max<std::size_t>(sweep.runs.size(), 1);
  json runs = json::array();
  for (const RunData& run : sweep.runs) runs.push_back(RunJson(run, sweep.runs.size(), run_bytes));
  json rows = json::array();
  for (const LeaderboardRow& row : MakeLeaderboard(sweep)) rows.push_back(RowJson(row));
  return {{"id", sweep.id},
          {"name", sweep.name},
          {"owner", sweep.owner},
          {"created_ms", sweep.created_wall_ms},
          {"build", sweep.build},
          {"hardware", sweep.hardware},
          {"worker_versions", sweep.worker_versions},
          {"dataset", sweep.dataset},
          {"yaml", sweep.yaml},
          {"summary", SummaryLines(sweep)},
          {"paper", paper == nullptr ? json(nullptr) : PaperComparisonJson(*paper)},
          {"rows", rows},
          {"runs", runs}};
}

}  // namespace entrain::reports
