// A table of text columns for the terminal.
#pragma once

#include <string>
#include <vector>

#include "cli/colour.h"

namespace entrain::cli {

enum class Align { kLeft, kRight };

class Table {
 public:
  struct Column {
    std::string title;
    Align align = Align::kLeft;
  };
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // One cell a column; `style` paints the cell at `styled_column`, if that is not negative.
  void Add(std::vector<std::string> cells, int styled_column = -1, Style style = Style::kPlain);
  bool empty() const { return rows_.empty(); }
  // Titles and rows, two spaces between columns, no trailing spaces; cells are made printable.
  std::string Text(Colour colour) const;

 private:
  struct Row {
    std::vector<std::string> cells;
    int styled_column = -1;
    Style style = Style::kPlain;
  };
  std::vector<Column> columns_;
  std::vector<Row> rows_;
};

}  // namespace entrain::cli
