#include "data/json_field.h"

#include <nlohmann/json.hpp>

#include "base/strings.h"

namespace entrain::data {
namespace {

using nlohmann::json;

// Takes what lies under the field and drops everything else, without building it.
class FieldReader : public nlohmann::json_sax<json> {
 public:
  FieldReader(std::string_view field, std::string* text) : field_(field), text_(text) {}

  bool null() override { return Other("null"); }
  bool boolean(bool) override { return Other("a truth value"); }
  bool number_integer(number_integer_t) override { return Other("a number"); }
  bool number_unsigned(number_unsigned_t) override { return Other("a number"); }
  bool number_float(number_float_t, const string_t&) override { return Other("a number"); }
  bool binary(binary_t&) override { return Other("binary"); }
  bool string(string_t& value) override {
    if (depth_ == 0) return Other("a text");
    if (!TakeWanted()) return true;
    found_ = true;
    text_->swap(value);
    return true;
  }
  bool start_object(std::size_t) override {
    // A list in between is no way to a field.
    if (depth_ == entered_ && (depth_ == 0 || at_part_)) {
      ++entered_;
      at_part_ = false;
    } else if (TakeWanted()) {
      Wrong("an object");
    }
    ++depth_;
    return true;
  }
  bool key(string_t& name) override {
    if (depth_ != entered_) return true;
    const std::string_view rest = std::string_view(field_).substr(PathBytes());
    wanted_ = name == rest;
    const std::size_t dot = rest.find('.');
    at_part_ = !wanted_ && dot != std::string_view::npos && name == rest.substr(0, dot);
    return true;
  }
  bool end_object() override {
    --depth_;
    if (entered_ > depth_) entered_ = depth_;
    at_part_ = wanted_ = false;
    return true;
  }
  bool start_array(std::size_t) override {
    if (TakeWanted()) Wrong("a list");
    if (depth_ == 0) Wrong("");
    at_part_ = false;
    ++depth_;
    return true;
  }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const json::exception& error) override {
    const std::string_view what = error.what();
    // "[json.exception.parse_error.101] parse error at line 1, column 9: syntax error while ..."
    const std::size_t reason = what.find(": ");
    problem_ = StrCat("no JSON at byte ", position, ": ", reason == std::string_view::npos ? what : what.substr(reason + 2));
    return false;
  }

  absl::Status Result() const {
    if (!problem_.empty()) return absl::InvalidArgumentError(problem_);
    if (!found_) return absl::InvalidArgumentError(StrCat("field ", field_, ": is missing"));
    return absl::OkStatus();
  }

 private:
  std::size_t PathBytes() const {
    std::size_t at = 0;
    for (int i = 1; i < entered_; ++i) at = field_.find('.', at) + 1;
    return at;
  }
  bool TakeWanted() {
    const bool wanted = wanted_ && depth_ == entered_;
    wanted_ = at_part_ = false;
    return wanted;
  }
  bool Other(const char* what) {
    if (depth_ == 0) Wrong("");
    if (TakeWanted()) Wrong(what);
    return true;
  }
  void Wrong(const std::string& what) {
    if (!problem_.empty()) return;
    problem_ = what.empty() ? "must be a JSON object" : StrCat("field ", field_, ": must be a text, is ", what);
  }

  const std::string field_;
  std::string* const text_;
  int depth_ = 0;
  int entered_ = 0;  // objects on the way to the field, the outermost included
  bool wanted_ = false;   // the value that comes is the field's
  bool at_part_ = false;  // the value that comes is an object on the way
  bool found_ = false;
  std::string problem_;
};

}  // namespace

absl::Status ReadTextField(std::string_view record, const std::string& field, std::string* text) {
  FieldReader reader(field, text);
  json::sax_parse(record.begin(), record.end(), &reader);
  return reader.Result();
}

}  // namespace entrain::data
