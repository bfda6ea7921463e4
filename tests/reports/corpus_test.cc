// The default preset on the recorded runs of examples/corpus: what docs/policy.md promises.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "data/input_stream.h"
#include "policy/backtest/replay.h"
#include "reports/back_test.h"
#include "reports/trace_json.h"

namespace entrain::reports {
namespace {

using policy::backtest::Outcome;
using policy::backtest::Part;
using policy::backtest::Score;
using policy::backtest::Trace;

std::vector<Trace> ReadCorpus() {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(std::string(ENTRAIN_SOURCE_DIR) + "/examples/corpus/traces")) {
    if (entry.path().string().ends_with(".json.gz")) paths.push_back(entry.path().string());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<Trace> traces;
  for (const std::string& path : paths) {
    const auto stream = data::InputStream::Open(path);
    std::string text;
    bool more = stream.ok();
    while (more) {
      const auto read = (*stream)->ReadInto(&text);
      more = read.ok() && *read;
    }
    auto trace = ParseTrace(text);
    EXPECT_TRUE(trace.ok()) << path << ": " << trace.status();
    if (trace.ok()) traces.push_back(*std::move(trace));
  }
  return traces;
}

const std::vector<Trace>& Corpus() {
  static const std::vector<Trace> traces = ReadCorpus();
  return traces;
}

BackTest Replayed(domain::HealthPreset preset, Part part) {
  BackTest test{"preset " + std::string(domain::ToString(preset)), "examples/corpus", part == Part::kTest ? "test" : "training", {}};
  for (const Trace& trace : Corpus()) {
    Outcome outcome = policy::backtest::Replay(domain::RulesOf(preset), trace);
    if (outcome.part == part) test.outcomes.push_back(std::move(outcome));
  }
  return test;
}

TEST(Corpus, IsWholeAndSmall) {
  EXPECT_EQ(Corpus().size(), 308U);
  std::set<std::string> variants;
  for (const Trace& trace : Corpus()) variants.insert(trace.variant);
  EXPECT_EQ(variants.size(), 22U);
  std::uintmax_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(std::string(ENTRAIN_SOURCE_DIR) + "/examples/corpus/traces")) {
    if (entry.is_regular_file()) bytes += entry.file_size();
  }
  EXPECT_LE(bytes, 10'000'000U);
}

TEST(Corpus, TheDefaultPresetMeetsItsTargetsOnTheTestPart) {
  const BackTest test = Replayed(domain::HealthPreset::kDefault, Part::kTest);
  const Score score = policy::backtest::ScoreOf(test.outcomes);
  EXPECT_EQ(score.healthy_stopped, 0);
  EXPECT_GE(score.healthy, 60);
  EXPECT_GE(score.healthy_dipped, 20);
  EXPECT_GE(score.collapsing, 40);
  EXPECT_GE(score.collapsing_variants, 3);
  EXPECT_GE(score.detection.value, 0.95);
  EXPECT_LE(score.median_lag.value, 0.25);
  EXPECT_TRUE(policy::backtest::MeetsTargets(score)) << BackTestText(test);
}

// The presets differ in the way that their names say.
TEST(Corpus, EagerIsEarlierAndCautiousLaterThanDefault) {
  std::map<domain::HealthPreset, Score> scores;
  for (const auto preset : {domain::HealthPreset::kDefault, domain::HealthPreset::kCautious, domain::HealthPreset::kEager}) {
    scores[preset] = policy::backtest::ScoreOf(Replayed(preset, Part::kTraining).outcomes);
  }
  EXPECT_EQ(scores[domain::HealthPreset::kCautious].healthy_stopped, 0);
  EXPECT_LT(scores[domain::HealthPreset::kEager].median_lag.value, scores[domain::HealthPreset::kDefault].median_lag.value);
  EXPECT_LT(scores[domain::HealthPreset::kDefault].median_lag.value, scores[domain::HealthPreset::kCautious].median_lag.value);
  EXPECT_GE(scores[domain::HealthPreset::kEager].collapsing_stopped, scores[domain::HealthPreset::kDefault].collapsing_stopped);
}

// What is written reads back the same, in both forms of the entropies.
TEST(TraceJson, ReadsBackWhatItWrites) {
  const Trace& trace = Corpus().front();
  const auto again = ParseTrace(TraceJson(trace));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->label, trace.label);
  EXPECT_EQ(again->shape.n_layer, trace.shape.n_layer);
  ASSERT_EQ(again->samples.size(), trace.samples.size());
  for (std::size_t i = 0; i < trace.samples.size(); ++i) {
    EXPECT_EQ(again->samples[i].entropy_nats, trace.samples[i].entropy_nats);
    EXPECT_EQ(again->samples[i].loss, trace.samples[i].loss);
    EXPECT_EQ(again->samples[i].max_abs_score, trace.samples[i].max_abs_score);
  }
}

