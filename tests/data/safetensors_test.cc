#include "data/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/files.h"

namespace entrain::data {
namespace {

using ::testing::HasSubstr;

class SafetensorsTest : public testing::Test {
 protected:
  SafetensorsTest() : dir_(std::filesystem::path(testing::TempDir()) / "safetensors_test") {
    dir_ /= testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
  }
  std::string Path(const std::string& name) const { return (dir_ / name).string(); }
  // Opens a file with this header and data.
  std::string ErrorOf(const std::string& header, const std::string& data) const {
    std::string bytes(8, '\0');
    const std::uint64_t length = header.size();
    std::memcpy(bytes.data(), &length, 8);
    std::ofstream(Path("bad"), std::ios::binary) << bytes << header << data;
    return std::string(SafetensorsFile::Open(Path("bad")).status().message());
  }
  std::filesystem::path dir_;
};

TensorView View(const std::vector<float>& values, std::vector<std::int64_t> shape) {
  return {DType::kF32, std::move(shape), reinterpret_cast<const char*>(values.data()),
          static_cast<std::int64_t>(values.size() * sizeof(float))};
}

TEST_F(SafetensorsTest, RoundTripsTensorsAndMetadata) {
  const std::vector<float> a = {1, 2, 3};
  const std::vector<std::int64_t> b = {-7};
  const TensorView wide{DType::kI64, {1}, reinterpret_cast<const char*>(b.data()), 8};
  ASSERT_TRUE(
      WriteSafetensors(Path("x"), {{"a", View(a, {3, 1})}, {"z", wide}, {"empty", View({}, {0, 4})}}, {{"step", "12"}})
          .ok());
  const auto file = SafetensorsFile::Open(Path("x"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->metadata().at("step"), "12");
  EXPECT_EQ(file->tensors().size(), 3u);
  const TensorView read = *file->Get("a");
  EXPECT_EQ(read.shape, (std::vector<std::int64_t>{3, 1}));
  EXPECT_EQ(std::memcmp(read.bytes, a.data(), 12), 0);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(file->Get("z")->bytes) % 8, 0u);
  EXPECT_EQ(file->Get("missing").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(SafetensorsTest, ReadsWhatThePythonLibraryWrote) {
  const auto file = SafetensorsFile::Open(std::string(ENTRAIN_FIXTURES) + "/sm/tokens.safetensors");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->Get("tokens")->dtype, DType::kI32);
  EXPECT_EQ(file->Get("tokens")->shape.size(), 2u);
}

TEST_F(SafetensorsTest, RefusesEveryTruncation) {
  const std::vector<float> a = {1, 2, 3};
  ASSERT_TRUE(WriteSafetensors(Path("x"), {{"a", View(a, {3})}}).ok());
  const std::string bytes = *ReadFile(Path("x"));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    std::ofstream(Path("cut"), std::ios::binary) << bytes.substr(0, size);
    const auto file = SafetensorsFile::Open(Path("cut"));
    ASSERT_EQ(file.status().code(), absl::StatusCode::kInvalidArgument) << size;
    EXPECT_THAT(std::string(file.status().message()), HasSubstr(Path("cut") + ": offset "));
  }
}

TEST_F(SafetensorsTest, NamesTheDamage) {
  const std::string good = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  EXPECT_EQ(ErrorOf(good, "1234"), "");
  EXPECT_THAT(ErrorOf("[]", ""), HasSubstr("not a JSON object"));
  EXPECT_THAT(ErrorOf(good, "12345"), HasSubstr("belong to no tensor"));
  EXPECT_THAT(ErrorOf(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", "1234"),
              HasSubstr("tensor a: its shape"));
  EXPECT_THAT(ErrorOf(R"({"a":{"dtype":"X9","shape":[1],"data_offsets":[0,4]}})", "1234"),
              HasSubstr("element type X9"));
  EXPECT_THAT(ErrorOf(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", "1234"), HasSubstr("bad extent"));
  EXPECT_THAT(ErrorOf(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]}})", "1234"),
              HasSubstr("its shape"));
  EXPECT_THAT(ErrorOf(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},
                          "b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
                      "123"),
              HasSubstr("b overlaps"));
  EXPECT_THAT(ErrorOf(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[4,2]}})", "123456"), HasSubstr("lie outside"));
}

TEST_F(SafetensorsTest, AFullDiskLeavesNothing) {
  const std::vector<float> a(1 << 20, 1.0f);
  const auto status = WriteSafetensors("/dev/full", {{"a", View(a, {1 << 20})}});
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_FALSE(WriteSafetensors(Path("bad"), {{"a", View(a, {3})}}).ok());
  EXPECT_FALSE(std::filesystem::exists(Path("bad")));
}

}  // namespace
}  // namespace entrain::data
