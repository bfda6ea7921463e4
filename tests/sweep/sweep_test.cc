#include "sweep/sweep.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "base/strings.h"
#include "sweep/run_config_json.h"

namespace entrain::sweep {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const BoundDataset kDataset{{"text", "0123456789abcdef0123456789abcdef"}, 256};
constexpr std::string_view kHead = "name: s\ndata: {path: text}\n";

std::vector<std::string> ProblemsOf(std::string_view yaml) {
  ParsedSweep sweep;
  std::vector<std::string> lines;
  for (const Problem& problem : ParseSweep(yaml, kDataset, "me", &sweep)) {
    lines.push_back(StrCat(problem.line, ":", problem.column, " ", problem.field, ": ", problem.message));
  }
  EXPECT_EQ(sweep.spec.runs.empty(), !lines.empty());
  return lines;
}
// The problems of a file that starts with a good name and data section (two lines).
std::vector<std::string> BodyProblems(std::string_view body) { return ProblemsOf(StrCat(kHead, body)); }

ParsedSweep Parse(std::string_view body) {
  ParsedSweep sweep;
  for (const Problem& problem : ParseSweep(StrCat(kHead, body), kDataset, "me", &sweep)) {
    ADD_FAILURE() << problem.line << ":" << problem.column << " " << problem.field << ": " << problem.message;
  }
  return sweep;
}
domain::RunConfig ConfigOf(const ParsedSweep& sweep, std::size_t run) {
  return ParseRunConfig(sweep.spec.runs.at(run).config_json).value();
}
std::vector<std::string> Labels(const ParsedSweep& sweep) {
  std::vector<std::string> labels;
  for (const auto& run : sweep.spec.runs) labels.push_back(run.label);
  return labels;
}

TEST(SweepTest, ExpandsVariantsTimesAxes) {
  const ParsedSweep sweep = Parse(R"(priority: 3
max_concurrent_runs: 2
model: {n_layer: 2, n_head: 2, n_embd: 32}
train: {steps: 10, context: 32, lr: 1e-3}
resources: {ranks_per_machine: 2}
variants:
  - SM
  - name: wide
    preset: SM+LN+G
    model: {n_embd: 64}
    train.lr: 0.5
    health: {collapse: {share_of_heads: 0.5}, non_finite: off}
axes:
  train.seed: [1, 2]
)");
  EXPECT_EQ(sweep.spec.priority, 3);
  EXPECT_EQ(sweep.spec.max_concurrent_runs, 2);
  EXPECT_EQ(sweep.spec.owner, "me");
  EXPECT_THAT(Labels(sweep), ElementsAre("SM seed=1", "SM seed=2", "wide seed=1", "wide seed=2"));
  const domain::RunConfig sm = ConfigOf(sweep, 0);
  EXPECT_EQ(sm.model.layer.norm, domain::Norm::kNone);
  EXPECT_EQ(sm.model.layer.bias, domain::Bias::kQk);
  EXPECT_TRUE(sm.model.final_norm);
  EXPECT_EQ(sm.model.n_positions, 32);
  EXPECT_EQ(sm.dataset, kDataset.ref);
  EXPECT_EQ(sm.train.seed, 1u);
  const domain::RunConfig wide = ConfigOf(sweep, 3);
  EXPECT_EQ(wide.model.n_embd, 64);
  EXPECT_EQ(wide.model.layer.activation, domain::Activation::kGelu);
  EXPECT_EQ(wide.train.lr, 0.5);
  EXPECT_EQ(wide.train.seed, 2u);
  const domain::RunSpec& run = sweep.spec.runs[3];
  EXPECT_EQ(run.axes.at("train.seed"), "2");
  EXPECT_EQ(run.health.collapse.share_of_heads, 0.5);
  EXPECT_FALSE(run.health.non_finite.enabled);
  EXPECT_TRUE(sweep.spec.runs[0].health.non_finite.enabled);
  EXPECT_EQ(run.resources.WorldSize(), 2);
  EXPECT_EQ(run.steps, 10);
  EXPECT_EQ(run.parameters, domain::ParameterCount(wide.model));
  EXPECT_EQ(sweep.estimates[3].tokens, 10 * 8 * 32);
  EXPECT_GT(sweep.estimates[3].flops, 0);
  EXPECT_GT(sweep.estimates[3].memory_bytes_per_rank, 16 * run.parameters);
}

TEST(SweepTest, TokensAndSharesBecomeSteps) {
  const ParsedSweep sweep = Parse(R"(train: {tokens: 100_000, batch_tokens: 1024, context: 128, warmup_fraction: 0.05}
variants:
  - {name: a}
  - {name: b, train: {steps: 7, warmup_steps: 2}}
  - {name: c, train: {accumulation: 2, warmup_tokens: 1e3}}
  - {name: d, train: {eval_interval_tokens: 10_000, checkpoint_interval_tokens: 1_024}}
  - {name: e, train: {eval_interval_steps: 3}}
)");
  EXPECT_EQ(ConfigOf(sweep, 3).train.eval_interval_steps, 10);
  EXPECT_EQ(ConfigOf(sweep, 3).train.checkpoint_interval_steps, 1);
  EXPECT_EQ(ConfigOf(sweep, 4).train.eval_interval_steps, 3);
  EXPECT_EQ(ConfigOf(sweep, 0).train.batch_size, 8);
  EXPECT_EQ(ConfigOf(sweep, 0).train.steps, 98);
  EXPECT_EQ(ConfigOf(sweep, 0).train.warmup_steps, 5);
  EXPECT_EQ(ConfigOf(sweep, 1).train.steps, 7);
  EXPECT_EQ(ConfigOf(sweep, 1).train.warmup_steps, 2);
  EXPECT_EQ(ConfigOf(sweep, 2).train.batch_size, 4);
  EXPECT_EQ(ConfigOf(sweep, 2).train.warmup_steps, 1);
  EXPECT_THAT(BodyProblems("train: {batch_tokens: 1000}"),
              ElementsAre(HasSubstr(
                  "3:23 train.batch_tokens: must be a multiple of context * accumulation = 128 * 1 = 128, is 1000")));
  EXPECT_THAT(BodyProblems("train: {steps: 3, tokens: 5}"),
              ElementsAre(HasSubstr("only one of train.steps, train.tokens")));
  EXPECT_THAT(BodyProblems("train: {eval_interval_steps: 3, eval_interval_tokens: 5}"),
              ElementsAre(HasSubstr("only one of train.eval_interval_steps, train.eval_interval_tokens")));
}

TEST(SweepTest, LayersAreResolvedAgainstTheFlatSettings) {
  const ParsedSweep sweep = Parse(R"(model:
  n_layer: 4
  layers: {0-1: {norm: none}, 3: {activation: relu}}
variants:
  - {name: a}
  - {name: b, model: {bias: qk, layers: {1: {norm: layernorm}}}}
)");
  EXPECT_EQ(ConfigOf(sweep, 0).model.Layer(1).norm, domain::Norm::kNone);
  EXPECT_EQ(ConfigOf(sweep, 0).model.Layer(3).activation, domain::Activation::kRelu);
  EXPECT_EQ(ConfigOf(sweep, 1).model.Layer(0).norm, domain::Norm::kNone);
  EXPECT_EQ(ConfigOf(sweep, 1).model.Layer(1).norm, domain::Norm::kLayerNorm);
  EXPECT_EQ(ConfigOf(sweep, 1).model.Layer(3).bias, domain::Bias::kQk);
  EXPECT_THAT(BodyProblems("model:\n  layers: {0-1: {norms: none}, 5-2: {}, 1: {ffn: one}, 99: {bias: qk}}"),
              ElementsAre(HasSubstr("4:18 model.layers.0-1.norms: unknown field of a layer; did you mean norm?"),
                          HasSubstr("4:32 model.layers.5-2: must be a layer (3) or a range"),
                          HasSubstr("4:41 model.layers.1: names layer 1 again"),
                          HasSubstr("4:50 model.layers.1.ffn: must be one of: two, fused; is one"),
                          HasSubstr("4:67 model.layers: names layer 99, but the layers are 0 to 11")));
}

TEST(SweepTest, RulesLeaveCellsOut) {
  const std::string body = R"(variants: [SM, SM+LN+G]
axes: {train.lr: [1e-3, 3e-3], train.seed: [1, 2, 3]}
)";
  EXPECT_THAT(Labels(Parse(body + "exclude:\n  - {variant: SM, train.lr: 0.003}\n  - {seed: [2, 3]}\n")),
              ElementsAre("SM lr=0.001 seed=1", "SM+LN+G lr=0.001 seed=1", "SM+LN+G lr=0.003 seed=1"));
  EXPECT_THAT(Labels(Parse(body + "when:\n  - {variant: SM, seed: 1}\n")),
              ElementsAre("SM lr=0.001 seed=1", "SM lr=0.003 seed=1"));
  EXPECT_THAT(BodyProblems(body + "when:\n  - {variant: SN, train.seed: 9, beta: 1}\n"),
              ElementsAre(HasSubstr("6:15 when[0].variant: must be one of: SM, SM+LN+G; is SN"),
                          HasSubstr("6:31 when[0].train.seed: must be one of: 1, 2, 3; is 9"),
                          HasSubstr("6:34 when[0].beta: must be one of: variant, train.lr, train.seed")));
  EXPECT_THAT(BodyProblems(body + "exclude: [{seed: [1, 2, 3]}]"), ElementsAre(HasSubstr("leave no run")));
}

