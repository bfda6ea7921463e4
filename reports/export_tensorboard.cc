// TensorBoard's files: records of (length, masked CRC of the length, Event message, masked CRC of the message). The few messages are written by hand,
// so that no generated code of another project is needed: tensorflow/core/util/event.proto and framework/summary.proto.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/strings.h"
#include "domain/model_config.h"
#include "reports/exports.h"

namespace entrain::reports {
namespace {

constexpr std::int64_t kHistograms = 100;
constexpr int kBuckets = 20;

// CRC-32C (Castagnoli), masked as in the record format.
std::uint32_t MaskedCrc(std::string_view bytes) {
  static const auto table = [] {
    std::array<std::uint32_t, 256> made{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = (value & 1) != 0 ? (value >> 1) ^ 0x82F63B78U : value >> 1;
      made[i] = value;
    }
    return made;
  }();
  std::uint32_t crc = 0xFFFFFFFFU;
  for (const char c : bytes) crc = table[(crc ^ static_cast<std::uint8_t>(c)) & 0xFF] ^ (crc >> 8);
  crc ^= 0xFFFFFFFFU;
  return ((crc >> 15) | (crc << 17)) + 0xA282EAD8U;
}

template <typename Value>
void AppendRaw(Value value, std::string* out) {
  char raw[sizeof value];
  std::memcpy(raw, &value, sizeof value);
  out->append(raw, sizeof value);
}

// Protobuf's wire format.
void AppendVarint(std::uint64_t value, std::string* out) {
  for (; value >= 0x80; value >>= 7) out->push_back(static_cast<char>(value | 0x80));
  out->push_back(static_cast<char>(value));
}
void AppendBytes(int field, std::string_view bytes, std::string* out) {
  AppendVarint(static_cast<std::uint64_t>(field) << 3 | 2, out);
  AppendVarint(bytes.size(), out);
  out->append(bytes);
}
void AppendDouble(int field, double value, std::string* out) {
  AppendVarint(static_cast<std::uint64_t>(field) << 3 | 1, out);
  AppendRaw(value, out);
}
void AppendFloat(int field, float value, std::string* out) {
  AppendVarint(static_cast<std::uint64_t>(field) << 3 | 5, out);
  AppendRaw(value, out);
}

std::string Record(const std::string& message) {
  std::string length;
  AppendRaw(static_cast<std::uint64_t>(message.size()), &length);
  std::string record = length;
  AppendRaw(MaskedCrc(length), &record);
  record += message;
  AppendRaw(MaskedCrc(message), &record);
  return record;
}

// Summary.Value: tag = 1, simple_value = 2, histo = 5.
class Summary {
 public:
  void Scalar(std::string_view tag, double number) {
    std::string value;
    AppendBytes(1, tag, &value);
    AppendFloat(2, static_cast<float>(number), &value);
    AppendBytes(1, value, &bytes_);
  }

  // HistogramProto: min, max, num, sum, sum_squares = 1 to 5, bucket_limit = 6 and bucket = 7, packed.
  void Histogram(std::string_view tag, const std::vector<double>& values) {
    if (values.empty()) return;
    std::array<double, kBuckets + 1> counts{};
    double sum = 0.0;
    double squares = 0.0;
    for (const double value : values) {
      sum += value;
      squares += value * value;
      counts[static_cast<std::size_t>(std::clamp(value * kBuckets, 0.0, static_cast<double>(kBuckets)))] += 1.0;
    }
    std::string histogram;
    AppendDouble(1, *std::min_element(values.begin(), values.end()), &histogram);
    AppendDouble(2, *std::max_element(values.begin(), values.end()), &histogram);
    AppendDouble(3, static_cast<double>(values.size()), &histogram);
    AppendDouble(4, sum, &histogram);
    AppendDouble(5, squares, &histogram);
    std::string limits;
    std::string buckets;
    for (int i = 0; i <= kBuckets; ++i) {
      AppendRaw(static_cast<double>(i + 1) / kBuckets, &limits);
      AppendRaw(counts[static_cast<std::size_t>(i)], &buckets);
    }
    AppendBytes(6, limits, &histogram);
    AppendBytes(7, buckets, &histogram);
    std::string value;
    AppendBytes(1, tag, &value);
    AppendBytes(5, histogram, &value);
    AppendBytes(1, value, &bytes_);
  }

