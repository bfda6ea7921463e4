// A folder of a test's own, and what data tests do with it.
#pragma once

#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "data/prepare.h"
#include "data/token_dataset.h"

namespace entrain::data {

class DataFolderTest : public testing::Test {
 protected:
  DataFolderTest() {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    dir_ = std::filesystem::path(testing::TempDir()) / info->test_suite_name() / info->name();
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_ / "in");
    options_.source = (dir_ / "in").string();
  }
  std::string Path(const std::string& name) const { return (dir_ / name).string(); }
  std::string root() const { return Path("root"); }
  void Write(const std::string& name, const std::string& bytes) const {
    std::filesystem::create_directories((dir_ / "in" / name).parent_path());
    std::ofstream(dir_ / "in" / name, std::ios::binary) << bytes;
  }
  static std::string Gzip(const std::string& text) {
    std::string packed(compressBound(text.size()) + 64, '\0');
    z_stream zlib{};
    deflateInit2(&zlib, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    zlib.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    zlib.avail_in = static_cast<uInt>(text.size());
    zlib.next_out = reinterpret_cast<Bytef*>(packed.data());
    zlib.avail_out = static_cast<uInt>(packed.size());
    EXPECT_EQ(deflate(&zlib, Z_FINISH), Z_STREAM_END);
    packed.resize(zlib.total_out);
    deflateEnd(&zlib);
    return packed;
  }
  static std::string Zstd(const std::string& text) {
    std::string packed(ZSTD_compressBound(text.size()), '\0');
    ZSTD_CCtx* const context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
    packed.resize(ZSTD_compress2(context, packed.data(), packed.size(), text.data(), text.size()));
    ZSTD_freeCCtx(context);
    return packed;
  }
  std::string ErrorOf() const { return std::string(Prepare(options_, root()).status().message()); }
  // The split's stream, a token each.
  std::vector<std::int32_t> Tokens(const std::string& dir, Split split) const {
    const auto dataset = TokenDataset::Open(dir);
    EXPECT_TRUE(dataset.ok()) << dataset.status();
    std::vector<std::int32_t> tokens(static_cast<std::size_t>(dataset->TokenCount(split)));
    dataset->Read(split, 0, dataset->TokenCount(split), tokens.data());
    return tokens;
  }
  std::string Text(const std::string& dir, Split split) const {
    const auto tokens = Tokens(dir, split);
    return std::string(tokens.begin(), tokens.end());
  }

  std::filesystem::path dir_;
  PrepareOptions options_;
};

}  // namespace entrain::data
