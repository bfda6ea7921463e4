// The generated documents are current, and the examples are sweeps.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/files.h"
#include "base/strings.h"
#include "sweep/draft.h"
#include "sweep/run_config_json.h"
#include "sweep/sweep.h"

namespace entrain::sweep {
namespace {

const std::string kRoot = ENTRAIN_SOURCE_DIR;

// To renew the documents after a change of the table: ENTRAIN_RENEW_DOCS=1 sweep_test --gtest_filter='Reference*'.
void ExpectCurrent(const std::string& path, const std::string& generated) {
  if (std::getenv("ENTRAIN_RENEW_DOCS") != nullptr) {
    ASSERT_TRUE(WriteFileAtomically(path, generated).ok());
  }
  const auto written = ReadFile(path);
  ASSERT_TRUE(written.ok()) << written.status();
  EXPECT_EQ(*written, generated) << path << " is not what the parser's table gives";
}

TEST(ReferenceTest, TheMarkdownIsCurrent) {
  ExpectCurrent(kRoot + "/docs/sweep-reference.md", SweepReferenceMarkdown());
}

TEST(ReferenceTest, TheSchemaIsCurrentAndNamesEveryField) {
  ExpectCurrent(kRoot + "/docs/sweep.schema.json", SweepJsonSchema());
  const auto schema = nlohmann::json::parse(SweepJsonSchema());
  for (const auto& field : DraftFields()) {
    EXPECT_TRUE(schema["properties"]["axes"]["properties"].contains(field.name)) << field.name;
  }
}

TEST(ReferenceTest, EveryExampleIsASweep) {
  int examples = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(kRoot + "/examples")) {
    if (entry.path().extension() != ".yaml") continue;
    ++examples;
    ParsedSweep sweep;
    const BoundDataset dataset{{"d", "0123456789abcdef0123456789abcdef"}, 256};
    for (const Problem& problem : ParseSweep(*ReadFile(entry.path()), dataset, "me", &sweep)) {
      ADD_FAILURE() << entry.path() << ":" << problem.line << ":" << problem.column << " " << problem.field << ": "
                    << problem.message;
    }
    EXPECT_FALSE(sweep.spec.runs.empty());
  }
  EXPECT_GE(examples, 2);
}

ParsedSweep Example(const std::string& path) {
  ParsedSweep sweep;
  const auto problems = ParseSweep(*ReadFile(path), {{"d", "0123456789abcdef0123456789abcdef"}, 256}, "me", &sweep);
  EXPECT_TRUE(problems.empty()) << path;
  return sweep;
}

std::set<std::string> VariantsOf(const ParsedSweep& sweep) {
  std::set<std::string> variants;
  for (const auto& run : sweep.spec.runs) variants.insert(run.variant);
  return variants;
}

// Every experiment of the paper at its own scale has a twin that trains the same variants on two cores with the three seeds of a claim.
TEST(ReferenceTest, EveryPaperSweepHasAReducedTwin) {
  int pairs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kRoot + "/examples/paper")) {
    const std::string path = entry.path().string();
    if (path.ends_with(".reduced.yaml")) continue;
    ASSERT_TRUE(path.ends_with(".yaml")) << path;
    ++pairs;
    const ParsedSweep full = Example(path);
    const ParsedSweep reduced = Example(path.substr(0, path.size() - 5) + ".reduced.yaml");
    EXPECT_EQ(reduced.spec.name, full.spec.name + "-reduced");
    for (const std::string& variant : VariantsOf(reduced)) EXPECT_TRUE(VariantsOf(full).contains(variant)) << path << " " << variant;
    std::map<std::string, std::set<std::uint64_t>> seeds;
    for (const auto& run : reduced.spec.runs) {
      const auto config = ParseRunConfig(run.config_json);
      ASSERT_TRUE(config.ok()) << config.status();
      EXPECT_EQ(run.resources.WorldSize(), 1) << path;
      EXPECT_EQ(config->model.n_embd, 64) << path;
      seeds[StrCat(run.variant, " ", config->model.reg_gamma)].insert(config->train.seed);
    }
    for (const auto& [row, seen] : seeds) EXPECT_EQ(seen.size(), 3u) << path << " " << row;
    for (const auto& run : full.spec.runs) EXPECT_EQ(ParseRunConfig(run.config_json)->model.n_embd, 768) << path;
  }
  EXPECT_EQ(pairs, 9);
}

TEST(ReferenceTest, TheQuickstartTrainsEightVariants) {
  ParsedSweep sweep;
  ParseSweep(*ReadFile(kRoot + "/examples/quickstart.yaml"), {{"d", "0123456789abcdef0123456789abcdef"}, 256}, "me",
             &sweep);
  EXPECT_EQ(sweep.spec.runs.size(), 8u);
  EXPECT_EQ(sweep.data.path, "python-stdlib");
  for (const auto& run : sweep.spec.runs) {
    EXPECT_EQ(run.resources.WorldSize(), 2);
    EXPECT_TRUE(run.health.collapse.enabled);
  }
}

}  // namespace
}  // namespace entrain::sweep
