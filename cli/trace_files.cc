#include "cli/trace_files.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <set>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "data/gzip.h"
#include "data/input_stream.h"
#include "reports/trace_json.h"
#include "sweep/run_config_json.h"

namespace entrain::cli {
namespace {

using policy::backtest::Trace;

// A trace of the largest size that is read is far below it; what is more is no trace.
constexpr std::size_t kMaxTraceBytes = std::size_t{1} << 30;

std::string SafeName(const std::string& label) {
  std::string name = label;
  for (char& c : name) {
    const bool kept = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.' || c == '=' || c == '+';
    if (!kept) c = '_';
  }
  return name.empty() || name.front() == '.' ? StrCat("_", name) : name;
}

absl::StatusOr<std::string> ReadUnpacked(const std::string& path) {
  ENTRAIN_ASSIGN_OR_RETURN(const auto stream, data::InputStream::Open(path));
  std::string text;
  for (;;) {
    ENTRAIN_ASSIGN_OR_RETURN(const bool more, stream->ReadInto(&text));
    if (!more) return text;
    if (text.size() > kMaxTraceBytes) return absl::InvalidArgumentError(StrCat(path, " holds more than ", kMaxTraceBytes, " bytes"));
  }
}

absl::StatusOr<std::vector<std::string>> TracePaths(const std::string& folder) {
  std::error_code error;
  if (!std::filesystem::is_directory(folder, error)) return absl::NotFoundError(StrCat("there is no folder ", folder));
  std::vector<std::string> paths;
  const auto options = std::filesystem::directory_options::skip_permission_denied;
  for (auto entry = std::filesystem::recursive_directory_iterator(folder, options, error); !error && entry != end(entry); entry.increment(error)) {
    const std::string path = entry->path().string();
    if (path.ends_with(".json") || path.ends_with(".json.gz")) paths.push_back(path);
  }
  if (error) return absl::UnavailableError(StrCat("cannot read ", folder, ": ", error.message()));
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace

absl::StatusOr<Trace> TraceOf(const reports::RunData& run, const std::string& sweep_name) {
  const auto config = sweep::ParseRunConfig(run.config_json);
  if (!config.ok()) {
    return absl::FailedPreconditionError(StrCat("run ", run.label, ": its configuration is not readable here: ", std::string(config.status().message())));
  }
  Trace trace;
  trace.label = run.label;
  trace.variant = run.variant;
  trace.learning_rate = config->train.lr;
  trace.seed = config->train.seed;
  trace.source = sweep_name;
  trace.shape = {run.n_layer, run.n_head, run.context, run.steps};
  trace.samples = run.samples;
  return trace;
}

absl::StatusOr<std::int64_t> WriteTraces(const std::string& folder, const std::vector<Trace>& traces) {
  ENTRAIN_RETURN_IF_ERROR(MakeFolders(folder));
  std::set<std::string> names;
  std::int64_t bytes = 0;
  for (const Trace& trace : traces) {
    std::string name = SafeName(trace.label);
    for (int copy = 2; !names.insert(name).second; ++copy) name = StrCat(SafeName(trace.label), "-", copy);
    const std::string packed = data::Gzip(reports::TraceJson(trace));
    ENTRAIN_RETURN_IF_ERROR(WriteFileAtomically(StrCat(folder, "/", name, ".json.gz"), packed));
    bytes += static_cast<std::int64_t>(packed.size());
  }
  return bytes;
}

absl::StatusOr<std::vector<Trace>> ReadTraces(const std::string& folder) {
  ENTRAIN_ASSIGN_OR_RETURN(const std::vector<std::string> paths, TracePaths(folder));
  std::vector<Trace> traces;
  for (const std::string& path : paths) {
    ENTRAIN_ASSIGN_OR_RETURN(const std::string text, ReadUnpacked(path));
    absl::StatusOr<Trace> trace = reports::ParseTrace(text);
    if (!trace.ok()) return absl::InvalidArgumentError(StrCat(path, ": ", std::string(trace.status().message())));
    if (trace->label.empty()) trace->label = std::filesystem::path(path).filename().string();
    traces.push_back(*std::move(trace));
  }
  if (traces.empty()) return absl::NotFoundError(StrCat(folder, " holds no .json or .json.gz"));
  return traces;
}

}  // namespace entrain::cli
