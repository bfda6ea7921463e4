// The generated documents are current, and the examples are sweeps.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "sweep/draft.h"
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
