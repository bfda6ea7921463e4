#include "domain/event.h"

#include <array>

#include "domain/enum_names.h"

namespace entrain::domain {
namespace {

constexpr std::array kWorkerActions = {Name{WorkerAction::kQuarantine, "quarantine"}, Name{WorkerAction::kRelease, "release"},
                                       Name{WorkerAction::kForget, "forget"}, Name{WorkerAction::kGone, "gone"}};

}  // namespace

std::string_view ToString(WorkerAction action) { return TextOf(kWorkerActions, action); }
std::optional<WorkerAction> ParseWorkerAction(std::string_view text) { return ValueOf<WorkerAction>(kWorkerActions, text); }

}  // namespace entrain::domain
