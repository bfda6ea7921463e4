// Who submits sweeps and changes their mind: every submit is repeated under the same key until it is answered, as the command line does.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "domain/event.h"
#include "sim/coordinator.h"
#include "sim/network.h"
#include "sim/referee.h"
#include "sim/stage.h"

namespace entrain::sim {

class People {
 public:
  People(Stage* stage, Network* network, Referee* referee, Coordinator* coordinator)
      : stage_(stage), network_(network), referee_(referee), coordinator_(coordinator) {}

  // Sweeps of at least `runs` runs in all, over the next `within_ms`.
  void SubmitSome(std::int64_t runs, std::int64_t within_ms);
  // A large gang, and small runs that keep coming and would like to go first.
  void SubmitCrowd();
  // Stops, pauses, resumes and retries at random, while things go wrong.
  void Meddle();
  // Resumes what is paused and gives up on what no machine could hold, until everything has ended.
  void Settle();

  bool all_answered() const { return answered_ == sweeps_.size(); }
  std::int64_t runs() const { return runs_; }

 private:
  struct Wish {
    std::string key;
    domain::SweepSpec spec;
    bool answered = false;
  };
  void SubmitAfter(std::int64_t delay_ms, domain::SweepSpec spec);
  void Try(std::size_t wish);
  void Heard(std::size_t wish, const domain::Reply& reply);
  // The same key again: with the same content it is the same sweep, with another it is refused.
  void TryAgain(std::size_t wish, bool other_content);
  domain::SubmitSweep EventOf(const Wish& wish);
  domain::SweepSpec SomeSweep(std::int64_t runs);
  RunId SomeRun();
  void Act(const RunId& run, domain::RunAction action);
  void ActOn(const WorkerId& worker, domain::WorkerAction action);

  Stage* const stage_;
  Network* const network_;
  Referee* const referee_;
  Coordinator* const coordinator_;
  std::vector<Wish> sweeps_;
  std::size_t answered_ = 0;
  std::int64_t runs_ = 0;
  domain::RequestId requests_ = 0;
};

}  // namespace entrain::sim
