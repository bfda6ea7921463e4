#include "cli/model_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_join.h"
#include "base/build_id.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "cli/format.h"
#include "data/dataset_manifest.h"
#include "data/folder_manifest.h"

namespace entrain::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kDatasetPrefix = "dataset/";

std::string JoinedSteps(const v1::RunDetail& run) {
  std::vector<std::int64_t> steps;
  for (const v1::Checkpoint& checkpoint : run.checkpoints()) steps.push_back(checkpoint.step());
  std::sort(steps.begin(), steps.end());
  steps.erase(std::unique(steps.begin(), steps.end()), steps.end());
  return steps.empty() ? "it has no checkpoint yet" : StrCat("its checkpoints are of steps ", absl::StrJoin(steps, ", "));
}

// Results of a stopped run end with the step of its verdict.
bool Counts(const v1::RunSummary& summary, std::int64_t step) {
  return summary.state() != "halted" || summary.result_step() == 0 || step <= summary.result_step();
}

std::optional<double> LossAt(const v1::RunDetail& run, std::int64_t step) {
  std::optional<double> loss;
  for (const v1::Evaluation& evaluation : run.evaluations()) {
    if (evaluation.step() == step && std::isfinite(evaluation.loss()) && Counts(run.summary(), step)) loss = evaluation.loss();
  }
  return loss;
}

// Of several attempts' checkpoints of one step the newest attempt's counts.
bool IsLater(const v1::Checkpoint& a, const v1::Checkpoint& b) {
  return a.step() != b.step() ? a.step() > b.step() : a.attempt() > b.attempt();
}

std::optional<ChosenCheckpoint> Best(const v1::RunDetail& run) {
  std::optional<ChosenCheckpoint> best;
  for (const v1::Checkpoint& checkpoint : run.checkpoints()) {
    const std::optional<double> loss = LossAt(run, checkpoint.step());
    if (!loss) continue;
    const bool better = !best || *loss < *best->eval_loss || (*loss == *best->eval_loss && IsLater(checkpoint, best->checkpoint));
    if (better) best = ChosenCheckpoint{checkpoint, loss, ""};
  }
  if (!best) return best;
  for (const v1::Evaluation& evaluation : run.evaluations()) {
    if (!Counts(run.summary(), evaluation.step()) || !(evaluation.loss() < *best->eval_loss)) continue;
    best->remark = StrCat("the held-out loss was lower at step ", evaluation.step(), ", of which no checkpoint is kept");
  }
  return best;
}

// One file of the stream at a time, in the staging folder.
class PieceWriter {
 public:
  explicit PieceWriter(std::string folder) : folder_(std::move(folder)) {}
  ~PieceWriter() {
    if (fd_ >= 0) ::close(fd_);
  }
  PieceWriter(const PieceWriter&) = delete;
  PieceWriter& operator=(const PieceWriter&) = delete;

  absl::Status Add(const v1::CheckpointPiece& piece) {
    if (piece.offset() == 0) ENTRAIN_RETURN_IF_ERROR(Begin(piece));
    const auto size = static_cast<std::int64_t>(piece.data().size());
    if (fd_ < 0 || piece.file() != name_ || piece.offset() != written_ || written_ + size > file_bytes_) {
      return absl::DataLossError(StrCat("the coordinator sent ", Printable(piece.file()), " out of order"));
    }
    ENTRAIN_RETURN_IF_ERROR(Write(piece.data()));
    written_ += size;
    bytes_ += size;
    return written_ == file_bytes_ ? Close() : absl::OkStatus();
  }
  absl::Status Finish() const {
    return fd_ < 0 ? absl::OkStatus() : absl::DataLossError(StrCat("the coordinator sent ", written_, " of ", file_bytes_, " bytes of ", name_));
  }
  const std::vector<std::string>& names() const { return names_; }
  std::int64_t bytes() const { return bytes_; }

 private:
  absl::Status Begin(const v1::CheckpointPiece& piece) {
    ENTRAIN_RETURN_IF_ERROR(Finish());
    const std::string bare = piece.file().starts_with(kDatasetPrefix) ? piece.file().substr(kDatasetPrefix.size()) : piece.file();
    const bool plain = !bare.empty() && bare != "." && bare != ".." && bare.find('/') == std::string::npos;
    if (!plain) return absl::DataLossError(StrCat("the coordinator sent a file called ", Printable(piece.file())));
    name_ = piece.file();
    file_bytes_ = piece.file_bytes();
    written_ = 0;
    path_ = StrCat(folder_, "/", name_);
    fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd_ < 0) return ErrnoStatus(errno, "create", path_);
    names_.push_back(name_);
    return absl::OkStatus();
  }
  absl::Status Write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::write(fd_, bytes.data(), bytes.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return ErrnoStatus(errno, "write", path_);
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }
    return absl::OkStatus();
  }
  absl::Status Close() {
    const int result = ::fsync(fd_);
    const int error = errno;
    ::close(std::exchange(fd_, -1));
    return result == 0 ? absl::OkStatus() : ErrnoStatus(error, "fsync", path_);
  }

  std::string folder_, name_, path_;
  std::vector<std::string> names_;
  int fd_ = -1;
  std::int64_t file_bytes_ = 0, written_ = 0, bytes_ = 0;
};

