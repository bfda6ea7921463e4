// Where one gang goes: named filters say which machines may hold a group of it, named scorers which of the possible gangs is best.
// FindGang answers from the fleet's index; a test holds it equal to trying every machine.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/scheduler/index.h"
#include "domain/fleet.h"

namespace entrain::scheduler {

// Hard rules: a machine that fails one can hold no group now.
struct Filter {
  std::string_view name;
  bool (*passes)(const Machine& machine, const Shape& shape);
};
extern const std::array<Filter, 7> kFilters;
bool PassesFilters(const Machine& machine, const Shape& shape);

// Soft rules, most important first: each gives a gang a number, the smaller one wins, and the next is asked only on a tie.
struct Score {
  int other_device = 0;
  std::int64_t machines = 0;
  std::int64_t left_free = 0;
  std::int32_t machine_slots = 0;
  int has_peers = 0;
  WorkerId last;  // the machine that is filled last, so that the choice is a function of the snapshot
};
struct Scorer {
  std::string_view name;
  std::int64_t (*value)(const Score& score);
};
extern const std::array<Scorer, 5> kScorers;
bool Better(const Score& a, const Score& b);

struct ScoredGang {
  Score score;
  domain::Gang gang;  // most groups first; the head is the first
};

// Machines that are kept for a gang that goes first: others pass them over while a plan is made. Nothing is placed there meanwhile, so that
// what is free on them stays as it is.
class KeptMachines {
 public:
  void Add(const Fleet& fleet, const std::vector<WorkerId>& workers);
  bool empty() const { return kept_.empty(); }
  bool Contains(const WorkerId& worker) const;
  // Of those with so many free slots; only usable ones are counted.
  std::int64_t CountIn(const MachineClass& machine_class, std::int32_t free) const;
  std::int64_t free_slots() const { return free_slots_; }

 private:
  struct Kept {
    WorkerId worker;
    MachineClass machine_class;
    std::int32_t free = 0;
    bool usable = false;
  };
  std::vector<Kept> kept_;  // a gang's machines: few
  std::int64_t free_slots_ = 0;
};

// The best gang that fits now, all of it or none. All its machines are of one pool.
std::optional<ScoredGang> FindGang(const Fleet& fleet, const Shape& shape, const std::string& preferred_device, const KeptMachines& kept = {});

// Whether the machines now known, all empty and reporting, could hold it.
bool CouldEverFit(const Fleet& fleet, const Shape& shape);

// Machines to keep free for a gang that goes first and does not fit: those on which it will fit soonest (most free slots now) when
// what runs there ends. Nothing is placed on them meanwhile, so the time until it fits is bounded by the longest attempt there.
std::vector<WorkerId> MachinesToKeep(const Fleet& fleet, const Shape& shape, const KeptMachines& kept = {});

}  // namespace entrain::scheduler
