#include "data/token_dataset.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "data/dataset_manifest.h"
#include "data/mapped_file.h"

namespace entrain::data {
namespace {

// Smaller datasets are read whole when they are opened, which costs less than a training step.
constexpr std::int64_t kVerifyAtOpenBytes = 256 << 20;
constexpr std::uint64_t kOrderStream = std::uint64_t{0x6F72646572} << 24;  // "order"

struct Shard {
  ShardInfo info;
  MappedFile tokens;
  MappedFile documents;
  std::int64_t first_token = 0;  // of the split's stream
};

absl::Status CheckBlocks(std::string_view bytes, std::int64_t file_offset, const std::vector<std::string>& blocks,
                         const std::string& path) {
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const std::size_t begin = i * kBlockBytes;
    if (HashHex(bytes.substr(begin, kBlockBytes)) != blocks[i]) {
      return absl::InvalidArgumentError(StrCat(path, ": offset ", file_offset + static_cast<std::int64_t>(begin),
                                               ": damaged, the block from there on does not fit its recorded hash"));
    }
  }
  return absl::OkStatus();
}

template <typename Token>
void CopyTokens(const char* from, std::int64_t count, std::int32_t* out) {
  for (std::int64_t i = 0; i < count; ++i) {
    Token token;
    std::memcpy(&token, from + i * static_cast<std::int64_t>(sizeof(Token)), sizeof(Token));
    out[i] = static_cast<std::int32_t>(token);
  }
}

}  // namespace

struct TokenDataset::Impl {
  DatasetManifest manifest;
  std::vector<Shard> shards[2];
  std::int64_t tokens[2] = {0, 0};

  absl::Status OpenShard(const std::string& dir, const ShardInfo& info);
};

absl::Status TokenDataset::Impl::OpenShard(const std::string& dir, const ShardInfo& info) {
  const std::string path = StrCat(dir, "/", info.file);
  const std::string documents_path = StrCat(dir, "/", info.documents_file);
  ENTRAIN_ASSIGN_OR_RETURN(MappedFile tokens_file, MappedFile::Open(path));
  ENTRAIN_ASSIGN_OR_RETURN(MappedFile documents_file, MappedFile::Open(documents_path));
  ENTRAIN_RETURN_IF_ERROR(CheckTokenFile(tokens_file.bytes(), info, path));
  const auto documents_bytes = static_cast<std::int64_t>(documents_file.bytes().size());
  if (documents_bytes != info.documents * 8) {
    return absl::InvalidArgumentError(StrCat(documents_path, ": offset ", std::min(documents_bytes, info.documents * 8),
                                             ": ", info.documents * 8, " bytes are expected, there are ",
                                             documents_bytes));
  }
  const auto split = static_cast<std::size_t>(info.split);
  shards[split].push_back({info, std::move(tokens_file), std::move(documents_file), tokens[split]});
  tokens[split] += info.tokens;
  return absl::OkStatus();
}

