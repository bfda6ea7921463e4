#include "data/prepare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "base/files.h"
#include "base/random.h"
#include "data/text_check.h"
#include "data/token_dataset.h"

namespace entrain::data {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class PrepareTest : public testing::Test {
 protected:
  PrepareTest() : dir_(fs::path(testing::TempDir()) / "prepare_test") {
    dir_ /= testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(dir_);
    fs::create_directories(dir_ / "text");
    options_.source = (dir_ / "text").string();
  }
  void Write(const std::string& name, const std::string& text) {
    fs::create_directories((dir_ / "text" / name).parent_path());
    std::ofstream(dir_ / "text" / name, std::ios::binary) << text;
  }
  void WriteDocuments(int count) {
    for (int i = 0; i < count; ++i) Write("d" + std::to_string(1000 + i) + ".txt", Document(i));
  }
  static std::string Document(int i) { return "document " + std::to_string(i) + " says h\xC3\xA9llo\n"; }
  std::string root() const { return (dir_ / "root").string(); }
  std::string Text(const TokenDataset& dataset, Split split) const {
    std::vector<std::int32_t> tokens(static_cast<std::size_t>(dataset.TokenCount(split)));
    dataset.Read(split, 0, dataset.TokenCount(split), tokens.data());
    return std::string(tokens.begin(), tokens.end());
  }
  fs::path dir_;
  PrepareOptions options_;
};

TEST_F(PrepareTest, EveryDocumentIsInOneSplitWithItsEnd) {
  WriteDocuments(200);
  options_.validation_fraction = 0.2;
  const auto prepared = Prepare(options_, root());
  ASSERT_TRUE(prepared.ok()) << prepared.status();
  EXPECT_EQ(prepared->documents, 200);
  EXPECT_EQ(prepared->ref.name, "text");
  EXPECT_EQ(prepared->dir, root() + "/" + prepared->ref.hash);
  EXPECT_EQ(prepared->vocab_size, 256);
  const auto dataset = TokenDataset::Open(prepared->dir);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_GT(dataset->DocumentCount(Split::kValidation), 15);
  EXPECT_LT(dataset->DocumentCount(Split::kValidation), 75);
  const std::string train = Text(*dataset, Split::kTrain);
  const std::string held_out = Text(*dataset, Split::kValidation);
  for (int i = 0; i < 200; ++i) {
    const std::string document = Document(i) + std::string(1, '\0');
    EXPECT_NE(train.find(document) == std::string::npos, held_out.find(document) == std::string::npos) << i;
  }
}

TEST_F(PrepareTest, TheSameTextGivesTheSameHashAndIsReused) {
  WriteDocuments(20);
  const auto first = Prepare(options_, root());
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_FALSE(first->reused);
  const auto second = Prepare(options_, root());
  ASSERT_TRUE(second.ok());
  EXPECT_TRUE(second->reused);
  EXPECT_EQ(second->ref, first->ref);
  // Nothing is read again while nothing changed.
  bool read = false;
  EXPECT_TRUE(Prepare(options_, root(), [&](const PrepareProgress&) { read = true; })->reused);
  EXPECT_FALSE(read);
  options_.name = "renamed";
  EXPECT_EQ(Prepare(options_, root())->ref.hash, first->ref.hash);
  Write("d1000.txt", "changed");
  EXPECT_NE(Prepare(options_, root())->ref.hash, first->ref.hash);
  int entries = 0;
  for (const auto& entry : fs::directory_iterator(root())) {
    ++entries;
    EXPECT_EQ(entry.path().filename().string().size(), 32u) << "left behind: " << entry.path();
  }
  EXPECT_EQ(entries, 2);
}

TEST_F(PrepareTest, BinaryFilesAreSkippedAndCounted) {
  Write("a.txt", "text one\n");
  Write("b.bin", std::string("a\0b", 3));
  Write("c.bin", "bad \xC3\x28 utf-8");
  Write("d.txt", "");
  Write(".hidden/e.txt", "hidden");
  const auto prepared = Prepare(options_, root());
  ASSERT_TRUE(prepared.ok()) << prepared.status();
  EXPECT_EQ(prepared->skipped_binary_files, 2);
  EXPECT_EQ(prepared->documents, 1);
  EXPECT_EQ(prepared->train_tokens, 10);
}

TEST_F(PrepareTest, SaysWhatIsWrongWithASource) {
  options_.source = (dir_ / "nowhere").string();
  EXPECT_EQ(Prepare(options_, root()).status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(Prepare(options_, root()).status().message()), HasSubstr(options_.source));
  options_.source = (dir_ / "text").string();
  Write("b.bin", std::string("\0", 1));
  Write("empty", "");
  const auto empty = Prepare(options_, root());
  EXPECT_EQ(empty.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(empty.status().message()),
              HasSubstr("no text in " + options_.source + ": 2 files, 1 of them binary"));
  EXPECT_TRUE(fs::is_empty(root()));
  options_.tokenizer = "words";
  EXPECT_THAT(std::string(Prepare(options_, root()).status().message()),
              HasSubstr("known: bytes, sentencepiece:bpe:<size>"));
}

TEST_F(PrepareTest, PatternsAndTheByteLimitChooseTheText) {
  Write("a.py", "print(1)\n");
  Write("b.txt", "no\n");
  Write("sub/c.py", "h\xC3\xA9!!\n");
  options_.include = {"*.py"};
  options_.validation_fraction = 0;
  EXPECT_EQ(Prepare(options_, root())->train_tokens, 9 + 1 + 6 + 1);
  options_.max_bytes = 11;  // the limit falls inside the two bytes of a character
  EXPECT_EQ(Prepare(options_, root())->train_tokens, 9 + 1 + 1 + 1);
}

TEST_F(PrepareTest, ASingleFileIsHeldOutInParts) {
  std::string text;
  for (int i = 0; i < 20000; ++i) text += "line " + std::to_string(i) + "\n";
  Write("all.txt", text);
  options_.source = (dir_ / "text/all.txt").string();
  const auto prepared = Prepare(options_, root());
  ASSERT_TRUE(prepared.ok()) << prepared.status();
  EXPECT_GT(prepared->documents, 30);
  EXPECT_GT(prepared->validation_tokens, 0);
  EXPECT_GT(prepared->train_tokens, prepared->validation_tokens);
  EXPECT_EQ(prepared->train_tokens + prepared->validation_tokens,
            static_cast<std::int64_t>(text.size()) + prepared->documents);
  const auto dataset = TokenDataset::Open(prepared->dir);
  EXPECT_EQ(Text(*dataset, Split::kTrain).back(), '\0');
}

TEST_F(PrepareTest, SomethingIsHeldOutEvenOfAFewDocuments) {
  WriteDocuments(2);
  options_.validation_fraction = 0.001;
  const auto prepared = Prepare(options_, root());
  EXPECT_GT(prepared->validation_tokens, 0);
  EXPECT_GT(prepared->train_tokens, 0);
}

TEST_F(PrepareTest, RefusesDamagedAndTruncatedShards) {
  WriteDocuments(50);
  const auto prepared = Prepare(options_, root());
  ASSERT_TRUE(prepared.ok());
  const std::string path = prepared->dir + "/train-00000.tokens";
  const std::string good = *ReadFile(path);
  const auto error_with = [&](const std::string& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
    return std::string(TokenDataset::Open(prepared->dir).status().message());
  };
  EXPECT_THAT(error_with(good.substr(0, 10)), HasSubstr(path + ": offset 10: truncated"));
  EXPECT_THAT(error_with(good.substr(0, good.size() - 1)), HasSubstr("offset " + std::to_string(good.size() - 1)));
  EXPECT_THAT(error_with(good + "x"), HasSubstr("1 bytes too many"));
  std::string flipped = good;
  flipped[3] = 'x';
  EXPECT_THAT(error_with(flipped), HasSubstr(path + ": offset 3: damaged header"));
  flipped = good;
  flipped[100] ^= 1;
  EXPECT_THAT(error_with(flipped), HasSubstr(path + ": offset 24: damaged"));
  // Preparing again replaces the damage.
  const auto repaired = Prepare(options_, root());
  ASSERT_TRUE(repaired.ok()) << repaired.status();
  EXPECT_FALSE(repaired->reused);
  EXPECT_TRUE(TokenDataset::Open(prepared->dir).ok());
  const std::string manifest = *ReadFile(prepared->dir + "/dataset.json");
  std::ofstream(prepared->dir + "/dataset.json") << "{\"format\":1}";
  EXPECT_THAT(std::string(TokenDataset::Open(prepared->dir).status().message()), HasSubstr("dataset.json"));
}

TEST_F(PrepareTest, TrainsASentencePieceVocabulary) {
  const std::vector<std::string> syllables = {"ka", "lo", "mi",  "ter", "ven", "sta",
                                              "qu", "ip", "ros", "and", "ble", "h\xC3\xA9"};
  Rng rng(1, 1);
  std::string text;
  for (int i = 0; i < 4000; ++i) {
    for (std::uint64_t n = rng.Below(4) + 1; n > 0; --n) text += syllables[rng.Below(syllables.size())];
    text += i % 10 == 0 ? "\n    " : " ";
  }
  Write("a.py", text);
  Write("b.py", "def main(): pass\n" + text);
  for (const std::string tokenizer : {"sentencepiece:bpe:400", "sentencepiece:unigram:350"}) {
    options_.tokenizer = tokenizer;
    const auto prepared = Prepare(options_, root());
    ASSERT_TRUE(prepared.ok()) << prepared.status();
    EXPECT_EQ(prepared->vocab_size, tokenizer == "sentencepiece:bpe:400" ? 400 : 350);
    EXPECT_LT(prepared->train_tokens + prepared->validation_tokens, static_cast<std::int64_t>(text.size()));
    EXPECT_TRUE(fs::exists(prepared->dir + "/tokenizer.model"));
    EXPECT_EQ(Prepare(options_, root())->ref, prepared->ref);
  }
  options_.tokenizer = "sentencepiece:bpe:200000";
  EXPECT_THAT(std::string(Prepare(options_, root()).status().message()),
              HasSubstr("cannot train a SentencePiece vocabulary"));
}

TEST_F(PrepareTest, FindsTheStandardLibrary) {
  const auto path = FindPythonStdlib();
  ASSERT_TRUE(path.ok()) << path.status();
  EXPECT_TRUE(fs::exists(*path + "/os.py"));
}

TEST(TextCheckTest, KnowsUtf8) {
  const auto is_text = [](const std::string& bytes) {
    TextCheck check;
    for (char byte : bytes) {
      if (!check.Feed(std::string(1, byte))) return false;
    }
    return check.Complete();
  };
  EXPECT_TRUE(is_text("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"));
  EXPECT_FALSE(is_text(std::string("\0", 1)));
  EXPECT_FALSE(is_text("\xC0\xAF"));
  EXPECT_FALSE(is_text("\xE0\x80\x80"));
  EXPECT_FALSE(is_text("\xED\xA0\x80"));
  EXPECT_FALSE(is_text("\xF4\x90\x80\x80"));
  EXPECT_FALSE(is_text("\xE2\x82"));
}

TEST(SequenceOrderTest, EveryEpochIsAPermutation) {
  const auto order = SequenceOrder::Create(101, 10, 7);
  ASSERT_TRUE(order.ok());
  ASSERT_EQ(order->windows(), 10);
  std::vector<std::int64_t> epochs[2];
  for (std::int64_t i = 0; i < 20; ++i) epochs[i / 10].push_back(order->Begin(i));
  for (const auto& epoch : epochs) {
    std::set<std::int64_t> begins(epoch.begin(), epoch.end());
    EXPECT_EQ(begins.size(), 10u);
    EXPECT_EQ(*begins.rbegin(), 90);
  }
  EXPECT_NE(epochs[0], epochs[1]);
  EXPECT_EQ(SequenceOrder::Create(101, 10, 7)->Begin(13), order->Begin(13));
  EXPECT_EQ(SequenceOrder::Create(11, 10, 7)->windows(), 1);
  EXPECT_EQ(SequenceOrder::Create(10, 10, 7).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace entrain::data