// A folder beside the target that is removed unless it became it.
class Staging {
 public:
  static absl::StatusOr<Staging> Make(const std::string& target) {
    std::error_code error;
    const fs::path absolute = fs::absolute(target, error).lexically_normal();
    const fs::path place = absolute.filename().empty() ? absolute.parent_path() : absolute;
    if (fs::exists(place, error) && !(fs::is_directory(place, error) && fs::is_empty(place, error))) {
      return absl::AlreadyExistsError(StrCat(target, " is there already and not empty; nothing was written"));
    }
    ENTRAIN_RETURN_IF_ERROR(MakeFolders(place.parent_path().string()));
    Staging staging;
    staging.target_ = place;
    staging.path_ = place.parent_path() / StrCat(".", place.filename().string(), ".incoming.", ::getpid());
    ENTRAIN_RETURN_IF_ERROR(MakeFolders(staging.Path(std::string(kDatasetPrefix))));
    return staging;
  }
  ~Staging() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  Staging(Staging&& other) noexcept : target_(std::move(other.target_)), path_(std::exchange(other.path_, {})) {}
  Staging& operator=(Staging&&) = delete;

  std::string Path(const std::string& name = "") const { return name.empty() ? path_.string() : (path_ / name).string(); }
  absl::Status Become() {
    std::error_code error;
    fs::remove_all(path_ / kDatasetPrefix, error);
    ENTRAIN_RETURN_IF_ERROR(SyncPath(path_.string()));
    fs::rename(path_, target_, error);
    if (error == std::errc::directory_not_empty || error == std::errc::file_exists) {
      return absl::AlreadyExistsError(StrCat(target_.string(), " came into being meanwhile; nothing was written"));
    }
    if (error) return ErrnoStatus(error.value(), "rename to", target_.string());
    path_.clear();
    return SyncPath(target_.parent_path().string());
  }

 private:
  Staging() = default;
  fs::path target_, path_;
};

absl::Status CheckAgainstRecord(const Staging& staging, const v1::Checkpoint& checkpoint, const std::vector<std::string>& names) {
  ENTRAIN_ASSIGN_OR_RETURN(const std::string manifest, ReadFile(staging.Path("manifest.json")));
  if (!checkpoint.hash().empty() && HashHex(manifest) != checkpoint.hash()) {
    return absl::DataLossError(StrCat("the manifest of the checkpoint of step ", checkpoint.step(), " is not the one that was recorded: hash ",
                                      HashHex(manifest), ", recorded ", checkpoint.hash()));
  }
  std::vector<std::string> listed;
  for (const std::string& name : names) {
    if (name != "manifest.json" && !name.starts_with(kDatasetPrefix)) listed.push_back(name);
  }
  return data::VerifyManifest(staging.Path(), listed);
}

// The tokeniser's name; its file, checked, moves beside the weights.
absl::StatusOr<std::string> TakeTokenizer(const Staging& staging, std::string* dataset) {
  const std::string path = staging.Path("dataset/dataset.json");
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (absl::IsNotFound(text.status())) return std::string();
  ENTRAIN_RETURN_IF_ERROR(text.status());
  ENTRAIN_ASSIGN_OR_RETURN(const data::DatasetManifest manifest, data::ParseManifest(*text, "dataset.json"));
  *dataset = manifest.ref.ToString();
  if (manifest.tokenizer_file.empty()) return manifest.tokenizer;
  const std::string name = fs::path(manifest.tokenizer_file).filename().string();
  ENTRAIN_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(staging.Path(StrCat(kDatasetPrefix, name))));
  if (HashHex(bytes) != manifest.tokenizer_hash) {
    return absl::DataLossError(StrCat(name, " of dataset ", *dataset, " is damaged: hash ", HashHex(bytes), ", recorded ", manifest.tokenizer_hash));
  }
  ENTRAIN_RETURN_IF_ERROR(WriteFileAtomically(staging.Path(name), bytes));
  return manifest.tokenizer;
}

