#include "transport/tls.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/generic/async_generic_service.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/files.h"
#include "base/strings.h"
#include "gtest/gtest.h"
#include "tests/transport/authority.h"

namespace entrain::transport {
namespace {

std::string Folder(const std::string& name) {
  const std::string folder = StrCat(testing::TempDir(), "tls-", ::getpid(), "-", name);
  std::filesystem::remove_all(folder);
  return folder;
}

class Server {
 public:
  explicit Server(const TlsFiles& files) {
    grpc::ServerBuilder builder;
    builder.RegisterCallbackGenericService(&anything_);
    builder.AddListeningPort("127.0.0.1:0", MakeServerCredentials(files).value(), &port_);
    server_ = builder.BuildAndStart();
  }
  ~Server() { server_->Shutdown(); }
  // Whether a new connection with these credentials is taken.
  bool Admits(const TlsFiles& files, int timeout_ms = 5'000) const {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    const auto channel = grpc::CreateCustomChannel(StrCat("127.0.0.1:", port_), MakeChannelCredentials(files).value(), arguments);
    const gpr_timespec deadline = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(timeout_ms, GPR_TIMESPAN));
    grpc_connectivity_state state = channel->GetState(true);
    while (state != GRPC_CHANNEL_READY && state != GRPC_CHANNEL_TRANSIENT_FAILURE) {
      if (!channel->WaitForStateChange(state, deadline)) return false;
      state = channel->GetState(true);
    }
    return state == GRPC_CHANNEL_READY;
  }

 private:
  grpc::CallbackGenericService anything_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

TEST(TlsTest, OnlyCertificatesOfTheAuthorityAreAdmitted) {
  const Authority ours(Folder("ours"));
  const Authority theirs(Folder("theirs"));
  const Server server(ours.Issue("coordinator"));
  EXPECT_TRUE(server.Admits(ours.Issue("worker")));
  TlsFiles stranger = theirs.Issue("worker");
  EXPECT_FALSE(server.Admits(stranger)) << "neither trusts the other";
  stranger.ca = ours.Path("ca.pem");
  EXPECT_FALSE(server.Admits(stranger)) << "the server must not trust a certificate of another authority";
}

TEST(TlsTest, ARenewedCertificateCountsWithoutARestart) {
  const Authority old_authority(Folder("old"));
  const Authority new_authority(Folder("new"));
  const TlsFiles served = old_authority.Issue("coordinator");
  const Server server(served);
  EXPECT_TRUE(server.Admits(old_authority.Issue("worker")));
  const TlsFiles renewed = new_authority.Issue("coordinator");
  for (const auto& [from, to] : {std::pair(renewed.ca, served.ca), {renewed.certificate, served.certificate}, {renewed.key, served.key}}) {
    ASSERT_TRUE(WriteFileAtomically(to, ReadFile(from).value()).ok());
  }
  const TlsFiles worker = new_authority.Issue("worker");
  bool admitted = false;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!admitted && std::chrono::steady_clock::now() < end) admitted = server.Admits(worker, 1'000);
  EXPECT_TRUE(admitted);
}

TEST(TlsTest, UnusableFilesAreNamed) {
  const Authority authority(Folder("files"));
  const TlsFiles good = authority.Issue("one");
  EXPECT_TRUE(CheckTlsFiles(good).ok());
  const auto message = [](const TlsFiles& files) { return std::string(CheckTlsFiles(files).message()); };
  EXPECT_NE(message({good.ca, good.certificate, ""}).find("--tls-key is missing"), std::string::npos);
  EXPECT_NE(message({good.ca, authority.Path("none.pem"), good.key}).find("none.pem"), std::string::npos);
  EXPECT_NE(message({good.key, good.certificate, good.key}).find(good.key + ": holds no usable certificate"), std::string::npos);
  EXPECT_NE(message({good.ca, good.certificate, authority.Issue("two").key}).find("two.key"), std::string::npos);
}

TEST(TlsTest, LoopbackIsThisMachineAlone) {
  for (const char* address : {"127.0.0.1:7070", "localhost:0", "[::1]:7070", "127.1.2.3:1"}) EXPECT_TRUE(IsLoopback(address)) << address;
  for (const char* address : {"0.0.0.0:7070", "10.0.0.1:7070", "[::]:7070", "example.org:7070"}) EXPECT_FALSE(IsLoopback(address)) << address;
}

}  // namespace
}  // namespace entrain::transport
