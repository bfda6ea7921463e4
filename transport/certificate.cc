#include "transport/certificate.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <memory>

namespace entrain::transport {
namespace {

std::string TextOf(const ASN1_STRING* value) {
  unsigned char* bytes = nullptr;
  const int size = ::ASN1_STRING_to_UTF8(&bytes, value);
  if (size < 0) return "";
  std::string text(reinterpret_cast<char*>(bytes), static_cast<std::size_t>(size));
  ::OPENSSL_free(bytes);
  return text;
}

std::vector<std::string> EntriesOf(X509_NAME* name, int kind) {
  std::vector<std::string> entries;
  for (int at = ::X509_NAME_get_index_by_NID(name, kind, -1); at >= 0; at = ::X509_NAME_get_index_by_NID(name, kind, at)) {
    entries.push_back(TextOf(::X509_NAME_ENTRY_get_data(::X509_NAME_get_entry(name, at))));
  }
  return entries;
}

bool IsLabelRest(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-'; });
}

bool Matches(std::string_view pattern, std::string_view worker) {
  if (worker.empty()) return false;
  if (pattern == worker) return true;
  if (!pattern.starts_with("*.")) return pattern.substr(0, pattern.find('.')) == worker;
  const std::string_view rest = pattern.substr(2);
  const std::string_view pool = rest.substr(0, rest.find('.'));
  return !pool.empty() && worker.starts_with(pool) && worker.size() > pool.size() && worker[pool.size()] == '-' &&
         IsLabelRest(worker.substr(pool.size() + 1));
}

}  // namespace

bool Certificate::IsWorkers() const {
  return std::find(organizations.begin(), organizations.end(), kWorkersOrganization) != organizations.end();
}

bool Certificate::Names(std::string_view worker) const {
  if (!worker.empty() && worker == common_name) return true;
  return std::any_of(dns_names.begin(), dns_names.end(), [&](const std::string& name) { return Matches(name, worker); });
}

absl::StatusOr<Certificate> ParseCertificate(std::string_view pem) {
  const std::unique_ptr<BIO, decltype(&::BIO_free)> input(::BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), &::BIO_free);
  const std::unique_ptr<X509, decltype(&::X509_free)> x509(::PEM_read_bio_X509(input.get(), nullptr, nullptr, nullptr), &::X509_free);
  if (x509 == nullptr) {
    ::ERR_clear_error();
    return absl::InvalidArgumentError("not a certificate (PEM)");
  }
  Certificate certificate;
  X509_NAME* subject = ::X509_get_subject_name(x509.get());
  const std::vector<std::string> names = EntriesOf(subject, NID_commonName);
  if (!names.empty()) certificate.common_name = names.back();
  certificate.organizations = EntriesOf(subject, NID_organizationName);
  const std::unique_ptr<GENERAL_NAMES, decltype(&::GENERAL_NAMES_free)> others(
      static_cast<GENERAL_NAMES*>(::X509_get_ext_d2i(x509.get(), NID_subject_alt_name, nullptr, nullptr)), &::GENERAL_NAMES_free);
  for (int i = 0; others != nullptr && i < sk_GENERAL_NAME_num(others.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(others.get(), i);
    if (name->type == GEN_DNS) certificate.dns_names.push_back(TextOf(name->d.dNSName));
  }
  return certificate;
}

}  // namespace entrain::transport
