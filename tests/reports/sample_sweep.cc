#include "tests/reports/sample_sweep.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "base/strings.h"

namespace entrain::reports {
namespace {

struct VariantShape {
  const char* name;
  double final_loss;
  double mean_share;    // of U, where its layers end
  double spread_share;  // over layers
  bool collapses;
  bool regularised;
};
constexpr VariantShape kVariants[] = {
    {"SM+LN+G", 1.95, 0.55, 0.10, false, false},       {"SM+LN+R", 1.96, 0.53, 0.10, false, false},
    {"SM+LN", 2.31, 0.60, 0.14, false, false},         {"SM+G", 2.53, 0.78, 0.20, false, false},
    {"SM+R", 2.59, 0.70, 0.20, false, false},          {"SM", 3.10, 0.45, 0.40, true, false},
    {"SM+ScFuFFN", 2.79, 0.62, 0.26, false, false},    {"SM(t)+ScFuFFN+EReg", 2.10, 0.50, 0.08, false, true}};

double HeadShare(const VariantShape& variant, double progress, double depth, double jitter) {
  const double start = 0.97;
  double end = variant.mean_share + variant.spread_share * (0.5 - depth);
  if (variant.collapses) end = depth > 0.45 ? 0.002 : 0.9;
  const double speed = variant.collapses ? 14.0 : 6.0;
  return std::clamp(end + (start - end) * std::exp(-speed * progress) + jitter, 0.0, 1.0);
}

domain::EntropySample MakeSample(const VariantShape& variant, const SampleShape& shape, double bound, std::int64_t step, Rng& rng) {
  const double progress = static_cast<double>(step) / static_cast<double>(shape.steps);
  domain::EntropySample sample;
  sample.step = step;
  sample.loss = variant.final_loss + (5.55 - variant.final_loss) * std::exp(-9.0 * progress) + 0.06 * rng.Normal();
  sample.grad_norm = std::exp(0.3 * rng.Normal()) * (variant.collapses ? 40.0 * (progress + 0.05) : 1.2);
  sample.lr = 3e-3 * (1.0 - progress);
  sample.tokens = step * 512;
  sample.tokens_per_second = 9'000 + 300 * rng.Normal();
  for (std::int64_t layer = 0; layer < shape.n_layer; ++layer) {
    const double depth = shape.n_layer > 1 ? static_cast<double>(layer) / static_cast<double>(shape.n_layer - 1) : 0.0;
    for (std::int64_t head = 0; head < shape.n_head; ++head) {
      const double jitter = variant.collapses && depth > 0.45 ? 0.0 : 0.03 * rng.Normal() + 0.02 * static_cast<double>(head % 4);
      sample.entropy_nats.push_back(static_cast<float>(bound * HeadShare(variant, progress, depth, jitter)));
      if (variant.regularised) sample.theta.push_back(static_cast<float>(0.5 - 0.2 * progress * depth));
    }
    sample.max_abs_score.push_back(static_cast<float>(variant.collapses ? std::pow(10.0, 6 * progress) : 4.0));
  }
  return sample;
}

void AddVerdict(RunData* run) {
  const double limit = 0.05 * domain::EntropyBoundNats(run->context);
  run->state = domain::RunState::kHalted;
  run->verdict.attempt = 1;
  run->verdict.step = run->result_step;
  run->verdict.reason = domain::HaltReason::kCollapse;
  run->verdict.rule = "collapse.whole_layer";
  for (std::int64_t head = 0; head < run->n_head; ++head) {
    run->verdict.heads.push_back(static_cast<std::int32_t>((run->n_layer - 1) * run->n_head + head));
  }
  run->verdict.steps = {run->result_step - 50, run->result_step};
  run->verdict.values = {0.031, 0.006};
  run->verdict.limit = limit;
  run->verdict.explanation =
      StrCat("every head of layer ", run->n_layer - 1, " was below ", limit, " nats (0.05 U) at steps ", run->result_step - 50,
             " and ", run->result_step);
  run->reason = run->verdict.explanation;
}

domain::ModelConfig ModelOf(const VariantShape& variant, const SampleShape& shape) {
  const std::string name = variant.name;
  domain::ModelConfig model;
  model.n_layer = shape.n_layer;
  model.n_head = shape.n_head;
  model.n_embd = 16 * shape.n_head;
  model.n_positions = 64;
  if (name.find("LN") == std::string::npos) model.layer.norm = domain::Norm::kNone;
  if (!name.ends_with("+G")) model.layer.activation = domain::Activation::kIdentity;
  if (name.ends_with("+R")) model.layer.activation = domain::Activation::kRelu;
  if (name.find("ScFuFFN") != std::string::npos) model.layer.ffn = domain::Ffn::kFused;
  return model;
}

RunData MakeRun(const VariantShape& variant, const SampleShape& shape, std::int64_t seed) {
  RunData run;
  run.variant = variant.name;
  run.label = StrCat(variant.name, " seed=", seed);
  run.id = StrCat("run", static_cast<std::int64_t>(&variant - kVariants), "s", seed);
  run.axes = {{"seed", std::to_string(seed)}};
  run.state = domain::RunState::kSucceeded;
  run.steps = shape.steps;
  run.n_layer = shape.n_layer;
  run.n_head = shape.n_head;
  run.context = 64;
  run.parameters = 330'000;
  run.world_size = 2;
  run.attempts = 1;
  run.config_json = StrCat("{\"model\":{\"n_layer\":", shape.n_layer, "},\"train\":{\"seed\":", seed, "},\"version\":1}");
  run.model = ModelOf(variant, shape);
  Rng rng(static_cast<std::uint64_t>(seed), static_cast<std::uint64_t>(&variant - kVariants));
  const double bound = domain::EntropyBoundNats(run.context);
  const std::int64_t last = variant.collapses ? shape.steps * 3 / 5 : shape.steps;
  for (std::int64_t step = 1; step <= last; ++step) run.samples.push_back(MakeSample(variant, shape, bound, step, rng));
  const std::int64_t interval = std::max<std::int64_t>(shape.steps / 8, 1);
  for (std::int64_t step = interval; step <= last; step += interval) {
    const double loss = run.samples[static_cast<std::size_t>(step - 1)].loss + 0.05;
    run.evaluations.push_back({.step = step, .loss = loss, .tokens = step * 512});
  }
  run.result_step = last;
  if (variant.collapses) AddVerdict(&run);
  return run;
}

}  // namespace

SweepData MakeSampleHead() {
  SweepData sweep;
  sweep.id = "k3v9m2";
  sweep.name = "quickstart";
  sweep.owner = "ada";
  sweep.yaml = "name: quickstart\nmodel: {n_layer: 6, n_head: 4, n_embd: 64}\n";
  sweep.created_wall_ms = 1'760'000'000'000;
  sweep.build = "entrain 0.1.0 (build 2e4ed80)";
  sweep.hardware = "1 machine, 2 CPU slots: Xeon";
  sweep.worker_versions = "2e4ed80";
  sweep.dataset = "python-stdlib@5f2c9d0e";
  return sweep;
}

std::size_t SampleVariants() { return std::size(kVariants); }

RunData MakeSampleRun(const SampleShape& shape, std::size_t variant, std::int64_t seed) { return MakeRun(kVariants[variant], shape, seed); }

SweepData MakeSampleSweep(const SampleShape& shape) {
  SweepData sweep = MakeSampleHead();
  for (std::int64_t seed = 1; seed <= shape.seeds; ++seed) {
    for (const VariantShape& variant : kVariants) sweep.runs.push_back(MakeRun(variant, shape, seed));
  }
  return sweep;
}

SweepData MakeFullSampleSweep() {
  SweepData sweep = MakeSampleSweep();
  // Run 5 is SM of seed 1, which collapsed; its rescue goes on with the regulariser.
  RunData rescue = MakeSampleRun({}, 7, 9);
  rescue.id = "rescue1";
  rescue.label = "SM seed=1 rescue";
  rescue.variant = "SM rescue";
  rescue.rescue_of = sweep.runs[5].id;
  rescue.fork_step = 30;
  std::erase_if(rescue.samples, [](const auto& sample) { return sample.step <= 30; });
  sweep.runs[5].rescued_by = rescue.id;
  sweep.runs.push_back(std::move(rescue));
  for (std::size_t i = 0; i < 4; ++i) {
    RunData& run = sweep.runs[i];
    const double loss = run.evaluations.front().loss;
    run.rungs = {{25, loss + 1, "eval_loss", "promoted", ""}, {50, loss, "eval_loss", i < 2 ? "promoted" : "pruned", "2 of 4 go on"}};
    if (i < 2) continue;
    run.state = domain::RunState::kPruned;
    run.result_step = 50;
    run.reason = "at step 50 it was behind 2 of 4";
  }
  domain::Verdict notice;
  notice.step = 80;
  notice.reason = domain::HaltReason::kOverload;
  notice.rule = "overload.share";
  notice.explanation = "60 % of the heads were in the top quarter at steps 60 and 80";
  sweep.runs[4].notices = {notice};
  for (RunData& run : sweep.runs) {
    run.config_hash = StrCat("c", run.id);
    run.axes["lr"] = run.axes["seed"] == "2" && run.variant == "SM+G" ? "0.01" : "0.003";
  }
  sweep.runs[6].state = domain::RunState::kFailed;
  sweep.runs[6].reason = "out of memory";
  return sweep;
}

}  // namespace entrain::reports
