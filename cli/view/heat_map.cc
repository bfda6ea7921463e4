#include "cli/view/heat_map.h"

#include <algorithm>
#include <cmath>

#include "base/strings.h"
#include "cli/format.h"
#include "cli/view/heat_strip.h"

namespace entrain::cli::view {
namespace {

struct MapShape {
  std::int64_t rows = 0;     // of values, after folding layers
  std::int64_t columns = 0;  // of values, after folding heads
  int cell_width = 1;
  bool halves = false;  // two rows a line
  int label_width = 0;
};

MapShape ShapeFor(std::int64_t n_layer, std::int64_t n_head, Colour colour, int max_width, int max_height) {
  MapShape shape;
  const int digits = DisplayWidth(StrCat(n_layer - 1));
  shape.halves = colour != Colour::kNone && n_layer > max_height;
  const std::int64_t room = shape.halves ? 2 * static_cast<std::int64_t>(max_height) : max_height;
  shape.rows = std::min(n_layer, room);
  shape.label_width = shape.halves || shape.rows < n_layer ? 2 * digits + 1 : digits;
  const int width = max_width - shape.label_width - 1;
  if (width < 1 || max_height < 1) return MapShape{};
  shape.columns = std::min<std::int64_t>(n_head, width);
  if (colour != Colour::kNone) shape.cell_width = static_cast<int>(std::clamp<std::int64_t>(width / shape.columns, 1, 2));
  return shape;
}

// The layers that end in row `row`.
std::int64_t FirstLayerOf(const MapShape& shape, std::int64_t n_layer, std::int64_t row) { return row * n_layer / shape.rows; }

float MapValue(const std::vector<float>& values, std::int64_t n_layer, std::int64_t n_head, const MapShape& shape, std::int64_t row,
               std::int64_t column) {
  return WorstOf(values, n_head, {FirstLayerOf(shape, n_layer, row), FirstLayerOf(shape, n_layer, row + 1)},
                 {column * n_head / shape.columns, (column + 1) * n_head / shape.columns});
}

std::string LayersLabel(std::int64_t first, std::int64_t last) { return first == last ? StrCat(first) : StrCat(first, "-", last); }

}  // namespace

std::vector<std::string> HeatMap(const std::vector<float>& entropy_fraction, std::int64_t n_layer, std::int64_t n_head, Colour colour,
                                 int max_width, int max_height) {
  if (n_layer <= 0 || n_head <= 0 || entropy_fraction.size() != static_cast<std::size_t>(n_layer * n_head)) return {};
  const MapShape shape = ShapeFor(n_layer, n_head, colour, max_width, max_height);
  if (shape.rows == 0) return {};
  const std::int64_t rows_a_line = shape.halves ? 2 : 1;
  std::vector<std::string> lines;
  for (std::int64_t row = 0; row < shape.rows; row += rows_a_line) {
    const std::int64_t last_row = std::min(row + rows_a_line, shape.rows) - 1;
    const std::string label = LayersLabel(FirstLayerOf(shape, n_layer, row), FirstLayerOf(shape, n_layer, last_row + 1) - 1);
    std::string line = StrCat(Paint(colour, Style::kDim, PadLeft(label, shape.label_width)), " ");
    for (std::int64_t column = 0; column < shape.columns; ++column) {
      const auto value = [&](std::int64_t r) { return MapValue(entropy_fraction, n_layer, n_head, shape, r, column); };
      if (colour == Colour::kNone) {
        line += HeatCharacter(value(row));
        continue;
      }
      const std::string_view cell = shape.cell_width == 2 ? "▀▀" : "▀";
      const Rgb upper = HeatColour(value(row));
      // A last layer alone on its line leaves the lower half empty.
      if (shape.halves && last_row == row) line += Paint(colour, upper, cell);
      else line += Paint(colour, upper, HeatColour(value(last_row)), cell);
    }
    lines.push_back(line);
  }
  return lines;
}

}  // namespace entrain::cli::view
