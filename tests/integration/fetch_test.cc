// `entrain fetch` against the real programs: a checkpoint comes home whole, checked and loadable, or not at all.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "base/files.h"
#include "base/strings.h"
#include "tests/integration/cluster.h"

namespace entrain::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr char kSweep[] =
    "name: fetch\ndata:\n  path: python-stdlib\n  tokenizer: bytes\nmodel: {n_layer: 2, n_head: 2, n_embd: 32, init_std: 0.07}\n"
    "variants: [SM+LN+G]\ntrain: {steps: 40, batch_size: 4, context: 32, lr: 0.001, eval_interval_steps: 10, eval_batches: 2,\n"
    "        checkpoint_interval_steps: 15}\n";

struct Outcome {
  int code = -1;
  std::string output;
};

Outcome RunEntrain(const std::string& program, std::vector<std::string> arguments, const std::string& log) {
  arguments.insert(arguments.begin(), StrCat(ENTRAIN_BIN_DIR, "/", program));
  Process process = Process::Start(arguments, log);
  Outcome outcome;
  outcome.code = process.Wait(120'000);
  outcome.output = ReadFile(log).value_or("");
  return outcome;
}

class FetchTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    cluster_ = new Cluster("fetch");
    cluster_->StartCoordinator();
    cluster_->StartWorker("w1", 1);
    const std::string sweep = cluster_->Submit(kSweep);
    run_ = cluster_->AwaitState(sweep, "succeeded").id();
  }
  static void TearDownTestSuite() { delete cluster_; }

  Outcome Fetch(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"fetch", run_});
    arguments.insert(arguments.end(), {"--coordinator", cluster_->address()});
    return RunEntrain("entrain", arguments, Path("log"));
  }
  static std::string Path(const std::string& name) { return StrCat(cluster_->root(), "/", name); }
  // Nothing but what was there before.
  static int Leftovers() {
    int count = 0;
    for (const auto& entry : fs::directory_iterator(cluster_->root())) {
      count += entry.path().filename().string().find(".incoming.") != std::string::npos ? 1 : 0;
    }
    return count;
  }
  static std::string Stored(const std::string& file, long long step) {
    const v1::RunDetail detail = cluster_->GetRun(run_);
    for (const auto& checkpoint : detail.checkpoints()) {
      if (checkpoint.step() == step) return StrCat(cluster_->root(), "/artifacts/", checkpoint.path(), "/", file);
    }
    ADD_FAILURE() << "no checkpoint of step " << step;
    return "";
  }

  static Cluster* cluster_;
  static std::string run_;
};
Cluster* FetchTest::cluster_ = nullptr;
std::string FetchTest::run_;

TEST_F(FetchTest, TheBestComesHomeAsALoadableFolder) {
  const std::string home = Path("models/best");
  const Outcome fetched = Fetch({"--best", "-o", home, "-o", "json"});
  ASSERT_EQ(fetched.code, 0) << fetched.output;
  const json result = json::parse(fetched.output);
  const auto detail = cluster_->GetRun(run_);
  double lowest = 1e9;
  for (const auto& evaluation : detail.evaluations()) lowest = std::min(lowest, evaluation.loss());
  EXPECT_DOUBLE_EQ(result["eval_loss"].get<double>(), lowest) << "an improvement is always written";
  EXPECT_EQ(result["tokenizer"], "bytes");
  std::set<std::string> files;
  for (const auto& entry : fs::directory_iterator(home)) files.insert(entry.path().filename().string());
  EXPECT_EQ(files, (std::set<std::string>{"README.md", "config.json", "model.safetensors"}));
  const auto step = result["step"].get<long long>();
  EXPECT_TRUE(ReadFile(home + "/model.safetensors").value() == ReadFile(Stored("model.safetensors", step)).value());
  const std::string readme = ReadFile(home + "/README.md").value();
  for (const std::string& part : {run_, StrCat("step | ", step, " of 40"), std::string("perplexity"), std::string("from_pretrained")}) {
    EXPECT_NE(readme.find(part), std::string::npos) << part << "\n" << readme;
  }
  std::ofstream(Path("text.txt")) << "def main():\n    return 0\n";
  const Outcome probe = RunEntrain(
      "entrain-trainer", {"probe", "--config", home + "/config.json", "--weights", home, "--text", Path("text.txt"), "--out", Path("numbers")},
      Path("log"));
  EXPECT_EQ(probe.code, 0) << probe.output;
}

