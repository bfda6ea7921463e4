#include "cli/table.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "cli/format.h"

namespace entrain::cli {

void Table::Add(std::vector<std::string> cells, int styled_column, Style style) {
  ENTRAIN_CHECK(cells.size() == columns_.size());
  for (std::string& cell : cells) cell = Printable(cell);
  rows_.push_back(Row{std::move(cells), styled_column, style});
}

std::string Table::Text(Colour colour) const {
  std::vector<int> widths;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    int width = DisplayWidth(columns_[i].title);
    for (const Row& row : rows_) width = std::max(width, DisplayWidth(row.cells[i]));
    widths.push_back(width);
  }
  const auto line = [&](const Row& row) {
    std::string text;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      if (i > 0) text += "  ";
      const bool last = i + 1 == columns_.size();
      std::string cell = columns_[i].align == Align::kRight ? PadLeft(row.cells[i], widths[i])
                         : last                             ? row.cells[i]
                                                            : PadRight(row.cells[i], widths[i]);
      const bool styled = row.styled_column == static_cast<int>(i) || row.styled_column == -2;
      text += styled ? Paint(colour, row.style, cell) : cell;
    }
    text.erase(text.find_last_not_of(' ') + 1);
    return text + "\n";
  };
  Row titles{{}, -2, Style::kBold};
  for (const Column& column : columns_) titles.cells.push_back(column.title);
  std::string text = line(titles);
  for (const Row& row : rows_) text += line(row);
  return text;
}

}  // namespace entrain::cli
