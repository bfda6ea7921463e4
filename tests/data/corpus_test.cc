// What a data source may hold: packed text, JSON lines, other programs' token shards.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "base/files.h"
#include "data/export.h"
#include "data/inspect.h"
#include "data/json_field.h"
#include "data/token_file.h"
#include "tests/data/data_folder.h"

namespace entrain::data {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kTokenizer = std::string(ENTRAIN_SOURCE_DIR) + "/tests/data/byte_level/tokenizer.json";

class CorpusTest : public DataFolderTest {
 protected:
  CorpusTest() { options_.validation_fraction = 0; }
  // As bytes.
  static std::string Documents(const std::vector<std::string>& texts) {
    std::string stream;
    for (const std::string& text : texts) stream += text + '\0';
    return stream;
  }
};

TEST(JsonFieldTest, FindsTheTextAndSaysWhatIsWrong) {
  std::string text;
  const auto error = [&](const char* record, const char* field) {
    return std::string(ReadTextField(record, field, &text).message());
  };
  EXPECT_EQ(error(R"({"a":[{"text":"no"}],"b":{"text":"no"},"text":"y\u00e9\n","z":1})", "text"), "");
  EXPECT_EQ(text, "y\u00e9\n");
  EXPECT_EQ(error(R"({"meta":{"x":1,"body":{"text":"deep"}},"text":"no"})", "meta.body.text"), "");
  EXPECT_EQ(text, "deep");
  EXPECT_EQ(error(R"({"a.b":"dotted"})", "a.b"), "");
  EXPECT_EQ(text, "dotted");
  EXPECT_THAT(error(R"({"meta":[{"text":"in a list"}]})", "meta.text"), HasSubstr("field meta.text: is missing"));
  EXPECT_THAT(error(R"({"a":1})", "text"), HasSubstr("field text: is missing"));
  EXPECT_THAT(error(R"({"text":7})", "text"), HasSubstr("field text: must be a text, is a number"));
  EXPECT_THAT(error(R"({"text":null})", "text"), HasSubstr("is null"));
  EXPECT_THAT(error(R"({"text":{}})", "text"), HasSubstr("is an object"));
  EXPECT_THAT(error(R"({"text":["a"]})", "text"), HasSubstr("is a list"));
  EXPECT_THAT(error(R"(["text"])", "text"), HasSubstr("must be a JSON object"));
  EXPECT_THAT(error(R"("text")", "text"), HasSubstr("must be a JSON object"));
  EXPECT_THAT(error(R"({"text":"a"} x)", "text"), HasSubstr("no JSON at byte 14"));
  EXPECT_THAT(error("{\"text\":\"\xFF\"}", "text"), HasSubstr("no JSON at byte"));
}

TEST_F(CorpusTest, ReadsPackedTextAndJsonLines) {
  Write("a.txt.gz", Gzip("one\n") + Gzip("more\n"));
  Write("b.jsonl", "\xEF\xBB\xBF{\"text\":\"two\"}\r\n\n{\"text\":\"\"}\n{\"text\":\"three\"}");
  Write("c.ndjson.zst", Zstd("{\"text\":\"four\"}\n") + Zstd("{\"text\":\"five\"}\n"));
  Write("d.txt.zst", Zstd("six"));
  Write("e.tar.gz", Gzip(std::string("a\0b", 3)));
  Write("f.json", "{\"name\":\"a setting, text like any other\"}");
  const auto prepared = Prepare(options_, root());
  ASSERT_TRUE(prepared.ok()) << prepared.status();
  EXPECT_EQ(Text(prepared->dir, Split::kTrain),
            Documents({"one\nmore\n", "two", "three", "four", "five", "six", "{\"name\":\"a setting, text like any other\"}"}));
  EXPECT_EQ(prepared->skipped_binary_files, 1);
  options_.include = {"*.json"};
  EXPECT_THAT(ErrorOf(), HasSubstr("f.json:1 (offset 0): field text: is missing"));
  options_.field = "name";
  EXPECT_EQ(Prepare(options_, root())->documents, 1);
}

TEST_F(CorpusTest, NamesFileLineAndOffsetOfABadRecordAndLeavesNothing) {
  Write("a.jsonl", "{\"text\":\"fine\"}\n{\"body\":\"x\"}\n");
  EXPECT_THAT(ErrorOf(), HasSubstr(Path("in/a.jsonl") + ":2 (offset 16): field text: is missing"));
  EXPECT_TRUE(fs::is_empty(root()));
  Write("a.jsonl", "{\"text\":\"a\\u0000b\"}\n");
  EXPECT_THAT(ErrorOf(), HasSubstr("NUL"));
  options_.tokenizer = kTokenizer;
  EXPECT_EQ(ErrorOf(), "");
}

TEST_F(CorpusTest, NamesTheOffsetOfDamagedPackedData) {
  std::string text;
  for (int i = 0; i < 30000; ++i) text += std::to_string(i * 7919) + " ";
  for (const auto& [name, packed] : {std::pair{"a.txt.gz", Gzip(text)}, std::pair{"a.txt.zst", Zstd(text)}}) {
    fs::remove_all(dir_ / "in");
    fs::remove_all(root());
    Write(name, packed.substr(0, packed.size() / 2));
    EXPECT_THAT(ErrorOf(), HasSubstr(Path(std::string("in/") + name) + ": offset " + std::to_string(packed.size() / 2) + ": cut off"));
    std::string flipped = packed;
    for (std::size_t i = packed.size() / 2; i < packed.size() / 2 + 64; ++i) flipped[i] ^= 0x55;
    Write(name, flipped);
    EXPECT_THAT(ErrorOf(), HasSubstr(": offset "));
    EXPECT_TRUE(fs::is_empty(root()));
    Write(name, packed);
    EXPECT_EQ(Prepare(options_, root())->train_tokens, static_cast<std::int64_t>(text.size()) + 1);
  }
}

std::string Uint16(const std::vector<int>& tokens) {
  std::string bytes;
  for (const int token : tokens) bytes += {static_cast<char>(token & 0xFF), static_cast<char>(token >> 8)};
  return bytes;
}

TEST_F(CorpusTest, ReadsNanoGptShards) {
  Write("train.bin", Uint16({5, 6, 50256, 7, 50256, 8}));
  Write("val.bin", Uint16({9, 50256}));
  const auto prepared = Prepare(options_, root());
  ASSERT_TRUE(prepared.ok()) << prepared.status();
  EXPECT_THAT(Tokens(prepared->dir, Split::kTrain), ElementsAre(5, 6, 50256, 7, 50256, 8));
  EXPECT_THAT(Tokens(prepared->dir, Split::kValidation), ElementsAre(9, 50256));
  EXPECT_EQ(prepared->vocab_size, 50257);
  EXPECT_EQ(prepared->documents, 4);
  Write("val.bin", Uint16({9, 60000}));
  EXPECT_THAT(ErrorOf(), HasSubstr("val.bin: offset 2: token 60000 is outside the vocabulary of 50257"));
  Write("val.bin", "odd");
  EXPECT_THAT(ErrorOf(), HasSubstr("val.bin: offset 2: half a token"));
  options_.tokenizer = "sentencepiece:bpe:400";
  EXPECT_THAT(ErrorOf(), HasSubstr("holds token shards"));
}

TEST_F(CorpusTest, ReadsAndRefusesLlmCShards) {
  const std::string shard = EncodeLlmCHeader(2, 5) + Uint16({50256, 1, 2, 50256, 3});
  Write("x_train_000000.bin", shard);
  std::string wide = EncodeLlmCHeader(4, 2) + std::string("\x01\0\x01\0\x02\0\0\0", 8);
  Write("x_val_000000.bin", wide);
  options_.vocab_size = 70000;
  options_.end_of_document = 50256;
  const auto prepared = Prepare(options_, root());
  ASSERT_TRUE(prepared.ok()) << prepared.status();
  EXPECT_THAT(Tokens(prepared->dir, Split::kTrain), ElementsAre(50256, 1, 2, 50256, 3));
  EXPECT_THAT(Tokens(prepared->dir, Split::kValidation), ElementsAre(65537, 2));
  Write("x_train_000000.bin", shard.substr(0, shard.size() - 2));
  EXPECT_THAT(ErrorOf(), HasSubstr("x_train_000000.bin: offset 1032: truncated, 1034 bytes are expected for 5 tokens"));
  Write("x_train_000000.bin", shard + "zz");
  EXPECT_THAT(ErrorOf(), HasSubstr("offset 1034: 2 bytes too many"));
  std::string version = shard;
  version[4] = 9;
  Write("x_train_000000.bin", version);
  EXPECT_THAT(ErrorOf(), HasSubstr("offset 4: version 9"));
}

TEST_F(CorpusTest, ExportedShardsComeBackAsTheSameStreams) {
  for (int i = 0; i < 40; ++i) Write("d" + std::to_string(i) + ".txt", "The entropies of document " + std::to_string(i * i) + "\n");
  options_.validation_fraction = 0.3;
  options_.tokenizer = kTokenizer;
  const auto first = Prepare(options_, root());
  ASSERT_TRUE(first.ok()) << first.status();
  const auto dataset = TokenDataset::Open(first->dir);
  const auto nano = Export(*dataset, {Path("nano"), TokenFileFormat::kNanoGpt});
  ASSERT_TRUE(nano.ok()) << nano.status();
  EXPECT_EQ(nano->size(), 2u);
  EXPECT_EQ(fs::file_size(Path("nano/train.bin")), static_cast<std::uintmax_t>(2 * first->train_tokens));
  const auto llmc = Export(*dataset, {Path("llmc"), TokenFileFormat::kLlmC, 100});
  ASSERT_TRUE(llmc.ok()) << llmc.status();
  EXPECT_GT(llmc->size(), 3u);
  EXPECT_TRUE(fs::exists(Path("llmc/in_train_000001.bin")));
  EXPECT_EQ(Export(*dataset, {Path("llmc"), TokenFileFormat::kLlmC, 100}).status().code(), absl::StatusCode::kAlreadyExists);
  for (const char* folder : {"nano", "llmc"}) {
    options_.source = Path(folder);
    const auto again = Prepare(options_, root());
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(Tokens(again->dir, Split::kTrain), Tokens(first->dir, Split::kTrain)) << folder;
    EXPECT_EQ(Tokens(again->dir, Split::kValidation), Tokens(first->dir, Split::kValidation)) << folder;
  }
}

TEST_F(CorpusTest, InspectCountsShowsAndTriesTheTokenizer) {
  for (int i = 0; i < 30; ++i) Write("d" + std::to_string(i) + ".txt", "document number " + std::to_string(i) + " h\u00e9llo\n");
  options_.validation_fraction = 0.2;
  options_.tokenizer = kTokenizer;
  const auto prepared = Prepare(options_, root());
  const auto found = Inspect(prepared->dir, {1, 64});
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->train.tokens, prepared->train_tokens);
  EXPECT_EQ(found->train.documents + found->validation.documents, 30);
  EXPECT_EQ(found->manifest.round_trip.documents, 30);
  EXPECT_EQ(found->manifest.round_trip.exact, 30);
  EXPECT_EQ(found->tokens_round_trip.documents, 30);
  EXPECT_EQ(found->tokens_round_trip.exact, 30);
  ASSERT_EQ(found->samples.size(), 2u);
  EXPECT_THAT(found->samples[0].text, HasSubstr("document number "));
  std::string tokens = *ReadFile(prepared->dir + "/train-00000.tokens");
  tokens[30] ^= 1;
  std::ofstream(prepared->dir + "/train-00000.tokens", std::ios::binary) << tokens;
  EXPECT_THAT(std::string(Inspect(prepared->dir, {}).status().message()), HasSubstr("offset 24: damaged"));
}

}  // namespace
}  // namespace entrain::data
