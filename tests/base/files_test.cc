#include "base/files.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace entrain {
namespace {

TEST(Files, AtomicWriteReplacesTheWholeContent) {
  const std::string path = testing::TempDir() + "/entrain_files_test";
  ASSERT_TRUE(WriteFileAtomically(path, "first").ok());
  ASSERT_TRUE(WriteFileAtomically(path, "second").ok());
  EXPECT_EQ(ReadFile(path).value(), "second");
}

TEST(Files, ErrorsNameThePath) {
  EXPECT_EQ(ReadFile("/no/such/file").status().message(), "open /no/such/file: No such file or directory");
  EXPECT_EQ(ErrnoStatus(ENOSPC, "write", "x").code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace entrain
