#include "data/folder_manifest.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <system_error>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "nlohmann/json.hpp"

namespace entrain::data {
namespace {

using nlohmann::json;

constexpr int kManifestFormat = 1;
constexpr std::int64_t kManifestBlockBytes = 4 << 20;
constexpr const char* kManifestName = "manifest.json";

std::string HashOfBlock(std::string_view block) { return absl::StrFormat("%016x", Hash64(block)); }

// Calls `on_block(index, bytes)` for each block of the file; returns its size.
absl::StatusOr<std::int64_t> ForEachBlock(const std::string& path,
                                          const std::function<absl::Status(std::int64_t, std::string_view)>& on_block) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return ErrnoStatus(errno, "open", path);
  std::string block(kManifestBlockBytes, '\0');
  std::int64_t bytes = 0;
  for (std::int64_t index = 0;; ++index) {
    file.read(block.data(), kManifestBlockBytes);
    const std::int64_t count = file.gcount();
    if (count > 0) ENTRAIN_RETURN_IF_ERROR(on_block(index, std::string_view(block.data(), static_cast<std::size_t>(count))));
    bytes += count;
    if (file.bad()) return absl::DataLossError(StrCat("read ", path, " failed after ", bytes, " bytes"));
    if (count < kManifestBlockBytes) return bytes;
  }
}

absl::StatusOr<json> DescribeFile(const std::string& folder, const std::string& name) {
  Hasher hasher;
  json blocks = json::array();
  ENTRAIN_ASSIGN_OR_RETURN(const std::int64_t bytes,
                           ForEachBlock(folder + "/" + name, [&](std::int64_t, std::string_view block) {
                             hasher.Update(block);
                             blocks.push_back(HashOfBlock(block));
                             return absl::OkStatus();
                           }));
  return json{{"name", name}, {"bytes", bytes}, {"hash", hasher.Hex()}, {"blocks", std::move(blocks)}};
}

// One file as the manifest describes it.
struct ListedFile {
  std::string name;
  std::int64_t bytes = 0;
  std::vector<std::string> blocks;
};

absl::Status DamagedManifest(const std::string& path, std::string_view what) {
  return absl::DataLossError(StrCat(path, " is damaged: ", what));
}

absl::StatusOr<ListedFile> ParseListedFile(const json& file, const std::string& path) {
  ListedFile entry;
  const bool shaped = file.is_object() && file.contains("name") && file["name"].is_string() && file.contains("bytes") &&
                      file["bytes"].is_number_unsigned() && file.contains("blocks") && file["blocks"].is_array();
  if (!shaped) return DamagedManifest(path, "an entry without name, bytes or blocks");
  entry.name = file["name"].get<std::string>();
  entry.bytes = file["bytes"].get<std::int64_t>();
  for (const json& block : file["blocks"]) {
    if (!block.is_string()) return DamagedManifest(path, "a block hash that is not a string");
    entry.blocks.push_back(block.get<std::string>());
  }
  if (static_cast<std::int64_t>(entry.blocks.size()) != (entry.bytes + kManifestBlockBytes - 1) / kManifestBlockBytes) {
    return DamagedManifest(path, StrCat("wrong number of blocks for ", entry.name));
  }
  if (entry.name.empty() || entry.name.find('/') != std::string::npos) return DamagedManifest(path, "a name with a slash");
  return entry;
}

absl::StatusOr<std::vector<ListedFile>> ReadManifest(const std::string& folder) {
  const std::string path = StrCat(folder, "/", kManifestName);
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (absl::IsNotFound(text.status())) {
    return absl::NotFoundError(StrCat(folder, " is not a complete checkpoint: it has no ", kManifestName));
  }
  ENTRAIN_RETURN_IF_ERROR(text.status());
  const json manifest = json::parse(*text, nullptr, false);
  if (!manifest.is_object() || !manifest.contains("files") || !manifest["files"].is_array()) {
    return DamagedManifest(path, "not a JSON object with files");
  }
  if (manifest.value("format_version", json()) != json(kManifestFormat) ||
      manifest.value("block_bytes", json()) != json(kManifestBlockBytes)) {
    return absl::InvalidArgumentError(StrCat(path, ": this build reads format 1 with blocks of ", kManifestBlockBytes, " bytes"));
  }
  std::vector<ListedFile> entries;
  for (const json& file : manifest["files"]) {
    ENTRAIN_ASSIGN_OR_RETURN(ListedFile entry, ParseListedFile(file, path));
    entries.push_back(std::move(entry));
  }
  return entries;
}

absl::Status VerifyFile(const std::string& path, const ListedFile& entry) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error) return absl::DataLossError(StrCat(path, " is missing or unreadable: ", error.message()));
  if (static_cast<std::int64_t>(size) < entry.bytes) {
    return absl::DataLossError(StrCat(path, " is truncated: it has ", size, " of ", entry.bytes, " bytes"));
  }
  if (static_cast<std::int64_t>(size) > entry.bytes) {
    return absl::DataLossError(StrCat(path, " has ", size, " bytes, the manifest says ", entry.bytes));
  }
  return ForEachBlock(path, [&](std::int64_t index, std::string_view block) -> absl::Status {
           const std::int64_t begin = index * kManifestBlockBytes;
           const auto place = static_cast<std::size_t>(index);
           if (place < entry.blocks.size() && HashOfBlock(block) == entry.blocks[place]) return absl::OkStatus();
           return absl::DataLossError(StrCat(path, " is damaged between bytes ", begin, " and ",
                                             begin + static_cast<std::int64_t>(block.size())));
         })
      .status();
}

}  // namespace

