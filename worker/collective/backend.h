// What a back end's shared object exports.
#pragma once

#include <string>

#include "worker/collective/collective.h"

namespace entrain::collective {

// A new collective that the caller owns, or null with the reason in `error`. Called once a process.
using MakeBackendFunction = Collective*(const CollectiveLimits& limits, std::string* error);
inline constexpr const char* kMakeBackendSymbol = "EntrainMakeCollective";

}  // namespace entrain::collective

#define ENTRAIN_COLLECTIVE_EXPORT extern "C" __attribute__((visibility("default")))
