#include <array>
#include <utility>

#include "base/check.h"
#include "base/strings.h"
#include "reports/assets.h"
#include "reports/report.h"
#include "reports/report_data.h"

namespace entrain::reports {
namespace {

// The data's share of a page of at most 10 MB.
constexpr std::size_t kMaxDataBytes = 7'000'000;

std::string EscapeHtml(std::string_view text) {
  std::string escaped;
  for (char c : text) {
    switch (c) {
      case '&': escaped += "&amp;"; break;
      case '<': escaped += "&lt;"; break;
      case '>': escaped += "&gt;"; break;
      case '"': escaped += "&quot;"; break;
      case '\'': escaped += "&#39;"; break;
      default: escaped += c;
    }
  }
  return escaped;
}

// Inside a script element nothing may look like its end or like a comment.
std::string EscapeScriptData(const std::string& json) {
  std::string escaped;
  escaped.reserve(json.size());
  for (char c : json) {
    if (c == '<') {
      escaped += "\\u003c";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

// The template is filled in one pass: what is put in is never searched for places.
std::string Fill(std::string_view page, const std::array<std::pair<std::string_view, std::string>, 5>& parts) {
  std::string filled;
  while (!page.empty()) {
    const std::size_t open = page.find("{{");
    filled += page.substr(0, open);
    if (open == std::string_view::npos) break;
    const std::size_t close = page.find("}}", open);
    const std::string_view name = page.substr(open + 2, close - open - 2);
    bool known = false;
    for (const auto& [part, text] : parts) {
      if (part != name) continue;
      filled += text;
      known = true;
    }
    ENTRAIN_CHECK_MSG(known, std::string(name));
    page.remove_prefix(close + 2);
  }
  return filled;
}

}  // namespace

std::string ReportHtml(const SweepData& sweep, const PaperComparison* paper) {
  using namespace assets;
  return Fill(report_html, {{{"title", EscapeHtml(sweep.name)},
                             {"style", std::string(report_css)},
                             {"plain", EscapeHtml(LeaderboardText(MakeLeaderboard(sweep)))},
                             {"data", EscapeScriptData(DumpJson(ReportJson(sweep, paper, kMaxDataBytes)))},
                             {"script", StrCat(data_js, chart_js, table_js, lineage_js, paper_js, entropy_js, cost_js, page_js)}}});
}

}  // namespace entrain::reports
