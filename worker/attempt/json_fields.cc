#include "worker/attempt/json_fields.h"

#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

#include "base/strings.h"

namespace entrain::attempt {
namespace {

using nlohmann::json;

void AppendDigits(std::string* text, auto value) {
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof(digits), value).ptr;
  text->append(digits, end);
}

// Everything that is not an ordinary number; true when it was written.
bool AppendSpecial(std::string* text, double value) {
  if (std::isnan(value)) {
    *text += "\"nan\"";
  } else if (std::isinf(value)) {
    *text += value > 0 ? "\"inf\"" : "\"-inf\"";
  } else if (value == 0.0) {
    *text += std::signbit(value) ? "-0.0" : "0.0";  // "-0" would come back as the integer 0
  } else {
    return false;
  }
  return true;
}

void AppendNumber(std::string* text, double value) {
  if (!AppendSpecial(text, value)) AppendDigits(text, value);
}

// The shortest form of a float is read as a double and rounded again; where that double rounding would give another float, its exact
// double form is written instead.
void AppendNumber(std::string* text, float value) {
  if (AppendSpecial(text, value)) return;
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof(digits), value).ptr;
  double read_back = 0.0;
  std::from_chars(digits, end, read_back);
  if (static_cast<float>(read_back) == value) {
    text->append(digits, end);
  } else {
    AppendDigits(text, static_cast<double>(value));
  }
}

bool ToDouble(const json& value, double* number) {
  if (value.is_number()) {
    *number = value.get<double>();
    return true;
  }
  if (!value.is_string()) return false;
  const auto& text = value.get_ref<const std::string&>();
  if (text == "nan") {
    *number = std::numeric_limits<double>::quiet_NaN();
  } else if (text == "inf") {
    *number = std::numeric_limits<double>::infinity();
  } else if (text == "-inf") {
    *number = -std::numeric_limits<double>::infinity();
  } else {
    return false;
  }
  return true;
}

bool ToInt64(const json& value, std::int64_t* number) {
  if (value.is_number_unsigned()) {
    const auto big = value.get<std::uint64_t>();
    if (big > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return false;
    *number = static_cast<std::int64_t>(big);
    return true;
  }
  if (!value.is_number_integer()) return false;
  *number = value.get<std::int64_t>();
  return true;
}

}  // namespace

void JsonWriter::Name(std::string_view name) { StrAppend(&text_, text_.size() > 1 ? ",\"" : "\"", name, "\":"); }

JsonWriter& JsonWriter::Add(std::string_view name, std::int64_t value) {
  Name(name);
  AppendDigits(&text_, value);
  return *this;
}

JsonWriter& JsonWriter::Add(std::string_view name, double value) {
  Name(name);
  AppendNumber(&text_, value);
  return *this;
}

JsonWriter& JsonWriter::Add(std::string_view name, bool value) {
  Name(name);
  text_ += value ? "true" : "false";
  return *this;
}

JsonWriter& JsonWriter::Add(std::string_view name, std::string_view value) {
  Name(name);
  text_ += json(value).dump(-1, ' ', false, json::error_handler_t::replace);
  return *this;
}

JsonWriter& JsonWriter::Add(std::string_view name, const std::vector<float>& values) {
  Name(name);
  text_ += '[';
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i > 0) text_ += ',';
    AppendNumber(&text_, values[i]);
  }
  text_ += ']';
  return *this;
}

JsonWriter& JsonWriter::Add(std::string_view name, const std::vector<std::int32_t>& values) {
  Name(name);
  text_ += '[';
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i > 0) text_ += ',';
    AppendDigits(&text_, values[i]);
  }
  text_ += ']';
  return *this;
}

std::string JsonWriter::Finish() { return std::move(text_) + "}"; }

absl::StatusOr<JsonReader> JsonReader::Parse(std::string_view text, std::string place) {
  json object = json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (object.is_discarded()) return absl::InvalidArgumentError(StrCat(place, ": not JSON"));
  if (!object.is_object()) return absl::InvalidArgumentError(StrCat(place, ": not a JSON object"));
  return JsonReader(std::move(object), std::move(place));
}

absl::Status JsonReader::Problem(std::string_view field, std::string_view what) const {
  return absl::InvalidArgumentError(StrCat(place_, ": field '", field, "' ", what));
}

void JsonReader::Fail(const char* name, std::string_view what) {
  if (status_.ok()) status_ = Problem(name, what);
}

const json* JsonReader::Find(const char* name) {
  const auto found = object_.find(name);
  if (found != object_.end()) return &*found;
  Fail(name, "is missing");
  return nullptr;
}

JsonReader& JsonReader::Get(const char* name, std::int64_t* value) {
  const json* field = Find(name);
  if (field != nullptr && !ToInt64(*field, value)) Fail(name, "is not an integer");
  return *this;
}

JsonReader& JsonReader::Get(const char* name, double* value) {
  const json* field = Find(name);
  if (field != nullptr && !ToDouble(*field, value)) Fail(name, "is not a number");
  return *this;
}

JsonReader& JsonReader::Get(const char* name, bool* value) {
  const json* field = Find(name);
  if (field == nullptr) return *this;
  if (!field->is_boolean()) {
    Fail(name, "is not true or false");
  } else {
    *value = field->get<bool>();
  }
  return *this;
}

JsonReader& JsonReader::Get(const char* name, std::string* value) {
  const json* field = Find(name);
  if (field == nullptr) return *this;
  if (!field->is_string()) {
    Fail(name, "is not a string");
  } else {
    *value = field->get<std::string>();
  }
  return *this;
}

JsonReader& JsonReader::Get(const char* name, std::vector<float>* values) {
  const json* field = Find(name);
  if (field == nullptr) return *this;
  if (!field->is_array()) {
    Fail(name, "is not an array");
    return *this;
  }
  values->clear();
  values->reserve(field->size());
  for (const json& element : *field) {
    double number = 0.0;
    if (!ToDouble(element, &number)) {
      Fail(name, StrCat("holds something that is not a number at index ", values->size()));
      return *this;
    }
    values->push_back(static_cast<float>(number));
  }
  return *this;
}

JsonReader& JsonReader::Get(const char* name, std::vector<std::int32_t>* values) {
  const json* field = Find(name);
  if (field == nullptr) return *this;
  if (!field->is_array()) {
    Fail(name, "is not an array");
    return *this;
  }
  values->clear();
  for (const json& element : *field) {
    std::int64_t number = 0;
    if (!ToInt64(element, &number) || number < std::numeric_limits<std::int32_t>::min() ||
        number > std::numeric_limits<std::int32_t>::max()) {
      Fail(name, StrCat("holds something that is not a 32-bit integer at index ", values->size()));
      return *this;
    }
    values->push_back(static_cast<std::int32_t>(number));
  }
  return *this;
}

}  // namespace entrain::attempt
