// The coordinator's file of tokens, a certificate, and a web address: text that an operator writes.
#include "base/check.h"
#include "tests/fuzz/fuzz.h"
#include "transport/certificate.h"
#include "transport/token_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace entrain;
  const std::string_view text = fuzz::TextOf(bytes, size);
  const auto tokens = transport::ParseTokens(text, "tokens");
  if (tokens.ok()) {
    std::string again;
    for (const transport::Token& token : *tokens) again += transport::TokenLine(token) + "\n";
    const auto reread = transport::ParseTokens(again, "tokens");
    ENTRAIN_CHECK(reread.ok() && *reread == *tokens);
    transport::FindToken(*tokens, text, 0);
  }
  const auto certificate = transport::ParseCertificate(text);
  if (certificate.ok()) certificate->Names("worker-0");
  return 0;
}
