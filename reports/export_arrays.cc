#include <array>
#include <bit>
#include <cstring>

#include "base/strings.h"
#include "reports/exports.h"

namespace entrain::reports {
namespace {

static_assert(std::endian::native == std::endian::little, "arrays are written as they lie in memory");

template <typename Value>
void AppendValue(Value value, std::string* bytes) {
  char raw[sizeof value];
  std::memcpy(raw, &value, sizeof value);
  bytes->append(raw, sizeof value);
}

template <typename Items, typename Get>
Array Column(const Items& items, Get get) {
  using Value = decltype(get(items.front()));
  Array array;
  array.type = std::is_same_v<Value, std::int64_t> ? Array::Type::kInt64 : Array::Type::kFloat64;
  array.shape = {static_cast<std::int64_t>(items.size())};
  for (const auto& item : items) AppendValue(get(item), &array.bytes);
  return array;
}

// One row a sample; empty when some sample has no such row.
template <typename Get>
Array Rows(const RunData& run, std::vector<std::int64_t> row_shape, Get get) {
  std::size_t size = 1;
  for (const std::int64_t extent : row_shape) size *= static_cast<std::size_t>(extent);
  Array array;
  array.type = Array::Type::kFloat32;
  array.shape = std::move(row_shape);
  array.shape.insert(array.shape.begin(), static_cast<std::int64_t>(run.samples.size()));
  for (const domain::EntropySample& sample : run.samples) {
    const std::vector<float>& row = get(sample);
    if (row.size() != size) return {};
    for (const float value : row) AppendValue(value, &array.bytes);
  }
  return array;
}

std::string NpyHeader(const Array& array) {
  const char* type = array.type == Array::Type::kInt64 ? "<i8" : array.type == Array::Type::kFloat64 ? "<f8" : "<f4";
  std::string shape;
  for (const std::int64_t extent : array.shape) StrAppend(&shape, extent, ",");
  std::string text = StrCat("{'descr': '", type, "', 'fortran_order': False, 'shape': (", shape, "), }");
  // Magic, version and length are ten bytes; data begins at a multiple of 64.
  while ((10 + text.size() + 1) % 64 != 0) text += ' ';
  text += '\n';
  std::string header("\x93NUMPY\x01\x00", 8);
  AppendValue(static_cast<std::uint16_t>(text.size()), &header);
  return header + text;
}

std::uint32_t Crc32(std::string_view bytes) {
  static const auto table = [] {
    std::array<std::uint32_t, 256> made{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = (value & 1) != 0 ? (value >> 1) ^ 0xEDB88320U : value >> 1;
      made[i] = value;
    }
    return made;
  }();
  std::uint32_t crc = 0xFFFFFFFFU;
  for (const char c : bytes) crc = table[(crc ^ static_cast<std::uint8_t>(c)) & 0xFF] ^ (crc >> 8);
  return crc ^ 0xFFFFFFFFU;
}

// The fields that a ZIP's local and central headers share (from "version needed" to "extra length"); method 0: stored; 1980-01-01.
void AppendZipFields(const std::string& name, const std::string& content, std::string* out) {
  for (const std::uint16_t value : {20, 0, 0, 0, 0x21}) AppendValue(value, out);
  AppendValue(Crc32(content), out);
  AppendValue(static_cast<std::uint32_t>(content.size()), out);
  AppendValue(static_cast<std::uint32_t>(content.size()), out);
  AppendValue(static_cast<std::uint16_t>(name.size()), out);
  AppendValue(std::uint16_t{0}, out);
}

}  // namespace

std::map<std::string, Array> RunArrays(const RunData& run) {
  using Sample = domain::EntropySample;
  std::map<std::string, Array> arrays;
  arrays["step"] = Column(run.samples, [](const Sample& s) { return s.step; });
  arrays["loss"] = Column(run.samples, [](const Sample& s) { return s.loss; });
  arrays["reg"] = Column(run.samples, [](const Sample& s) { return s.reg; });
  arrays["grad_norm"] = Column(run.samples, [](const Sample& s) { return s.grad_norm; });
  arrays["lr"] = Column(run.samples, [](const Sample& s) { return s.lr; });
  arrays["tokens"] = Column(run.samples, [](const Sample& s) { return s.tokens; });
  arrays["entropy_nats"] = Rows(run, {run.n_layer, run.n_head}, [](const Sample& s) -> auto& { return s.entropy_nats; });
  arrays["max_abs_score"] = Rows(run, {run.n_layer}, [](const Sample& s) -> auto& { return s.max_abs_score; });
  arrays["theta"] = Rows(run, {run.n_layer, run.n_head}, [](const Sample& s) -> auto& { return s.theta; });
  arrays["eval_step"] = Column(run.evaluations, [](const domain::Evaluation& e) { return e.step; });
  arrays["eval_loss"] = Column(run.evaluations, [](const domain::Evaluation& e) { return e.loss; });
  std::erase_if(arrays, [](const auto& entry) { return entry.second.shape.empty(); });
  return arrays;
}

std::string Npz(const std::map<std::string, Array>& arrays) {
  std::string zip;
  std::string directory;
  for (const auto& [array_name, array] : arrays) {
    const std::string name = array_name + ".npy";
    const std::string content = NpyHeader(array) + array.bytes;
    const auto offset = static_cast<std::uint32_t>(zip.size());
    AppendValue(std::uint32_t{0x04034b50}, &zip);
    AppendZipFields(name, content, &zip);
    zip += name + content;
    AppendValue(std::uint32_t{0x02014b50}, &directory);
    AppendValue(std::uint16_t{20}, &directory);
    AppendZipFields(name, content, &directory);
    for (int i = 0; i < 3; ++i) AppendValue(std::uint16_t{0}, &directory);  // comment, disk, internal attributes
    AppendValue(std::uint32_t{0}, &directory);
    AppendValue(offset, &directory);
    directory += name;
  }
  const auto start = static_cast<std::uint32_t>(zip.size());
  zip += directory;
  AppendValue(std::uint32_t{0x06054b50}, &zip);
  AppendValue(std::uint32_t{0}, &zip);
  AppendValue(static_cast<std::uint16_t>(arrays.size()), &zip);
  AppendValue(static_cast<std::uint16_t>(arrays.size()), &zip);
  AppendValue(static_cast<std::uint32_t>(directory.size()), &zip);
  AppendValue(start, &zip);
  AppendValue(std::uint16_t{0}, &zip);
  return zip;
}

}  // namespace entrain::reports
