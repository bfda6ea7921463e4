#include "cli/completion.h"

#include <cstdio>
#include <cstdlib>

#include "base/files.h"
#include "base/strings.h"
#include "cli/program.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace entrain::cli {
namespace {

using testing::HasSubstr;

std::string OutputOf(const std::string& command) {
  std::string output;
  std::FILE* pipe = ::popen(command.c_str(), "r");
  char buffer[4096];
  for (std::size_t count; (count = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0;) output.append(buffer, count);
  ::pclose(pipe);
  return output;
}

class CompletionTest : public testing::Test {
 protected:
  CompletionTest() : program_(MakeProgram(&session_)), shapes_(ShapesOf(*program_)) {}
  // What bash offers after these words; the last one is being typed.
  std::string Offered(const std::string& words) {
    const std::string script = StrCat(testing::TempDir(), "/completion-", ::getpid(), ".bash");
    EXPECT_TRUE(WriteFileAtomically(script, StrCat(BashCompletion(shapes_), "\nCOMP_WORDS=(", words,
                                                   "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _entrain; echo \"${COMPREPLY[*]}\"\n"))
                    .ok());
    std::string output = OutputOf("bash '" + script + "' 2>&1");
    if (!output.empty()) output.pop_back();
    return output;
  }
  Session session_;
  std::unique_ptr<CLI::App> program_;
  std::vector<CommandShape> shapes_;
};

TEST_F(CompletionTest, BashOffersCommandsOptionsAndValues) {
  EXPECT_EQ(Offered("entrain li"), "list");
  EXPECT_EQ(Offered("entrain data pr"), "prepare");
  EXPECT_EQ(Offered("entrain data ins"), "inspect");
  EXPECT_THAT(Offered("entrain data prepare --"), HasSubstr("--max-bytes"));
  EXPECT_EQ(Offered("entrain list -o ''"), "table json");
  EXPECT_EQ(Offered("entrain completion z"), "zsh");
  EXPECT_EQ(Offered("entrain list --id"), "--ids");
}

TEST_F(CompletionTest, IdsComeFromTheProgramItself) {
  // `true` stands for an entrain that lists nothing.
  EXPECT_EQ(Offered("true explain ''"), "last");
}

TEST_F(CompletionTest, EveryCommandIsInEveryScript) {
  const std::string zsh = ZshCompletion(shapes_);
  const std::string fish = FishCompletion(shapes_);
  for (const CommandShape& command : shapes_) {
    if (command.path.size() != 1) continue;
    EXPECT_THAT(zsh, HasSubstr("'" + command.path[0] + ":"));
    EXPECT_THAT(fish, HasSubstr("-a " + command.path[0] + " "));
  }
}

}  // namespace
}  // namespace entrain::cli
