#include "artifacts/artifact_store.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "base/strings.h"

namespace entrain::artifacts {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class ArtifactFolderTest : public testing::Test {
 protected:
  void SetUp() override {
    base_ = StrCat(testing::TempDir(), "/artifacts-", testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(base_);
    fs::create_directories(base_);
    auto opened = OpenArtifactFolder(base_ + "/root");
    ASSERT_TRUE(opened.ok()) << opened.status();
    store_ = *std::move(opened);
  }
  void TearDown() override { fs::remove_all(base_); }

  std::string LocalCheckpoint() {
    const std::string dir = base_ + "/local/step-00000100";
    fs::create_directories(dir + "/sub");
    std::ofstream(dir + "/model.safetensors") << "weights";
    std::ofstream(dir + "/sub/optimiser") << "moments";
    return dir;
  }

  std::string base_;
  std::unique_ptr<ArtifactStore> store_;
  const domain::AttemptKey key_{RunId("r1"), 2};
};

TEST_F(ArtifactFolderTest, PublishesAWholeFolderAndKeepsTheLocalOne) {
  const auto path = store_->PublishCheckpoint(key_, 100, LocalCheckpoint());
  ASSERT_TRUE(path.ok()) << path.status();
  EXPECT_EQ(*path, "checkpoints/r1/2/step-00000100");
  const auto dir = store_->Resolve(*path);
  ASSERT_TRUE(dir.ok()) << dir.status();
  EXPECT_EQ(*ReadFile(*dir + "/model.safetensors"), "weights");
  EXPECT_EQ(*ReadFile(*dir + "/sub/optimiser"), "moments");
  EXPECT_TRUE(fs::exists(base_ + "/local/step-00000100/model.safetensors"));
}

TEST_F(ArtifactFolderTest, PublishedFilesOutliveTheLocalFolder) {
  const auto path = store_->PublishCheckpoint(key_, 100, LocalCheckpoint());
  fs::remove_all(base_ + "/local");
  EXPECT_EQ(*ReadFile(*store_->Resolve(*path) + "/model.safetensors"), "weights");
}

TEST_F(ArtifactFolderTest, PublishingAgainChangesNothing) {
  const std::string local = LocalCheckpoint();
  ASSERT_TRUE(store_->PublishCheckpoint(key_, 100, local).ok());
  const auto again = store_->PublishCheckpoint(key_, 100, local);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(*again, "checkpoints/r1/2/step-00000100");
}

TEST_F(ArtifactFolderTest, WhatACrashLeftInStagingIsReplaced) {
  const fs::path attempt = fs::path(store_->root()) / "checkpoints/r1/2";
  fs::create_directories(attempt / ".incoming-step-00000100");
  std::ofstream(attempt / ".incoming-step-00000100/half") << "torn";
  const auto path = store_->PublishCheckpoint(key_, 100, LocalCheckpoint());
  ASSERT_TRUE(path.ok()) << path.status();
  EXPECT_FALSE(fs::exists(attempt / "step-00000100/half"));
  EXPECT_FALSE(fs::exists(attempt / ".incoming-step-00000100"));
}

TEST_F(ArtifactFolderTest, AMissingLocalFolderIsNotFound) {
  EXPECT_EQ(store_->PublishCheckpoint(key_, 100, base_ + "/none").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(ArtifactFolderTest, ALinkInsideACheckpointIsRefusedAndNothingStays) {
  const std::string local = LocalCheckpoint();
  fs::create_symlink("/etc/passwd", local + "/link");
  EXPECT_EQ(store_->PublishCheckpoint(key_, 100, local).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(fs::is_empty(fs::path(store_->root()) / "checkpoints/r1/2"));
}

TEST_F(ArtifactFolderTest, PathsThatLeaveTheRootAreRefused) {
  for (const char* path : {"", "/etc", "..", "datasets/../../x", "datasets//x", "./datasets", "datasets/"}) {
    EXPECT_EQ(store_->Resolve(path).status().code(), absl::StatusCode::kInvalidArgument) << path;
  }
  fs::create_directories(base_ + "/outside");
  fs::create_directory_symlink(base_ + "/outside", store_->root() + "/datasets/link");
  EXPECT_THAT(store_->Resolve("datasets/link").status().message(), HasSubstr("leaves the artifact root"));
}

TEST_F(ArtifactFolderTest, DatasetsResolveByHash) {
  EXPECT_EQ(store_->ResolveDataset("abcd").status().code(), absl::StatusCode::kNotFound);
  fs::create_directories(store_->root() + "/datasets/abcd");
  EXPECT_EQ(*store_->ResolveDataset("abcd"), store_->root() + "/datasets/abcd");
}

TEST_F(ArtifactFolderTest, VocabularySizeComesFromTheDatasetItself) {
  EXPECT_EQ(store_->ReadVocabSize("abcd").status().code(), absl::StatusCode::kNotFound);
  fs::create_directories(store_->root() + "/datasets/abcd");
  std::ofstream(store_->root() + "/datasets/abcd/dataset.json") << R"({"tokenizer": {"vocab_size": "77"}, "vocab_size": 4096})";
  EXPECT_EQ(*store_->ReadVocabSize("abcd"), 4096);
  std::ofstream(store_->root() + "/datasets/abcd/dataset.json") << "{}";
  EXPECT_EQ(store_->ReadVocabSize("abcd").status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(ArtifactFolderTest, RemovesCheckpointsAndNothingElse) {
  const auto path = store_->PublishCheckpoint(key_, 100, LocalCheckpoint());
  EXPECT_TRUE(store_->RemoveCheckpoint(*path).ok());
  EXPECT_TRUE(store_->RemoveCheckpoint(*path).ok());
  EXPECT_EQ(store_->Resolve(*path).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(store_->RemoveCheckpoint("datasets/abcd").code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace entrain::artifacts
