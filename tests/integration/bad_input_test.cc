// What people get wrong, and what machines do to files: each ends in one clear sentence, and nothing is left half-written.
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <string>

#include "base/files.h"
#include "base/strings.h"
#include "tests/integration/cluster.h"

namespace entrain::testing {
namespace {

struct Outcome {
  int exit_code = -1;
  std::string output;
};

class BadInput : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = std::filesystem::path(StrCat(::testing::TempDir(), "/entrain-bad-", ::getpid())).lexically_normal();
    std::filesystem::remove_all(dir_);
    ASSERT_TRUE(MakeFolders(dir_).ok());
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  Outcome Run(std::vector<std::string> argv, int timeout_ms = 30'000) {
    const std::string log = StrCat(dir_, "/log-", ++runs_);
    argv[0] = StrCat(ENTRAIN_BIN_DIR, "/", argv[0]);
    Process process = Process::Start(argv, log, dir_);
    const int exit_code = process.Wait(timeout_ms);
    return {exit_code, ReadFile(log).value_or("")};
  }
  std::string Write(const std::string& name, const std::string& text) {
    EXPECT_TRUE(WriteFileAtomically(dir_ + "/" + name, text).ok());
    return dir_ + "/" + name;
  }
  void ExpectSays(const Outcome& outcome, const std::string& text) {
    EXPECT_NE(outcome.output.find(text), std::string::npos) << "wanted: " << text << "\ngot: " << outcome.output;
  }
  std::string dir_;
  int runs_ = 0;
};

TEST_F(BadInput, EveryProblemOfASweepHasItsPlace) {
  const std::string file = Write("bad.yaml",
                                 "name: bad\ndata:\n  path: python-stdlib\nmodel:\n  n_layer: 0\n  n_embd: 30\n  n_head: 4\n"
                                 "  widht: 3\nvariants:\n  - preset: SM+LN+Q\ntrain:\n  steps: -5\n");
  const Outcome outcome = Run({"entrain", "validate", file});
  EXPECT_EQ(outcome.exit_code, 65) << outcome.output;
  ExpectSays(outcome, "bad.yaml:5:");
  ExpectSays(outcome, "n_layer");
  ExpectSays(outcome, "bad.yaml:8:");
  ExpectSays(outcome, "widht");
  ExpectSays(outcome, "SM+LN+Q");
  ExpectSays(outcome, "steps");
}

TEST_F(BadInput, MalformedYamlNamesTheLine) {
  const Outcome outcome = Run({"entrain", "validate", Write("broken.yaml", "name: x\nmodel: {n_layer: [1, 2\n")});
  EXPECT_EQ(outcome.exit_code, 65);
  ExpectSays(outcome, "broken.yaml:");
}

TEST_F(BadInput, MissingEmptyAndBinaryData) {
  const std::string missing = Write("missing.yaml", "name: x\ndata:\n  path: /no/such/folder\nvariants:\n  - preset: SM+LN+G\n");
  Outcome outcome = Run({"entrain", "local", missing, "--no-watch"});
  EXPECT_NE(outcome.exit_code, 0);
  ExpectSays(outcome, "/no/such/folder");

  ASSERT_TRUE(MakeFolders(dir_ + "/empty").ok());
  outcome = Run({"entrain", "data", "prepare", dir_ + "/empty"});
  EXPECT_NE(outcome.exit_code, 0);
  ExpectSays(outcome, dir_ + "/empty");

  ASSERT_TRUE(MakeFolders(dir_ + "/binary").ok());
  Write("binary/a.bin", std::string("\0\1\2\3", 4));
  outcome = Run({"entrain", "data", "prepare", dir_ + "/binary"});
  EXPECT_NE(outcome.exit_code, 0);
  ExpectSays(outcome, "binary");
}

TEST_F(BadInput, APortInUse) {
  Cluster cluster("port");
  cluster.StartCoordinator();
  const Outcome outcome = Run({"entrain-coordinator", "--data-dir", dir_ + "/other", "--listen", cluster.address()});
  EXPECT_EQ(outcome.exit_code, 1);
  ExpectSays(outcome, cluster.address());
}

TEST_F(BadInput, AnAddressThatOthersReachNeedsTls) {
  const Outcome outcome = Run({"entrain-coordinator", "--data-dir", dir_ + "/data", "--listen", "0.0.0.0:0"});
  EXPECT_NE(outcome.exit_code, 0);
  EXPECT_NE(outcome.exit_code, -1);
  ExpectSays(outcome, "TLS");
}

TEST_F(BadInput, ACorruptDatabase) {
  ASSERT_TRUE(MakeFolders(dir_ + "/data").ok());
  Write("data/coordinator.db", std::string(8192, 'x'));
  const Outcome outcome = Run({"entrain-coordinator", "--data-dir", dir_ + "/data", "--listen", "127.0.0.1:0"});
  EXPECT_EQ(outcome.exit_code, 1);
  ExpectSays(outcome, "coordinator.db");
  EXPECT_EQ(ReadFile(dir_ + "/data/coordinator.db").value(), std::string(8192, 'x')) << "the evidence was touched";
}

TEST_F(BadInput, ATakenDataFolder) {
  Cluster cluster("taken");
  cluster.StartCoordinator();
  const Outcome outcome = Run({"entrain-coordinator", "--data-dir", cluster.root() + "/data", "--listen", "127.0.0.1:0"});
  EXPECT_EQ(outcome.exit_code, 1);
  ExpectSays(outcome, cluster.root() + "/data");
}

TEST_F(BadInput, NoCoordinatorThere) {
  const Outcome outcome = Run({"entrain", "list", "--coordinator", "127.0.0.1:1"});
  EXPECT_EQ(outcome.exit_code, 69);
  ExpectSays(outcome, "127.0.0.1:1");
}

}  // namespace
}  // namespace entrain::testing