TEST(SweepTest, EveryProblemIsListedInFileOrderWithItsPlace) {
  EXPECT_THAT(
      BodyProblems(R"(model:
  n_layer: 0
  n_head: -4
  norm: layer
  widht: 64
train:
  lr: fast
  steps: "10"
  beta1: 1.0
  clip: .nan
resources: [1]
optimiser: adam
)"),
      ElementsAre(
          HasSubstr("4:12 model.n_layer: must be at least 1 and at most 1024, is 0"),
          HasSubstr("5:11 model.n_head: must be at least 1 and at most 4096, is -4"),
          HasSubstr("6:9 model.norm: must be one of: layernorm, none; is layer"),
          HasSubstr("7:3 model.widht: unknown field; known: vocab_size"),
          HasSubstr("9:7 train.lr: must be a number, above 0; is fast"),
          HasSubstr("10:10 train.steps: must be an integer, at least 1 and at most 1000000000; is the text \"10\""),
          HasSubstr("11:10 train.beta1: must be at least 0 and below 1, is 1"),
          HasSubstr("12:9 train.clip: must be a number, at least 0; is .nan"),
          HasSubstr("13:12 resources: must be a map of fields; is a list"),
          HasSubstr("14:1 optimiser: unknown field")));
}

TEST(SweepTest, ChecksAcrossFields) {
  EXPECT_THAT(BodyProblems("model: {n_embd: 64, n_head: 5}"),
              ElementsAre("3:29 model.n_head: must divide n_embd: n_head is 5, n_embd is 64"));
  EXPECT_THAT(BodyProblems("model: {n_positions: 32}\ntrain: {context: 64}"),
              ElementsAre(HasSubstr("3:22 model.n_positions: must be at least train.context")));
  EXPECT_THAT(BodyProblems("train: {batch_size: 9}\nresources: {ranks_per_machine: 2}"),
              ElementsAre(HasSubstr("3:21 train.batch_size: batch_size 9 must be a multiple of the gang's 2 ranks")));
  EXPECT_THAT(BodyProblems("model: {vocab_size: 100}"),
              ElementsAre(HasSubstr("must be at least 256, the vocabulary of the data")));
  EXPECT_THAT(BodyProblems("train: {steps: 5, warmup_steps: 6}"), ElementsAre(HasSubstr("3:33 train.warmup_steps")));
  EXPECT_THAT(BodyProblems("model: {reparam: weight_norm}"),
              ElementsAre(HasSubstr("reparam is set but reparam_targets is empty")));
  EXPECT_THAT(BodyProblems("train: {lerning_rate: 1}"),
              ElementsAre(HasSubstr("3:9 train.lerning_rate: unknown field; known: steps")));
  EXPECT_THAT(BodyProblems("train: {batchsize: 1}"), ElementsAre(HasSubstr("unknown field; did you mean batch_size?")));
}

