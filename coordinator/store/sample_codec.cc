#include "coordinator/store/sample_codec.h"

#include <vector>

#include "base/strings.h"
#include "coordinator/store/store.h"
#include "entrain/journal/v1/journal.pb.h"
#include "policy/policy.h"
#include "proto/journal.h"

namespace entrain::store {
namespace {

std::string PackLittleEndian(const std::vector<std::uint16_t>& values) {
  std::string bytes;
  bytes.reserve(values.size() * 2);
  for (const std::uint16_t value : values) {
    bytes.push_back(static_cast<char>(value & 0xff));
    bytes.push_back(static_cast<char>(value >> 8));
  }
  return bytes;
}

std::vector<std::uint16_t> UnpackLittleEndian(const std::string& bytes) {
  std::vector<std::uint16_t> values(bytes.size() / 2);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto low = static_cast<std::uint8_t>(bytes[2 * i]);
    const auto high = static_cast<std::uint8_t>(bytes[2 * i + 1]);
    values[i] = static_cast<std::uint16_t>(low | (high << 8));
  }
  return values;
}

}  // namespace

std::vector<float> AsStored(const std::vector<float>& entropy_nats, std::int64_t context) {
  return policy::DequantiseEntropy(policy::QuantiseEntropy(entropy_nats, context), context);
}

std::string_view KindOf(const domain::Event& event) { return journal::KindOf(event); }

std::string EncodeSample(const domain::EntropySample& sample, std::int64_t context) {
  journal::v1::StoredSample out;
  out.set_loss(sample.loss);
  out.set_reg(sample.reg);
  out.set_grad_norm(sample.grad_norm);
  out.set_lr(sample.lr);
  out.set_tokens(sample.tokens);
  out.set_tokens_per_second(sample.tokens_per_second);
  out.set_wall_ms(sample.wall_ms);
  out.set_entropy(PackLittleEndian(policy::QuantiseEntropy(sample.entropy_nats, context)));
  out.mutable_max_abs_score()->Assign(sample.max_abs_score.begin(), sample.max_abs_score.end());
  out.mutable_theta()->Assign(sample.theta.begin(), sample.theta.end());
  return out.SerializeAsString();
}

absl::StatusOr<domain::EntropySample> DecodeSample(std::int64_t step, std::string_view bytes, std::int64_t context) {
  journal::v1::StoredSample from;
  if (!from.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) || from.entropy().size() % 2 != 0) {
    return absl::DataLossError(StrCat("the stored sample of step ", step, " is damaged"));
  }
  domain::EntropySample sample;
  sample.step = step;
  sample.loss = from.loss();
  sample.reg = from.reg();
  sample.grad_norm = from.grad_norm();
  sample.lr = from.lr();
  sample.tokens = from.tokens();
  sample.tokens_per_second = from.tokens_per_second();
  sample.wall_ms = from.wall_ms();
  sample.entropy_nats = policy::DequantiseEntropy(UnpackLittleEndian(from.entropy()), context);
  sample.max_abs_score.assign(from.max_abs_score().begin(), from.max_abs_score().end());
  sample.theta.assign(from.theta().begin(), from.theta().end());
  return sample;
}

}  // namespace entrain::store
