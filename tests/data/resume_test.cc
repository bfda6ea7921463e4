// A preparation that is killed and started again ends in the same bytes, and so does one with another number of threads.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>

#include "base/files.h"
#include "base/random.h"
#include "tests/data/data_folder.h"

namespace entrain::data {
namespace {

namespace fs = std::filesystem;

class ResumeTest : public DataFolderTest {
 protected:
  void WriteCorpus() {
    Rng rng(7, 1);
    std::string lines;
    for (int i = 0; i < 3000; ++i) lines += "{\"text\":\"" + Words(&rng, 400) + "\"}\n";
    Write("a.jsonl.gz", Gzip(lines));
    for (int i = 0; i < 40; ++i) Write("b/" + std::to_string(100 + i) + ".txt", Words(&rng, 20000));
    Write("c.txt", Words(&rng, 3 << 20));
    options_.checkpoint_bytes = 300'000;
    options_.validation_fraction = 0.1;
  }
  static std::string Words(Rng* rng, std::size_t bytes) {
    static const char* const kWords[] = {"entropy ", "head ", "collapse ", "layer\\n", "the ", "of ", "3.25 ", "h\u00e9 "};
    std::string text;
    static const char* const kSyllables[] = {"ka", "lo", "mi", "ter", "ven", "sta", "qu", "ip", "ros", "and", "ble", "zu"};
    while (text.size() < bytes) {
      if (rng->Below(2) == 0) text += kWords[rng->Below(8)];
      for (std::uint64_t n = rng->Below(4); n > 0; --n) text += kSyllables[rng->Below(12)];
    }
    return text;
  }
  // Every file of a dataset.
  std::map<std::string, std::string> Content(const std::string& dir) const {
    std::map<std::string, std::string> content;
    for (const auto& entry : fs::directory_iterator(dir)) content[entry.path().filename()] = *ReadFile(entry.path().string());
    return content;
  }
  // Prepares in a child that is killed at its `call`-th word of progress while it tokenises; false when it ended before.
  bool KilledAt(int call) const {
    const pid_t child = ::fork();
    if (child == 0) {
      int calls = 0;
      const auto prepared = Prepare(options_, root(), [&](const PrepareProgress& progress) {
        if (std::string(progress.phase) == "tokenising" && ++calls == call) ::kill(::getpid(), SIGKILL);
      });
      ::_exit(prepared.ok() ? 0 : 1);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status);
  }
};

TEST_F(ResumeTest, ThreadsDoNotChangeTheResult) {
  WriteCorpus();
  options_.threads = 1;
  const auto one = Prepare(options_, Path("one"));
  ASSERT_TRUE(one.ok()) << one.status();
  for (const int threads : {2, 5}) {
    options_.threads = threads;
    const auto many = Prepare(options_, Path("many" + std::to_string(threads)));
    ASSERT_TRUE(many.ok());
    EXPECT_EQ(Content(many->dir), Content(one->dir)) << threads;
  }
  options_.max_bytes = 2'345'678;
  options_.threads = 1;
  const auto limited = Prepare(options_, Path("one"));
  options_.threads = 5;
  EXPECT_EQ(Content(Prepare(options_, Path("many5"))->dir), Content(limited->dir));
  EXPECT_EQ(limited->train_tokens + limited->validation_tokens, options_.max_bytes + limited->documents);
}

TEST_F(ResumeTest, KilledAgainAndAgainItEndsInTheSameBytes) {
  WriteCorpus();
  options_.threads = 2;
  for (const std::string& tokenizer : {std::string("bytes"), std::string(ENTRAIN_SOURCE_DIR) + "/tests/data/byte_level"}) {
    options_.tokenizer = tokenizer;
    const auto whole = Prepare(options_, Path("undisturbed"));
    ASSERT_TRUE(whole.ok()) << whole.status();
    int kills = 0;
    while (KilledAt(5 + kills)) ASSERT_LT(++kills, 100);
    EXPECT_GE(kills, 2);
    const std::string dir = root() + "/" + whole->ref.hash;
    EXPECT_EQ(Content(dir), Content(whole->dir));
    // Nothing unfinished stays.
    for (const auto& entry : fs::directory_iterator(root())) EXPECT_EQ(entry.path().filename().string().size(), 32u) << entry.path();
  }
}

TEST_F(ResumeTest, KilledAfterItsLastDocumentItEndsAsWell) {
  WriteCorpus();
  options_.checkpoint_bytes = 1;
  options_.max_bytes = 1'500'001;
  const auto whole = Prepare(options_, Path("undisturbed"));
  ASSERT_TRUE(whole.ok()) << whole.status();
  int calls = 0;
  while (KilledAt(1)) ASSERT_LT(++calls, 100);
  EXPECT_GT(calls, 3);
  EXPECT_EQ(Content(root() + "/" + whole->ref.hash), Content(whole->dir));
}

TEST_F(ResumeTest, ItGoesOnRatherThanBeginAnew) {
  WriteCorpus();
  ASSERT_TRUE(KilledAt(8));
  std::int64_t first_documents = -1;
  bool read_again = false;
  const auto prepared = Prepare(options_, root(), [&](const PrepareProgress& progress) {
    read_again |= std::string(progress.phase) == "reading";
    if (first_documents < 0) first_documents = progress.documents;
  });
  ASSERT_TRUE(prepared.ok());
  EXPECT_FALSE(read_again);
  EXPECT_GT(first_documents, 500);
}

TEST_F(ResumeTest, ADamagedRecordOrAChangedSourceBeginsAnew) {
  WriteCorpus();
  ASSERT_TRUE(KilledAt(8));
  for (const auto& entry : fs::directory_iterator(root())) std::ofstream(entry.path() / "unfinished.json") << "{\"version\":1,";
  const auto prepared = Prepare(options_, root());
  ASSERT_TRUE(prepared.ok()) << prepared.status();
  EXPECT_EQ(Content(prepared->dir), Content(Prepare(options_, Path("undisturbed"))->dir));
  options_.name = "other";
  ASSERT_TRUE(KilledAt(8));
  Write("b/100.txt", "now another text");
  const auto changed = Prepare(options_, root());
  ASSERT_TRUE(changed.ok()) << changed.status();
  EXPECT_EQ(Content(changed->dir), Content(Prepare(options_, Path("undisturbed"))->dir));
}

TEST_F(ResumeTest, ASentencePieceVocabularyIsNotTrainedTwice) {
  WriteCorpus();
  options_.tokenizer = "sentencepiece:unigram:340";
  options_.include = {"1*.txt"};
  const auto whole = Prepare(options_, Path("undisturbed"));
  ASSERT_TRUE(whole.ok()) << whole.status();
  ASSERT_TRUE(KilledAt(3));
  bool trained = false;
  const auto prepared = Prepare(options_, root(), [&](const PrepareProgress& progress) {
    trained |= std::string(progress.phase) == "training the tokenizer";
  });
  EXPECT_FALSE(trained);
  EXPECT_EQ(Content(prepared->dir), Content(whole->dir));
}

}  // namespace
}  // namespace entrain::data