TEST(SweepTest, VariantsAndAxesAreChecked) {
  EXPECT_THAT(BodyProblems("variants: [SM, SM]"),
              ElementsAre(HasSubstr("3:16 variants[1].name: the name SM is taken; first in line 3")));
  EXPECT_THAT(BodyProblems("variants: []"), ElementsAre(HasSubstr("must be a list of variants with at least one")));
  EXPECT_THAT(BodyProblems("variants: [SM+LN+Q]"), ElementsAre(HasSubstr("did you mean SM+LN+G?")));
  EXPECT_THAT(BodyProblems("variants: [{model: {bias: qk}}]"),
              ElementsAre(HasSubstr("3:12 variants[0].name: is missing")));
  EXPECT_THAT(BodyProblems("variants: [{name: a}, {name: b, model: {n_head: 5}}]"),
              ElementsAre(HasSubstr("3:49 model.n_head: must divide")));
  EXPECT_THAT(BodyProblems("variants: [{name: a}, {name: b}]"),
              ElementsAre(HasSubstr("the runs a and b have the same configuration")));
  EXPECT_THAT(BodyProblems("variants: [{name: a, train: {lr: 0.1}}]\naxes: {train.lr: [0.1, 0.2]}"),
              ElementsAre(HasSubstr("4:8 axes.train.lr: the variant a sets this field too (line 3)")));
  EXPECT_THAT(
      BodyProblems("axes: {train.lr: [], train.seed: [1, 1, x], lr: [1]}"),
      ElementsAre(HasSubstr("axes.train.lr: must be a list of 1 to 10000 values"),
                  HasSubstr("axes.train.seed[1]: the value 1 is in the list already"),
                  HasSubstr("axes.train.seed[2]: must be an integer"), HasSubstr("axes.lr: must be a dotted field")));
  const auto numbers = [](int count) {
    std::string text = "0";
    for (int i = 1; i < count; ++i) StrAppend(&text, ", ", i);
    return text;
  };
  EXPECT_THAT(BodyProblems(StrCat("variants: [SM, SM+G]\naxes: {train.seed: [", numbers(101),
                                  "], retries.max_failures: [", numbers(100), "]}")),
              ElementsAre(HasSubstr("4:1 axes: variants times axes give 20200 runs, more than 10000")));
}

