#include "worker/attempt/control_socket.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <thread>

#include "base/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace entrain::attempt {
namespace {

using testing::HasSubstr;

class ControlSocketTest : public testing::Test {
 protected:
  ControlSocketTest() : path_("/tmp/entrain-control-" + SystemIdSource().Next(10)) {}
  ~ControlSocketTest() override { std::filesystem::remove(path_); }
  std::string path_;
};

// A client that is not ours: raw bytes, in pieces.
class RawClient {
 public:
  explicit RawClient(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  ~RawClient() { ::close(fd_); }
  void Send(const std::string& bytes) { EXPECT_EQ(::send(fd_, bytes.data(), bytes.size(), 0), ssize_t(bytes.size())); }
  std::string Receive() {
    char buffer[1024];
    const ssize_t count = ::recv(fd_, buffer, sizeof(buffer), 0);
    return count > 0 ? std::string(buffer, static_cast<std::size_t>(count)) : "";
  }

 private:
  int fd_;
};

TEST_F(ControlSocketTest, CommandsArriveInOrder) {
  auto listener = ControlListener::Listen(path_);
  ASSERT_TRUE(listener.ok()) << listener.status();
  EXPECT_TRUE((*listener)->Poll().empty());
  ASSERT_TRUE(SendCommand(path_, {domain::StopMode::kCheckpoint, "first"}).ok());
  ASSERT_TRUE(SendCommand(path_, {domain::StopMode::kNow, "second"}).ok());
  const std::vector<StopCommand> commands = (*listener)->Poll();
  ASSERT_EQ(commands.size(), 2u);
  EXPECT_EQ(commands[0].reason, "first");
  EXPECT_EQ(commands[1].mode, domain::StopMode::kNow);
  EXPECT_TRUE((*listener)->Poll().empty());
}

TEST_F(ControlSocketTest, ALineCountsOnlyWithItsNewlineAndIsAnswered) {
  auto listener = ControlListener::Listen(path_);
  ASSERT_TRUE(listener.ok()) << listener.status();
  RawClient client(path_);
  const std::string line = EncodeCommand({domain::StopMode::kCheckpoint, "by hand"});
  client.Send(line.substr(0, 10));
  EXPECT_TRUE((*listener)->Poll().empty());
  client.Send(line.substr(10) + "\nrubbish\n");
  const std::vector<StopCommand> commands = (*listener)->Poll();
  ASSERT_EQ(commands.size(), 1u);
  EXPECT_EQ(commands[0].reason, "by hand");
  const std::string answers = client.Receive();
  EXPECT_THAT(answers, HasSubstr("{\"ok\":true}\n"));
  EXPECT_THAT(answers, HasSubstr("not JSON"));
}

TEST_F(ControlSocketTest, ReplacesAStaleSocketAndRemovesItsOwn) {
  {
    auto first = ControlListener::Listen(path_);
    ASSERT_TRUE(first.ok());
    auto second = ControlListener::Listen(path_);
    ASSERT_TRUE(second.ok()) << second.status();
    ASSERT_TRUE(SendCommand(path_, {}).ok());
    EXPECT_EQ((*second)->Poll().size(), 1u);
  }
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(ControlSocketTest, NobodyListeningIsUnavailable) {
  const absl::Status status = SendCommand(path_, {});
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr(path_));
}

TEST_F(ControlSocketTest, TooLongAPathIsRefusedWithItsLength) {
  const absl::Status status = ControlListener::Listen("/tmp/" + std::string(120, 'x')).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("has 125"));
}

}  // namespace
}  // namespace entrain::attempt
