#include "cli/view/painter.h"

#include "gtest/gtest.h"

namespace entrain::cli::view {
namespace {

TEST(PainterTest, TheFirstFrameMovesNothing) {
  EXPECT_EQ(RedrawBytes({}, {"a", "b"}, 80), "\x1b[?2026h" "a\x1b[K\nb\x1b[K\n" "\x1b[J\x1b[?2026l");
}

TEST(PainterTest, LaterFramesGoBackOverTheBlock) {
  EXPECT_EQ(RedrawBytes({"a", "b"}, {"c"}, 80), "\x1b[?2026h" "\r\x1b[2A" "c\x1b[K\n" "\x1b[J\x1b[?2026l");
}

TEST(PainterTest, LinesThatANarrowerTerminalWrappedCountTwice) {
  const std::string bytes = RedrawBytes({std::string(100, 'x'), ""}, {}, 60);
  EXPECT_NE(bytes.find("\x1b[3A"), std::string::npos);
}

}  // namespace
}  // namespace entrain::cli::view
