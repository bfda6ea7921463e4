// What one worker may ask of another, tried on the real daemon: mutual TLS, the coordinator's token, the lease, the attempt, and no other
// command than orted's.
#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "gmock/gmock.h"
#include "sweep/run_config_json.h"
#include "tests/transport/authority.h"
#include "tests/worker/agent/fake_coordinator.h"
#include "tests/worker/launcher/gang_on_disk.h"
#include "transport/signature.h"
#include "worker/agent/peer_client.h"
#include "worker/agent/peer_grant.h"

namespace entrain::agent {
namespace {

using launcher::Eventually;
using testing::ElementsAreArray;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

constexpr char kDatasetHash[] = "0123456789abcdef";

// A port that takes connections and never says a word.
class SilentPort {
 public:
  SilentPort() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in place{};
    place.sin_family = AF_INET;
    place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(fd_, reinterpret_cast<const sockaddr*>(&place), sizeof(place)), 0);
    EXPECT_EQ(::listen(fd_, 8), 0);
    socklen_t size = sizeof(place);
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&place), &size);
    port_ = ntohs(place.sin_port);
  }
  ~SilentPort() { ::close(fd_); }
  std::uint32_t port() const { return port_; }

 private:
  int fd_;
  std::uint32_t port_ = 0;
};

class PeerServiceTest : public testing::Test {
 protected:
  PeerServiceTest()
      : root_(StrCat(std::filesystem::canonical(testing::TempDir()).string(), "/peer-", ::getpid(), "-", ++count_)),
        authority_(root_ + "/tls"),
        tls_(authority_.Issue("worker")),
        coordinator_(transport::MakeServerCredentials(tls_).value()) {
    EXPECT_TRUE(MakeFolders(StrCat(root_, "/artifacts/datasets/", kDatasetHash)).ok());
    coordinator_.set_peer_key(key_.public_key());
    StartDaemon();
  }
  ~PeerServiceTest() override {
    KillDaemon();
    for (std::uint32_t attempt = 1; attempt <= 3; ++attempt) EXPECT_TRUE(launcher::KillGang(Folder(attempt), 0).ok());
    if (HasFailure()) std::fprintf(stderr, "%s\n", ReadFile(root_ + "/daemon.log").value_or("").c_str());
    std::filesystem::remove_all(root_);
  }

  void StartDaemon() {
    const launcher::ProgramPaths programs = launcher::FakePrograms();
    std::vector<std::string> arguments = {std::string(ENTRAIN_BIN_DIR) + "/entrain-worker", "--coordinator", coordinator_.address(),
                                          "--dir", root_ + "/worker", "--artifacts", root_ + "/artifacts", "--slots", "2", "--slot-kind", "cpu",
                                          "--trainer", programs.trainer, "--peer-listen", "127.0.0.1:0", "--tls-ca", tls_.ca, "--tls-cert",
                                          tls_.certificate, "--tls-key", tls_.key};
    std::vector<char*> pointers;
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    const std::size_t hellos = coordinator_.heard().hellos.size();
    const std::string log = root_ + "/daemon.log";
    daemon_ = ::fork();
    if (daemon_ == 0) {
      const int descriptor = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
      ::dup2(descriptor, 1);
      ::dup2(descriptor, 2);
      ::execv(pointers[0], pointers.data());
      ::_exit(127);
    }
    ASSERT_TRUE(Eventually([&] { return coordinator_.heard().hellos.size() > hellos; })) << ReadFile(log).value_or("");
    hello_ = coordinator_.heard().hellos.back();
    // The welcome, and with it the key, follows the hello.
    ASSERT_TRUE(Eventually([&] { return ReadFile(log).value_or("").find("connected") != std::string::npos; }));
  }
  void KillDaemon() {
    if (daemon_ <= 0) return;
    ::kill(daemon_, SIGKILL);
    ::waitpid(daemon_, nullptr, 0);
    daemon_ = 0;
  }

  std::string Folder(std::uint32_t attempt) const { return StrCat(root_, "/worker/attempts/run.", attempt); }