TEST(SweepTest, AVariantNamedLikeAPresetIsThatPreset) {
  const ParsedSweep sweep =
      Parse("variants:\n  - {name: SM+R, train: {lr: 0.1}}\n  - {name: SM, preset: none}\n  - {preset: SM+LN}\n");
  EXPECT_EQ(ConfigOf(sweep, 0).model.layer.activation, domain::Activation::kRelu);
  EXPECT_EQ(ConfigOf(sweep, 0).model.layer.norm, domain::Norm::kNone);
  EXPECT_EQ(ConfigOf(sweep, 1).model.layer.norm, domain::Norm::kLayerNorm);
  EXPECT_EQ(sweep.spec.runs[2].variant, "SM+LN");
}

TEST(SweepTest, ThePapersProposalAsAPreset) {
  const domain::ModelConfig model = ConfigOf(Parse("variants: [EReg(SM(t)+ScFuFFN), SM+SN(QK+FFN)]"), 0).model;
  EXPECT_EQ(model.layer.ffn, domain::Ffn::kFused);
  EXPECT_TRUE(model.layer.ffn_scale);
  EXPECT_EQ(model.layer.temperature, domain::Temperature::kDivide);
  EXPECT_EQ(model.reg, domain::Regulariser::kMean);
  EXPECT_EQ(model.reg_lambda, 0.16);
  const domain::ModelConfig spectral = ConfigOf(Parse("variants: [SM+SN(QK+FFN)]"), 0).model;
  EXPECT_EQ(spectral.layer.reparam, domain::Reparam::kSpectralNorm);
  EXPECT_EQ(spectral.layer.reparam_targets, (std::set{domain::LinearName::kQ, domain::LinearName::kK,
                                                      domain::LinearName::kFfnIn, domain::LinearName::kFfnOut}));
}

