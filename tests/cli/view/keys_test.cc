#include "cli/view/keys.h"

#include "gtest/gtest.h"

namespace entrain::cli::view {
namespace {

using Kind = Key::Kind;

Key Text(const char* text) { return {Kind::kText, text}; }

TEST(KeysTest, TextAndControlBytes) {
  KeyParser parser;
  EXPECT_EQ(parser.Feed("aß\r\x7f\x1a\x01"),
            (std::vector<Key>{Text("a"), Text("ß"), {Kind::kEnter, ""}, {Kind::kBackspace, ""}, {Kind::kSuspend, ""}}));
}

TEST(KeysTest, BothForms) {
  KeyParser parser;
  EXPECT_EQ(parser.Feed("\x1b[A\x1bOB\x1b[5~\x1b[6~\x1b[H\x1b[4~"),
            (std::vector<Key>{{Kind::kUp, ""}, {Kind::kDown, ""}, {Kind::kPageUp, ""}, {Kind::kPageDown, ""}, {Kind::kHome, ""}, {Kind::kEnd, ""}}));
}

TEST(KeysTest, SequencesWithoutAMeaningAreDroppedWhole) {
  KeyParser parser;
  EXPECT_EQ(parser.Feed("\x1b[1;5Cq\x1b[<0;3;4Mx"), (std::vector<Key>{Text("q"), Text("x")}));
}

TEST(KeysTest, ASequenceInPiecesIsOneKey) {
  KeyParser parser;
  EXPECT_TRUE(parser.Feed("\x1b").empty());
  EXPECT_TRUE(parser.pending());
  EXPECT_TRUE(parser.Feed("[").empty());
  EXPECT_EQ(parser.Feed("A"), (std::vector<Key>{{Kind::kUp, ""}}));
  EXPECT_TRUE(parser.Feed("\xc3").empty());
  EXPECT_EQ(parser.Feed("\x9f"), (std::vector<Key>{Text("ß")}));
}

TEST(KeysTest, ALoneEscapeIsAKeyOnceNothingFollows) {
  KeyParser parser;
  EXPECT_TRUE(parser.Feed("\x1b").empty());
  EXPECT_EQ(parser.Settle(), (std::vector<Key>{{Kind::kEscape, ""}}));
  EXPECT_FALSE(parser.pending());
  EXPECT_EQ(parser.Feed("\x1bq"), (std::vector<Key>{{Kind::kEscape, ""}, Text("q")}));
}

}  // namespace
}  // namespace entrain::cli::view