  v1::Launch MakeLaunch(std::uint32_t attempt = 1) const {
    domain::RunConfig config;
    config.dataset = {"text", kDatasetHash};
    config.resources = {2, 1, 1};
    v1::Launch launch;
    launch.mutable_key()->set_run_id("run");
    launch.mutable_key()->set_attempt(attempt);
    for (const std::string& worker : {std::string("head"), hello_.worker_id()}) {
      v1::GangMember* member = launch.add_gang();
      member->set_worker_id(worker);
      member->add_slots(0);
      member->set_peer_address(worker == "head" ? "127.0.0.1:1" : hello_.peer_address());
      member->set_slot_kind("cpu");
      member->set_incarnation(hello_.incarnation());
    }
    launch.set_config_json(sweep::ToCanonicalJson(config));
    return launch;
  }
  v1::PeerGrant Grant(const v1::Launch& launch) const { return GrantBy(key_, launch); }
  static v1::PeerGrant GrantBy(const transport::SigningKey& key, const v1::Launch& launch) {
    v1::PeerGrant grant;
    grant.set_launch(launch.SerializeAsString());
    grant.set_token(key.Sign(grant.launch()).value());
    return grant;
  }
  grpc::Status Prepare(const v1::PeerGrant& grant, std::uint32_t attempt = 1, std::shared_ptr<grpc::ChannelCredentials> credentials = nullptr) {
    v1::PrepareRequest request;
    *request.mutable_grant() = grant;
    request.mutable_key()->set_run_id("run");
    request.mutable_key()->set_attempt(attempt);
    v1::PrepareResponse response;
    const grpc::Status status = Call(&v1::PeerService::Stub::Prepare, request, &response, std::move(credentials));
    EXPECT_EQ(response.cause(), "") << response.message();
    return status;
  }
  v1::StartDaemonRequest StartRequest(const v1::PeerGrant& grant, std::uint32_t port, std::uint32_t attempt = 1) const {
    v1::StartDaemonRequest request;
    *request.mutable_grant() = grant;
    request.mutable_key()->set_run_id("run");
    request.mutable_key()->set_attempt(attempt);
    request.set_job_id(903217152);
    request.set_daemon(1);
    request.set_daemons(2);
    request.set_nodes("hosta,[2:10].77.2.2@0(2)");
    request.set_head_port(port);
    return request;
  }
  grpc::Status StartDaemonThere(const v1::StartDaemonRequest& request) {
    v1::StartDaemonResponse response;
    return Call(&v1::PeerService::Stub::StartDaemon, request, &response);
  }
  grpc::Status End(const v1::PeerGrant& grant, v1::EndResponse* response) {
    v1::EndRequest request;
    *request.mutable_grant() = grant;
    request.mutable_key()->set_run_id("run");
    request.mutable_key()->set_attempt(1);
    return Call(&v1::PeerService::Stub::End, request, response);
  }
  template <typename Method, typename Request, typename Response>
  grpc::Status Call(Method method, const Request& request, Response* response, std::shared_ptr<grpc::ChannelCredentials> credentials = nullptr) {
    if (credentials == nullptr) credentials = transport::MakeChannelCredentials(tls_).value();
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    const auto stub = v1::PeerService::NewStub(grpc::CreateCustomChannel(hello_.peer_address(), credentials, arguments));
    grpc::ClientContext context;
    return (stub.get()->*method)(&context, request, response);
  }

  std::string root_;
  transport::Authority authority_;
  transport::TlsFiles tls_;
  transport::SigningKey key_ = transport::SigningKey::Make().value();
  FakeCoordinator coordinator_;
  v1::Hello hello_;
  pid_t daemon_ = 0;
  static inline int count_ = 0;
};

