// Who is calling, and what of the coordinator's state is theirs to touch.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/core/state.h"
#include "coordinator/rpc/method_rules.h"
#include "transport/certificate.h"

namespace entrain::rpc {

struct Caller {
  enum class Kind {
    kNobody,  // a connection that is allowed, without a token or a worker's certificate
    kLocal,   // without TLS: a process of this machine, which is who it says it is
    kPerson,
    kWorker,  // by its certificate
  };
  Kind kind = Kind::kLocal;
  std::string name;                                             // a person's, or the common name of a worker's certificate
  std::optional<transport::Role> role = transport::Role::kAdmin;  // what it may of people's methods; nullopt: nothing
  std::string token_id;
  std::string client;                                           // what limits are counted by
  std::shared_ptr<const transport::Certificate> certificate;    // of a worker
  std::string peer;

  std::string RoleText() const;
};

// PERMISSION_DENIED or UNAUTHENTICATED, with what the method needs.
absl::Status MayCall(const Caller& caller, const MethodRule& rule);

// The name to act under when a request asks for `asked` (empty: the caller's own). Only an admin may give another than his own.
absl::StatusOr<std::string> ActingName(const Caller& caller, const std::string& asked);
// Whether he may stop, pause, resume and retry what this owner submitted.
absl::Status MayActOn(const Caller& caller, const std::string& owner);

// Whether this worker may connect: its certificate names it, and the worker of this id as it is known.
absl::Status MayRegister(const Caller& caller, const core::State& state, const domain::WorkerInfo& info);
// Whether the attempt runs, or ran, on a machine whose name the caller's certificate bears.
absl::Status MayTouchAttempt(const Caller& caller, const core::State& state, const domain::AttemptKey& key);
// Whether the worker of a control stream is of the attempt's gang, as far as the attempt is known.
absl::Status IsOfGang(const core::State& state, const WorkerId& worker, const domain::AttemptKey& key);
// A path in the artifact root: a worker reads every dataset, and checkpoints of the runs that it has or had, or that one of these goes on from.
absl::Status MayRead(const Caller& caller, const core::State& state, std::string_view path);

}  // namespace entrain::rpc
