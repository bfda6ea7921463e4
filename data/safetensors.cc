#include "data/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"
#include "data/file_writer.h"
#include "data/mapped_file.h"

namespace entrain::data {
namespace {

using nlohmann::json;

// The Python library's own limit.
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;
constexpr std::size_t kLengthBytes = 8;
constexpr std::string_view kMetadataKey = "__metadata__";

struct DTypeName {
  DType dtype;
  std::string_view name;
  std::int64_t bytes;
};
constexpr std::array kDTypes = {DTypeName{DType::kF32, "F32", 4}, DTypeName{DType::kF64, "F64", 8},
                                DTypeName{DType::kF16, "F16", 2}, DTypeName{DType::kBf16, "BF16", 2},
                                DTypeName{DType::kI32, "I32", 4}, DTypeName{DType::kI64, "I64", 8},
                                DTypeName{DType::kU8, "U8", 1},   DTypeName{DType::kBool, "BOOL", 1}};

const DTypeName& Describe(DType dtype) {
  return *std::find_if(kDTypes.begin(), kDTypes.end(), [&](const DTypeName& name) { return name.dtype == dtype; });
}

std::uint64_t ReadLength(std::string_view bytes) {
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i) {
    length |= static_cast<std::uint64_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  }
  return length;
}

std::string WriteLength(std::uint64_t length) {
  std::string bytes;
  for (std::size_t i = 0; i < kLengthBytes; ++i) bytes += static_cast<char>(length >> (8 * i));
  return bytes;
}

absl::Status Damaged(const std::string& path, std::uint64_t offset, std::string_view what) {
  return absl::InvalidArgumentError(StrCat(path, ": offset ", offset, ": ", what));
}

// nullopt when the product does not fit.
std::optional<std::int64_t> ByteSize(const std::vector<std::int64_t>& shape, DType dtype) {
  std::int64_t size = SizeOf(dtype);
  for (std::int64_t extent : shape) {
    if (__builtin_mul_overflow(size, extent, &size)) return std::nullopt;
  }
  return size;
}

struct Entry {
  std::string name;
  TensorView view;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

bool IsOffset(const json& value) { return value.is_number_unsigned(); }

// The header's entry of one tensor, or what is wrong with it.
absl::StatusOr<Entry> ParseEntry(const std::string& name, const json& object, std::uint64_t data_bytes) {
  const auto bad = [&](std::string_view what) {
    return absl::InvalidArgumentError(StrCat("tensor ", name, ": ", what));
  };
  if (!object.is_object() || !object.contains("dtype") || !object.contains("shape") ||
      !object.contains("data_offsets")) {
    return bad("needs dtype, shape and data_offsets");
  }
  Entry entry;
  entry.name = name;
  const std::string dtype = object["dtype"].is_string() ? object["dtype"].get<std::string>() : object["dtype"].dump();
  const auto known = std::find_if(kDTypes.begin(), kDTypes.end(), [&](const DTypeName& d) { return d.name == dtype; });
  if (known == kDTypes.end()) return bad(StrCat("element type ", dtype, " is not supported"));
  entry.view.dtype = known->dtype;
  if (!object["shape"].is_array()) return bad("shape is not a list");
  for (const json& extent : object["shape"]) {
    if (!IsOffset(extent) || extent.get<std::uint64_t>() > INT64_MAX) return bad("shape holds a bad extent");
    entry.view.shape.push_back(extent.get<std::int64_t>());
  }
  const json& offsets = object["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2 || !IsOffset(offsets[0]) || !IsOffset(offsets[1])) {
    return bad("data_offsets is not a pair of offsets");
  }
  entry.begin = offsets[0].get<std::uint64_t>();
  entry.end = offsets[1].get<std::uint64_t>();
  if (entry.begin > entry.end || entry.end > data_bytes) {
    return bad(StrCat("data_offsets [", entry.begin, ", ", entry.end, "] lie outside the ", data_bytes,
                      " bytes of data; is the file truncated?"));
  }
  const std::optional<std::int64_t> size = ByteSize(entry.view.shape, entry.view.dtype);
  if (!size || static_cast<std::uint64_t>(*size) != entry.end - entry.begin) {
    return bad(StrCat("its shape does not fit its ", entry.end - entry.begin, " bytes"));
  }
  entry.view.byte_size = *size;
  return entry;
}

// Tensors must cover the data without gaps or overlaps, as the format demands.
absl::Status CheckCover(std::vector<Entry>& entries, const std::string& path, std::uint64_t data_start,
                        std::uint64_t data_bytes) {
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return std::tie(a.begin, a.end) < std::tie(b.begin, b.end); });
  std::uint64_t covered = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != covered) {
      return Damaged(
          path, data_start + entry.begin,
          StrCat("tensor ", entry.name, entry.begin < covered ? " overlaps another" : " leaves a gap before it"));
    }
    covered = entry.end;
  }
  if (covered != data_bytes) return Damaged(path, data_start + covered, "bytes that belong to no tensor");
  return absl::OkStatus();
}

}  // namespace

std::int64_t SizeOf(DType dtype) { return Describe(dtype).bytes; }
std::string_view ToString(DType dtype) { return Describe(dtype).name; }

