// A coordinator in this process with TLS and tokens, and those who should not come in: each test is an attack that docs/SECURITY.md lists.
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include "artifacts/transfer.h"
#include "base/strings.h"
#include "coordinator/rpc/limits.h"
#include "coordinator/server/coordinator.h"
#include "entrain/v1/artifact_service.grpc.pb.h"
#include "fleet_client.h"
#include "tests/transport/authority.h"
#include "transport/token_file.h"

namespace entrain::server {
namespace {

using testing::HasSubstr;
using transport::Role;
using transport::TlsFiles;

class SecurityTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    authority_folder_ = StrCat(testing::TempDir(), "/authority-", ::getpid());
    authority_ = new transport::Authority(authority_folder_);
    server_files_ = authority_->Issue("coordinator");
    person_files_ = authority_->Issue("people");
    w1_files_ = authority_->Issue("w1", "entrain:workers");
    w2_files_ = authority_->Issue("w2", "entrain:workers");
  }
  static void TearDownTestSuite() {
    delete authority_;
    std::filesystem::remove_all(authority_folder_);
  }

  void SetUp() override {
    dir_ = StrCat(testing::TempDir(), "/security-", ::getpid(), "-", testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(dir_);
    ASSERT_TRUE(MakeFolders(dir_).ok());
    options_.data_dir = dir_;
    options_.artifacts_dir = dir_ + "/artifacts";
    options_.listen = "127.0.0.1:0";
    options_.tls = server_files_;
    options_.access.tokens_file = dir_ + "/tokens";
    options_.access.slow_stream_ms = 1'000;
    options_.access.look_every_ms = 50;
    WriteTokens({{"view", Role::kView}, {"submit", Role::kSubmit}, {"admin", Role::kAdmin}, {"other", Role::kSubmit}});
    Start();
  }
  void TearDown() override {
    coordinator_.reset();
    std::filesystem::remove_all(dir_);
  }
  void Start() {
    auto started = Coordinator::Start(options_, &clock_, &ids_);
    ASSERT_TRUE(started.ok()) << started.status();
    coordinator_ = *std::move(started);
  }
  // The secret of NAME is "secret of NAME".
  void WriteTokens(const std::vector<std::pair<std::string, Role>>& tokens) {
    std::string text;
    for (const auto& [name, role] : tokens) text += transport::TokenLine({name, role, transport::HashOfSecret("secret of " + name), "", 0}) + "\n";
    ASSERT_TRUE(WriteFileAtomically(options_.access.tokens_file, text).ok());
  }
  static std::shared_ptr<grpc::ChannelCredentials> Credentials(const TlsFiles& files) { return transport::MakeChannelCredentials(files).value(); }
  std::shared_ptr<grpc::Channel> Channel(const TlsFiles& files) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::CreateCustomChannel(coordinator_->address(), Credentials(files), arguments);
  }
  static void Prepare(grpc::ClientContext* context, const std::string& who) {
    context->set_deadline(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(kPatienceMs, GPR_TIMESPAN)));
    if (!who.empty()) context->AddMetadata("authorization", "Bearer secret of " + who);
  }
  // Calls a method with an empty message.
  grpc::Status Call(const std::string& method, const std::string& who, const TlsFiles& files = person_files_) {
    grpc::GenericStub stub(Channel(files));
    grpc::ClientContext context;
    Prepare(&context, who);
    const grpc::Slice nothing("", 0);
    const grpc::ByteBuffer request(&nothing, 1);
    grpc::ByteBuffer response;
    grpc::CompletionQueue queue;
    const auto call = stub.PrepareUnaryCall(&context, method, request, &queue);
    call->StartCall();
    grpc::Status status;
    call->Finish(&response, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    return status;
  }
  grpc::Status Submit(const std::string& who, v1::SubmitRequest request, v1::SubmitResponse* response) {
    grpc::ClientContext context;
    Prepare(&context, who);
    return v1::SweepService::NewStub(Channel(person_files_))->Submit(&context, request, response);
  }
  v1::SubmitRequest Small() {
    v1::SubmitRequest request = SmallSweep(options_.artifacts_dir);
    request.clear_owner();
    return request;
  }
  grpc::Status Stop(const std::string& who, const std::string& id, const std::string& by = "") {
    grpc::ClientContext context;
    Prepare(&context, who);
    v1::StopRequest request;
    request.set_id(id);
    request.set_by(by);
    v1::StopResponse response;
    return v1::SweepService::NewStub(Channel(person_files_))->Stop(&context, request, &response);
  }
  std::unique_ptr<FakeWorker> Worker(const std::string& id, const TlsFiles& files, const std::string& name, std::uint64_t incarnation = 1) {
    return std::make_unique<FakeWorker>(coordinator_->address(), id, 2, incarnation, std::vector<domain::AttemptKey>{}, 1,
                                        Dial{Credentials(files), name});
  }
  // A launched attempt of w1.
  v1::AttemptKey LaunchOn(FakeWorker* worker) {
    v1::SubmitResponse response;
    EXPECT_TRUE(Submit("submit", Small(), &response).ok());
    const auto launch = worker->AwaitLaunch();
    EXPECT_TRUE(launch.has_value());
    return launch ? launch->key() : v1::AttemptKey();
  }
  std::string Audit() { return ReadFile(dir_ + "/audit.jsonl").value_or(""); }

  static inline std::string authority_folder_;
  static inline transport::Authority* authority_ = nullptr;
  static inline TlsFiles server_files_, person_files_, w1_files_, w2_files_;
  std::string dir_;
  Options options_;
  SystemClock clock_;
  SystemIdSource ids_;
  std::unique_ptr<Coordinator> coordinator_;
};