TEST(SweepTest, DataSection) {
  DataSource source;
  EXPECT_TRUE(ParseDataSource(
                  "name: s\ndata:\n  path: python-stdlib\n  include: '*.py'\n  max_bytes: 4_000_000\nmodel: {bad: 1}\n",
                  &source)
                  .empty());
  EXPECT_EQ(source.path, "python-stdlib");
  EXPECT_EQ(source.tokenizer, "bytes");
  EXPECT_THAT(source.include, ElementsAre("*.py"));
  EXPECT_EQ(source.max_bytes, 4'000'000);
  EXPECT_EQ(source.line, 3);
  EXPECT_TRUE(ParseDataSource("data: {dataset: 'code@0123456789abcdef0123456789abcdef'}", &source).empty());
  EXPECT_EQ(source.reference, "code@0123456789abcdef0123456789abcdef");
  EXPECT_THAT(ProblemsOf("name: s\n"), ElementsAre(HasSubstr("1:1 data: is missing")));
  EXPECT_THAT(ProblemsOf("data: {path: a, dataset: b}"),
              ElementsAre(HasSubstr("name: is missing"), HasSubstr("only one of path and dataset")));
  EXPECT_THAT(
      ProblemsOf("name: s\ndata: {dataset: b, max_bytes: 1}"),
      ElementsAre(HasSubstr("2:17 data.dataset: must be name@hash"), HasSubstr("2:20 data.max_bytes: goes with path")));
  EXPECT_THAT(ProblemsOf("name: s\ndata: {path: '', max_bytes: -1}"),
              ElementsAre(HasSubstr("data.path: must not be empty"), HasSubstr("data.max_bytes: must be at least 0")));
}

TEST(SweepTest, HealthCanBeSwitchedOff) {
  EXPECT_FALSE(Parse("health: off").spec.runs[0].health.collapse.enabled);
  EXPECT_FALSE(Parse("health: off").spec.runs[0].health.non_finite.enabled);
  const domain::HealthRules rules = Parse("health: {collapse: off}\nretries: {max_failures: 0}").spec.runs[0].health;
  EXPECT_FALSE(rules.collapse.enabled);
  EXPECT_TRUE(rules.non_finite.enabled);
  EXPECT_THAT(BodyProblems("health: {collapse: sometimes}"),
              ElementsAre(HasSubstr("must be on, off or a map of fields; is sometimes")));
}

