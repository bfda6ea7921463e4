#include "artifacts/incoming_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "artifacts/cached_artifacts.h"
#include "artifacts/remote_artifacts.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/strings.h"

namespace entrain::artifacts {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

const std::string kHash = "0123456789abcdef0123456789abcdef";
const std::string kOther = "ffffffffffffffffffffffffffffffff";

std::string Manifest(const std::string& hash) { return "{\"hash\": \"" + hash + "\"}"; }

class IncomingFolderTest : public testing::Test {
 protected:
  IncomingFolderTest() {
    dir_ = StrCat(testing::TempDir(), "/incoming-", testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(dir_);
    fs::create_directories(dir_);
    files_ = {{"dataset.json", static_cast<std::int64_t>(manifest_.size()), HashHex(manifest_)},
              {"train.tokens", static_cast<std::int64_t>(tokens_.size()), HashHex(tokens_)},
              {"empty", 0, HashHex("")}};
  }
  std::unique_ptr<IncomingFolder> Open() {
    auto opened = IncomingFolder::Open(*DatasetPlace(dir_, kHash), files_);
    EXPECT_TRUE(opened.ok()) << opened.status();
    return *std::move(opened);
  }
  static absl::Status Send(IncomingFolder* to, std::size_t file, std::int64_t offset, const std::string& bytes) {
    return to->Append(file, offset, bytes, Hash64(bytes));
  }
  std::string ErrorOf(const std::string& hash, std::vector<FolderFile> files) {
    return std::string(IncomingFolder::Open(*DatasetPlace(dir_, hash), std::move(files)).status().message());
  }

  std::string dir_;
  const std::string manifest_ = Manifest(kHash);
  const std::string tokens_ = std::string(1000, 't');
  std::vector<FolderFile> files_;
};

TEST_F(IncomingFolderTest, AppearsOnlyWhole) {
  auto incoming = Open();
  ASSERT_TRUE(Send(incoming.get(), 0, 0, manifest_).ok());
  ASSERT_TRUE(Send(incoming.get(), 1, 0, tokens_.substr(0, 600)).ok());
  EXPECT_THAT(std::string(incoming->Complete().message()), HasSubstr("train.tokens: offset 600: ended early"));
  EXPECT_FALSE(fs::exists(dir_ + "/" + kHash));
  ASSERT_TRUE(Send(incoming.get(), 1, 600, tokens_.substr(600)).ok());
  ASSERT_TRUE(incoming->Complete().ok());
  EXPECT_EQ(*ReadFile(dir_ + "/" + kHash + "/train.tokens"), tokens_);
  EXPECT_EQ(*ReadFile(dir_ + "/" + kHash + "/empty"), "");
}

TEST_F(IncomingFolderTest, GoesOnWhereItWasBroken) {
  { ASSERT_TRUE(Send(Open().get(), 1, 0, tokens_.substr(0, 600)).ok()); }
  EXPECT_EQ(ArrivedFiles(*DatasetPlace(dir_, kHash)).size(), 1u);
  auto incoming = Open();
  EXPECT_EQ(incoming->Received(1), 600);
  EXPECT_EQ(incoming->Received(0), 0);
  ASSERT_TRUE(Send(incoming.get(), 1, 600, tokens_.substr(600)).ok());
  ASSERT_TRUE(Send(incoming.get(), 0, 0, manifest_).ok());
  EXPECT_TRUE(incoming->Complete().ok());
}

TEST_F(IncomingFolderTest, WhatWasDamagedOnTheDiskMeanwhileIsSentAgain) {
  { ASSERT_TRUE(Send(Open().get(), 1, 0, tokens_).ok()); }
  std::ofstream(dir_ + "/.incoming-" + kHash + "/train.tokens") << std::string(1000, 'x');
  auto incoming = Open();
  ASSERT_TRUE(Send(incoming.get(), 0, 0, manifest_).ok());
  const absl::Status status = incoming->Complete();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("train.tokens: its content does not fit its hash"));
  incoming.reset();
  EXPECT_EQ(Open()->Received(1), 0);
}

TEST_F(IncomingFolderTest, RefusesWhatDoesNotFit) {
  auto incoming = Open();
  EXPECT_THAT(std::string(Send(incoming.get(), 1, 10, "x").message()), HasSubstr("train.tokens: offset 10: 0 bytes have arrived"));
  EXPECT_THAT(std::string(Send(incoming.get(), 1, 0, tokens_ + "x").message()), HasSubstr("more than the announced 1000"));
  EXPECT_THAT(std::string(incoming->Append(1, 0, "abc", 1).message()), HasSubstr("offset 0: damaged on the way"));
  EXPECT_FALSE(Send(incoming.get(), 3, 0, "x").ok());
  EXPECT_EQ(IncomingFolder::Open(*DatasetPlace(dir_, kHash), files_).status().code(), absl::StatusCode::kAborted);
  EXPECT_THAT(std::string(DatasetPlace(dir_, "../etc").status().message()), HasSubstr("no dataset's hash"));
  EXPECT_FALSE(CheckpointPlace(dir_, {RunId("../r1"), 1}, 5).ok());
  EXPECT_FALSE(CheckpointPlace(dir_, {RunId("r1"), 1}, -5).ok());
  EXPECT_THAT(ErrorOf(kOther, {{"a/b", 1, ""}}), HasSubstr("\"a/b\" is no plain file name"));
  EXPECT_THAT(ErrorOf(kOther, {{"..", 1, ""}}), HasSubstr("no plain file name"));
  EXPECT_THAT(ErrorOf(kOther, {{"a", -1, ""}}), HasSubstr("impossible size"));
  EXPECT_THAT(ErrorOf(kOther, {{"a", 1, ""}, {"a", 1, ""}}), HasSubstr("announced twice"));
  EXPECT_THAT(ErrorOf(kOther, {{"a", 1, ""}}), HasSubstr("without dataset.json"));
  EXPECT_EQ(IncomingFolder::Open(*DatasetPlace(dir_, kOther), {{"dataset.json", std::int64_t{1} << 60, ""}}).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST_F(IncomingFolderTest, AnotherDatasetsManifestIsRefused) {
  auto incoming = IncomingFolder::Open(*DatasetPlace(dir_, kOther), files_);
  ASSERT_TRUE(Send(incoming->get(), 0, 0, manifest_).ok());
  ASSERT_TRUE(Send(incoming->get(), 1, 0, tokens_).ok());
  EXPECT_THAT(std::string((*incoming)->Complete().message()), HasSubstr("dataset.json is not that of dataset " + kOther));
}

class CachedArtifactsTest : public testing::Test {
 protected:
  CachedArtifactsTest() {
    dir_ = StrCat(testing::TempDir(), "/cached-", testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(dir_);
    source_.size = [this](const std::string& hash) -> absl::StatusOr<std::int64_t> {
      if (hash == kOther) return absl::NotFoundError("not there either");
      return bytes_;
    };
    source_.fetch = [this](const std::string& hash, const std::string& datasets_dir) {
      ++fetches_;
      fs::create_directories(datasets_dir + "/" + hash);
      std::ofstream(datasets_dir + "/" + hash + "/dataset.json") << std::string(static_cast<std::size_t>(bytes_), 'd');
      return absl::OkStatus();
    };
    source_.in_use = [this] { return in_use_; };
  }
  // A daemon's cache; making it again is a restart.
  std::unique_ptr<CachedArtifacts> Make() {
    return std::make_unique<CachedArtifacts>(*OpenArtifactFolder(dir_ + "/root"), dir_ + "/cache", 250, source_);
  }
  static std::string Hash(char digit) { return std::string(32, digit); }

  std::string dir_;
  CacheSource source_;
  std::set<std::string> in_use_;
  std::int64_t bytes_ = 100;
  int fetches_ = 0;
};

TEST_F(CachedArtifactsTest, TheRootComesFirstThenTheCacheThenTheSource) {
  fs::create_directories(dir_ + "/root/datasets/" + Hash('a'));
  const auto cache = Make();
  EXPECT_EQ(*cache->ResolveDataset(Hash('a')), cache->root() + "/datasets/" + Hash('a'));
  EXPECT_EQ(fetches_, 0);
  EXPECT_EQ(*cache->ResolveDataset(Hash('b')), dir_ + "/cache/" + Hash('b'));
  EXPECT_EQ(*cache->ResolveDataset(Hash('b')), dir_ + "/cache/" + Hash('b'));
  EXPECT_EQ(fetches_, 1);
  EXPECT_EQ(cache->ResolveDataset(kOther).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(cache->ResolveDataset("abcd").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(CachedArtifactsTest, TheOldestUnusedGoesWhenTheBoundIsReached) {
  for (const char digit : {'a', 'b'}) {
    ASSERT_TRUE(Make()->ResolveDataset(Hash(digit)).ok());
    fs::last_write_time(dir_ + "/cache/" + Hash(digit), fs::file_time_type(std::chrono::seconds(digit)));
  }
  in_use_ = {dir_ + "/cache/" + Hash('a')};
  ASSERT_TRUE(Make()->ResolveDataset(Hash('c')).ok());
  EXPECT_TRUE(fs::exists(dir_ + "/cache/" + Hash('a')));
  EXPECT_FALSE(fs::exists(dir_ + "/cache/" + Hash('b')));
  EXPECT_TRUE(fs::exists(dir_ + "/cache/" + Hash('c')));
}

TEST_F(CachedArtifactsTest, SaysThatTheCacheIsTooSmall) {
  bytes_ = 300;
  const auto refused = Make()->ResolveDataset(Hash('a'));
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("may hold 250 bytes; the dataset has 300"));
  bytes_ = 200;
  const auto cache = Make();
  ASSERT_TRUE(cache->ResolveDataset(Hash('a')).ok());
  // What was just handed out is about to be opened.
  EXPECT_EQ(cache->ResolveDataset(Hash('b')).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(fs::exists(dir_ + "/cache/" + Hash('a')));
}

TEST(RemoteArtifactsTest, CheckpointsTravelAndOnlyTheNeededOnesStay) {
  const std::string dir = testing::TempDir() + "/remote-artifacts";
  fs::remove_all(dir);
  fs::create_directories(dir + "/local");
  std::set<std::string> in_use;
  std::vector<std::string> pushed, fetched;
  absl::Status answer;
  const auto make = [&] {
    return std::make_unique<RemoteArtifacts>(
        dir + "/root", CheckpointTransfer{[&](const domain::AttemptKey& key, std::int64_t step, const std::string&) {
                                            pushed.push_back(CheckpointPath(key, step));
                                            return answer;
                                          },
                                          [&](const domain::AttemptKey& key, std::int64_t step, const std::string& root) {
                                            fetched.push_back(CheckpointPath(key, step));
                                            fs::create_directories(root + "/" + fetched.back());
                                            return answer;
                                          },
                                          [&] { return in_use; }});
  };
  const domain::AttemptKey key{RunId("r1"), 3};
  EXPECT_EQ(*make()->PublishCheckpoint(key, 100, dir + "/local"), "checkpoints/r1/3/step-00000100");
  EXPECT_EQ(make()->PublishCheckpoint(key, 100, dir + "/absent").status().code(), absl::StatusCode::kNotFound);
  answer = absl::UnavailableError("away");
  EXPECT_EQ(make()->PublishCheckpoint(key, 200, dir + "/local").status(), answer);
  EXPECT_EQ(make()->Resolve(CheckpointPath(key, 200)).status(), answer);
  fs::remove_all(dir + "/root");
  answer = absl::OkStatus();
  EXPECT_EQ(*make()->Resolve(CheckpointPath(key, 100)), dir + "/root/checkpoints/r1/3/step-00000100");
  EXPECT_EQ(*make()->Resolve(CheckpointPath(key, 100)), dir + "/root/checkpoints/r1/3/step-00000100");
  EXPECT_EQ(fetched.size(), 2u);  // that of the failed try, and one
  // What is in use stays, what was just handed out stays, the rest goes.
  in_use = {dir + "/root/checkpoints/r1/3/step-00000100"};
  const auto store = make();
  ASSERT_TRUE(store->Resolve(CheckpointPath(key, 200)).ok());
  in_use.clear();
  ASSERT_TRUE(store->Resolve(CheckpointPath(key, 300)).ok());
  EXPECT_FALSE(fs::exists(dir + "/root/" + CheckpointPath(key, 100)));
  EXPECT_TRUE(fs::exists(dir + "/root/" + CheckpointPath(key, 200)));
  EXPECT_TRUE(fs::exists(dir + "/root/" + CheckpointPath(key, 300)));
  for (const char* other : {"models/gpt2", "checkpoints/r1/3/step-00000100/../x", "checkpoints/r1/x/step-00000100", "checkpoints/r1/3/step-", "", "a/b/c/d"}) {
    EXPECT_EQ(store->Resolve(other).status().code(), absl::StatusCode::kNotFound) << other;
  }
}

}  // namespace
}  // namespace entrain::artifacts
