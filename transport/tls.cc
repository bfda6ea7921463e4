#include "transport/tls.h"

#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::transport {
namespace {

constexpr unsigned kReloadIntervalSeconds = 1;

absl::Status NotPem(const std::string& file, std::string_view kind) {
  ERR_clear_error();
  return absl::InvalidArgumentError(StrCat(file, ": holds no usable ", kind, " (PEM)"));
}

absl::Status CheckReadable(const std::string& file) {
  const absl::StatusOr<std::string> text = ReadFile(file);
  return text.ok() ? absl::OkStatus() : absl::InvalidArgumentError(std::string(text.status().message()));
}

std::shared_ptr<grpc::experimental::FileWatcherCertificateProvider> Watch(const TlsFiles& files) {
  return std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(files.key, files.certificate, files.ca, kReloadIntervalSeconds);
}

}  // namespace

absl::Status CheckTlsFiles(const TlsFiles& files) {
  for (const auto& [file, flag] : {std::pair(&files.ca, "--tls-ca"), {&files.certificate, "--tls-cert"}, {&files.key, "--tls-key"}}) {
    if (file->empty()) {
      return absl::InvalidArgumentError(StrCat(flag, " is missing: TLS needs --tls-ca, --tls-cert and --tls-key together"));
    }
    ENTRAIN_RETURN_IF_ERROR(CheckReadable(*file));
  }
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_method()), SSL_CTX_free);
  if (context == nullptr) return absl::InternalError("TLS could not be set up");
  if (SSL_CTX_load_verify_locations(context.get(), files.ca.c_str(), nullptr) != 1) return NotPem(files.ca, "certificate");
  if (SSL_CTX_use_certificate_chain_file(context.get(), files.certificate.c_str()) != 1) return NotPem(files.certificate, "certificate");
  if (SSL_CTX_use_PrivateKey_file(context.get(), files.key.c_str(), SSL_FILETYPE_PEM) != 1) {
    // A key of another certificate is refused here too, by the check that follows a load.
    return absl::InvalidArgumentError(StrCat(files.key, ": holds no private key (PEM) of the certificate in ", files.certificate));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(const TlsFiles& files) {
  // Plain text on the wire, and refused to a peer that is not on this machine. Unlike insecure credentials they can carry the check of a token.
  if (files.empty()) return grpc::experimental::LocalServerCredentials(LOCAL_TCP);
  ENTRAIN_RETURN_IF_ERROR(CheckTlsFiles(files));
  grpc::experimental::TlsServerCredentialsOptions options(Watch(files));
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  return grpc::experimental::TlsServerCredentials(options);
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(const TlsFiles& files) {
  if (files.empty()) return grpc::InsecureChannelCredentials();
  ENTRAIN_RETURN_IF_ERROR(CheckTlsFiles(files));
  grpc::experimental::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(Watch(files));
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  return grpc::experimental::TlsCredentials(options);
}

bool IsLoopback(const std::string& address) {
  const std::string host = address.substr(0, address.rfind(':'));
  return host == "localhost" || host == "[::1]" || host.rfind("127.", 0) == 0;
}

}  // namespace entrain::transport