TEST_F(PeerServiceTest, WithoutACertificateOfTheAuthorityNobodyIsHeard) {
  const v1::PeerGrant grant = Grant(MakeLaunch());
  const transport::Authority others(root_ + "/others");
  EXPECT_EQ(Prepare(grant, 1, grpc::InsecureChannelCredentials()).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Prepare(grant, 1, transport::MakeChannelCredentials(others.Issue("worker")).value()).error_code(), grpc::StatusCode::UNAVAILABLE);
  grpc::SslCredentialsOptions no_certificate;
  no_certificate.pem_root_certs = ReadFile(tls_.ca).value();
  EXPECT_EQ(Prepare(grant, 1, grpc::SslCredentials(no_certificate)).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_FALSE(std::filesystem::exists(Folder(1)));
}

TEST_F(PeerServiceTest, WithoutTheCoordinatorsTokenNothingIsDone) {
  v1::PeerGrant grant = Grant(MakeLaunch());
  v1::PeerGrant without = grant;
  without.clear_token();
  EXPECT_EQ(Prepare(without).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(Prepare(GrantBy(transport::SigningKey::Make().value(), MakeLaunch())).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  // Another configuration under the same signature.
  v1::Launch altered = MakeLaunch();
  altered.set_config_json("{}");
  grant.set_launch(altered.SerializeAsString());
  EXPECT_EQ(Prepare(grant).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_FALSE(std::filesystem::exists(Folder(1)));
}

TEST_F(PeerServiceTest, ATokenIsOfOneAttemptOneGangAndOneLifeOfTheDaemon) {
  EXPECT_EQ(Prepare(Grant(MakeLaunch(1)), 2).error_code(), grpc::StatusCode::PERMISSION_DENIED);
  v1::Launch elsewhere = MakeLaunch();
  elsewhere.mutable_gang(1)->set_worker_id("another");
  EXPECT_EQ(Prepare(Grant(elsewhere)).error_code(), grpc::StatusCode::PERMISSION_DENIED);
  v1::Launch own = MakeLaunch();
  own.mutable_gang()->SwapElements(0, 1);
  EXPECT_EQ(Prepare(Grant(own)).error_code(), grpc::StatusCode::PERMISSION_DENIED);
  v1::Launch older = MakeLaunch();
  KillDaemon();
  StartDaemon();
  EXPECT_EQ(Prepare(Grant(older)).error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_TRUE(Prepare(Grant(MakeLaunch())).ok());
}

TEST_F(PeerServiceTest, AReplacedOrEndedAttemptDoesNotBeginAgain) {
  EXPECT_TRUE(Prepare(Grant(MakeLaunch(2)), 2).ok());
  EXPECT_EQ(Prepare(Grant(MakeLaunch(1))).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(StartDaemonThere(StartRequest(Grant(MakeLaunch(1)), 1)).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_F(PeerServiceTest, AfterTheLeaseNothingBegins) {
  coordinator_.set_lease_ms(300);
  const v1::PeerGrant grant = Grant(MakeLaunch());
  EXPECT_TRUE(Prepare(grant).ok());
  coordinator_.Stop();
  grpc::Status refused;
  EXPECT_TRUE(Eventually([&] {
    refused = StartDaemonThere(StartRequest(grant, 0x7fff));
    return refused.error_message().find("lease is over") != std::string::npos;
  })) << refused.error_message();
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(Prepare(Grant(MakeLaunch(2)), 2).error_message(), HasSubstr("lease is over"));
}

TEST_F(PeerServiceTest, NothingButOrtedWithPossibleNumbersIsStarted) {
  const v1::PeerGrant grant = Grant(MakeLaunch());
  const v1::StartDaemonRequest good = StartRequest(grant, 1234);
  EXPECT_EQ(StartDaemonThere(good).error_code(), grpc::StatusCode::FAILED_PRECONDITION);  // not prepared
  ASSERT_TRUE(Prepare(grant).ok());
  const auto refused = [&](auto change) {
    v1::StartDaemonRequest request = good;
    change(&request);
    return StartDaemonThere(request).error_code() == grpc::StatusCode::INVALID_ARGUMENT;
  };
  EXPECT_TRUE(refused([](v1::StartDaemonRequest* r) { r->set_nodes("a;touch /tmp/x"); }));
  EXPECT_TRUE(refused([](v1::StartDaemonRequest* r) { r->set_nodes("$(id)"); }));
  EXPECT_TRUE(refused([](v1::StartDaemonRequest* r) { r->set_nodes("a b"); }));
  EXPECT_TRUE(refused([](v1::StartDaemonRequest* r) { r->set_nodes("--mca"); }));
  EXPECT_TRUE(refused([](v1::StartDaemonRequest* r) { r->set_nodes(""); }));
  EXPECT_TRUE(refused([](v1::StartDaemonRequest* r) { r->set_daemon(0); }));
  EXPECT_TRUE(refused([](v1::StartDaemonRequest* r) { r->set_daemon(2); }));
  EXPECT_TRUE(refused([](v1::StartDaemonRequest* r) { r->set_daemons(3); }));
  EXPECT_TRUE(refused([](v1::StartDaemonRequest* r) { r->set_head_port(70'000); }));
  EXPECT_TRUE(refused([](v1::StartDaemonRequest* r) { r->set_job_id(0); }));
  EXPECT_THAT(launcher::GangProcesses(0, 0, Folder(1)), IsEmpty());
}

TEST_F(PeerServiceTest, APartStartsOnceUnderItsSupervisorAndEndsWhenItsHeadSaysSo) {
  const SilentPort head;
  const v1::PeerGrant grant = Grant(MakeLaunch());
  ASSERT_TRUE(Prepare(grant).ok());
  const grpc::Status started = StartDaemonThere(StartRequest(grant, head.port()));
  ASSERT_TRUE(started.ok()) << started.error_message();
  EXPECT_EQ(StartDaemonThere(StartRequest(grant, head.port())).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  std::string command;
  EXPECT_TRUE(Eventually([&] {
    for (const pid_t pid : launcher::GangProcesses(0, 0, Folder(1))) command = ReadFile(StrCat("/proc/", pid, "/cmdline")).value_or("");
    return command.find("orte_hnp_uri") != std::string::npos;
  }));
  EXPECT_THAT(command, HasSubstr(StrCat("903217152.0;tcp://127.0.0.1:", head.port())));
  v1::EndResponse left;
  EXPECT_TRUE(End(grant, &left).ok());
  EXPECT_THAT(launcher::GangProcesses(0, 0, Folder(1)), IsEmpty());
  // The coordinator hears that its slots are free, and the folder goes.
  EXPECT_TRUE(Eventually([&] {
    const Heard heard = coordinator_.heard();
    return !heard.reports.empty() && heard.reports.back().has_ended();
  }));
  EXPECT_TRUE(Eventually([&] { return !std::filesystem::exists(Folder(1)); }));
  EXPECT_EQ(Prepare(grant).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_F(PeerServiceTest, TheTokenIsNeitherStoredNorLogged) {
  const v1::PeerGrant grant = Grant(MakeLaunch());
  ASSERT_TRUE(Prepare(grant).ok());
  ASSERT_TRUE(Prepare(GrantBy(transport::SigningKey::Make().value(), MakeLaunch())).error_code() == grpc::StatusCode::UNAUTHENTICATED);
  int files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root_)) {
    if (!entry.is_regular_file()) continue;
    ++files;
    EXPECT_THAT(ReadFile(entry.path().string()).value(), Not(HasSubstr(grant.token()))) << entry.path();
  }
  EXPECT_GT(files, 5);
}

// --- entrain-rsh-agent ---

int RunAgent(const std::vector<std::string>& words) {
  std::string command = StrCat(ENTRAIN_BIN_DIR, "/entrain-rsh-agent");
  for (const std::string& word : words) StrAppend(&command, " '", word, "'");
  const int status = std::system((command + " >/dev/null 2>&1").c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(RshAgentTest, OnlyTheStartOfOrtedIsPassedOn) {
  EXPECT_EQ(RunAgent({}), 64);
  EXPECT_EQ(RunAgent({"host"}), 64);
  EXPECT_EQ(RunAgent({"host", "sh", "-c", "id"}), 64);
  EXPECT_EQ(RunAgent({"host", "orted; id"}), 64);
  EXPECT_EQ(RunAgent({"host", " orted", "-mca", "ess", "\"env\""}), 64);
  // A good command outside a gang: there is nothing to say who asks.
  EXPECT_EQ(RunAgent({"host", " orted", "-mca", "ess", "\"env\"", "-mca", "ess_base_jobid", "\"7\"", "-mca", "ess_base_vpid", "1", "-mca",
                      "ess_base_num_procs", "\"2\"", "-mca", "orte_node_regex", "\"a,b@0(2)\"", "-mca", "orte_hnp_uri", "\"7.0;tcp://127.0.0.1:9\""}),
            69);
}

}  // namespace
}  // namespace entrain::agent
