#include "data/preparation.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <thread>

#include "base/files.h"
#include "base/hash.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "data/ordered_work.h"
#include "data/shard_json.h"
#include "data/text_check.h"

namespace entrain::data {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMaxShardTokens = 1 << 28;
// A source that is one file is cut finer, so that a part can be held out.
constexpr std::int64_t kSingleFilePieces = 64;
constexpr std::int64_t kMinPieceBytes = 4096;
// Training a tokeniser needs many times the text's size in memory; more text than this changes the pieces little.
constexpr std::size_t kSampleBytes = 24 << 20;
// About so many documents are read back.
constexpr std::int64_t kRoundTripDocuments = 1000;
constexpr char kRecordName[] = "unfinished.json";

bool HoldsTokenShards(const Corpus& corpus) {
  return !corpus.files.empty() && corpus.files.front().kind == FileKind::kTokens;
}

// Other programs say in the name of a token shard what it is for: train.bin, val.bin, fineweb_val_000000.bin.
std::optional<Split> SplitByName(const std::string& path) {
  std::string name = fs::path(path).filename().string();
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (name.find("val") != std::string::npos) return Split::kValidation;
  if (name.find("train") != std::string::npos) return Split::kTrain;
  return std::nullopt;
}

std::string AddToChain(const std::string& chain, const std::vector<std::uint64_t>& hashes) {
  // A batch of which nothing is taken, beyond max_bytes, leaves no trace.
  if (hashes.empty()) return chain;
  return HashHex(StrCat(chain, std::string_view(reinterpret_cast<const char*>(hashes.data()), hashes.size() * sizeof(hashes[0]))));
}

// Stored bytes before a place in the corpus, for people who wait.
std::int64_t BytesBefore(const Corpus& corpus, const Position& at, std::int64_t before_file) {
  if (at.file >= corpus.files.size()) return corpus.total_bytes;
  return before_file + std::min(at.offset, corpus.files[at.file].bytes);
}

}  // namespace

struct Preparation::Writers {
  ShardWriter train;
  ShardWriter validation;
  std::int64_t saved_bytes = 0;
  ShardWriter& Of(Split split) { return split == Split::kTrain ? train : validation; }
};

Preparation::Preparation(const PrepareOptions& options, Corpus corpus, std::unique_ptr<Tokenizer> tokenizer,
                         std::function<void(const PrepareProgress&)> on_progress)
    : options_(options),
      corpus_(std::move(corpus)),
      of_tokens_(HoldsTokenShards(corpus_)),
      tokenizer_(std::move(tokenizer)),
      on_progress_(std::move(on_progress)),
      sample_(kSampleBytes),
      files_read_(corpus_.files.size()) {
  if (of_tokens_ && options.tokenizer == "bytes") tokenizer_.reset();
  bool named = false;
  for (const CorpusFile& file : corpus_.files) {
    named_splits_.push_back(of_tokens_ ? SplitByName(file.path) : std::nullopt);
    named |= named_splits_.back().has_value();
  }
  if (corpus_.single_file && !named) {
    const std::int64_t used = options.max_bytes > 0 ? std::min(options.max_bytes, corpus_.total_bytes) : corpus_.total_bytes;
    limits_.document_bytes = std::clamp(used / kSingleFilePieces, kMinPieceBytes, kMaxDocumentBytes);
  }
  if (of_tokens_) limits_.end_of_document = end_of_document();
  key_ = MakeKey();
  reader_.emplace(&corpus_, options.field, options.tokenizer == "bytes", of_tokens_ ? vocab_size() : 0);
}

std::int64_t Preparation::vocab_size() const {
  if (tokenizer_) return tokenizer_->vocab_size();
  return options_.vocab_size > 0 ? options_.vocab_size : kGpt2Vocabulary;
}

