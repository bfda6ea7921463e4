#include "cli/sweep_file.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "base/clock.h"
#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "cli/format.h"
#include "data/tokenizer.h"

namespace entrain::cli {
namespace {

constexpr char kPythonStdlib[] = "python-stdlib";
constexpr std::size_t kMaxSweepFileBytes = 4 << 20;

// One line on standard error, drawn over and over; only on a terminal.
class PrepareLine {
 public:
  PrepareLine(const std::string& source, bool silent) : source_(source), on_(!silent && ::isatty(STDERR_FILENO) != 0) {}
  ~PrepareLine() {
    if (drawn_) std::fprintf(stderr, "\r\x1b[K");
  }
  void Draw(const data::PrepareProgress& progress) {
    const std::int64_t now_ms = SystemClock().BootMs();
    if (!on_ || now_ms - drawn_ms_ < 100) return;
    drawn_ms_ = now_ms;
    drawn_ = true;
    const std::string of = progress.total_bytes == 0
                               ? ""
                               : StrCat(" ", FormatBytes(progress.bytes), " of ", FormatBytes(progress.total_bytes));
    std::fprintf(stderr, "\r\x1b[Kpreparing %s: %s%s, %lld documents%s", Printable(source_).c_str(), progress.phase, of.c_str(),
                 static_cast<long long>(progress.documents), progress.resumed ? " (going on)" : "");
  }

