// The flags of retention. docs/operations.md explains them.
#pragma once

#include "coordinator/server/coordinator.h"

namespace CLI {
class App;
}

namespace entrain::server {

void DeclareRetention(CLI::App* app, Options* options);

}  // namespace entrain::server
