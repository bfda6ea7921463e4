// A certificate authority for tests, made by the openssl program.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/files.h"
#include "base/strings.h"
#include "gtest/gtest.h"
#include "transport/tls.h"

namespace entrain::transport {

class Authority {
 public:
  explicit Authority(const std::string& folder) : folder_(folder) {
    std::filesystem::create_directories(folder);
    Run(StrCat("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority -keyout ", Path("ca.key"),
               " -out ", Path("ca.pem")));
  }
  // For localhost and 127.0.0.1; `organization` and `more_names` (",DNS:x") may be empty.
  TlsFiles Issue(const std::string& name, const std::string& organization = "", const std::string& more_names = "") const {
    Run(StrCat("openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /", organization.empty() ? "" : StrCat("O=", organization, "/"),
               "CN=", name, " -keyout ", Path(name + ".key"), " -out ", Path(name + ".csr")));
    EXPECT_TRUE(WriteFileAtomically(Path("names"), StrCat("subjectAltName=DNS:localhost,IP:127.0.0.1", more_names, "\n")).ok());
    Run(StrCat("openssl x509 -req -days 2 -in ", Path(name + ".csr"), " -CA ", Path("ca.pem"), " -CAkey ", Path("ca.key"),
               " -CAcreateserial -extfile ", Path("names"), " -out ", Path(name + ".pem")));
    return {Path("ca.pem"), Path(name + ".pem"), Path(name + ".key")};
  }
  std::string Path(const std::string& file) const { return StrCat(folder_, "/", file); }

 private:
  static void Run(const std::string& command) { ASSERT_EQ(std::system((command + " >/dev/null 2>&1").c_str()), 0) << command; }
  std::string folder_;
};

}  // namespace entrain::transport
