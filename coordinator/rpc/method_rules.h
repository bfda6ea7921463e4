// Who may call what: one row for each method that this server answers. A method without a row is refused.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "transport/token_file.h"

namespace entrain::rpc {

struct MethodRule {
  std::string_view method;              // /package.Service/Method
  std::optional<transport::Role> role;  // the least that a person needs; nullopt: not for people
  bool workers = false;
  bool anyone = false;                  // without a token or a worker's certificate
};

std::span<const MethodRule> MethodRules();
// nullptr when there is none.
const MethodRule* FindMethodRule(std::string_view method);

}  // namespace entrain::rpc
