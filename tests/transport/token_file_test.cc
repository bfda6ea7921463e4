#include "transport/token_file.h"

#include <gmock/gmock.h>

#include "base/strings.h"
#include "tests/transport/authority.h"
#include "transport/certificate.h"

namespace entrain::transport {
namespace {

using testing::HasSubstr;
using testing::Not;

const std::string kHash = HashOfSecret("a secret");

TEST(TokenFileTest, LinesHoldNamesRolesAndHashes) {
  const auto tokens = ParseTokens(StrCat("# who\n\nalice  submit\t", kHash, "\r\nops@lab admin ", HashOfSecret("x"), " expires=2027-01-31"), "tokens");
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  ASSERT_EQ(tokens->size(), 2U);
  EXPECT_EQ(tokens->front(), (Token{"alice", Role::kSubmit, kHash, "", 0}));
  EXPECT_EQ(tokens->back().expires_wall_ms, 1'801'440'000'000) << "the end of the day, not its beginning";
  EXPECT_EQ(TokenLine(tokens->back()), StrCat("ops@lab admin ", HashOfSecret("x"), " expires=2027-01-31"));
}

TEST(TokenFileTest, AWrongLineIsNamedAndNeverShown) {
  const std::string secret = "entrain_0123456789abcdef";
  for (const std::string& line : {StrCat("alice submit ", secret), StrCat(secret, "/ submit ", kHash), StrCat("alice ", secret, " ", kHash),
                                  StrCat("alice submit ", kHash, " ", secret), StrCat("alice submit ", kHash, " expires=2027-02-30"),
                                  std::string("alice"), StrCat("a b c d e f ", kHash)}) {
    const absl::Status status = ParseTokens(StrCat("bob view ", HashOfSecret("bob"), "\n", line, "\n"), "/etc/tokens").status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << line;
    EXPECT_THAT(std::string(status.message()), HasSubstr("/etc/tokens:2: "));
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr(secret)));
  }
  EXPECT_THAT(std::string(ParseTokens(StrCat("a view ", kHash, "\nb view ", kHash), "t").status().message()), HasSubstr("t:2: the same hash"));
}

TEST(TokenFileTest, ASecretIsFoundUntilItExpires) {
  SeededIdSource ids(1);
  const std::string secret = NewSecret(&ids);
  EXPECT_EQ(secret.size(), 60U);
  const std::vector<Token> tokens = {{"alice", Role::kView, HashOfSecret(secret), "", 1000}, {"bob", Role::kView, kHash, "", 0}};
  ASSERT_NE(FindToken(tokens, secret, 999), nullptr);
  EXPECT_EQ(FindToken(tokens, secret, 999)->name, "alice");
  EXPECT_EQ(FindToken(tokens, secret, 1000), nullptr);
  EXPECT_EQ(FindToken(tokens, "a secret", 1'000'000)->name, "bob");
  EXPECT_EQ(FindToken(tokens, kHash, 0), nullptr) << "who reads the file has no token by that";
  EXPECT_EQ(FindToken(tokens, "", 0), nullptr);
  EXPECT_EQ(HashOfSecret("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");  // FIPS 180-4's example
}

TEST(CertificateTest, AWorkersCertificateNamesItsWorkersOnly) {
  const std::string folder = StrCat(testing::TempDir(), "certificate-", ::getpid());
  const Authority authority(folder);
  const auto read = [](const TlsFiles& files) { return ParseCertificate(ReadFile(files.certificate).value()).value(); };
  const Certificate person = read(authority.Issue("alice"));
  EXPECT_FALSE(person.IsWorkers());
  const Certificate one = read(authority.Issue("gpu1", "entrain:workers", ",DNS:gpu1.lab.example"));
  EXPECT_TRUE(one.IsWorkers());
  for (const char* name : {"gpu1", "gpu1.lab.example"}) EXPECT_TRUE(one.Names(name)) << name;
  for (const char* name : {"gpu2", "", "gpu1.lab", "lab", "gpu", "gpu11"}) EXPECT_FALSE(one.Names(name)) << name;
  const Certificate pool = read(authority.Issue("pods", "entrain:workers", ",DNS:*.pool.ns.svc"));
  for (const char* name : {"pool-0", "pool-12", "pool-r7-worker-0-abcde"}) EXPECT_TRUE(pool.Names(name)) << name;
  for (const char* name : {"pool-", "pool-X", "pool-a.b", "pools-1", "pool", "other-1", "*"}) EXPECT_FALSE(pool.Names(name)) << name;
  EXPECT_FALSE(ParseCertificate("no certificate").ok());
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace entrain::transport
