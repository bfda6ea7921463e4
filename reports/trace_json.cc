#include "reports/trace_json.h"

#include <cmath>
#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/strings/escaping.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::reports {
namespace {

using domain::EntropySample;
using Json = nlohmann::json;
using policy::backtest::Trace;

constexpr std::int64_t kMaxSamples = 10'000'000;
constexpr std::int64_t kMaxTraceHeads = 1 << 20;

// --- writing ---

std::string TraceNumber(double value) {
  if (std::isnan(value)) return "\"nan\"";
  if (std::isinf(value)) return value < 0 ? "\"-inf\"" : "\"inf\"";
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value);
  return text;
}

template <typename Values, typename Get>
std::string TraceArray(const Values& values, const Get& get) {
  std::string text = "[";
  for (const auto& value : values) StrAppend(&text, text.size() == 1 ? "" : ",", get(value));
  return text + "]";
}

// Head by head the differences of successive codes; first all high bytes, then all low ones, so that gzip finds the small ones.
std::string PackCodes(const Trace& trace) {
  const auto heads = static_cast<std::size_t>(trace.shape.n_layer * trace.shape.n_head);
  std::vector<std::uint16_t> before(heads, 0);
  const std::size_t samples = trace.samples.size();
  std::string bytes(2 * heads * samples, '\0');
  for (std::size_t i = 0; i < samples; ++i) {
    const std::vector<std::uint16_t> codes = policy::QuantiseEntropy(trace.samples[i].entropy_nats, trace.shape.context);
    for (std::size_t head = 0; head < heads; ++head) {
      const auto difference = static_cast<std::uint16_t>(codes[head] - before[head]);
      bytes[head * samples + i] = static_cast<char>(difference >> 8);
      bytes[heads * samples + head * samples + i] = static_cast<char>(difference & 0xff);
    }
    before = codes;
  }
  return absl::Base64Escape(bytes);
}

std::string SamplesJson(const Trace& trace) {
  const auto& samples = trace.samples;
  const auto number = [](double value) { return TraceNumber(value); };
  std::string text = StrCat("{\"step\":", TraceArray(samples, [](const EntropySample& s) { return s.step; }),
                            ",\n\"loss\":", TraceArray(samples, [&](const EntropySample& s) { return number(s.loss); }),
                            ",\n\"grad_norm\":", TraceArray(samples, [&](const EntropySample& s) { return number(s.grad_norm); }),
                            ",\n\"tokens\":", TraceArray(samples, [](const EntropySample& s) { return s.tokens; }));
  if (!samples.empty() && !samples.front().max_abs_score.empty()) {
    StrAppend(&text, ",\n\"max_abs_score\":", TraceArray(samples, [&](const EntropySample& s) {
                return TraceArray(s.max_abs_score, [&](float score) { return number(static_cast<double>(score)); });
              }));
  }
  return StrCat(text, ",\n\"entropy_u16\":\"", PackCodes(trace), "\"}");
}

// --- reading ---

absl::Status BadTrace(std::string_view field, std::string_view why) { return absl::InvalidArgumentError(StrCat("trace: ", field, ": ", why)); }

