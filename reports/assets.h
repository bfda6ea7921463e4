// The page's parts: reports/assets/*, put into the program when it is built.
#pragma once

#include <string_view>

namespace entrain::reports::assets {

extern const std::string_view report_html;
extern const std::string_view report_css;
extern const std::string_view data_js;
extern const std::string_view chart_js;
extern const std::string_view table_js;
extern const std::string_view lineage_js;
extern const std::string_view paper_js;
extern const std::string_view entropy_js;
extern const std::string_view cost_js;
extern const std::string_view page_js;

}  // namespace entrain::reports::assets