TEST(SweepTest, EarlyStoppingAndLimitsReachEveryRun) {
  const domain::SweepSpec spec =
      Parse("early_stopping: {method: sha, metric: train_loss, min_steps: 10, reduction_factor: 4, window_steps: 5}\n"
            "retries: {out_of_memory: true}\nlimits: {max_duration_s: 3600, stall_limit_s: 60}").spec;
  EXPECT_EQ(spec.early_stopping, (domain::EarlyStopping{domain::Halving::kSync, domain::RungMetric::kTrainLoss, 10, 4, 5}));
  EXPECT_EQ(spec.runs[0].early_stopping, spec.early_stopping);
  EXPECT_EQ(spec.runs[0].limits, (domain::RunLimits{3600, 60}));
  EXPECT_TRUE(spec.runs[0].retries.out_of_memory);
  EXPECT_EQ(Parse("").spec.early_stopping.method, domain::Halving::kNone);
  EXPECT_THAT(BodyProblems("early_stopping: asha"), ElementsAre(HasSubstr("early_stopping: must be a map of fields; is asha")));
  EXPECT_THAT(BodyProblems("early_stopping: {method: asha}"), ElementsAre(HasSubstr("early_stopping.min_steps: is missing")));
  EXPECT_THAT(BodyProblems("early_stopping: {method: median, min_steps: 5}"), ElementsAre(HasSubstr("early_stopping.method: must be one of")));
  EXPECT_THAT(BodyProblems("early_stopping: {method: asha, min_steps: 5, rungs: 3}"), ElementsAre(HasSubstr("early_stopping.rungs: unknown field")));
  EXPECT_THAT(BodyProblems("early_stopping: {method: asha, min_steps: 5000}\ntrain: {steps: 100}"),
              ElementsAre(HasSubstr("a run of 100 steps never comes to a rung")));
  EXPECT_THAT(BodyProblems("early_stopping: {method: asha, min_steps: 5}\ntrain: {steps: 100, eval_interval_steps: 0}"),
              ElementsAre(HasSubstr("eval_loss needs train.eval_interval_steps")));
}

TEST(EarlyStopping, RungsGrowByTheFactorBelowTheLastStep) {
  using domain::RungSteps;
  const domain::EarlyStopping rule{domain::Halving::kAsync, domain::RungMetric::kEvalLoss, 10, 3, 1};
  EXPECT_THAT(RungSteps(rule, 100), ElementsAre(10, 30, 90));
  EXPECT_THAT(RungSteps(rule, 90), ElementsAre(10, 30));
  EXPECT_THAT(RungSteps(rule, 10), ElementsAre());
  EXPECT_THAT(RungSteps({}, 100), ElementsAre());
}

TEST(SweepTest, AHealthPresetLiesUnderTheRest) {
  const domain::HealthRules eager = Parse("health: {collapse: {share_of_heads: 0.5}, preset: eager}").spec.runs[0].health;
  EXPECT_EQ(eager.preset, domain::HealthPreset::kEager);
  EXPECT_EQ(eager.collapse.below_fraction_of_bound, 0.05);
  EXPECT_EQ(eager.collapse.share_of_heads, 0.5);
  EXPECT_EQ(Parse("health: cautious").spec.runs[0].health, domain::RulesOf(domain::HealthPreset::kCautious));
  EXPECT_EQ(Parse("").spec.runs[0].health, domain::RulesOf(domain::HealthPreset::kDefault));
  EXPECT_THAT(BodyProblems("health: sometimes"), ElementsAre(HasSubstr("must be on, off, a preset or a map of fields; is sometimes")));
}

TEST(SweepTest, ARescueIsWorkedOutWhenTheSweepIsRead) {
  const domain::RunSpec run = Parse("health: {divergence: {action: rescue}, rescue: {lr_factor: 0.5, reg: mean, reg_lambda: 0.2}}").spec.runs[0];
  ASSERT_EQ(run.rescue.size(), 1U);
  const domain::RunSpec& rescue = run.rescue[0];
  EXPECT_EQ(rescue.label, run.label + " (rescue)");
  EXPECT_NE(rescue.cell, run.cell);
  const auto before = ParseRunConfig(run.config_json);
  const auto after = ParseRunConfig(rescue.config_json);
  ASSERT_TRUE(before.ok() && after.ok());
  EXPECT_DOUBLE_EQ(after->train.lr, 0.5 * before->train.lr);
  EXPECT_EQ(after->train.steps, before->train.steps);
  EXPECT_EQ(after->model.reg, domain::Regulariser::kMean);
  EXPECT_EQ(after->model.reg_lambda, 0.2);
  EXPECT_EQ(rescue.health.divergence.action, domain::RuleAction::kStopAndKeep) << "not again";
  EXPECT_TRUE(rescue.rescue.empty());
  EXPECT_TRUE(Parse("").spec.runs[0].rescue.empty());
}