absl::StatusOr<double> NumberOf(const Json& value, std::string_view field) {
  if (value.is_number()) return value.get<double>();
  if (value == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (value == "inf") return std::numeric_limits<double>::infinity();
  if (value == "-inf") return -std::numeric_limits<double>::infinity();
  return BadTrace(field, "must be a number or \"nan\", \"inf\", \"-inf\"");
}

absl::StatusOr<std::int64_t> IntegerOf(const Json& object, const char* field, std::int64_t least, std::int64_t most) {
  const auto found = object.find(field);
  if (found == object.end() || !found->is_number_integer()) return BadTrace(field, "must be an integer");
  const auto value = found->get<std::int64_t>();
  if (value < least || value > most) return BadTrace(field, StrCat("must be at least ", least, " and at most ", most, "; is ", value));
  return value;
}

std::string TextOf(const Json& object, const char* field) {
  const auto found = object.find(field);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// An array with one entry a sample, or nothing when the field may be left out.
absl::StatusOr<const Json*> ColumnOf(const Json& samples, const char* field, std::size_t size, bool required) {
  const auto found = samples.find(field);
  if (found == samples.end() && !required) return nullptr;
  if (found == samples.end() || !found->is_array()) return BadTrace(field, "must be an array");
  if (found->size() != size) return BadTrace(field, StrCat("has ", found->size(), " entries for ", size, " steps"));
  return &*found;
}

absl::StatusOr<std::vector<float>> RowOf(const Json& row, std::size_t size, const char* field) {
  if (!row.is_array() || row.size() != size) return BadTrace(field, StrCat("must hold arrays of ", size, " numbers"));
  std::vector<float> values;
  for (const Json& value : row) {
    ENTRAIN_ASSIGN_OR_RETURN(const double number, NumberOf(value, field));
    values.push_back(static_cast<float>(number));
  }
  return values;
}

absl::Status UnpackCodes(const Json& samples, Trace* trace) {
  std::string bytes;
  const auto found = samples.find("entropy_u16");
  if (!found->is_string() || !absl::Base64Unescape(found->get_ref<const std::string&>(), &bytes)) {
    return BadTrace("entropy_u16", "must be base64");
  }
  const auto heads = static_cast<std::size_t>(trace->shape.n_layer * trace->shape.n_head);
  const std::size_t count = trace->samples.size();
  if (bytes.size() != 2 * heads * count) {
    return BadTrace("entropy_u16", StrCat("has ", bytes.size(), " bytes for ", count, " steps of ", heads, " heads"));
  }
  std::vector<std::uint16_t> codes(heads, 0);
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t head = 0; head < heads; ++head) {
      const auto high = static_cast<std::uint8_t>(bytes[head * count + i]);
      const auto low = static_cast<std::uint8_t>(bytes[heads * count + head * count + i]);
      codes[head] = static_cast<std::uint16_t>(codes[head] + (high << 8 | low));
    }
    trace->samples[i].entropy_nats = policy::DequantiseEntropy(codes, trace->shape.context);
  }
  return absl::OkStatus();
}

absl::Status ReadEntropies(const Json& samples, Trace* trace) {
  if (samples.contains("entropy_u16")) return UnpackCodes(samples, trace);
  ENTRAIN_ASSIGN_OR_RETURN(const Json* rows, ColumnOf(samples, "entropy_nats", trace->samples.size(), true));
  const auto heads = static_cast<std::size_t>(trace->shape.n_layer * trace->shape.n_head);
  for (std::size_t i = 0; i < rows->size(); ++i) {
    ENTRAIN_ASSIGN_OR_RETURN(const std::vector<float> nats, RowOf((*rows)[i], heads, "entropy_nats"));
    trace->samples[i].entropy_nats = policy::DequantiseEntropy(policy::QuantiseEntropy(nats, trace->shape.context), trace->shape.context);
  }
  return absl::OkStatus();
}

absl::Status ReadColumns(const Json& samples, Trace* trace) {
  const std::size_t count = trace->samples.size();
  ENTRAIN_ASSIGN_OR_RETURN(const Json* loss, ColumnOf(samples, "loss", count, true));
  ENTRAIN_ASSIGN_OR_RETURN(const Json* grad_norm, ColumnOf(samples, "grad_norm", count, false));
  ENTRAIN_ASSIGN_OR_RETURN(const Json* tokens, ColumnOf(samples, "tokens", count, false));
  ENTRAIN_ASSIGN_OR_RETURN(const Json* scores, ColumnOf(samples, "max_abs_score", count, false));
  for (std::size_t i = 0; i < count; ++i) {
    EntropySample& sample = trace->samples[i];
    ENTRAIN_ASSIGN_OR_RETURN(sample.loss, NumberOf((*loss)[i], "loss"));
    if (grad_norm != nullptr) {
      ENTRAIN_ASSIGN_OR_RETURN(sample.grad_norm, NumberOf((*grad_norm)[i], "grad_norm"));
    }
    if (tokens != nullptr) {
      if (!(*tokens)[i].is_number_integer()) return BadTrace("tokens", "must hold integers");
      sample.tokens = (*tokens)[i].get<std::int64_t>();
    }
    if (scores == nullptr) continue;
    ENTRAIN_ASSIGN_OR_RETURN(sample.max_abs_score, RowOf((*scores)[i], static_cast<std::size_t>(trace->shape.n_layer), "max_abs_score"));
  }
  return absl::OkStatus();
}