TokenDataset::TokenDataset(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TokenDataset::~TokenDataset() = default;
TokenDataset::TokenDataset(TokenDataset&&) noexcept = default;
TokenDataset& TokenDataset::operator=(TokenDataset&&) noexcept = default;

absl::StatusOr<TokenDataset> TokenDataset::Open(const std::string& dir) {
  const std::string path = StrCat(dir, "/dataset.json");
  ENTRAIN_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  auto impl = std::make_unique<Impl>();
  ENTRAIN_ASSIGN_OR_RETURN(impl->manifest, ParseManifest(text, path));
  std::int64_t bytes = 0;
  for (const ShardInfo& info : impl->manifest.shards) {
    ENTRAIN_RETURN_IF_ERROR(impl->OpenShard(dir, info));
    bytes += info.tokens * info.token_bytes;
  }
  TokenDataset dataset(std::move(impl));
  if (bytes <= kVerifyAtOpenBytes) ENTRAIN_RETURN_IF_ERROR(dataset.Verify());
  return dataset;
}

absl::Status TokenDataset::Verify() const {
  for (const auto& shards : impl_->shards) {
    for (const Shard& shard : shards) {
      const std::string_view tokens = shard.tokens.bytes().substr(kTokenHeaderBytes);
      ENTRAIN_RETURN_IF_ERROR(CheckBlocks(tokens, kTokenHeaderBytes, shard.info.token_blocks, shard.tokens.path()));
      ENTRAIN_RETURN_IF_ERROR(
          CheckBlocks(shard.documents.bytes(), 0, shard.info.document_blocks, shard.documents.path()));
    }
  }
  return absl::OkStatus();
}

const domain::DatasetRef& TokenDataset::ref() const { return impl_->manifest.ref; }
std::int64_t TokenDataset::vocab_size() const { return impl_->manifest.vocab_size; }
std::int64_t TokenDataset::TokenCount(Split split) const { return impl_->tokens[static_cast<std::size_t>(split)]; }

std::int64_t TokenDataset::DocumentCount(Split split) const {
  std::int64_t count = 0;
  for (const Shard& shard : impl_->shards[static_cast<std::size_t>(split)]) count += shard.info.documents;
  return count;
}

absl::StatusOr<TokenDataset::Span> TokenDataset::Document(Split split, std::int64_t index) const {
  ENTRAIN_CHECK(index >= 0 && index < DocumentCount(split));
  for (const Shard& shard : impl_->shards[static_cast<std::size_t>(split)]) {
    if (index >= shard.info.documents) {
      index -= shard.info.documents;
      continue;
    }
    const auto offset = [&](std::int64_t document) {
      std::uint64_t value = 0;
      std::memcpy(&value, shard.documents.bytes().data() + 8 * document, 8);
      return static_cast<std::int64_t>(value);
    };
    const Span span{offset(index), index + 1 < shard.info.documents ? offset(index + 1) : shard.info.tokens};
    if (span.begin < 0 || span.begin > span.end || span.end > shard.info.tokens) {
      return absl::DataLossError(StrCat(shard.documents.path(), ": offset ", 8 * index, ": impossible document boundary ", span.begin));
    }
    return Span{shard.first_token + span.begin, shard.first_token + span.end};
  }
  return absl::InternalError("documents were miscounted");
}

void TokenDataset::Read(Split split, std::int64_t begin, std::int64_t count, std::int32_t* out) const {
  ENTRAIN_CHECK_MSG(begin >= 0 && count >= 0 && begin <= TokenCount(split) - count,
                    StrCat("tokens [", begin, ", ", begin + count, ") of ", TokenCount(split)));
  const std::vector<Shard>& shards = impl_->shards[static_cast<std::size_t>(split)];
  auto shard = std::upper_bound(shards.begin(), shards.end(), begin, [](std::int64_t token, const Shard& candidate) {
    return token < candidate.first_token;
  });
  while (count > 0) {
    const Shard& current = *std::prev(shard);
    const std::int64_t inside = begin - current.first_token;
    const std::int64_t here = std::min(count, current.info.tokens - inside);
    const char* from = current.tokens.bytes().data() + kTokenHeaderBytes + inside * current.info.token_bytes;
    if (current.info.token_bytes == 2) {
      CopyTokens<std::uint16_t>(from, here, out);
    } else {
      CopyTokens<std::uint32_t>(from, here, out);
    }
    begin += here;
    count -= here;
    out += here;
    ++shard;
  }
}

absl::StatusOr<SequenceOrder> SequenceOrder::Create(std::int64_t token_count, std::int64_t context,
                                                    std::uint64_t seed) {
  ENTRAIN_CHECK(context > 0);
  const std::int64_t windows = (token_count - 1) / context;
  if (token_count < 1 || windows < 1) {
    return absl::InvalidArgumentError(StrCat("the data holds ", token_count, " tokens, too few for one sequence of ",
                                             context, " and its next token"));
  }
  return SequenceOrder(windows, context, seed);
}

std::int64_t SequenceOrder::Begin(std::int64_t index) const {
  ENTRAIN_CHECK(index >= 0);
  const std::uint64_t stream = kOrderStream + static_cast<std::uint64_t>(index / windows_);
  const Permutation permutation(static_cast<std::uint64_t>(windows_), seed_, stream);
  return static_cast<std::int64_t>(permutation(static_cast<std::uint64_t>(index % windows_))) * context_;
}

}  // namespace entrain::data
