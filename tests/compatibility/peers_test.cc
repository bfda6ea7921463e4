// Gangs over machines of two versions: what the head of a released version said to another machine's worker, said to this build's; and this
// build's head, answered as then.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>

#include "base/files.h"
#include "base/strings.h"
#include "entrain/v1/peer_service.grpc.pb.h"
#include "nlohmann/json.hpp"
#include "tests/compatibility/playback.h"
#include "tests/compatibility/release_fixture.h"
#include "tests/integration/process.h"
#include "tests/transport/authority.h"
#include "tests/worker/agent/fake_coordinator.h"
#include "transport/signature.h"

namespace entrain::compatibility {
namespace {

namespace fs = std::filesystem;
using agent::FakeCoordinator;
using testing::Eventually;
using testing::Process;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int kPatienceMs = 60'000;
// That Open MPI does not take for this machine, and which reaches it all the same.
constexpr char kOtherHost[] = "127.0.0.2";

template <typename Message>
Message FirstOf(const std::vector<Record>& records, What what) {
  Message message;
  for (const Record& record : records) {
    if (record.what == what && message.ParseFromString(record.bytes) && message.ByteSizeLong() > 0) return message;
  }
  ADD_FAILURE() << "not recorded: " << Message::descriptor()->name();
  return message;
}

class EveryPeer : public ::testing::TestWithParam<std::string> {
 protected:
  EveryPeer()
      : root_(StrCat(fs::path(::testing::TempDir()).lexically_normal().string(), "/peers-", GetParam(), "-", ::getpid())),
        folder_(StrCat(ENTRAIN_FIXTURES, "/releases/", GetParam())) {
    fs::remove_all(root_);
    authority_ = std::make_unique<transport::Authority>(root_ + "/tls");
    tls_ = authority_->Issue("worker", "", StrCat(",IP:", kOtherHost));
    peers_ = ParseRecords(Unpack(folder_ + "/peers_of_member.txt.gz")).value();
    control_ = ParseRecords(Unpack(folder_ + "/control_of_member.txt.gz")).value();
    for (const Record& record : peers_) {
      if (record.what == What::kOpened) methods_[record.call] = record.bytes;
    }
    prepare_ = Heard<v1::PrepareRequest>("Prepare");
    EXPECT_TRUE(launch_.ParseFromString(prepare_.grant().launch()));
    const auto config = nlohmann::json::parse(launch_.config_json());
    EXPECT_TRUE(MakeFolders(StrCat(root_, "/artifacts/datasets/", config["dataset"]["hash"].get<std::string>())).ok());
  }
  ~EveryPeer() override {
    worker_.KillNow();
    for (const pid_t pid : testing::FindProcesses({root_ + "/", "/attempts/"})) ::kill(pid, SIGKILL);
    if (!HasFailure()) fs::remove_all(root_);
  }
  template <typename Message>
  Message Heard(const std::string& method) {
    std::vector<Record> of_method;
    for (const Record& record : peers_) {
      if (methods_[record.call] == StrCat("/entrain.v1.PeerService/", method)) of_method.push_back(record);
    }
    return FirstOf<Message>(of_method, What::kHeard);
  }
  void StartWorker(FakeCoordinator* coordinator, const std::string& id) {
    ASSERT_TRUE(MakeFolders(root_ + "/worker").ok());
    ASSERT_TRUE(WriteFileAtomically(root_ + "/worker/worker-id", id + "\n").ok());
    worker_ = Process::Start({StrCat(ENTRAIN_BIN_DIR, "/entrain-worker"), "--coordinator", coordinator->address(), "--dir", root_ + "/worker", "--artifacts",
                              root_ + "/artifacts", "--slots", "2", "--slot-kind", "cpu", "--peer-listen", "127.0.0.1:0", "--tls-ca", tls_.ca, "--tls-cert",
                              tls_.certificate, "--tls-key", tls_.key},
                             root_ + "/worker.log");
    // The first heartbeat follows the welcome.
    ASSERT_TRUE(Eventually([&] { return coordinator->heard().heartbeats > 0; }, kPatienceMs)) << Log();
    const v1::Hello hello = coordinator->heard().hellos.back();
    stub_ = v1::PeerService::NewStub(grpc::CreateChannel(hello.peer_address(), transport::MakeChannelCredentials(tls_).value()));
  }
  std::unique_ptr<FakeCoordinator> MakeCoordinator(const std::string& peer_key) {
    auto coordinator = std::make_unique<FakeCoordinator>(transport::MakeServerCredentials(tls_).value());
    coordinator->set_peer_key(peer_key);
    return coordinator;
  }
  // The recorded launch with both machines here, since its addresses are nobody's now, signed anew.
  v1::PeerGrant Moved(const transport::SigningKey& key, const std::string& head, const std::string& member) {
    v1::Launch launch = launch_;
    launch.mutable_gang(0)->set_peer_address(head);
    launch.mutable_gang(1)->set_peer_address(member);
    v1::PeerGrant grant;
    grant.set_launch(launch.SerializeAsString());
    grant.set_token(key.Sign(grant.launch()).value());
    return grant;
  }
  template <typename Method, typename Request, typename Response>
  grpc::Status Call(Method method, const Request& request, Response* response) {
    grpc::ClientContext context;
    return (stub_.get()->*method)(&context, request, response);
  }
  std::string Log() const { return ReadFile(root_ + "/worker.log").value_or("(no log)"); }

