// A real run with a token: afterwards the secret is in no file and was in no command line, and no text of the sweep reached the arguments or
// environments of the processes that trained it.
#include <signal.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "base/hash.h"
#include "base/strings.h"
#include "tests/integration/process.h"

namespace entrain::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

// Files of /proc, which say that they are empty.
std::string ReadProc(pid_t pid, const std::string& name) {
  std::stringstream text;
  text << std::ifstream(StrCat("/proc/", pid, "/", name)).rdbuf();
  return text.str();
}

constexpr std::string_view kMark = "Mark7f3a";  // in the sweep's own texts

class SecretsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::weakly_canonical(StrCat(::testing::TempDir(), "/secrets-", ::getpid())).string();  // as it stands in the programs' arguments
    fs::remove_all(root_);
    ASSERT_TRUE(MakeFolders(root_ + "/text").ok());
    std::string text;
    for (int i = 0; i < 4000; ++i) StrAppend(&text, "line ", i, " of a text to train on\n");
    ASSERT_TRUE(WriteFileAtomically(root_ + "/text/a.txt", text).ok());
  }
  void TearDown() override {
    worker_.KillNow();
    coordinator_.KillNow();
    for (const pid_t pid : FindProcesses({root_})) ::kill(pid, SIGKILL);
    if (!HasFailure()) fs::remove_all(root_);
  }
  static std::string Program(const std::string& name) { return StrCat(ENTRAIN_BIN_DIR, "/", name); }
  // The exit code; output goes to root/NAME.out.
  int Run(const std::vector<std::string>& argv, const std::string& name) {
    return Process::Start(argv, StrCat(root_, "/", name, ".out"), root_).Wait(120'000);
  }
  std::string Output(const std::string& name) { return ReadFile(StrCat(root_, "/", name, ".out")).value_or(""); }
  std::string AwaitText(const std::string& file) {
    std::string text;
    Eventually([&] {
      text = ReadFile(file).value_or("");
      return !text.empty();
    });
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return text;
  }
  // Looks at every process that has to do with this test, until told to stop.
  void Observe() {
    for (const pid_t pid : FindProcesses({root_})) {
      seen_arguments_ += ReadProc(pid, "cmdline");
      const std::string name = ReadProc(pid, "comm");
      if (name.starts_with("entrain-train") || name.starts_with("entrain-super") || name.starts_with("mpirun")) {
        programs_.insert(name.substr(0, 13));
        seen_environments_ += ReadProc(pid, "environ");
      }
    }
  }

  std::string root_;
  Process coordinator_;
  Process worker_;
  std::string seen_arguments_;
  std::string seen_environments_;
  std::set<std::string> programs_;
};

TEST_F(SecretsTest, ATokenIsNowhereButWithItsOwner) {
  ASSERT_EQ(Run({Program("entrain"), "token", "create", "alice", "--tokens", root_ + "/tokens"}, "created"), 0) << Output("created");
  const std::string created = Output("created");
  const std::size_t at = created.find("entrain_");
  ASSERT_NE(at, std::string::npos) << created;
  const std::string secret = created.substr(at, created.find_first_of(" \n", at) - at);
  ASSERT_GT(secret.size(), 50U);
  fs::remove(root_ + "/created.out");
  coordinator_ = Process::Start({Program("entrain-coordinator"), "--data-dir", root_ + "/data", "--listen", "127.0.0.1:0", "--address-file", root_ + "/address",
                                 "--artifacts", root_ + "/artifacts", "--tokens", root_ + "/tokens"}, root_ + "/coordinator.log");
  const std::string address = AwaitText(root_ + "/address");
  ASSERT_FALSE(address.empty()) << ReadFile(root_ + "/coordinator.log").value_or("");
  worker_ = Process::Start({Program("entrain-worker"), "--coordinator", address, "--dir", root_ + "/worker", "--slots", "1", "--slot-kind", "cpu",
                            "--artifacts", root_ + "/artifacts", "--verbose"}, root_ + "/worker.log");
  ASSERT_TRUE(WriteFileAtomically(root_ + "/sweep.yaml", StrCat(
      "name: ", kMark, "\ndata: {path: text, tokenizer: bytes}\nmodel: {n_layer: 2, n_head: 2, n_embd: 32}\n"
      "variants: [SM+R]\ntrain: {steps: 400, batch_size: 4, context: 32, eval_interval_steps: 200, checkpoint_interval_steps: 200}\n")).ok());
  EXPECT_NE(Run({Program("entrain"), "submit", "sweep.yaml", "--coordinator", address, "--artifacts", root_ + "/artifacts"}, "refused"), 0);
  EXPECT_THAT(Output("refused"), HasSubstr("token"));
  ::setenv("ENTRAIN_TOKEN", secret.c_str(), 1);
  Process submit = Process::Start({Program("entrain"), "submit", "sweep.yaml", "--wait", "--coordinator", address, "--artifacts", root_ + "/artifacts"},
                                  root_ + "/submit.out", root_);
  ::unsetenv("ENTRAIN_TOKEN");
  Eventually([&] {
    Observe();
    return !submit.running();
  }, 120'000);
  EXPECT_EQ(submit.Wait(1000), 0) << Output("submit");
  EXPECT_GE(programs_.size(), 2U) << "trainer and supervisor were not seen";
  EXPECT_THAT(ReadFile(root_ + "/data/audit.jsonl").value_or(""), HasSubstr("\"action\":\"submit\""));
  worker_.Signal(SIGTERM);
  worker_.Wait(20'000);
  coordinator_.Signal(SIGTERM);
  coordinator_.Wait(20'000);

  EXPECT_THAT(seen_arguments_, HasSubstr("--attempt"));
  EXPECT_THAT(seen_arguments_, Not(HasSubstr(secret)));
  EXPECT_THAT(seen_environments_, Not(HasSubstr(secret)));
  const std::string_view mark = kMark;
  EXPECT_THAT(seen_environments_, Not(HasSubstr(std::string(mark))));
  EXPECT_THAT(seen_arguments_, Not(HasSubstr(std::string(mark))));
  int files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(root_)) {
    if (!entry.is_regular_file()) continue;
    ++files;
    EXPECT_EQ(ReadFile(entry.path().string()).value_or("").find(secret), std::string::npos) << entry.path();
  }
  EXPECT_GT(files, 10);
}

}  // namespace
}  // namespace entrain::testing
