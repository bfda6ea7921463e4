#include "cli/view/heat_strip.h"

#include <cmath>

#include "cli/format.h"
#include "gtest/gtest.h"

namespace entrain::cli::view {
namespace {

std::vector<float> Ramp(int count) {
  std::vector<float> values;
  for (int i = 0; i < count; ++i) values.push_back(static_cast<float>(i) / static_cast<float>(count));
  return values;
}

TEST(HeatStripTest, EveryHeadIsACharacterWithoutColour) {
  EXPECT_EQ(HeatStrip({0.0f, 0.04f, 0.06f, 0.15f, 0.55f, 0.95f, 1.0f, NAN}, 2, 4, Colour::kNone, 40), "!! .|+@@?");
}

TEST(HeatStripTest, TwoHeadsShareACharacterWithColour) {
  const std::string strip = HeatStrip(Ramp(24), 6, 4, Colour::kTrue, 40);
  EXPECT_EQ(DisplayWidth(strip), 6 * 2 + 5);
  EXPECT_EQ(strip.substr(0, strip.find("▀")), "\x1b[38;2;225;40;40m\x1b[48;2;225;40;40m");
  EXPECT_EQ(DisplayWidth(HeatStrip(Ramp(24), 6, 4, Colour::k256, 12)), 12);
}

TEST(HeatStripTest, FoldedCellsShowTheLowestHead) {
  // 2 layers x 4 heads into 5 columns: two heads a cell.
  EXPECT_EQ(HeatStrip({0.9f, 0.01f, 0.9f, 0.5f, 0.3f, 0.3f, 0.2f, 0.9f}, 2, 4, Colour::kNone, 5), "!+|-:");
  // Into 4: one cell a layer.
  EXPECT_EQ(HeatStrip({0.9f, 0.01f, 0.9f, 0.5f, 0.3f, 0.3f, 0.2f, 0.9f}, 2, 4, Colour::kNone, 4), "!:");
}

TEST(HeatStripTest, DeepModelsFoldLayers) {
  std::vector<float> values(100, 0.5f);
  values[57] = NAN;
  const std::string strip = HeatStrip(values, 100, 1, Colour::kNone, 10);
  EXPECT_EQ(strip, "+++++?++++");
}

TEST(HeatStripTest, WidthIsWhatIsDrawn) {
  for (const Colour colour : {Colour::kNone, Colour::k256, Colour::kTrue}) {
    for (const int layers : {1, 2, 3, 6, 12, 48, 200}) {
      for (const int heads : {1, 3, 4, 12}) {
        for (int width = 4; width < 60; ++width) {
          const std::string strip = HeatStrip(Ramp(layers * heads), layers, heads, colour, width);
          EXPECT_EQ(DisplayWidth(strip), HeatStripWidth(layers, heads, colour, width));
          EXPECT_LE(DisplayWidth(strip), width);
          EXPECT_GT(DisplayWidth(strip), 0);
        }
      }
    }
  }
}

TEST(HeatStripTest, NothingForAMatrixOfAnotherShape) {
  EXPECT_EQ(HeatStrip({0.5f}, 2, 2, Colour::kNone, 20), "");
  EXPECT_EQ(HeatStrip({}, 0, 0, Colour::kTrue, 20), "");
}

}  // namespace
}  // namespace entrain::cli::view
