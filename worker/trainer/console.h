// Progress lines for a person who runs the trainer alone.
#pragma once

#include <cstdint>

#include "domain/sample.h"

namespace entrain::trainer {

class Console {
 public:
  explicit Console(std::int64_t steps);
  // The first step, the last, and about twenty between.
  void Show(const domain::EntropySample& sample) const;
  void Show(const domain::Evaluation& evaluation) const;

 private:
  std::int64_t steps_;
  std::int64_t interval_;
};

}  // namespace entrain::trainer