constexpr char kPlain[] = R"({"format": "entrain-trace", "version": 1, "n_layer": 1, "n_head": 2, "context": 32, "steps": 3,
  "samples": {"step": [1, 3], "loss": [5.5, "nan"], "entropy_nats": [[2.0, 0.001], ["inf", 1.0]]}})";

TEST(TraceJson, TakesPlainEntropies) {
  const auto trace = ParseTrace(kPlain);
  ASSERT_TRUE(trace.ok()) << trace.status();
  ASSERT_EQ(trace->samples.size(), 2U);
  EXPECT_NEAR(trace->samples[0].entropy_nats[0], 2.0, 1e-4);
  EXPECT_TRUE(std::isinf(trace->samples[1].entropy_nats[0]));
  EXPECT_TRUE(std::isnan(trace->samples[1].loss));
  EXPECT_EQ(trace->samples[1].step, 3);
}

TEST(TraceJson, SaysWhatIsWrong) {
  const auto message = [](std::string text, const std::string& from, const std::string& to) {
    text.replace(text.find(from), from.size(), to);
    return std::string(ParseTrace(text).status().message());
  };
  EXPECT_EQ(ParseTrace("[]").status().message(), "trace: file: is not a JSON object");
  EXPECT_EQ(message(kPlain, "[1, 3]", "[1, 1]"), "trace: samples.step: must hold rising integers from 1");
  EXPECT_EQ(message(kPlain, "[5.5, \"nan\"]", "[5.5]"), "trace: loss: has 1 entries for 2 steps");
  EXPECT_EQ(message(kPlain, "[\"inf\", 1.0]", "[1.0]"), "trace: entropy_nats: must hold arrays of 2 numbers");
  EXPECT_EQ(message(kPlain, "\"n_layer\": 1", "\"n_layer\": -1"), "trace: n_layer: must be at least 1 and at most 1048576; is -1");
  EXPECT_EQ(message(kPlain, "\"entropy_nats\": [[2.0, 0.001], [\"inf\", 1.0]]", "\"entropy_u16\": \"AAAA\""),
            "trace: entropy_u16: has 3 bytes for 2 steps of 2 heads");
}

TEST(BackTest, SaysWhichRunsItGetsWrong) {
  BackTest test{"preset default", "here", "all", {}};
  Outcome missed;
  missed.label = "SM seed=1";
  missed.group = "SM|6|0.01";
  missed.truth.collapsed = true;
  missed.truth.onset_step = 40;
  missed.last_step = missed.tokens = 100;
  test.outcomes.push_back(missed);
  const std::string text = BackTestText(test);
  EXPECT_NE(text.find("0 of 1"), std::string::npos) << text;
  EXPECT_NE(text.find("NOT MET"), std::string::npos);
  EXPECT_NE(text.find("missed: SM seed=1 (SM|6|0.01), collapsed from step 40 of 100"), std::string::npos) << text;
  EXPECT_NE(BackTestSvg(test).find("SM seed=1"), std::string::npos);
}

}  // namespace
}  // namespace entrain::reports
