#include "sweep/field.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "absl/strings/str_join.h"
#include "base/check.h"
#include "base/strings.h"

namespace entrain::sweep {
namespace {

std::string Limit(double value) {
  const bool whole = value == std::floor(value) && std::abs(value) < 1e16;
  return whole ? StrCat(static_cast<std::int64_t>(value)) : ShortestNumber(value);
}

std::string DescribeRange(const Range& range) {
  std::string text;
  if (std::isfinite(range.minimum)) {
    text = StrCat(range.above_minimum ? "above " : "at least ", Limit(range.minimum));
  }
  if (std::isfinite(range.maximum)) {
    StrAppend(&text, text.empty() ? "" : " and ", range.below_maximum ? "below " : "at most ", Limit(range.maximum));
  }
  return text;
}

bool Contains(const Range& range, double value) {
  if (!std::isfinite(value)) return false;
  if (range.above_minimum ? value <= range.minimum : value < range.minimum) return false;
  return range.below_maximum ? value < range.maximum : value <= range.maximum;
}

std::optional<std::string> OutOfRange(const Range& range, double number, const Value& value) {
  if (!std::isfinite(number)) return std::string("must be a finite number");
  if (Contains(range, number)) return std::nullopt;
  return StrCat("must be ", DescribeRange(range), ", is ", ToText(value));
}

std::optional<std::string> NotAChoice(const FieldSpec& field, const std::string& text) {
  if (std::find(field.choices.begin(), field.choices.end(), text) != field.choices.end()) return std::nullopt;
  return StrCat("must be one of: ", absl::StrJoin(field.choices, ", "), "; is ", text.empty() ? "empty" : text);
}

}  // namespace

std::optional<std::string> WhyNotAllowed(const FieldSpec& field, const Value& value) {
  switch (field.kind) {
    case FieldKind::kInteger:
      return OutOfRange(field.range, static_cast<double>(std::get<std::int64_t>(value)), value);
    case FieldKind::kNumber:
      return OutOfRange(field.range, std::get<double>(value), value);
    case FieldKind::kChoice:
      return NotAChoice(field, std::get<std::string>(value));
    case FieldKind::kChoices:
      for (const std::string& text : std::get<std::vector<std::string>>(value)) {
        if (auto reason = NotAChoice(field, text)) return reason;
      }
      return std::nullopt;
    case FieldKind::kBool:
    case FieldKind::kSeed:
    case FieldKind::kText:
    case FieldKind::kTexts:
      return std::nullopt;
  }
  return std::nullopt;
}

std::string DescribeAllowed(const FieldSpec& field) {
  const std::string range = DescribeRange(field.range);
  const std::string limits = range.empty() ? "" : StrCat(", ", range);
  switch (field.kind) {
    case FieldKind::kBool:
      return "true or false";
    case FieldKind::kInteger:
      return StrCat("an integer", limits);
    case FieldKind::kSeed:
      return "an integer from 0 to 18446744073709551615";
    case FieldKind::kNumber:
      return StrCat("a number", limits);
    case FieldKind::kText:
      return "text";
    case FieldKind::kTexts:
      return "a list of texts";
    case FieldKind::kChoice:
      return StrCat("one of: ", absl::StrJoin(field.choices, ", "));
    case FieldKind::kChoices:
      return StrCat("a list of: ", absl::StrJoin(field.choices, ", "));
  }
  return "";
}

std::string ShortestNumber(double value) {
  std::array<char, 64> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  ENTRAIN_CHECK(end.ec == std::errc());
  return std::string(buffer.data(), end.ptr);
}

std::string ToText(const Value& value) {
  if (const bool* truth = std::get_if<bool>(&value)) return *truth ? "true" : "false";
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return StrCat(*integer);
  if (const auto* seed = std::get_if<std::uint64_t>(&value)) return StrCat(*seed);
  if (const double* number = std::get_if<double>(&value)) return ShortestNumber(*number);
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  return StrCat("[", absl::StrJoin(std::get<std::vector<std::string>>(value), ", "), "]");
}

}  // namespace entrain::sweep