TEST(SweepTest, SyntaxErrorsHaveAPlace) {
  EXPECT_THAT(ProblemsOf(""), ElementsAre(HasSubstr("the file is empty")));
  EXPECT_THAT(ProblemsOf("- a\n"), ElementsAre(HasSubstr("a sweep file is a map of sections; this is a list")));
  EXPECT_THAT(ProblemsOf("name: s\n  data: x\n"), ElementsAre(HasSubstr("2:7 : not YAML")));
  EXPECT_THAT(ProblemsOf("name: [s\n"), ElementsAre(HasSubstr("not YAML")));
  EXPECT_THAT(ProblemsOf("name: s\nname: t\ndata: {path: x}"),
              ElementsAre(HasSubstr("2:1 name: is given twice; first in line 1")));
  EXPECT_THAT(ProblemsOf("name: s\n---\nname: t\n"), ElementsAre(HasSubstr("holds one document")));
  EXPECT_THAT(ProblemsOf("name: *nowhere\n"), ElementsAre(HasSubstr("not YAML")));
  EXPECT_THAT(ProblemsOf("{[a, b]: c}\n"), ElementsAre(HasSubstr("a key must be a plain text")));
}

TEST(SweepTest, HostileTextEndsInAProblem) {
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; ++i) {
    StrAppend(&bomb, "a", i, ": &a", i, " [");
    for (int j = 0; j < 9; ++j) StrAppend(&bomb, j ? ", *a" : "*a", i - 1);
    StrAppend(&bomb, "]\n");
  }
  EXPECT_THAT(ProblemsOf(bomb), ElementsAre(HasSubstr("aliases count as what they stand for")));
  EXPECT_THAT(ProblemsOf("a: &a [*a]\n"), ElementsAre(HasSubstr("an alias may not stand inside")));
  EXPECT_THAT(ProblemsOf(std::string(100'000, '[')), ElementsAre(testing::_));
  EXPECT_THAT(ProblemsOf(std::string(100'000, '{')), ElementsAre(testing::_));
  std::string deep = "a: ";
  for (int i = 0; i < 100; ++i) deep += "[";
  for (int i = 0; i < 100; ++i) deep += "]";
  EXPECT_THAT(ProblemsOf(deep), ElementsAre(HasSubstr("nested more than 32 levels")));
  EXPECT_THAT(ProblemsOf(std::string(2 << 20, ' ')), ElementsAre(HasSubstr("more than 1048576")));
  std::string many = std::string(kHead);
  for (int i = 0; i < 1000; ++i) StrAppend(&many, "field", i, ": 1\n");
  EXPECT_EQ(ProblemsOf(many).size(), 201u);
}

TEST(SweepTest, MergeKeysAndAliasesWork) {
  const ParsedSweep sweep = Parse(R"(model: &small {n_layer: 2, n_head: 2, n_embd: 32}
variants:
  - {name: a, model: {<<: *small, n_layer: 3}}
  - {name: b, model: *small}
)");
  EXPECT_EQ(ConfigOf(sweep, 0).model.n_layer, 3);
  EXPECT_EQ(ConfigOf(sweep, 0).model.n_embd, 32);
  EXPECT_EQ(ConfigOf(sweep, 1).model.n_layer, 2);
}

}  // namespace
}  // namespace entrain::sweep
