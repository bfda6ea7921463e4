// What shows that a rank or another machine is there, and what does not.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>

#include "base/clock.h"
#include "base/files.h"
#include "base/strings.h"
#include "gtest/gtest.h"
#include "tests/worker/launcher/gang_on_disk.h"
#include "worker/launcher/link_watch.h"
#include "worker/launcher/rank_watch.h"

namespace entrain::launcher {
namespace {

// A port of loopback that is free and refuses connections.
int RefusingPort() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in place{};
  place.sin_family = AF_INET;
  place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(place);
  EXPECT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&place), size), 0);
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&place), &size);
  ::close(fd);
  return ntohs(place.sin_port);
}

TEST(LinkWatchTest, AMachineThatRefusesAnswersAndOneThatIsNowhereDoesNot) {
  // No connection goes to the broadcast address.
  LinkWatch there(StrCat("127.0.0.1:", RefusingPort()), 0);
  LinkWatch nowhere("255.255.255.255:9", 0);
  for (std::int64_t now_ms = 0; now_ms <= 20'000; now_ms += 500) {
    there.Poll(now_ms);
    nowhere.Poll(now_ms);
  }
  EXPECT_EQ(there.SilentFor(15'000, 20'000), "");
  EXPECT_EQ(nowhere.SilentFor(15'000, 14'999), "");
  EXPECT_EQ(nowhere.SilentFor(15'000, 15'000), "255.255.255.255:9");
  nowhere.Restart(20'000);
  EXPECT_EQ(nowhere.SilentFor(15'000, 34'999), "");
  EXPECT_EQ(LinkWatch("", 0).SilentFor(1, 1'000'000), "");
}

TEST(RankWatchTest, ARankIsFrozenWhenItsFileStaysStillAndItLeftNoRecord) {
  const std::string root = StrCat(testing::TempDir(), "/rank-watch-", ::getpid());
  std::filesystem::remove_all(root);
  const attempt::AttemptFolder folder(root);
  ASSERT_TRUE(MakeFolders(root + "/heartbeat").ok());
  ASSERT_TRUE(MakeFolders(root + "/terminal").ok());
  RankWatch watch(folder, 2, 2);
  watch.Poll(0);
  EXPECT_EQ(watch.FrozenFor(10'000, 60'000), -1) << "nothing was seen of it yet";
  ASSERT_TRUE(WriteFileAtomically(folder.HeartbeatPath(3), "").ok());
  watch.Poll(1'000);
  watch.Poll(10'999);
  EXPECT_EQ(watch.FrozenFor(10'000, 10'999), -1);
  EXPECT_EQ(watch.FrozenFor(10'000, 11'000), 3);
  watch.Restart(11'000);
  EXPECT_EQ(watch.FrozenFor(10'000, 20'999), -1);
  ASSERT_TRUE(folder.WriteTerminalRecord(3, {}).ok());
  watch.Poll(21'000);
  EXPECT_EQ(watch.FrozenFor(10'000, 60'000), -1);
  std::filesystem::remove_all(root);
}

}  // namespace
}  // namespace entrain::launcher