 private:
  std::string source_;
  bool on_;
  bool drawn_ = false;
  std::int64_t drawn_ms_ = 0;
};

absl::StatusOr<domain::DatasetRef> ParseReference(const std::string& text) {
  const std::size_t at = text.rfind('@');
  if (at == std::string::npos || at + 1 == text.size()) {
    return absl::InvalidArgumentError(StrCat("data.reference: ", text, " is not name@hash"));
  }
  return domain::DatasetRef{text.substr(0, at), text.substr(at + 1)};
}

// A run whose data is not prepared yet: its vocabulary is the tokeniser's, or 256.
sweep::BoundDataset PretendedDataset(const sweep::DataSource& source) {
  sweep::BoundDataset dataset;
  dataset.ref = {"not-prepared", "0"};
  const std::size_t at = source.reference.rfind('@');
  if (at != std::string::npos) dataset.ref = {source.reference.substr(0, at), source.reference.substr(at + 1)};
  return dataset;
}

// Data that is not there is a problem of the file, found without reading it.
void CheckSource(const SweepFile& file, const std::string& override_path, std::vector<sweep::Problem>* problems) {
  if (file.source.path.empty() && override_path.empty()) return;
  const absl::StatusOr<data::PrepareOptions> prepare = PrepareOptionsOf(file, override_path);
  std::error_code error;
  if (!prepare.ok()) {
    problems->push_back({file.source.line, 1, "data.path", std::string(prepare.status().message())});
  } else if (!std::filesystem::exists(prepare->source, error)) {
    problems->push_back({file.source.line, 1, "data.path", StrCat("there is no ", prepare->source)});
  } else if (data::IsTokenizerPath(prepare->tokenizer) && !std::filesystem::exists(prepare->tokenizer, error)) {
    problems->push_back({file.source.line, 1, "data.tokenizer", StrCat("there is no ", prepare->tokenizer)});
  } else if (const absl::Status usable = data::CheckPrepareOptions(*prepare); !usable.ok()) {
    problems->push_back({file.source.line, 1, "data", std::string(usable.message())});
  }
}

std::string DatasetName(const std::string& written) {
  const std::filesystem::path path(written);
  return (path.has_filename() ? path.filename() : path.parent_path().filename()).string();
}

}  // namespace

absl::StatusOr<SweepFile> ReadSweepFile(const std::string& path, std::vector<sweep::Problem>* problems) {
  SweepFile file;
  file.path = path;
  std::error_code error;
  file.absolute = std::filesystem::weakly_canonical(std::filesystem::absolute(path), error).string();
  ENTRAIN_ASSIGN_OR_RETURN(file.yaml, ReadFile(path));
  if (file.yaml.size() > kMaxSweepFileBytes || file.yaml.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError(StrCat(path, " is no sweep file: ",
                                             file.yaml.size() > kMaxSweepFileBytes ? "larger than 4 MiB" : "not text"));
  }
  *problems = sweep::ParseDataSource(file.yaml, &file.source);
  return file;
}

absl::StatusOr<data::PrepareOptions> PrepareOptionsOf(const SweepFile& file, const std::string& override_path) {
  data::PrepareOptions options;
  options.include = file.source.include;
  options.format = file.source.format;
  options.field = file.source.field;
  options.vocab_size = file.source.vocab_size;
  options.max_bytes = file.source.max_bytes;
  options.validation_fraction = file.source.validation_fraction;
  const std::string& written = override_path.empty() ? file.source.path : override_path;
  // Patterns of the file describe the file's own data.
  if (!override_path.empty()) options.include.clear();
  options.name = DatasetName(written);
  const std::filesystem::path file_folder = std::filesystem::path(file.absolute).parent_path();
  const std::string tokenizer = file.source.tokenizer.empty() ? options.tokenizer : file.source.tokenizer;
  ENTRAIN_ASSIGN_OR_RETURN(options.tokenizer, data::CompleteTokenizerName(tokenizer, file.source.vocab_size));
  if (data::IsTokenizerPath(options.tokenizer)) {
    options.tokenizer = std::filesystem::absolute(file_folder / options.tokenizer).lexically_normal().string();
  }
  if (written == kPythonStdlib) {
    ENTRAIN_ASSIGN_OR_RETURN(options.source, data::FindPythonStdlib());
    options.name = kPythonStdlib;
    return options;
  }
  const std::filesystem::path base = override_path.empty() ? file_folder : std::filesystem::current_path();
  options.source = (base / written).lexically_normal().string();
  return options;
}

absl::StatusOr<data::PreparedDataset> PrepareWithProgress(const Session& session, const data::PrepareOptions& options,
                                                          const std::string& artifacts) {
  PrepareLine line(options.name, session.json());
  return data::Prepare(options, artifacts + "/datasets", [&](const data::PrepareProgress& at) { line.Draw(at); });
}

absl::StatusOr<Binding> BindData(const Session& session, const SweepFile& file, const std::string& override_path,
                                 const std::string& artifacts) {
  Binding binding;
  if (file.source.path.empty() && override_path.empty()) {
    ENTRAIN_ASSIGN_OR_RETURN(binding.dataset.ref, ParseReference(file.source.reference));
    return binding;
  }
  ENTRAIN_ASSIGN_OR_RETURN(const data::PrepareOptions options, PrepareOptionsOf(file, override_path));
  ENTRAIN_ASSIGN_OR_RETURN(const data::PreparedDataset prepared, PrepareWithProgress(session, options, artifacts));
  binding.dataset.ref = prepared.ref;
  binding.dataset.vocab_size = prepared.vocab_size;
  binding.wire.set_path(file.source.path);
  binding.wire.set_reference(prepared.ref.ToString());
  binding.wire.set_vocab_size(prepared.vocab_size);
  if (!prepared.reused) {
    session.Remark(StrCat("prepared ", options.name, " from ", options.source, ": ",
                          FormatCount(static_cast<double>(prepared.train_tokens)), " training and ",
                          FormatCount(static_cast<double>(prepared.validation_tokens)), " held-out tokens of ",
                          prepared.documents, " documents"));
  }
  return binding;
}

int CheckSweepFile(const Session& session, const std::string& path, const std::string& override_path, sweep::ParsedSweep* parsed) {
  std::vector<sweep::Problem> problems;
  const absl::StatusOr<SweepFile> file = ReadSweepFile(path, &problems);
  if (!file.ok()) return session.Fail(file.status(), kExitBadSweep);
  const bool source_known = problems.empty();
  // The whole file's problems contain those of its data section.
  sweep::ParsedSweep unused;
  problems = sweep::ParseSweep(file->yaml, PretendedDataset(file->source), Session::Owner(), parsed != nullptr ? parsed : &unused);
  if (source_known) CheckSource(*file, override_path, &problems);
  if (problems.empty()) return kExitOk;
  std::stable_sort(problems.begin(), problems.end(), [](const auto& a, const auto& b) { return a.line < b.line; });
  return session.FailProblems(path, problems);
}

Preparation PrepareSubmission(const Session& session, const std::string& path, const std::string& override_path,
                              const std::string& artifacts) {
  Preparation preparation;
  // A mistake anywhere in the file is told before minutes go into its data.
  preparation.exit_code = CheckSweepFile(session, path, override_path);
  if (preparation.exit_code != kExitOk) return preparation;
  std::vector<sweep::Problem> problems;
  absl::StatusOr<SweepFile> file = ReadSweepFile(path, &problems);
  // It was there a moment ago.
  if (!file.ok()) {
    preparation.exit_code = session.Fail(file.status(), kExitBadSweep);
    return preparation;
  }
  absl::StatusOr<Binding> binding = BindData(session, *file, override_path, artifacts);
  if (!binding.ok()) {
    preparation.exit_code = session.Fail(binding.status(), kExitBadSweep);
    return preparation;
  }
  preparation.file = *std::move(file);
  preparation.binding = *std::move(binding);
  // Again with the true vocabulary, before it travels.
  sweep::ParsedSweep parsed;
  problems = sweep::ParseSweep(preparation.file.yaml, preparation.binding.dataset, Session::Owner(), &parsed);
  if (!problems.empty()) {
    preparation.exit_code = session.FailProblems(path, problems);
    return preparation;
  }
  v1::SubmitRequest request;
  request.set_yaml(preparation.file.yaml);
  request.set_owner(session.Asker());
  if (!preparation.binding.wire.reference().empty()) *request.add_datasets() = preparation.binding.wire;
  preparation.request = std::move(request);
  return preparation;
}

}  // namespace entrain::cli