absl::Status ReadSteps(const Json& samples, Trace* trace) {
  const auto steps = samples.find("step");
  if (steps == samples.end() || !steps->is_array()) return BadTrace("samples.step", "must be an array");
  for (const Json& step : *steps) {
    const std::int64_t before = trace->samples.empty() ? 0 : trace->samples.back().step;
    if (!step.is_number_integer() || step.get<std::int64_t>() <= before) return BadTrace("samples.step", "must hold rising integers from 1");
    trace->samples.emplace_back().step = step.get<std::int64_t>();
  }
  return absl::OkStatus();
}

absl::Status ReadHead(const Json& document, Trace* trace) {
  if (TextOf(document, "format") != "entrain-trace") return BadTrace("format", "must be \"entrain-trace\"");
  ENTRAIN_RETURN_IF_ERROR(IntegerOf(document, "version", 1, 1).status());
  trace->label = TextOf(document, "label");
  trace->variant = TextOf(document, "variant");
  trace->source = TextOf(document, "source");
  if (document.contains("learning_rate")) {
    ENTRAIN_ASSIGN_OR_RETURN(trace->learning_rate, NumberOf(document["learning_rate"], "learning_rate"));
  }
  if (document.contains("seed") && document["seed"].is_number_unsigned()) trace->seed = document["seed"].get<std::uint64_t>();
  ENTRAIN_ASSIGN_OR_RETURN(trace->shape.n_layer, IntegerOf(document, "n_layer", 1, kMaxTraceHeads));
  ENTRAIN_ASSIGN_OR_RETURN(trace->shape.n_head, IntegerOf(document, "n_head", 1, kMaxTraceHeads / trace->shape.n_layer));
  ENTRAIN_ASSIGN_OR_RETURN(trace->shape.context, IntegerOf(document, "context", 1, 1 << 22));
  ENTRAIN_ASSIGN_OR_RETURN(trace->shape.steps, IntegerOf(document, "steps", 1, kMaxSamples));
  return absl::OkStatus();
}

}  // namespace

std::string TraceJson(const Trace& trace) {
  const Json head = {{"format", "entrain-trace"},        {"version", 1},
                     {"label", trace.label},             {"variant", trace.variant},
                     {"learning_rate", trace.learning_rate}, {"seed", trace.seed},
                     {"source", trace.source},           {"n_layer", trace.shape.n_layer},
                     {"n_head", trace.shape.n_head},     {"context", trace.shape.context},
                     {"steps", trace.shape.steps}};
  std::string text = head.dump(-1, ' ', false, Json::error_handler_t::replace);
  text.pop_back();
  return StrCat(text, ",\n\"samples\":", SamplesJson(trace), "}\n");
}

absl::StatusOr<Trace> ParseTrace(std::string_view text) {
  const Json document = Json::parse(text.begin(), text.end(), nullptr, false);
  if (!document.is_object()) return BadTrace("file", "is not a JSON object");
  Trace trace;
  ENTRAIN_RETURN_IF_ERROR(ReadHead(document, &trace));
  const auto samples = document.find("samples");
  if (samples == document.end() || !samples->is_object()) return BadTrace("samples", "must be an object");
  ENTRAIN_RETURN_IF_ERROR(ReadSteps(*samples, &trace));
  ENTRAIN_RETURN_IF_ERROR(ReadColumns(*samples, &trace));
  ENTRAIN_RETURN_IF_ERROR(ReadEntropies(*samples, &trace));
  return trace;
}

}  // namespace entrain::reports
