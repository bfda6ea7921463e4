#include "cli/local/folder.h"

#include <unistd.h>

#include "base/files.h"
#include "base/strings.h"
#include "gtest/gtest.h"

namespace entrain::cli::local {
namespace {

std::string Fresh(const std::string& name) { return StrCat(testing::TempDir(), "folder-", name, "-", ::getpid()); }

TEST(FolderTest, OnlyOneWorksInAFolder) {
  const std::string root = Fresh("one");
  {
    const auto first = Folder::Open(root);
    ASSERT_TRUE(first.ok()) << first.status();
    const auto second = Folder::Open(root);
    ASSERT_TRUE(absl::IsFailedPrecondition(second.status()));
    const std::string message(second.status().message());
    EXPECT_NE(message.find(root), std::string::npos) << message;
    EXPECT_NE(message.find(StrCat("process ", ::getpid())), std::string::npos) << message;
  }
  EXPECT_TRUE(Folder::Open(root).ok());
}

TEST(FolderTest, TheCoordinatorIsFoundWhileSomeoneWorksThere) {
  const std::string root = Fresh("address");
  EXPECT_EQ(RunningCoordinator(root), "");
  {
    const auto folder = Folder::Open(root);
    ASSERT_TRUE(folder.ok());
    EXPECT_EQ(RunningCoordinator(root), "");
    ASSERT_TRUE(WriteFileAtomically(folder->Path("coordinator.address"), "127.0.0.1:4242\n").ok());
    EXPECT_EQ(RunningCoordinator(root), "127.0.0.1:4242");
  }
  // What a killed one left is no running coordinator.
  ASSERT_TRUE(WriteFileAtomically(root + "/coordinator.address", "127.0.0.1:4242\n").ok());
  EXPECT_EQ(RunningCoordinator(root), "");
}

TEST(FolderTest, AFileInTheWayIsTold) {
  const std::string root = Fresh("file");
  ASSERT_TRUE(WriteFileAtomically(root, "x").ok());
  EXPECT_FALSE(Folder::Open(root).ok());
}

}  // namespace
}  // namespace entrain::cli::local
