#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define ENTRAIN_RETURN_IF_ERROR(expression)                        \
  do {                                                             \
    if (absl::Status entrain_status = (expression); !entrain_status.ok()) return entrain_status; \
  } while (false)

#define ENTRAIN_MACRO_CONCAT_INNER(a, b) a##b
#define ENTRAIN_MACRO_CONCAT(a, b) ENTRAIN_MACRO_CONCAT_INNER(a, b)

// ENTRAIN_ASSIGN_OR_RETURN(auto x, F()): unwraps a StatusOr or returns its status.
#define ENTRAIN_ASSIGN_OR_RETURN(lhs, expression) \
  ENTRAIN_ASSIGN_OR_RETURN_IMPL(ENTRAIN_MACRO_CONCAT(entrain_statusor_, __LINE__), lhs, expression)
#define ENTRAIN_ASSIGN_OR_RETURN_IMPL(statusor, lhs, expression) \
  auto statusor = (expression);                                  \
  if (!statusor.ok()) return std::move(statusor).status();       \
  lhs = std::move(statusor).value()
