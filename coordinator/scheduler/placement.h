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
  WorkerId last;  // the machine that is filled last, so that the choice is a function of the snapshot
};
struct Scorer {
  std::string_view name;
  std::int64_t (*value)(const Score& score);
};
extern const std::array<Scorer, 4> kScorers;
bool Better(const Score& a, const Score& b);

struct ScoredGang {
  Score score;
  domain::Gang gang;  // most groups first; the head is the first
};

// The best gang that fits now, all of it or none. All its machines are of one pool.
std::optional<ScoredGang> FindGang(const Fleet& fleet, const Shape& shape, const std::string& preferred_device);

// Whether the machines now known, all empty and reporting, could hold it.
bool CouldEverFit(const Fleet& fleet, const Shape& shape);

// Machines to keep free for a gang that goes first and does not fit: those on which it will fit soonest (most free slots now) when
// what runs there ends. Nothing is placed on them meanwhile, so the time until it fits is bounded by the longest attempt there.
std::vector<WorkerId> MachinesToKeep(const Fleet& fleet, const Shape& shape);

}  // namespace entrain::scheduler