TEST_F(FetchTest, LastStepAndTrainingStateAreAsAsked) {
  const Outcome last = Fetch({"--last", "--training-state", "-o", Path("last")});
  ASSERT_EQ(last.code, 0) << last.output;
  EXPECT_EQ(json::parse(ReadFile(Path("last/state.json")).value())["step"], 40);
  EXPECT_TRUE(ReadFile(Path("last/manifest.json")).value() == ReadFile(Stored("manifest.json", 40)).value());
  EXPECT_TRUE(ReadFile(Path("last/optimizer.safetensors")).value() == ReadFile(Stored("optimizer.safetensors", 40)).value());
  const Outcome step = Fetch({"15", "-o", Path("step-15")});
  ASSERT_EQ(step.code, 0) << step.output;
  EXPECT_TRUE(ReadFile(Path("step-15/model.safetensors")).value() == ReadFile(Stored("model.safetensors", 15)).value());
  const Outcome none = Fetch({"16", "-o", Path("step-16")});
  EXPECT_EQ(none.code, 1);
  EXPECT_NE(none.output.find("its checkpoints are of steps"), std::string::npos) << none.output;
  EXPECT_FALSE(fs::exists(Path("step-16")));
  EXPECT_EQ(Fetch({"--best", "--last", "-o", Path("both")}).code, 64);
  EXPECT_EQ(Fetch({"--best"}).code, 64) << "without a folder to make";
}

TEST_F(FetchTest, NothingIsOverwritten) {
  ASSERT_TRUE(MakeFolders(Path("mine")).ok());
  ASSERT_EQ(Fetch({"-o", Path("mine")}).code, 0) << "an empty folder is free";
  const std::string before = ReadFile(Path("mine/README.md")).value();
  const Outcome again = Fetch({"--last", "-o", Path("mine")});
  EXPECT_EQ(again.code, 1);
  EXPECT_NE(again.output.find("is there already"), std::string::npos) << again.output;
  EXPECT_EQ(ReadFile(Path("mine/README.md")).value(), before);
}

TEST_F(FetchTest, DamageOnTheWayOrAtTheSourceLeavesNothing) {
  const std::string weights = Stored("model.safetensors", 30);
  const std::string good = ReadFile(weights).value();
  std::string bad = good;
  bad[bad.size() / 2] = static_cast<char>(bad[bad.size() / 2] ^ 1);
  fs::remove(weights);  // it may share its blocks with the attempt's own copy
  std::ofstream(weights, std::ios::binary) << bad;
  const Outcome damaged = Fetch({"30", "-o", Path("damaged")});
  EXPECT_EQ(damaged.code, 1);
  EXPECT_NE(damaged.output.find("model.safetensors is damaged between bytes"), std::string::npos) << damaged.output;
  std::ofstream(weights, std::ios::binary) << good.substr(0, good.size() - 7);
  EXPECT_NE(Fetch({"30", "-o", Path("damaged")}).output.find("truncated"), std::string::npos);
  std::ofstream(weights, std::ios::binary) << good;
  const std::string manifest = Stored("manifest.json", 30), text = ReadFile(manifest).value();
  fs::remove(manifest);
  std::ofstream(manifest) << text << " ";
  EXPECT_NE(Fetch({"30", "-o", Path("damaged")}).output.find("not the one that was recorded"), std::string::npos);
  fs::remove(manifest);
  EXPECT_EQ(Fetch({"30", "-o", Path("damaged")}).code, 1);
  std::ofstream(manifest) << text;
  EXPECT_FALSE(fs::exists(Path("damaged")));
  EXPECT_EQ(Leftovers(), 0);
  EXPECT_EQ(Fetch({"30", "-o", Path("damaged")}).code, 0) << "whole again";
}

// A caller of the service may name any file; only the checkpoint's own plain ones come.
TEST_F(FetchTest, TheServiceSendsNothingFromOutside) {
  fs::create_symlink(Path("coordinator.log"), Stored("link", 40));
  for (const std::string name : {"../../../../../coordinator.log", "/etc/hostname", ".", "link", "absent", ""}) {
    v1::FetchCheckpointRequest request;
    request.set_run_id(run_);
    request.set_attempt(1);
    request.set_step(40);
    request.add_files(name);
    grpc::ClientContext context;
    auto reader = cluster_->stub().FetchCheckpoint(&context, request);
    v1::CheckpointPiece piece;
    int pieces = 0;
    while (reader->Read(&piece)) ++pieces;
    EXPECT_EQ(pieces, 0) << name;
    EXPECT_FALSE(reader->Finish().ok()) << name;
  }
  fs::remove(Stored("link", 40));
}

}  // namespace
}  // namespace entrain::testing