absl::StatusOr<ManifestSummary> WriteManifest(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error); entry != std::filesystem::directory_iterator(); ++entry) {
    if (entry->path().filename() != kManifestName) names.push_back(entry->path().filename().string());
  }
  if (error) return ErrnoStatus(error.value(), "list", folder);
  std::sort(names.begin(), names.end());
  ManifestSummary summary;
  json files = json::array();
  for (const std::string& name : names) {
    ENTRAIN_ASSIGN_OR_RETURN(json file, DescribeFile(folder, name));
    summary.bytes += file["bytes"].get<std::int64_t>();
    files.push_back(std::move(file));
  }
  const json manifest{{"format_version", kManifestFormat}, {"block_bytes", kManifestBlockBytes}, {"files", std::move(files)}};
  const std::string text = manifest.dump() + "\n";
  ENTRAIN_RETURN_IF_ERROR(WriteFileAtomically(StrCat(folder, "/", kManifestName), text));
  summary.bytes += static_cast<std::int64_t>(text.size());
  summary.hash = HashHex(text);
  return summary;
}

absl::Status VerifyManifest(const std::string& folder, const std::vector<std::string>& names) {
  ENTRAIN_ASSIGN_OR_RETURN(const std::vector<ListedFile> files, ReadManifest(folder));
  for (const std::string& name : names) {
    const auto named = [&](const ListedFile& file) { return file.name == name; };
    const auto found = std::find_if(files.begin(), files.end(), named);
    if (found == files.end()) return absl::InvalidArgumentError(StrCat(folder, "/", kManifestName, " names no file ", name));
    ENTRAIN_RETURN_IF_ERROR(VerifyFile(StrCat(folder, "/", name), *found));
  }
  return absl::OkStatus();
}

absl::Status VerifyManifest(const std::string& folder) {
  ENTRAIN_ASSIGN_OR_RETURN(const std::vector<ListedFile> entries, ReadManifest(folder));
  for (const ListedFile& entry : entries) ENTRAIN_RETURN_IF_ERROR(VerifyFile(StrCat(folder, "/", entry.name), entry));
  return absl::OkStatus();
}

}  // namespace entrain::data