std::string Provenance(const v1::RunDetail& run, const ChosenCheckpoint& chosen, const std::string& tokenizer, const std::string& dataset,
                       bool is_gpt2) {
  const v1::RunSummary& summary = run.summary();
  std::string text = StrCat("# ", Printable(summary.label()), ", step ", chosen.checkpoint.step(), "\n\n| | |\n|---|---|\n");
  const auto row = [&](std::string_view what, const std::string& value) { StrAppend(&text, "| ", what, " | ", value, " |\n"); };
  row("run", StrCat(summary.id(), ", attempt ", chosen.checkpoint.attempt(), ", sweep ", summary.sweep_id()));
  row("variant", Printable(summary.variant()));
  row("step", StrCat(chosen.checkpoint.step(), " of ", summary.steps()));
  row("state of the run", StrCat(summary.state(), summary.reason().empty() ? "" : ": ", Printable(summary.reason())));
  row("held-out loss at this step", chosen.eval_loss ? StrCat(FormatFixed(*chosen.eval_loss, 4), " nats, perplexity ", FormatPerplexity(*chosen.eval_loss))
                                                     : std::string("not measured"));
  row("parameters", std::to_string(summary.parameters()));
  row("dataset", dataset.empty() ? "not known any more" : Printable(dataset));
  row("tokeniser", tokenizer.empty() ? "not known any more" : Printable(tokenizer));
  row("configuration", StrCat("cell ", summary.cell_id()));
  row("checkpoint's manifest", chosen.checkpoint.hash());
  row("fetched by", VersionLine("entrain"));
  StrAppend(&text, "\n");
  if (is_gpt2) {
    StrAppend(&text, "    from transformers import GPT2LMHeadModel\n    model = GPT2LMHeadModel.from_pretrained(\".\")\n\n");
  } else {
    StrAppend(&text, "The architecture is not GPT-2's: transformers has no class for it. In config.json, `entrain.model` describes it.\n\n");
  }
  StrAppend(&text, "    entrain-trainer probe --config config.json --weights . --text FILE --out numbers.safetensors\n\n",
            "writes the entropy of every head on a text, and more.\n");
  return text;
}

}  // namespace

absl::StatusOr<ChosenCheckpoint> ChooseCheckpoint(const v1::RunDetail& run, CheckpointWish wish, std::int64_t step) {
  const std::string name = StrCat("run ", run.summary().id());
  const auto later = [](const v1::Checkpoint& a, const v1::Checkpoint& b) { return IsLater(b, a); };
  if (run.checkpoints().empty()) return absl::NotFoundError(StrCat(name, ": ", JoinedSteps(run)));
  if (wish == CheckpointWish::kStep) {
    std::optional<v1::Checkpoint> found;
    for (const v1::Checkpoint& checkpoint : run.checkpoints()) {
      if (checkpoint.step() == step && (!found || IsLater(checkpoint, *found))) found = checkpoint;
    }
    if (!found) return absl::NotFoundError(StrCat(name, " has no checkpoint of step ", step, "; ", JoinedSteps(run)));
    return ChosenCheckpoint{*found, LossAt(run, step), ""};
  }
  if (wish != CheckpointWish::kLast) {
    if (std::optional<ChosenCheckpoint> best = Best(run)) return *std::move(best);
    if (wish == CheckpointWish::kBest) {
      return absl::NotFoundError(StrCat(name, " has no checkpoint of a step with a held-out evaluation; ", JoinedSteps(run),
                                        "; --last or a step names one"));
    }
  }
  const v1::Checkpoint& last = *std::max_element(run.checkpoints().begin(), run.checkpoints().end(), later);
  ChosenCheckpoint chosen{last, LossAt(run, last.step()), ""};
  if (wish == CheckpointWish::kBestOrLast) chosen.remark = "no checkpoint has a held-out evaluation: this is the last one";
  if (!Counts(run.summary(), last.step())) {
    chosen.remark = StrCat("the run was stopped by the verdict of step ", run.summary().result_step(), "; this checkpoint is later");
  }
  return chosen;
}

absl::StatusOr<FetchedModel> FetchModel(Client* client, const v1::RunDetail& run, const ChosenCheckpoint& chosen, const FetchOptions& options) {
  ENTRAIN_ASSIGN_OR_RETURN(Staging staging, Staging::Make(options.target));
  v1::FetchCheckpointRequest request;
  request.set_run_id(run.summary().id());
  request.set_attempt(chosen.checkpoint.attempt());
  request.set_step(chosen.checkpoint.step());
  request.set_tokenizer(true);
  if (!options.with_training_state) {
    for (const char* name : {"config.json", "manifest.json", "model.safetensors"}) request.add_files(name);
  }
  PieceWriter writer(staging.Path());
  const auto on_piece = [&](const v1::CheckpointPiece& piece) -> absl::Status {
    ENTRAIN_RETURN_IF_ERROR(writer.Add(piece));
    return options.on_progress ? options.on_progress(writer.bytes()) : absl::OkStatus();
  };
  ENTRAIN_RETURN_IF_ERROR(client->FetchCheckpoint(request, on_piece));
  ENTRAIN_RETURN_IF_ERROR(writer.Finish());
  ENTRAIN_RETURN_IF_ERROR(CheckAgainstRecord(staging, chosen.checkpoint, writer.names()));
  FetchedModel model;
  std::string dataset;
  ENTRAIN_ASSIGN_OR_RETURN(model.tokenizer, TakeTokenizer(staging, &dataset));
  ENTRAIN_ASSIGN_OR_RETURN(const std::string config, ReadFile(staging.Path("config.json")));
  const bool is_gpt2 = config.find("\"GPT2LMHeadModel\"") != std::string::npos;
  ENTRAIN_RETURN_IF_ERROR(WriteFileAtomically(staging.Path("README.md"), Provenance(run, chosen, model.tokenizer, dataset, is_gpt2)));
  // It would name files that are not here.
  if (!options.with_training_state) ::unlink(staging.Path("manifest.json").c_str());
  ENTRAIN_RETURN_IF_ERROR(staging.Become());
  model.bytes = writer.bytes();
  return model;
}

}  // namespace entrain::cli
