// Ed25519 signatures: a coordinator signs what one worker may ask of another, and every worker can check it without the coordinator.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace entrain::transport {

// A key pair of this process alone: it is never written anywhere. Thread-safe once made.
class SigningKey {
 public:
  static absl::StatusOr<SigningKey> Make();

  // 32 bytes.
  const std::string& public_key() const { return public_key_; }
  // 64 bytes, the same for the same message.
  absl::StatusOr<std::string> Sign(std::string_view message) const;

 private:
  SigningKey(std::shared_ptr<void> key, std::string public_key) : key_(std::move(key)), public_key_(std::move(public_key)) {}

  std::shared_ptr<void> key_;  // an EVP_PKEY
  std::string public_key_;
};

// Whether `signature` is the key's of exactly this message. False for keys and signatures of a wrong size.
bool IsSignedBy(std::string_view public_key, std::string_view message, std::string_view signature);

}  // namespace entrain::transport