std::int64_t Preparation::end_of_document() const {
  if (options_.end_of_document != PrepareOptions::kDefaultEnd) return options_.end_of_document;
  if (tokenizer_) return tokenizer_->end_of_document();
  return vocab_size() == kGpt2Vocabulary ? kGpt2EndOfText : -1;
}

int Preparation::threads() const {
  return options_.threads > 0 ? options_.threads : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

std::string Preparation::MakeKey() const {
  nlohmann::json what = {{"source", options_.source},
                         {"include", options_.include},
                         {"format", options_.format},
                         {"field", options_.field},
                         {"tokenizer", options_.tokenizer},
                         {"tokenizer_hash", tokenizer_ ? HashHex(tokenizer_->file_bytes()) : ""},
                         {"name", options_.name},
                         {"max_bytes", options_.max_bytes},
                         {"validation_fraction", options_.validation_fraction},
                         {"vocab_size", options_.vocab_size},
                         {"end_of_document", options_.end_of_document}};
  for (const CorpusFile& file : corpus_.files) {
    what["files"].push_back({file.path, file.bytes, file.modified_ns, std::string(1, static_cast<char>(file.kind))});
  }
  return HashHex(what.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

void Preparation::OpenWriters(const std::string& dir, std::optional<Writers>* writers) const {
  const std::int64_t token_bytes = vocab_size() <= 65536 ? 2 : 4;
  writers->emplace(Writers{{dir, Split::kTrain, token_bytes, kMaxShardTokens}, {dir, Split::kValidation, token_bytes, kMaxShardTokens}});
}

absl::StatusOr<DatasetManifest> Preparation::Run(const std::string& dir) {
  std::optional<Writers> writers;
  resumed_ = TakeUp(dir);
  if (resumed_) {
    OpenWriters(dir, &writers);
    resumed_ = writers->train.Resume(record_.write.train).ok() && writers->validation.Resume(record_.write.validation).ok();
  }
  if (!resumed_) {
    ENTRAIN_RETURN_IF_ERROR(Begin(dir));
    OpenWriters(dir, &writers);
  }
  ENTRAIN_RETURN_IF_ERROR(WriteAll(dir, &*writers));
  DatasetManifest manifest;
  ENTRAIN_ASSIGN_OR_RETURN(manifest.shards, writers->train.Finish());
  ENTRAIN_ASSIGN_OR_RETURN(std::vector<ShardInfo> held_out, writers->validation.Finish());
  std::move(held_out.begin(), held_out.end(), std::back_inserter(manifest.shards));
  manifest.tokenizer = IsTrainedTokenizer(options_.tokenizer) ? options_.tokenizer
                       : tokenizer_                           ? tokenizer_->description()
                                                              : "tokens";
  manifest.vocab_size = vocab_size();
  manifest.end_of_document = end_of_document();
  manifest.source_bytes = record_.scan.bytes;
  manifest.skipped_binary_files = record_.scan.binary_files;
  manifest.round_trip = record_.write.round_trip;
  manifest.prepared_from = key_;
  if (tokenizer_ && !tokenizer_->file_name().empty()) {
    manifest.tokenizer_file = tokenizer_->file_name();
    manifest.tokenizer_hash = HashHex(tokenizer_->file_bytes());
  }
  manifest.ref = {options_.name, ContentHash(manifest)};
  ENTRAIN_RETURN_IF_ERROR(WriteFileAtomically(StrCat(dir, "/dataset.json"), ToJson(manifest)));
  std::error_code error;
  fs::remove(StrCat(dir, "/", kRecordName), error);
  return manifest;
}

// Whether a killed process left a record here that can be gone on from.
bool Preparation::TakeUp(const std::string& dir) {
  const absl::StatusOr<std::string> text = ReadFile(StrCat(dir, "/", kRecordName));
  if (!text.ok()) return false;
  absl::StatusOr<PreparationRecord> record = ParsePreparationRecord(*text);
  if (!record.ok() || record->scan.kinds.size() != corpus_.files.size()) return false;
  if (!tokenizer_ && !of_tokens()) {
    auto kept = LoadKeptTokenizer(dir, record->tokenizer_file);
    if (!kept.ok()) return false;
    tokenizer_ = *std::move(kept);
  }
  for (std::size_t i = 0; i < corpus_.files.size(); ++i) corpus_.files[i].kind = static_cast<FileKind>(record->scan.kinds[i]);
  record_ = *std::move(record);
  return true;
}

absl::Status Preparation::Begin(const std::string& dir) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(dir, error)) fs::remove_all(entry.path(), error);
  record_ = {};
  if (IsTrainedTokenizer(options_.tokenizer)) tokenizer_.reset();
  ENTRAIN_RETURN_IF_ERROR(Scan());
  if (!tokenizer_ && !of_tokens()) ENTRAIN_RETURN_IF_ERROR(TrainOnSample());
  if (tokenizer_ && !tokenizer_->file_name().empty()) {
    record_.tokenizer_file = tokenizer_->file_name();
    ENTRAIN_RETURN_IF_ERROR(WriteFileAtomically(StrCat(dir, "/", record_.tokenizer_file), tokenizer_->file_bytes()));
  }
  return SaveRecord(dir);
}

absl::Status Preparation::SaveRecord(const std::string& dir) const {
  return WriteFileAtomically(StrCat(dir, "/", kRecordName), ToJson(record_));
}

void Preparation::Tell(const char* phase, std::int64_t documents, std::int64_t bytes, std::int64_t total_bytes) {
  if (on_progress_) on_progress_({phase, documents, bytes, total_bytes, resumed_});
}

// --- first reading ---

absl::StatusOr<std::vector<Preparation::Document>> Preparation::Hash(const Batch& batch) const {
  std::vector<Document> documents;
  std::string scratch;
  for (std::size_t i = 0; i < batch.records.size(); ++i) {
    ENTRAIN_ASSIGN_OR_RETURN(const std::string_view content, reader_->ContentOf(batch, batch.records[i], &scratch));
    if (!content.empty()) documents.push_back({Hash64(content), static_cast<std::int64_t>(content.size()), i});
  }
  return documents;
}

absl::Status Preparation::Scan() {
  record_.scan.split.fraction = options_.validation_fraction;
  RecordReader records(&corpus_, limits_, {});
  std::int64_t before_file = 0;
  std::size_t file = 0;
  OrderedWork<Batch, std::vector<Document>> work;
  work.next = [&](Batch* batch) { return records.Next(batch); };
  work.work = [&](const Batch& batch) { return Hash(batch); };
  work.finish = [&](Batch* batch, std::vector<Document> documents) {
    for (; file < std::min(batch->after.file, corpus_.files.size()); ++file) before_file += corpus_.files[file].bytes;
    Tell("reading", record_.scan.documents, BytesBefore(corpus_, batch->after, before_file), corpus_.total_bytes);
    return Observe(*batch, documents);
  };
  ENTRAIN_RETURN_IF_ERROR(work.Run(threads()));
  ScanResult& scan = record_.scan;
  for (std::size_t i = 0; i < corpus_.files.size(); ++i) {
    const FileKind kind = corpus_.files[i].kind;
    scan.kinds += static_cast<char>(kind);
    // How many files were looked at beyond the last document that is taken depends on the number of threads.
    if (i < files_read_ && kind == FileKind::kBinary) ++scan.binary_files;
  }
  return scan.documents > 0 ? absl::OkStatus() : NoText();
}

absl::StatusOr<bool> Preparation::Observe(const Batch& batch, const std::vector<Document>& documents) {
  ScanResult& scan = record_.scan;
  const bool training = !tokenizer_ && !of_tokens();
  std::vector<std::uint64_t> hashes;
  std::string scratch;
  bool more = true;
  for (const Document& document : documents) {
    const Record& record = batch.records[document.record];
    std::uint64_t hash = document.hash;
    std::int64_t bytes = document.bytes;
    const std::int64_t left = options_.max_bytes > 0 ? options_.max_bytes - scan.bytes : INT64_MAX;
    more = left > bytes;
    // Parsing it a second time is for the few.
    std::string_view content;
    if (!more || (training && sample_.Wants(hash))) {
      ENTRAIN_ASSIGN_OR_RETURN(content, reader_->ContentOf(batch, record, &scratch));
    }
    if (!more) {
      files_read_ = record.file;
      const auto limit = static_cast<std::size_t>(std::min(left, bytes));
      content = content.substr(0, of_tokens() ? limit - limit % static_cast<std::size_t>(record.token_bytes) : CharacterCut(content, limit));
      if (content.empty()) break;
      hash = Hash64(content);
      bytes = static_cast<std::int64_t>(content.size());
    }
    if (!named_splits_[record.file]) scan.split.Observe(hash);
    if (training && !content.empty() && sample_.Wants(hash)) sample_.Add(hash, content);
    hashes.push_back(hash);
    scan.last_document_bytes = bytes;
    scan.bytes += bytes;
    ++scan.documents;
    if (!more) break;
  }
  scan.chain = AddToChain(scan.chain, hashes);
  return more;
}

absl::Status Preparation::NoText() const {
  const auto files = corpus_.files.size();
  return absl::InvalidArgumentError(StrCat("no text in ", options_.source, ": ", files, files == 1 ? " file" : " files",
                                           options_.include.empty() ? "" : " that match the include patterns", ", ",
                                           record_.scan.binary_files, " of them binary, the others empty"));
}

absl::Status Preparation::TrainOnSample() {
  Tell("training the tokenizer", record_.scan.documents, 0, 0);
  const auto visit_with = [&](const std::function<bool(std::uint64_t)>& chosen) {
    return [this, chosen](const DocumentVisitor& visit) {
      for (const TextSample::Document& document : sample_.documents()) {
        if (chosen(document.hash)) ENTRAIN_RETURN_IF_ERROR(visit(document.text));
      }
      return absl::OkStatus();
    };
  };
  ENTRAIN_ASSIGN_OR_RETURN(tokenizer_, TrainTokenizer(options_.tokenizer, visit_with([this](std::uint64_t hash) {
                                         return record_.scan.split.Of(hash) == Split::kTrain;
                                       })));
  sample_ = TextSample(kSampleBytes);
  return absl::OkStatus();
}

// --- second reading ---

Split Preparation::SplitOf(const Record& record, const Document& document) const {
  const std::optional<Split>& named = named_splits_[record.file];
  return named ? *named : record_.scan.split.Of(document.hash);
}

absl::Status Preparation::TokeniseOne(const Record& record, std::string_view content, Tokenised* out, Document* document) const {
  document->hash = Hash64(content);
  document->bytes = static_cast<std::int64_t>(content.size());
  document->begin = out->tokens.size();
  if (of_tokens()) {
    ENTRAIN_RETURN_IF_ERROR(reader_->AppendTokens(record, content, &out->tokens));
    document->count = out->tokens.size() - document->begin;
    return absl::OkStatus();
  }
  ENTRAIN_RETURN_IF_ERROR(tokenizer_->Encode(content, &out->tokens));
  const std::uint64_t stride = static_cast<std::uint64_t>(record_.scan.documents / kRoundTripDocuments) + 1;
  if (document->hash % stride == 0) {
    std::string back;
    ENTRAIN_RETURN_IF_ERROR(
        tokenizer_->Decode(out->tokens.data() + document->begin, out->tokens.size() - document->begin, &back));
    ++out->round_trip.documents;
    out->round_trip.exact += back == content ? 1 : 0;
  }
  const std::int64_t end = end_of_document();
  if (end >= 0) out->tokens.push_back(static_cast<std::uint32_t>(end));
  document->count = out->tokens.size() - document->begin;
  return absl::OkStatus();
}

absl::StatusOr<Preparation::Tokenised> Preparation::Tokenise(const Batch& batch) const {
  Tokenised out;
  std::string scratch;
  for (std::size_t i = 0; i < batch.records.size(); ++i) {
    ENTRAIN_ASSIGN_OR_RETURN(const std::string_view content, reader_->ContentOf(batch, batch.records[i], &scratch));
    if (content.empty()) continue;
    Document document;
    document.record = i;
    ENTRAIN_RETURN_IF_ERROR(TokeniseOne(batch.records[i], content, &out, &document));
    out.documents.push_back(document);
  }
  return out;
}

absl::Status Preparation::WriteAll(const std::string& dir, Writers* writers) {
  WriteState& state = record_.write;
  writers->saved_bytes = state.bytes;
  RecordReader records(&corpus_, limits_, state.at);
  OrderedWork<Batch, Tokenised> work;
  work.next = [&](Batch* batch) { return records.Next(batch); };
  work.work = [&](const Batch& batch) { return Tokenise(batch); };
  work.finish = [&](Batch* batch, const Tokenised& done) { return Write(dir, batch, done, writers); };
  if (state.documents < record_.scan.documents) ENTRAIN_RETURN_IF_ERROR(work.Run(threads()));
  if (state.documents == record_.scan.documents && state.chain == record_.scan.chain) return absl::OkStatus();
  return absl::AbortedError(StrCat(options_.source, " changed while it was read; try again"));
}

absl::StatusOr<bool> Preparation::Write(const std::string& dir, Batch* batch, const Tokenised& done, Writers* writers) {
  WriteState& state = record_.write;
  std::vector<std::uint64_t> hashes;
  for (const Document& document : done.documents) {
    if (state.documents == record_.scan.documents) break;
    const Record& record = batch->records[document.record];
    const bool last = state.documents + 1 == record_.scan.documents;
    const Tokenised* from = &done;
    Document taken = document;
    Tokenised cut;
    if (last && record_.scan.last_document_bytes < document.bytes) {
      ENTRAIN_RETURN_IF_ERROR(WriteCut(*batch, document, &cut));
      from = &cut;
      taken = cut.documents.front();
    }
    ENTRAIN_RETURN_IF_ERROR(writers->Of(SplitOf(record, taken)).Append(from->tokens.data() + taken.begin, taken.count));
    hashes.push_back(taken.hash);
    state.bytes += taken.bytes;
    ++state.documents;
  }
  state.chain = AddToChain(state.chain, hashes);
  state.at = batch->after;
  state.round_trip.documents += done.round_trip.documents;
  state.round_trip.exact += done.round_trip.exact;
  if (state.bytes - writers->saved_bytes >= options_.checkpoint_bytes) {
    writers->saved_bytes = state.bytes;
    ENTRAIN_ASSIGN_OR_RETURN(state.train, writers->train.Checkpoint());
    ENTRAIN_ASSIGN_OR_RETURN(state.validation, writers->validation.Checkpoint());
    ENTRAIN_RETURN_IF_ERROR(SaveRecord(dir));
  }
  Tell("tokenising", state.documents, state.bytes, record_.scan.bytes);
  return state.documents < record_.scan.documents;
}

// The last document as far as max_bytes lets it in.
absl::Status Preparation::WriteCut(const Batch& batch, const Document& document, Tokenised* cut) const {
  const Record& record = batch.records[document.record];
  std::string scratch;
  ENTRAIN_ASSIGN_OR_RETURN(const std::string_view content, reader_->ContentOf(batch, record, &scratch));
  Document taken;
  taken.record = document.record;
  ENTRAIN_RETURN_IF_ERROR(
      TokeniseOne(record, content.substr(0, static_cast<std::size_t>(record_.scan.last_document_bytes)), cut, &taken));
  cut->documents.push_back(taken);
  return absl::OkStatus();
}

}  // namespace entrain::data