struct SafetensorsFile::Mapping {
  MappedFile file;
  std::map<std::string, TensorView> tensors;
  std::map<std::string, std::string> metadata;
  explicit Mapping(MappedFile mapped) : file(std::move(mapped)) {}

  absl::Status Parse();
  absl::Status ParseMetadata(const json& object);
};

absl::Status SafetensorsFile::Mapping::ParseMetadata(const json& object) {
  if (!object.is_object()) return Damaged(file.path(), kLengthBytes, "__metadata__ is not an object");
  for (const auto& [key, value] : object.items()) {
    if (!value.is_string()) return Damaged(file.path(), kLengthBytes, "__metadata__ holds something other than text");
    metadata[key] = value.get<std::string>();
  }
  return absl::OkStatus();
}

absl::Status SafetensorsFile::Mapping::Parse() {
  const std::string_view bytes = file.bytes();
  if (bytes.size() < kLengthBytes) {
    return Damaged(file.path(), 0, StrCat("the file has ", bytes.size(), " bytes, too few for a header"));
  }
  const std::uint64_t length = ReadLength(bytes);
  if (length > kMaxHeaderBytes || length > bytes.size() - kLengthBytes) {
    return Damaged(file.path(), 0, StrCat("a header of ", length, " bytes does not fit the file of ", bytes.size()));
  }
  const std::uint64_t data_start = kLengthBytes + length;
  const json header = json::parse(bytes.substr(kLengthBytes, length), nullptr, false);
  if (!header.is_object()) return Damaged(file.path(), kLengthBytes, "the header is not a JSON object");
  std::vector<Entry> entries;
  for (const auto& [name, object] : header.items()) {
    if (name == kMetadataKey) {
      ENTRAIN_RETURN_IF_ERROR(ParseMetadata(object));
      continue;
    }
    auto entry = ParseEntry(name, object, bytes.size() - data_start);
    if (!entry.ok()) return Damaged(file.path(), kLengthBytes, std::string(entry.status().message()));
    entry->view.bytes = bytes.data() + data_start + entry->begin;
    entries.push_back(*std::move(entry));
  }
  ENTRAIN_RETURN_IF_ERROR(CheckCover(entries, file.path(), data_start, bytes.size() - data_start));
  for (Entry& entry : entries) tensors[entry.name] = std::move(entry.view);
  return absl::OkStatus();
}

SafetensorsFile::SafetensorsFile(std::unique_ptr<Mapping> mapping) : mapping_(std::move(mapping)) {}
SafetensorsFile::~SafetensorsFile() = default;
SafetensorsFile::SafetensorsFile(SafetensorsFile&&) noexcept = default;
SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&&) noexcept = default;

absl::StatusOr<SafetensorsFile> SafetensorsFile::Open(const std::string& path) {
  ENTRAIN_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  auto mapping = std::make_unique<Mapping>(std::move(file));
  ENTRAIN_RETURN_IF_ERROR(mapping->Parse());
  return SafetensorsFile(std::move(mapping));
}

const std::map<std::string, TensorView>& SafetensorsFile::tensors() const { return mapping_->tensors; }
const std::map<std::string, std::string>& SafetensorsFile::metadata() const { return mapping_->metadata; }

absl::StatusOr<TensorView> SafetensorsFile::Get(std::string_view name) const {
  const auto found = mapping_->tensors.find(std::string(name));
  if (found == mapping_->tensors.end()) {
    return absl::NotFoundError(StrCat(mapping_->file.path(), " holds no tensor ", name));
  }
  return found->second;
}

absl::Status WriteSafetensors(const std::string& path, const std::map<std::string, TensorView>& tensors,
                              const std::map<std::string, std::string>& metadata) {
  std::vector<std::pair<std::string, const TensorView*>> order;
  for (const auto& [name, view] : tensors) order.emplace_back(name, &view);
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return SizeOf(a.second->dtype) > SizeOf(b.second->dtype); });
  json header = json::object();
  if (!metadata.empty()) header[std::string(kMetadataKey)] = metadata;
  std::int64_t offset = 0;
  for (const auto& [name, view] : order) {
    const std::optional<std::int64_t> size = ByteSize(view->shape, view->dtype);
    if (!size || *size != view->byte_size) {
      return absl::InvalidArgumentError(
          StrCat("tensor ", name, ": its shape does not fit its ", view->byte_size, " bytes"));
    }
    header[name] = {
        {"dtype", ToString(view->dtype)}, {"shape", view->shape}, {"data_offsets", {offset, offset + view->byte_size}}};
    offset += view->byte_size;
  }
  std::string text = header.dump(-1, ' ', false, json::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  ENTRAIN_ASSIGN_OR_RETURN(FileWriter file, FileWriter::Create(path));
  ENTRAIN_RETURN_IF_ERROR(file.Append(WriteLength(text.size())));
  ENTRAIN_RETURN_IF_ERROR(file.Append(text));
  for (const auto& [name, view] : order) {
    ENTRAIN_RETURN_IF_ERROR(file.Append({view->bytes, static_cast<std::size_t>(view->byte_size)}));
  }
  return file.Finish();
}

}  // namespace entrain::data
