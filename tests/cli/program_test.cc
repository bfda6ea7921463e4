#include "cli/program.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>

#include "gtest/gtest.h"

namespace entrain::cli {
namespace {

TEST(ProgramTest, EveryCommandHasHelpWithExamplesAndTheCommonOptions) {
  Session session;
  const auto program = MakeProgram(&session);
  const auto commands = program->get_subcommands([](const CLI::App*) { return true; });
  EXPECT_GE(commands.size(), 18u);
  for (CLI::App* command : commands) {
    const auto nested = command->get_subcommands([](const CLI::App*) { return true; });
    CLI::App* leaf = nested.empty() ? command : nested.front();
    EXPECT_NE(leaf->help().find("Examples:\n  "), std::string::npos) << leaf->get_name();
    if (leaf->get_name() == "completion") continue;
    EXPECT_NE(leaf->get_option_no_throw("--output"), nullptr) << leaf->get_name();
    EXPECT_NE(leaf->get_option_no_throw("--coordinator"), nullptr) << leaf->get_name();
  }
}

int RunWith(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "entrain");
  return RunProgram(static_cast<int>(arguments.size()), arguments.data());
}

TEST(ProgramTest, UsageErrorsAre64) {
  EXPECT_EQ(RunWith({}), 64);
  EXPECT_EQ(RunWith({"dance"}), 64);
  EXPECT_EQ(RunWith({"explain"}), 64);
  EXPECT_EQ(RunWith({"list", "-o", "xml"}), 64);
  EXPECT_EQ(RunWith({"local", "x.yaml", "--slots", "none"}), 64);
}

TEST(ProgramTest, HelpAndVersionAreNoErrors) {
  EXPECT_EQ(RunWith({"--version"}), 0);
  EXPECT_EQ(RunWith({"local", "--help"}), 0);
}

// The published SM+LN+G row at L=12, T=128 is 25.32 GB; ReLU and no LayerNorm cost less; a slower link takes longer.
TEST(ProgramTest, CostPricesAPreset) {
  const auto cost = [](std::vector<const char*> arguments) {
    arguments.insert(arguments.begin(), {"cost", "-o", "json", "--preset"});
    testing::internal::CaptureStdout();
    EXPECT_EQ(RunWith(arguments), 0);
    return nlohmann::json::parse(testing::internal::GetCapturedStdout()).at(0);
  };
  EXPECT_NEAR(cost({"SM+LN+G"}).at("communication_gb").get<double>(), 25.32, 0.05);
  EXPECT_LT(cost({"SM+LN+R"}).at("communication_gb"), cost({"SM+LN+G"}).at("communication_gb"));
  EXPECT_LT(cost({"SM+R"}).at("communication_gb"), cost({"SM+LN+R"}).at("communication_gb"));
  EXPECT_GT(cost({"SM", "--bandwidth-mbps", "10"}).at("latency_minutes"), cost({"SM"}).at("latency_minutes"));
  EXPECT_EQ(RunWith({"cost"}), 64);
  EXPECT_EQ(RunWith({"cost", "--preset", "no-such-preset"}), 65);
}

// SentencePiece's library and the Protobuf of this program must not meet.
TEST(ProgramTest, ASentencePieceTokenizerIsTrainedBesideProtobuf) {
  const std::string folder = testing::TempDir() + "sentencepiece-" + std::to_string(::getpid());
  const std::string artifacts = folder + "-artifacts";
  std::filesystem::create_directories(folder);
  std::filesystem::copy_file(std::string(ENTRAIN_SOURCE_DIR) + "/docs/sweep-reference.md", folder + "/text.md");
  EXPECT_EQ(RunWith({"data", "prepare", folder.c_str(), "--artifacts", artifacts.c_str(), "--tokenizer", "sentencepiece:bpe:400"}), 0);
}

TEST(ProgramTest, ErrorsAreOneJsonValueWhenAskedFor) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(RunWith({"list", "-o", "json", "--coordinator", "127.0.0.1:1"}), 69);
  const nlohmann::json error = nlohmann::json::parse(testing::internal::GetCapturedStderr());
  EXPECT_EQ(error.at("error").at("code"), "unavailable");
  EXPECT_NE(error.at("error").at("message").get<std::string>().find("127.0.0.1:1"), std::string::npos);
  testing::internal::CaptureStderr();
  EXPECT_EQ(RunWith({"explain", "--output=json"}), 64);
  EXPECT_EQ(nlohmann::json::parse(testing::internal::GetCapturedStderr()).at("error").at("code"), "invalid_argument");
}

}  // namespace
}  // namespace entrain::cli
