#include "transport/signature.h"

#include <openssl/err.h>
#include <openssl/evp.h>

#include <utility>

namespace entrain::transport {
namespace {

constexpr std::size_t kPublicKeyBytes = 32;
constexpr std::size_t kSignatureBytes = 64;

using Digest = std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)>;
using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

const unsigned char* Bytes(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }
unsigned char* Bytes(std::string* text) { return reinterpret_cast<unsigned char*>(text->data()); }

absl::Status Failed(const char* what) {
  ERR_clear_error();
  return absl::InternalError(what);
}

}  // namespace

absl::StatusOr<SigningKey> SigningKey::Make() {
  std::shared_ptr<EVP_PKEY> key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"), EVP_PKEY_free);
  if (key == nullptr) return Failed("no Ed25519 key could be made");
  std::string public_key(kPublicKeyBytes, '\0');
  std::size_t size = public_key.size();
  if (EVP_PKEY_get_raw_public_key(key.get(), Bytes(&public_key), &size) != 1) return Failed("the Ed25519 key has no public half");
  return SigningKey(std::move(key), std::move(public_key));
}

absl::StatusOr<std::string> SigningKey::Sign(std::string_view message) const {
  const Digest digest(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  std::string signature(kSignatureBytes, '\0');
  std::size_t size = signature.size();
  const bool made = digest != nullptr &&
                    EVP_DigestSignInit(digest.get(), nullptr, nullptr, nullptr, static_cast<EVP_PKEY*>(key_.get())) == 1 &&
                    EVP_DigestSign(digest.get(), Bytes(&signature), &size, Bytes(message), message.size()) == 1;
  if (!made) return Failed("the message could not be signed");
  return signature;
}

bool IsSignedBy(std::string_view public_key, std::string_view message, std::string_view signature) {
  if (public_key.size() != kPublicKeyBytes || signature.size() != kSignatureBytes) return false;
  const Key key(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, Bytes(public_key), public_key.size()), EVP_PKEY_free);
  const Digest digest(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  const bool good = key != nullptr && digest != nullptr &&
                    EVP_DigestVerifyInit(digest.get(), nullptr, nullptr, nullptr, key.get()) == 1 &&
                    EVP_DigestVerify(digest.get(), Bytes(signature), signature.size(), Bytes(message), message.size()) == 1;
  ERR_clear_error();
  return good;
}

}  // namespace entrain::transport
