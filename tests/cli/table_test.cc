#include "cli/table.h"

#include "gtest/gtest.h"

namespace entrain::cli {
namespace {

TEST(TableTest, ColumnsLineUpWithoutTrailingSpaces) {
  Table table({{"RUN"}, {"STEP", Align::kRight}, {"REASON"}});
  table.Add({"SM+LN+G", "12", "fine"});
  table.Add({"é", "1200", ""});
  EXPECT_EQ(table.Text(Colour::kNone),
            "RUN      STEP  REASON\n"
            "SM+LN+G    12  fine\n"
            "é        1200\n");
}

TEST(TableTest, CellsCannotSteerTheTerminal) {
  Table table({{"A"}, {"B"}});
  table.Add({"x\ny", "\x1b[2J"});
  EXPECT_EQ(table.Text(Colour::kNone), "A    B\nx y   [2J\n");
}

TEST(TableTest, StyledCellKeepsItsWidth) {
  Table table({{"S"}, {"B"}});
  table.Add({"ok", "b"}, 0, Style::kGreen);
  EXPECT_NE(table.Text(Colour::k256).find("\x1b[32mok\x1b[0m  b"), std::string::npos);
}

}  // namespace
}  // namespace entrain::cli
