#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/random.h"
#include "data/byte_level_vocabulary.h"
#include "data/byte_pairs.h"
#include "data/gpt2_pieces.h"
#include "data/tokenizer.h"
#include "data/unicode_class.h"
#include "tests/data/data_folder.h"

namespace entrain::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kFolder = std::string(ENTRAIN_SOURCE_DIR) + "/tests/data/byte_level";

// What the tokenizers package of Hugging Face gave; make_expected.py there.
const nlohmann::json& Expected() {
  static const auto& expected = *new nlohmann::json(nlohmann::json::parse(*ReadFile(kFolder + "/expected.json")));
  return expected;
}

TEST(UnicodeClassTest, EveryCodePointIsClassedAsTheTokenizersPackageDoes) {
  std::vector<UnicodeClass> expected(0x110000, UnicodeClass::kOther);
  const auto fill = [&](const char* name, UnicodeClass kind) {
    for (const auto& run : Expected()[name]) {
      for (std::size_t code = run[0]; code <= run[1]; ++code) expected[code] = kind;
    }
  };
  fill("letters", UnicodeClass::kLetter);
  fill("numbers", UnicodeClass::kNumber);
  fill("spaces", UnicodeClass::kSpace);
  for (char32_t code = 0; code < 0x110000; ++code) ASSERT_EQ(ClassOf(code), expected[code]) << static_cast<std::uint32_t>(code);
}

std::vector<std::string> Pieces(std::string_view text) {
  std::vector<std::string> pieces;
  while (!text.empty()) {
    pieces.emplace_back(FirstPiece(text));
    text.remove_prefix(pieces.back().size());
  }
  return pieces;
}

TEST(Gpt2PiecesTest, CutsAsTheRegularExpression) {
  EXPECT_THAT(Pieces("Hello world's"), ElementsAre("Hello", " world", "'s"));
  EXPECT_THAT(Pieces("we'll WE'LL '"), ElementsAre("we", "'ll", " WE", "'", "LL", " '"));
  EXPECT_THAT(Pieces("a  b"), ElementsAre("a", " ", " b"));
  EXPECT_THAT(Pieces("a\n\nb"), ElementsAre("a", "\n", "\n", "b"));
  EXPECT_THAT(Pieces("a \n"), ElementsAre("a", " \n"));
  EXPECT_THAT(Pieces("x12\u00bd!?"), ElementsAre("x", "12\u00bd", "!?"));
  EXPECT_THAT(Pieces(" "), ElementsAre(" "));
  EXPECT_THAT(Pieces("\xFFz"), ElementsAre("\xFF", "z"));
}

TEST(ByteLevelTokenizerTest, GivesTheTokensOfTheTokenizersPackageAndTheTextBack) {
  for (const std::string& name : {kFolder + "/tokenizer.json", kFolder + "/vocab.json"}) {
    const auto tokenizer = OpenTokenizer(name);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    EXPECT_EQ((*tokenizer)->vocab_size(), 1000);
    EXPECT_EQ((*tokenizer)->end_of_document(), 0u);
    // Twice: the second time from the cache of pieces.
    for (int round = 0; round < 2; ++round) {
      for (const auto& item : Expected()["texts"]) {
        const auto text = item["text"].get<std::string>();
        std::vector<std::uint32_t> tokens;
        ASSERT_TRUE((*tokenizer)->Encode(text, &tokens).ok());
        EXPECT_EQ(tokens, item["tokens"].get<std::vector<std::uint32_t>>()) << text;
        std::string back;
        ASSERT_TRUE((*tokenizer)->Decode(tokens.data(), tokens.size(), &back).ok());
        EXPECT_EQ(back, text);
      }
    }
  }
}

TEST(ByteLevelTokenizerTest, WhatAFolderKeepsIsReadAgain) {
  const auto made = OpenTokenizer(kFolder + "/vocab.json");
  const std::string dir = testing::TempDir() + "/kept_byte_level";
  std::filesystem::create_directories(dir);
  std::ofstream(dir + "/tokenizer.json") << (*made)->file_bytes();
  const auto kept = LoadKeptTokenizer(dir, (*made)->file_name());
  ASSERT_TRUE(kept.ok()) << kept.status();
  std::vector<std::uint32_t> a;
  std::vector<std::uint32_t> b;
  EXPECT_TRUE((*made)->Encode("The entropies of every head", &a).ok());
  EXPECT_TRUE((*kept)->Encode("The entropies of every head", &b).ok());
  EXPECT_EQ(a, b);
}