TEST_F(SecurityTest, NoOneWithoutACertificateOfTheAuthorityConnects) {
  const std::string folder = dir_ + "/strangers";
  const transport::Authority strangers(folder);
  TlsFiles stranger = strangers.Issue("admin");
  EXPECT_EQ(Call("/entrain.v1.SweepService/ListSweeps", "admin", stranger).error_code(), grpc::StatusCode::UNAVAILABLE);
  stranger.ca = person_files_.ca;
  EXPECT_EQ(Call("/entrain.v1.SweepService/ListSweeps", "admin", stranger).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Call("/entrain.v1.SweepService/ListSweeps", "admin", {}).error_code(), grpc::StatusCode::UNAVAILABLE) << "plain text";
}

TEST_F(SecurityTest, EveryMethodIsRefusedToWhoeverHasNoRightToIt) {
  for (const rpc::MethodRule& rule : rpc::MethodRules()) {
    if (rule.anyone) continue;
    const std::string method(rule.method);
    EXPECT_EQ(Call(method, "").error_code(), grpc::StatusCode::UNAUTHENTICATED) << method << " with a certificate alone";
    EXPECT_EQ(Call(method, "nobody").error_code(), grpc::StatusCode::UNAUTHENTICATED) << method << " with an unknown token";
    if (rule.role != Role::kView) {
      EXPECT_EQ(Call(method, "view").error_code(), grpc::StatusCode::PERMISSION_DENIED) << method << " as view";
    }
    if (rule.role == Role::kAdmin) {
      EXPECT_EQ(Call(method, "submit").error_code(), grpc::StatusCode::PERMISSION_DENIED) << method << " as submit";
    }
    if (!rule.role) {
      EXPECT_EQ(Call(method, "admin").error_code(), grpc::StatusCode::PERMISSION_DENIED) << method << " as admin";
    }
    if (!rule.workers) {
      EXPECT_EQ(Call(method, "", w1_files_).error_code(), grpc::StatusCode::PERMISSION_DENIED) << method << " as a worker";
    }
  }
  EXPECT_EQ(Call("/entrain.v1.SweepService/NoSuchMethod", "admin").error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_TRUE(Call("/entrain.v1.SweepService/ListSweeps", "view").ok());
  EXPECT_TRUE(Call("/entrain.v1.SweepService/ListWorkers", "admin").ok());
  EXPECT_TRUE(Eventually([&] { return Audit().find("\"action\":\"refused\"") != std::string::npos; }));
}

TEST_F(SecurityTest, ARevokedTokenIsRefusedWithoutARestart) {
  ASSERT_TRUE(Call("/entrain.v1.SweepService/ListSweeps", "view").ok());
  WriteTokens({{"admin", Role::kAdmin}});
  EXPECT_TRUE(Eventually([&] { return Call("/entrain.v1.SweepService/ListSweeps", "view").error_code() == grpc::StatusCode::UNAUTHENTICATED; }));
  EXPECT_TRUE(Call("/entrain.v1.SweepService/ListSweeps", "admin").ok());
  EXPECT_TRUE(Eventually([&] { return Audit().find("\"action\":\"token_gone\",\"target\":\"view\"") != std::string::npos; }));
}

TEST_F(SecurityTest, NobodyActsAsAnotherOrOnAnothersSweep) {
  v1::SubmitRequest request = Small();
  v1::SubmitResponse response;
  request.set_owner("admin");
  EXPECT_EQ(Submit("submit", request, &response).error_code(), grpc::StatusCode::PERMISSION_DENIED);
  ASSERT_TRUE(Submit("submit", Small(), &response).ok());
  EXPECT_EQ(Stop("other", response.sweep_id()).error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(Stop("submit", response.sweep_id(), "admin").error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_TRUE(Stop("submit", response.sweep_id()).ok());
  grpc::ClientContext context;
  Prepare(&context, "view");
  v1::GetSweepRequest get;
  get.set_sweep_id(response.sweep_id());
  v1::Sweep sweep;
  ASSERT_TRUE(v1::SweepService::NewStub(Channel(person_files_))->GetSweep(&context, get, &sweep).ok());
  EXPECT_EQ(sweep.summary().owner(), "submit");
  const std::string id = response.sweep_id();
  const std::string audit = Audit();
  EXPECT_THAT(audit, HasSubstr(StrCat("\"action\":\"submit\",\"target\":\"", id, "\",\"outcome\":\"ok\",\"who\":\"submit\",\"role\":\"submit\"")));
  EXPECT_THAT(audit, HasSubstr(StrCat("\"action\":\"stop\",\"target\":\"", id, "\",\"outcome\":\"PERMISSION_DENIED\",\"who\":\"other\"")));
  EXPECT_THAT(audit, HasSubstr(StrCat("\"action\":\"stop\",\"target\":\"", id, "\",\"outcome\":\"ok\",\"who\":\"submit\"")));
}

TEST_F(SecurityTest, AWorkerRegistersAsItselfOnly) {
  EXPECT_EQ(Worker("id1", w2_files_, "w1")->AwaitEnd().error_code(), grpc::StatusCode::PERMISSION_DENIED) << "another's name";
  EXPECT_EQ(Worker("id1", person_files_, "people")->AwaitEnd().error_code(), grpc::StatusCode::UNAUTHENTICATED) << "no worker's certificate";
  const auto w1 = Worker("id1", w1_files_, "w1");
  ASSERT_TRUE(w1->Await([](const auto& m) { return m.has_welcome(); }).has_value());
  ASSERT_TRUE(Eventually([&] { return Audit().find("\"action\":\"register\",\"target\":\"w1 id1\",\"outcome\":\"ok\"") != std::string::npos; }));
  EXPECT_TRUE(Eventually([&] {
    return Worker("id1", w2_files_, "w2", 9)->AwaitEnd().error_code() == grpc::StatusCode::PERMISSION_DENIED;
  })) << "another's id";
  EXPECT_TRUE(Eventually([&] { return Audit().find("\"outcome\":\"PERMISSION_DENIED\",\"who\":\"w2\"") != std::string::npos; }));
}

TEST_F(SecurityTest, AWorkerTouchesItsOwnAttemptsOnly) {
  const auto w1 = Worker("id1", w1_files_, "w1");
  const v1::AttemptKey key = LaunchOn(w1.get());
  ASSERT_TRUE(w1->ReportStarted(key));
  v1::SampleAck ack;
  EXPECT_TRUE(w1->SendSamples(key, 1, 5, 2, 2, 1.2F, &ack).ok());
  const auto w2 = Worker("id2", w2_files_, "w2");
  ASSERT_TRUE(w2->Await([](const auto& m) { return m.has_welcome(); }).has_value());
  EXPECT_EQ(w2->SendSamples(key, 6, 10, 2, 2, 0.0F, &ack).error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(w2->SendLog(key, {"forged"}, 10).error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_FALSE(w2->ReportEnded(key, "completed", 20));
  EXPECT_EQ(w2->AwaitEnd().error_code(), grpc::StatusCode::PERMISSION_DENIED);
  const auto again = Worker("id2", w2_files_, "w2", 2);
  EXPECT_FALSE(again->ReportCheckpoint(key, 5));
  EXPECT_EQ(again->AwaitEnd().error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_TRUE(w1->ReportCheckpoint(key, 5)) << "its own";
}

TEST_F(SecurityTest, AWorkerTouchesItsOwnCheckpointsOnly) {
  const auto w1 = Worker("id1", w1_files_, "w1");
  const v1::AttemptKey wire_key = LaunchOn(w1.get());
  const domain::AttemptKey key{RunId(wire_key.run_id()), wire_key.attempt()};
  const std::string checkpoint = dir_ + "/checkpoint";
  ASSERT_TRUE(MakeFolders(checkpoint).ok());
  ASSERT_TRUE(WriteFileAtomically(checkpoint + "/model.safetensors", "weights").ok());
  ASSERT_TRUE(WriteFileAtomically(checkpoint + "/manifest.json", "{}").ok());
  EXPECT_TRUE(absl::IsPermissionDenied(artifacts::PushCheckpoint(Channel(w2_files_), key, 5, checkpoint)));
  const absl::Status pushed = artifacts::PushCheckpoint(Channel(w1_files_), key, 5, checkpoint);
  EXPECT_TRUE(pushed.ok()) << pushed;
  EXPECT_TRUE(absl::IsPermissionDenied(artifacts::FetchCheckpoint(Channel(w2_files_), key, 5, dir_ + "/stolen")));
  const absl::Status own = artifacts::FetchCheckpoint(Channel(w1_files_), key, 5, dir_ + "/own");
  EXPECT_TRUE(own.ok()) << own;
}

TEST_F(SecurityTest, APathDoesNotLeaveTheArtifactRoot) {
  ASSERT_TRUE(WriteFileAtomically(dir_ + "/outside", "not for you").ok());
  std::filesystem::create_symlink(dir_, options_.artifacts_dir + "/datasets/link");
  std::filesystem::create_symlink("/etc", options_.artifacts_dir + "/datasets/etc");
  const auto stub = v1::ArtifactService::NewStub(Channel(person_files_));
  for (const std::string& path : {std::string("../outside"), std::string("/etc/passwd"), std::string("datasets/../../outside"),
                                  std::string("datasets/link/outside"), std::string("datasets/etc/passwd"), std::string("datasets//x"),
                                  std::string("."), std::string(), std::string("datasets/\0x", 11)}) {
    grpc::ClientContext context;
    Prepare(&context, "admin");
    v1::ReadFileRequest request;
    request.set_path(path);
    const auto reader = stub->ReadFile(&context, request);
    v1::FileChunk chunk;
    EXPECT_FALSE(reader->Read(&chunk)) << path;
    const grpc::Status status = reader->Finish();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << path << ": " << status.error_message();
  }
}

TEST_F(SecurityTest, AMessageThatIsTooLargeIsRefusedAndNamed) {
  v1::SubmitRequest request = Small();
  v1::SubmitResponse response;
  const grpc::Status before = Submit("submit", request, &response);
  ASSERT_TRUE(before.ok()) << before.error_message();
  request.set_yaml(std::string(rpc::kMaxYamlBytes + 1, ' '));
  const grpc::Status large = Submit("submit", request, &response);
  EXPECT_EQ(large.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(large.error_message(), HasSubstr("max_yaml_bytes"));
  request.set_yaml(std::string(rpc::kMaxReceivedMessageBytes + 1, ' '));
  EXPECT_EQ(Submit("submit", request, &response).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  grpc::ClientContext context;
  Prepare(&context, "submit");
  context.AddMetadata("x", std::string(64 << 10, 'x'));
  v1::ListSweepsResponse sweeps;
  EXPECT_FALSE(v1::SweepService::NewStub(Channel(person_files_))->ListSweeps(&context, {}, &sweeps).ok()) << "headers";
  EXPECT_TRUE(Call("/entrain.v1.SweepService/ListSweeps", "submit").ok()) << "the coordinator serves on";
}

TEST_F(SecurityTest, AClientThatAsksTooOftenIsRefusedAndOthersAreNot) {
  const auto stub = v1::SweepService::NewStub(Channel(person_files_));
  grpc::Status status;
  for (int i = 0; i < 5000 && status.ok(); ++i) {
    grpc::ClientContext context;
    Prepare(&context, "view");
    v1::ListSweepsResponse response;
    status = stub->ListSweeps(&context, {}, &response);
  }
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(), HasSubstr("requests_per_second"));
  EXPECT_TRUE(Call("/entrain.v1.SweepService/ListSweeps", "admin").ok());
}

TEST_F(SecurityTest, AStreamThatDoesNotMoveIsEnded) {
  const auto artifacts = v1::ArtifactService::NewStub(Channel(person_files_));
  grpc::ClientContext push_context;
  Prepare(&push_context, "submit");
  v1::PushFolderResponse response;
  const auto push = artifacts->PushFolder(&push_context, &response);
  EXPECT_EQ(push->Finish().error_code(), grpc::StatusCode::CANCELLED) << "a push that sends nothing";
  const auto fleet = v1::FleetService::NewStub(Channel(w1_files_));
  grpc::ClientContext control_context;
  Prepare(&control_context, "");
  const auto control = fleet->Control(&control_context);
  EXPECT_EQ(control->Finish().error_code(), grpc::StatusCode::CANCELLED) << "a worker without a hello";
}

TEST_F(SecurityTest, AClientHasSoManyStreams) {
  coordinator_.reset();
  options_.access.streams_per_client = 4;
  Start();
  v1::SubmitResponse submitted;
  ASSERT_TRUE(Submit("submit", Small(), &submitted).ok());
  const auto stub = v1::SweepService::NewStub(Channel(person_files_));
  v1::WatchRequest request;
  request.set_sweep_id(submitted.sweep_id());
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::WatchUpdate>>> streams;
  v1::WatchUpdate update;
  for (int i = 0; i < 5; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    Prepare(contexts.back().get(), "view");
    streams.push_back(stub->Watch(contexts.back().get(), request));
    EXPECT_EQ(streams.back()->Read(&update), i < 4) << i;
  }
  const grpc::Status status = streams.back()->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(), HasSubstr("streams_per_client"));
  for (int i = 0; i < 4; ++i) {
    contexts[i]->TryCancel();
    streams[i]->Finish();
  }
  EXPECT_TRUE(Eventually([&] {
    grpc::ClientContext context;
    Prepare(&context, "view");
    const auto reader = stub->Watch(&context, request);
    const bool admitted = reader->Read(&update);
    context.TryCancel();
    reader->Finish();
    return admitted;
  })) << "places are given back";
}

}  // namespace
}  // namespace entrain::server