  // Event: wall_time = 1, step = 2, summary = 5.
  std::string Event(std::int64_t wall_ms, std::int64_t step) const {
    std::string event;
    AppendDouble(1, static_cast<double>(wall_ms) / 1000.0, &event);
    AppendVarint(2 << 3, &event);
    AppendVarint(static_cast<std::uint64_t>(step), &event);
    AppendBytes(5, bytes_, &event);
    return event;
  }

 private:
  std::string bytes_;
};

std::string Two(std::int64_t number) { return StrCat(number < 10 ? "0" : "", number); }

void AddLayers(const RunData& run, const domain::EntropySample& sample, bool histogram, Summary* summary) {
  const double bound_nats = domain::EntropyBoundNats(run.context);
  if (static_cast<std::int64_t>(sample.entropy_nats.size()) != run.n_layer * run.n_head || bound_nats <= 0.0) return;
  std::vector<double> shares;
  for (std::int64_t layer = 0; layer < run.n_layer; ++layer) {
    double sum = 0.0;
    for (std::int64_t head = 0; head < run.n_head; ++head) {
      const double share = static_cast<double>(sample.entropy_nats[static_cast<std::size_t>(layer * run.n_head + head)]) / bound_nats;
      sum += share;
      if (std::isfinite(share)) shares.push_back(share);
      summary->Scalar(StrCat("entropy_share/layer_", Two(layer), "/head_", Two(head)), share);
    }
    summary->Scalar(StrCat("entropy_share_mean/layer_", Two(layer)), sum / static_cast<double>(run.n_head));
  }
  for (std::size_t layer = 0; layer < sample.max_abs_score.size(); ++layer) {
    summary->Scalar(StrCat("max_abs_score/layer_", Two(static_cast<std::int64_t>(layer))), static_cast<double>(sample.max_abs_score[layer]));
  }
  for (std::size_t head = 0; head < sample.theta.size(); ++head) {
    const auto index = static_cast<std::int64_t>(head);
    summary->Scalar(StrCat("theta/layer_", Two(index / run.n_head), "/head_", Two(index % run.n_head)), static_cast<double>(sample.theta[head]));
  }
  if (histogram) summary->Histogram("entropy_share_of_heads", shares);
}

}  // namespace

std::string TensorBoardEvents(const RunData& run) {
  const std::int64_t first_wall_ms = run.samples.empty() ? 0 : run.samples.front().wall_ms;
  std::string head;
  AppendDouble(1, static_cast<double>(first_wall_ms) / 1000.0, &head);
  AppendBytes(3, "brain.Event:2", &head);
  std::string file = Record(head);
  const std::int64_t every = std::max<std::int64_t>(1, static_cast<std::int64_t>(run.samples.size()) / kHistograms);
  for (std::size_t i = 0; i < run.samples.size(); ++i) {
    const domain::EntropySample& sample = run.samples[i];
    Summary summary;
    summary.Scalar("train/loss", sample.loss);
    summary.Scalar("train/regulariser", sample.reg);
    summary.Scalar("train/grad_norm", sample.grad_norm);
    summary.Scalar("train/lr", sample.lr);
    summary.Scalar("train/tokens", static_cast<double>(sample.tokens));
    summary.Scalar("train/tokens_per_second", sample.tokens_per_second);
    AddLayers(run, sample, static_cast<std::int64_t>(i) % every == 0, &summary);
    file += Record(summary.Event(sample.wall_ms, sample.step));
  }
  for (const domain::Evaluation& evaluation : run.evaluations) {
    Summary summary;
    summary.Scalar("eval/loss", evaluation.loss);
    summary.Scalar("eval/perplexity", std::exp(evaluation.loss));
    file += Record(summary.Event(evaluation.wall_ms, evaluation.step));
  }
  return file;
}

}  // namespace entrain::reports