// The rule itself: join the leftmost pair of the lowest rank until there is none.
std::vector<std::uint32_t> JoinSlowly(std::vector<std::uint32_t> tokens, const std::vector<BytePair>& pairs) {
  for (;;) {
    std::size_t best_rank = pairs.size();
    std::size_t best = 0;
    for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
      for (std::size_t rank = 0; rank < best_rank; ++rank) {
        if (pairs[rank].left == tokens[i] && pairs[rank].right == tokens[i + 1]) {
          best_rank = rank;
          best = i;
        }
      }
    }
    if (best_rank == pairs.size()) return tokens;
    tokens[best] = pairs[best_rank].joined;
    tokens.erase(tokens.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

TEST(BytePairsTest, ShortAndLongPiecesFollowTheRule) {
  std::array<std::uint32_t, 256> bytes{};
  for (std::uint32_t i = 0; i < 256; ++i) bytes[i] = i;
  Rng rng(3, 1);
  std::vector<BytePair> pairs;
  std::uint32_t next = 256;
  for (int i = 0; i < 60; ++i) {
    const auto pick = [&] { return rng.Below(2) == 0 || next == 256 ? 'a' + static_cast<std::uint32_t>(rng.Below(3)) : 256 + static_cast<std::uint32_t>(rng.Below(next - 256)); };
    const BytePair pair{pick(), pick(), next};
    const bool known = std::any_of(pairs.begin(), pairs.end(), [&](const BytePair& p) { return p.left == pair.left && p.right == pair.right; });
    if (!known) {
      pairs.push_back(pair);
      ++next;
    }
  }
  const BytePairs encoder(bytes, pairs);
  for (const std::size_t length : {1u, 2u, 7u, 47u, 48u, 49u, 50u, 200u}) {
    for (int i = 0; i < 20; ++i) {
      std::string piece;
      while (piece.size() < length) piece += static_cast<char>('a' + rng.Below(3));
      std::vector<std::uint32_t> tokens;
      encoder.Encode(piece, &tokens);
      EXPECT_EQ(tokens, JoinSlowly(std::vector<std::uint32_t>(piece.begin(), piece.end()), pairs)) << piece;
    }
  }
}

class TokenizerFileTest : public DataFolderTest {
 protected:
  std::string ErrorOfTokenizer(const nlohmann::json& root) const {
    Write("tokenizer.json", root.dump());
    return std::string(OpenTokenizer(Path("in/tokenizer.json")).status().message());
  }
  nlohmann::json good_ = nlohmann::json::parse(*ReadFile(kFolder + "/tokenizer.json"));
};

TEST_F(TokenizerFileTest, NamesTheFieldThatCannotBeUsed) {
  EXPECT_EQ(ErrorOfTokenizer(good_), "");
  nlohmann::json bad = good_;
  bad["pre_tokenizer"] = {{"type", "Whitespace"}};
  EXPECT_THAT(ErrorOfTokenizer(bad), HasSubstr(Path("in/tokenizer.json") + ": pre_tokenizer: must be ByteLevel"));
  bad = good_;
  bad["normalizer"] = {{"type", "NFC"}};
  EXPECT_THAT(ErrorOfTokenizer(bad), HasSubstr("normalizer: must be null"));
  bad = good_;
  bad["model"]["dropout"] = 0.1;
  EXPECT_THAT(ErrorOfTokenizer(bad), HasSubstr("model.dropout: 0.1"));
  bad = good_;
  bad["model"]["type"] = "WordPiece";
  EXPECT_THAT(ErrorOfTokenizer(bad), HasSubstr("model.type: must be BPE"));
  bad = good_;
  bad["model"]["merges"][2] = "x";
  EXPECT_THAT(ErrorOfTokenizer(bad), HasSubstr("model.merges[2]: must name two tokens"));
  bad["model"]["merges"][2] = {"e", "nothing like it"};
  EXPECT_THAT(ErrorOfTokenizer(bad), HasSubstr("model.merges[2]"));
  bad = good_;
  bad["model"]["vocab"]["a"] = -3;
  EXPECT_THAT(ErrorOfTokenizer(bad), HasSubstr("the id of \"a\""));
  bad = good_;
  bad["model"]["vocab"].erase("a");
  EXPECT_THAT(ErrorOfTokenizer(bad), HasSubstr("\"a\" is not in the vocabulary"));
  Write("tokenizer.json", "{\"model\": ");
  EXPECT_THAT(std::string(OpenTokenizer(Path("in/tokenizer.json")).status().message()), HasSubstr("parse error"));
  Write("g/vocab.json", *ReadFile(kFolder + "/vocab.json"));
  Write("g/merges.txt", "#version: 0.2\nt h\nth e s\n");
  EXPECT_THAT(std::string(OpenTokenizer(Path("in/g")).status().message()), HasSubstr("merges.txt:3: must name two tokens"));
  EXPECT_EQ(OpenTokenizer(Path("in/none")).status().code(), absl::StatusCode::kNotFound);
  Write("x.model", "not a model");
  EXPECT_THAT(std::string(OpenTokenizer(Path("in/x.model")).status().message()), HasSubstr("x.model: no SentencePiece model"));
}

}  // namespace
}  // namespace entrain::data
