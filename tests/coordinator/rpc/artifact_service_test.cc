// Datasets through a real server and back.
#include "coordinator/rpc/artifact_service.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "artifacts/transfer.h"
#include "base/files.h"
#include "base/strings.h"

namespace entrain::rpc {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

const std::string kDataset = "0123456789abcdef0123456789abcdef";

class ArtifactServiceTest : public testing::Test {
 protected:
  ArtifactServiceTest() {
    dir_ = StrCat(testing::TempDir(), "/artifact-service-", testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(dir_);
    fs::create_directories(dir_ + "/local");
    store_ = *artifacts::OpenArtifactFolder(dir_ + "/root");
    service_ = std::make_unique<ArtifactService>(store_.get(), [](const domain::AttemptKey& key) {
      return key.attempt == 2 ? absl::OkStatus() : absl::FailedPreconditionError("not the current attempt");
    });
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(service_.get());
    server_ = builder.BuildAndStart();
    channel_ = grpc::CreateChannel(StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials());
    std::ofstream(dir_ + "/local/dataset.json") << "{\"hash\": \"" << kDataset << "\"}";
    for (std::size_t i = 0; i < tokens_.size(); ++i) tokens_[i] = static_cast<char>(i * 2654435761u >> 13);
    std::ofstream(dir_ + "/local/train-00000.tokens", std::ios::binary) << tokens_;
  }

  std::string dir_;
  std::string tokens_ = std::string((3 << 20) + 17, '\0');
  std::unique_ptr<artifacts::ArtifactStore> store_;
  std::unique_ptr<ArtifactService> service_;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(ArtifactServiceTest, WhatIsPushedCanBeFetched) {
  EXPECT_FALSE(*artifacts::HasDataset(channel_, kDataset));
  std::int64_t sent = 0;
  const auto pushed = artifacts::PushDataset(channel_, kDataset, dir_ + "/local", [&](const auto& at) { sent = at.bytes; });
  ASSERT_TRUE(pushed.ok()) << pushed.status();
  EXPECT_FALSE(*pushed);
  EXPECT_EQ(sent, static_cast<std::int64_t>(tokens_.size() + fs::file_size(dir_ + "/local/dataset.json")));
  EXPECT_TRUE(*artifacts::HasDataset(channel_, kDataset));
  EXPECT_TRUE(*artifacts::PushDataset(channel_, kDataset, dir_ + "/local"));
  EXPECT_EQ(*artifacts::DatasetBytes(channel_, kDataset), sent);
  const absl::Status fetched = artifacts::FetchDataset(channel_, kDataset, dir_ + "/cache");
  ASSERT_TRUE(fetched.ok()) << fetched;
  EXPECT_EQ(*ReadFile(dir_ + "/cache/" + kDataset + "/train-00000.tokens"), tokens_);
}

TEST_F(ArtifactServiceTest, ABrokenPushSendsOnlyTheRest) {
  const std::string incoming = store_->root() + "/datasets/.incoming-" + kDataset;
  fs::create_directories(incoming);
  std::ofstream(incoming + "/train-00000.tokens", std::ios::binary) << tokens_.substr(0, 2 << 20);
  std::int64_t first = -1;
  const auto pushed = artifacts::PushDataset(channel_, kDataset, dir_ + "/local", [&](const auto& at) {
    if (at.bytes > (2 << 20) && first < 0) first = at.bytes;
  });
  ASSERT_TRUE(pushed.ok()) << pushed.status();
  EXPECT_EQ(first, static_cast<std::int64_t>(3 << 20) + static_cast<std::int64_t>(fs::file_size(dir_ + "/local/dataset.json")));
  EXPECT_EQ(*ReadFile(*store_->ResolveDataset(kDataset) + "/train-00000.tokens"), tokens_);
}

TEST_F(ArtifactServiceTest, ACheckpointOfTheCurrentAttemptTravelsAndComesBack) {
  const domain::AttemptKey key{RunId("r1"), 2};
  const std::string local = dir_ + "/step";
  fs::create_directories(local);
  std::ofstream(local + "/model.safetensors", std::ios::binary) << tokens_;
  EXPECT_THAT(std::string(artifacts::PushCheckpoint(channel_, key, 100, local).message()), HasSubstr("comes without manifest.json"));
  std::ofstream(local + "/manifest.json") << "{}";
  EXPECT_EQ(artifacts::PushCheckpoint(channel_, {RunId("r1"), 1}, 100, local).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(artifacts::PushCheckpoint(channel_, {RunId("../r1"), 2}, 100, local).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(fs::exists(store_->root() + "/checkpoints/r1/2/step-00000100"));
  for (int again = 0; again < 2; ++again) {
    const absl::Status pushed = artifacts::PushCheckpoint(channel_, key, 100, local);
    ASSERT_TRUE(pushed.ok()) << pushed;
  }
  EXPECT_EQ(*ReadFile(*store_->Resolve(artifacts::CheckpointPath(key, 100)) + "/model.safetensors"), tokens_);
  ASSERT_TRUE(artifacts::FetchCheckpoint(channel_, key, 100, dir_ + "/fetched").ok());
  EXPECT_EQ(*ReadFile(dir_ + "/fetched/checkpoints/r1/2/step-00000100/model.safetensors"), tokens_);
  EXPECT_EQ(artifacts::FetchCheckpoint(channel_, key, 200, dir_ + "/fetched").code(), absl::StatusCode::kNotFound);
}

TEST_F(ArtifactServiceTest, NothingLeavesOrEntersTheRootByAnotherWay) {
  EXPECT_EQ(artifacts::HasDataset(channel_, "../../etc").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(artifacts::DatasetBytes(channel_, "..").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(artifacts::DatasetBytes(channel_, kDataset).status().code(), absl::StatusCode::kNotFound);
  const auto stub = v1::ArtifactService::NewStub(channel_);
  for (const char* path : {"/etc/passwd", "../x", "datasets/../../x", ""}) {
    grpc::ClientContext context;
    v1::ReadFileRequest request;
    request.set_path(path);
    const auto reader = stub->ReadFile(&context, request);
    v1::FileChunk chunk;
    EXPECT_FALSE(reader->Read(&chunk)) << path;
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT) << path;
  }
}

TEST_F(ArtifactServiceTest, AMalformedPushIsRefusedWithItsReason) {
  const auto stub = v1::ArtifactService::NewStub(channel_);
  const auto reason = [&](const std::vector<v1::PushFolderRequest>& messages) {
    grpc::ClientContext context;
    v1::PushFolderResponse response;
    const auto writer = stub->PushFolder(&context, &response);
    for (const auto& message : messages) writer->Write(message);
    writer->WritesDone();
    return std::string(writer->Finish().error_message());
  };
  v1::PushFolderRequest chunk;
  chunk.mutable_chunk()->set_data("x");
  EXPECT_THAT(reason({}), HasSubstr("begin must come first"));
  EXPECT_THAT(reason({chunk}), HasSubstr("begin must come first"));
  v1::PushFolderRequest begin;
  begin.mutable_begin()->set_hash("short");
  EXPECT_THAT(reason({begin}), HasSubstr("no dataset's hash"));
  begin.mutable_begin()->set_hash(kDataset);
  begin.mutable_begin()->add_files()->set_name("dataset.json");
  EXPECT_THAT(reason({begin}), HasSubstr("dataset.json has no hash"));
  begin.mutable_begin()->mutable_files(0)->set_hash(kDataset);
  begin.mutable_begin()->mutable_files(0)->set_bytes(5);
  EXPECT_THAT(reason({begin, chunk}), HasSubstr("damaged on the way"));
  EXPECT_THAT(reason({begin}), HasSubstr("ended early"));
  EXPECT_FALSE(*artifacts::HasDataset(channel_, kDataset));
}

}  // namespace
}  // namespace entrain::rpc
