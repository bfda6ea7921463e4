#include "data/inspect.h"

#include <algorithm>
#include <memory>

#include "base/status_macros.h"
#include "base/strings.h"
#include "data/tokenizer.h"

namespace entrain::data {
namespace {

constexpr std::int64_t kTriedDocuments = 200;
constexpr std::int64_t kMaxTriedTokens = 1 << 20;

class Inspector {
 public:
  Inspector(const InspectOptions& options, const TokenDataset& dataset, const Tokenizer* tokenizer, Inspection* found)
      : options_(options), dataset_(dataset), tokenizer_(tokenizer), found_(found) {}

  absl::Status Look(Split split) {
    const std::int64_t documents = dataset_.DocumentCount(split);
    for (std::int64_t i = 0; i < std::min<std::int64_t>(options_.samples, documents); ++i) {
      ENTRAIN_RETURN_IF_ERROR(AddSample(split, Spread(i, options_.samples, documents)));
    }
    if (tokenizer_ == nullptr) return absl::OkStatus();
    for (std::int64_t i = 0; i < std::min(kTriedDocuments, documents); ++i) {
      ENTRAIN_RETURN_IF_ERROR(TryRoundTrip(split, Spread(i, kTriedDocuments, documents)));
    }
    return absl::OkStatus();
  }

 private:
  static std::int64_t Spread(std::int64_t i, std::int64_t chosen, std::int64_t documents) {
    return documents <= chosen ? i : i * (documents / chosen);
  }

  absl::StatusOr<std::vector<std::int32_t>> TokensOf(Split split, std::int64_t index, std::int64_t limit) const {
    ENTRAIN_ASSIGN_OR_RETURN(const TokenDataset::Span span, dataset_.Document(split, index));
    std::vector<std::int32_t> tokens(static_cast<std::size_t>(std::min(span.end - span.begin, limit)));
    dataset_.Read(split, span.begin, static_cast<std::int64_t>(tokens.size()), tokens.data());
    return tokens;
  }

  absl::Status AddSample(Split split, std::int64_t index) {
    SampleDocument sample;
    sample.split = split;
    sample.index = index;
    ENTRAIN_ASSIGN_OR_RETURN(const TokenDataset::Span span, dataset_.Document(split, index));
    sample.tokens = span.end - span.begin;
    ENTRAIN_ASSIGN_OR_RETURN(sample.first_tokens, TokensOf(split, index, options_.sample_tokens));
    if (tokenizer_ != nullptr) {
      std::vector<std::uint32_t> tokens(sample.first_tokens.begin(), sample.first_tokens.end());
      if (!tokens.empty() && tokens.back() == found_->manifest.end_of_document) tokens.pop_back();
      ENTRAIN_RETURN_IF_ERROR(tokenizer_->Decode(tokens.data(), tokens.size(), &sample.text));
    }
    found_->samples.push_back(std::move(sample));
    return absl::OkStatus();
  }

  // Only a document that is whole comes back as the same tokens.
  absl::Status TryRoundTrip(Split split, std::int64_t index) {
    ENTRAIN_ASSIGN_OR_RETURN(const std::vector<std::int32_t> read, TokensOf(split, index, kMaxTriedTokens));
    if (static_cast<std::int64_t>(read.size()) == kMaxTriedTokens) return absl::OkStatus();
    std::vector<std::uint32_t> tokens(read.begin(), read.end());
    if (!tokens.empty() && tokens.back() == found_->manifest.end_of_document) tokens.pop_back();
    std::string text;
    ENTRAIN_RETURN_IF_ERROR(tokenizer_->Decode(tokens.data(), tokens.size(), &text));
    std::vector<std::uint32_t> again;
    ENTRAIN_RETURN_IF_ERROR(tokenizer_->Encode(text, &again));
    ++found_->tokens_round_trip.documents;
    found_->tokens_round_trip.exact += again == tokens ? 1 : 0;
    found_->tried_tokens += static_cast<std::int64_t>(tokens.size());
    found_->tried_bytes += static_cast<std::int64_t>(text.size());
    if (const auto unknown = tokenizer_->unknown()) found_->unknown_tokens += std::count(tokens.begin(), tokens.end(), *unknown);
    return absl::OkStatus();
  }

  const InspectOptions& options_;
  const TokenDataset& dataset_;
  const Tokenizer* const tokenizer_;
  Inspection* const found_;
};

}  // namespace

absl::StatusOr<Inspection> Inspect(const std::string& dir, const InspectOptions& options) {
  ENTRAIN_ASSIGN_OR_RETURN(const TokenDataset dataset, TokenDataset::Open(dir));
  ENTRAIN_RETURN_IF_ERROR(dataset.Verify());
  Inspection found;
  ENTRAIN_ASSIGN_OR_RETURN(found.manifest, ReadDatasetManifest(dir));
  for (const ShardInfo& shard : found.manifest.shards) {
    SplitSummary& summary = shard.split == Split::kTrain ? found.train : found.validation;
    ++summary.shards;
    summary.tokens += shard.tokens;
    summary.documents += shard.documents;
    found.stored_bytes += kTokenHeaderBytes + shard.tokens * shard.token_bytes + shard.documents * 8;
  }
  std::unique_ptr<Tokenizer> tokenizer;
  if (found.manifest.tokenizer == "bytes" || !found.manifest.tokenizer_file.empty()) {
    ENTRAIN_ASSIGN_OR_RETURN(tokenizer, LoadKeptTokenizer(dir, found.manifest.tokenizer_file));
  }
  found.has_tokenizer = tokenizer != nullptr;
  Inspector inspector(options, dataset, tokenizer.get(), &found);
  ENTRAIN_RETURN_IF_ERROR(inspector.Look(Split::kTrain));
  ENTRAIN_RETURN_IF_ERROR(inspector.Look(Split::kValidation));
  return found;
}

}  // namespace entrain::data
