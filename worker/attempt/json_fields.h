// One JSON object of the attempt folder, written and read field by field. Numbers keep their exact value: finite ones in their shortest
// exact form, the others as the strings "nan", "inf", "-inf".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace entrain::attempt {

// Builds `{"name":value,...}` on one line, fields in the order of the calls.
class JsonWriter {
 public:
  JsonWriter& Add(std::string_view name, std::int64_t value);
  JsonWriter& Add(std::string_view name, double value);
  JsonWriter& Add(std::string_view name, bool value);
  JsonWriter& Add(std::string_view name, std::string_view value);
  JsonWriter& Add(std::string_view name, const char* value) { return Add(name, std::string_view(value)); }
  JsonWriter& Add(std::string_view name, const std::vector<float>& values);
  JsonWriter& Add(std::string_view name, const std::vector<std::int32_t>& values);
  std::string Finish();

 private:
  void Name(std::string_view name);
  std::string text_ = "{";
};

// Reads fields of an object; the first problem sticks and names the place and the field.
class JsonReader {
 public:
  // `place` begins every message, e.g. a path.
  static absl::StatusOr<JsonReader> Parse(std::string_view text, std::string place);

  JsonReader& Get(const char* name, std::int64_t* value);
  JsonReader& Get(const char* name, double* value);
  JsonReader& Get(const char* name, bool* value);
  JsonReader& Get(const char* name, std::string* value);
  JsonReader& Get(const char* name, std::vector<float>* values);
  JsonReader& Get(const char* name, std::vector<std::int32_t>* values);
  // For fields that older folders lack.
  bool Has(const char* name) const { return object_.contains(name); }
  const absl::Status& status() const { return status_; }
  // A problem of the caller's own with a field.
  absl::Status Problem(std::string_view field, std::string_view what) const;

 private:
  JsonReader(nlohmann::json object, std::string place) : object_(std::move(object)), place_(std::move(place)) {}
  const nlohmann::json* Find(const char* name);
  void Fail(const char* name, std::string_view what);

  nlohmann::json object_;
  std::string place_;
  absl::Status status_;
};

}  // namespace entrain::attempt