  const std::string root_;
  const std::string folder_;
  std::unique_ptr<transport::Authority> authority_;
  transport::TlsFiles tls_;
  std::vector<Record> peers_;
  std::vector<Record> control_;
  std::map<int, std::string> methods_;
  v1::PrepareRequest prepare_;
  v1::Launch launch_;
  Process worker_;
  std::unique_ptr<v1::PeerService::Stub> stub_;
};

// Its coordinator's signature holds, and the launch under it is understood as far as this machine goes.
TEST_P(EveryPeer, ItsTokenIsGood) {
  const auto welcome = FirstOf<v1::CoordinatorMessage>(control_, What::kSaid);
  ASSERT_TRUE(welcome.has_welcome());
  const auto coordinator = MakeCoordinator(welcome.welcome().peer_key());
  StartWorker(coordinator.get(), launch_.gang(1).worker_id());
  v1::PrepareResponse response;
  const grpc::Status status = Call(&v1::PeerService::Stub::Prepare, prepare_, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_THAT(response.message(), HasSubstr("is on no interface of worker " + launch_.gang(1).worker_id()));
  v1::PrepareRequest other = prepare_;
  other.mutable_grant()->set_launch(prepare_.grant().launch() + " ");
  EXPECT_EQ(Call(&v1::PeerService::Stub::Prepare, other, &response).error_code(), grpc::StatusCode::UNAUTHENTICATED);
}

TEST_P(EveryPeer, AHeadOfItsIsServedByThisWorker) {
  const transport::SigningKey key = transport::SigningKey::Make().value();
  const auto coordinator = MakeCoordinator(key.public_key());
  StartWorker(coordinator.get(), launch_.gang(1).worker_id());
  const std::string here = coordinator->heard().hellos.back().peer_address();
  const v1::PeerGrant grant = Moved(key, here, here);
  *prepare_.mutable_grant() = grant;
  v1::PrepareResponse prepared;
  ASSERT_TRUE(Call(&v1::PeerService::Stub::Prepare, prepare_, &prepared).ok()) << Log();
  EXPECT_EQ(prepared.cause(), "") << prepared.message();
  auto start = Heard<v1::StartDaemonRequest>("StartDaemon");
  *start.mutable_grant() = grant;
  v1::StartDaemonResponse started;
  const grpc::Status status = Call(&v1::PeerService::Stub::StartDaemon, start, &started);
  EXPECT_TRUE(status.ok()) << status.error_message();
  auto end = Heard<v1::EndRequest>("End");
  *end.mutable_grant() = grant;
  v1::EndResponse ended;
  EXPECT_TRUE(Call(&v1::PeerService::Stub::End, end, &ended).ok());
  EXPECT_TRUE(Eventually([&] { return testing::FindProcesses({root_ + "/worker/attempts/"}).empty(); }, kPatienceMs)) << Log();
}

TEST_P(EveryPeer, AMemberOfItsServesThisHead) {
  Playback member(peers_);
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(StrCat(kOtherHost, ":0"), transport::MakeServerCredentials(tls_).value(), &port);
  builder.RegisterCallbackGenericService(&member);
  const auto server = builder.BuildAndStart();
  const transport::SigningKey key = transport::SigningKey::Make().value();
  const auto coordinator = MakeCoordinator(key.public_key());
  StartWorker(coordinator.get(), launch_.gang(0).worker_id());
  const v1::PeerGrant grant = Moved(key, coordinator->heard().hellos.back().peer_address(), StrCat(kOtherHost, ":", port));
  v1::Launch launch;
  ASSERT_TRUE(launch.ParseFromString(grant.launch()));
  launch.set_signed_launch(grant.launch());
  launch.set_peer_token(grant.token());
  coordinator->Launch(launch);
  ASSERT_TRUE(Eventually([&] { return member.asked().contains("/entrain.v1.PeerService/StartDaemon"); }, kPatienceMs)) << Log();
  // The rest of the gang will not come: nobody is behind the answers.
  v1::CoordinatorMessage stop;
  *stop.mutable_stop()->mutable_key() = launch.key();
  coordinator->Say(stop);
  v1::AttemptEnded end;
  ASSERT_TRUE(Eventually(
      [&] {
        const agent::Heard heard = coordinator->heard();
        if (heard.reports.empty() || !heard.reports.back().has_ended()) return false;
        end = heard.reports.back().ended();
        return true;
      },
      kPatienceMs))
      << Log();
  EXPECT_THAT(member.asked(), ::testing::ElementsAre("/entrain.v1.PeerService/End", "/entrain.v1.PeerService/Prepare", "/entrain.v1.PeerService/StartDaemon"));
  EXPECT_THAT(member.unknown(), IsEmpty());
  server->Shutdown();
}

INSTANTIATE_TEST_SUITE_P(Releases, EveryPeer, ::testing::ValuesIn(RecordedReleases()), [](const auto& version) { return TestNameOf(version.param); });

}  // namespace
}  // namespace entrain::compatibility
