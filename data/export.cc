#include "data/export.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "data/file_writer.h"

namespace entrain::data {
namespace {

constexpr std::int64_t kCopyTokens = 1 << 18;
constexpr std::int64_t kUint16Vocabulary = 65536;

struct Part {
  Split split = Split::kTrain;
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::string path;
};

std::string LlmCName(const std::string& name, Split split, std::int64_t number) {
  std::array<char, 32> digits;
  std::snprintf(digits.data(), digits.size(), "_%06lld.bin", static_cast<long long>(number));
  return StrCat(name, split == Split::kTrain ? "_train" : "_val", std::string_view(digits.data()));
}

std::vector<Part> PlanParts(const TokenDataset& dataset, const ExportOptions& options) {
  std::vector<Part> parts;
  for (const Split split : {Split::kTrain, Split::kValidation}) {
    const std::int64_t tokens = dataset.TokenCount(split);
    const bool one = options.format == TokenFileFormat::kNanoGpt;
    const std::int64_t step = one ? std::numeric_limits<std::int64_t>::max() : options.shard_tokens;
    for (std::int64_t begin = 0, number = 0; begin < tokens; ++number) {
      const std::int64_t end = begin + std::min(step, tokens - begin);
      const std::string name =
          one ? (split == Split::kTrain ? "train.bin" : "val.bin") : LlmCName(dataset.ref().name, split, number);
      parts.push_back({split, begin, end, StrCat(options.dir, "/", name)});
      begin = end;
    }
  }
  return parts;
}

absl::Status WriteTokens(const TokenDataset& dataset, const Part& part, std::int64_t token_bytes, FileWriter* file) {
  std::vector<std::int32_t> tokens(kCopyTokens);
  std::string bytes;
  for (std::int64_t at = part.begin; at < part.end;) {
    const std::int64_t count = std::min(kCopyTokens, part.end - at);
    dataset.Read(part.split, at, count, tokens.data());
    bytes.resize(static_cast<std::size_t>(count * token_bytes));
    for (std::int64_t i = 0; i < count; ++i) {
      // The low bytes come first, in memory and in the file.
      std::memcpy(bytes.data() + i * token_bytes, &tokens[static_cast<std::size_t>(i)], static_cast<std::size_t>(token_bytes));
    }
    ENTRAIN_RETURN_IF_ERROR(file->Append(bytes));
    at += count;
  }
  return absl::OkStatus();
}

absl::Status WritePart(const TokenDataset& dataset, const Part& part, TokenFileFormat format) {
  const bool headed = format == TokenFileFormat::kLlmC;
  const std::int64_t token_bytes = headed && dataset.vocab_size() > kUint16Vocabulary ? 4 : 2;
  const std::string unfinished = part.path + ".unfinished";
  ENTRAIN_ASSIGN_OR_RETURN(FileWriter file, FileWriter::Create(unfinished));
  if (headed) ENTRAIN_RETURN_IF_ERROR(file.Append(EncodeLlmCHeader(token_bytes, part.end - part.begin)));
  ENTRAIN_RETURN_IF_ERROR(WriteTokens(dataset, part, token_bytes, &file));
  ENTRAIN_RETURN_IF_ERROR(file.Finish());
  std::error_code error;
  std::filesystem::rename(unfinished, part.path, error);
  return error ? ErrnoStatus(error.value(), "rename to", part.path) : absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<ExportedFile>> Export(const TokenDataset& dataset, const ExportOptions& options) {
  if (options.format == TokenFileFormat::kNanoGpt && dataset.vocab_size() > kUint16Vocabulary) {
    return absl::InvalidArgumentError(StrCat("nanoGPT's files hold uint16, the vocabulary has ", dataset.vocab_size(), " tokens"));
  }
  if (options.shard_tokens < 1 || options.shard_tokens > std::numeric_limits<std::int32_t>::max()) {
    return absl::InvalidArgumentError(StrCat("tokens a file must be from 1 to 2147483647, are ", options.shard_tokens));
  }
  ENTRAIN_RETURN_IF_ERROR(MakeFolders(options.dir));
  const std::vector<Part> parts = PlanParts(dataset, options);
  for (const Part& part : parts) {
    std::error_code error;
    if (std::filesystem::exists(part.path, error)) return absl::AlreadyExistsError(StrCat(part.path, " is there already"));
  }
  std::vector<ExportedFile> files;
  for (const Part& part : parts) {
    ENTRAIN_RETURN_IF_ERROR(WritePart(dataset, part, options.format));
    files.push_back({part.path, part.end - part.begin});
  }
  ENTRAIN_RETURN_IF_ERROR(SyncPath(options.dir));
  return files;
}

}  // namespace entrain::data
