// Strong identifiers: a RunId never passes where a WorkerId is wanted.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <ostream>
#include <string>
#include <utility>

namespace entrain {

template <typename Tag>
class StringId {
 public:
  StringId() = default;
  explicit StringId(std::string value) : value_(std::move(value)) {}
  const std::string& value() const { return value_; }
  bool empty() const { return value_.empty(); }
  friend auto operator<=>(const StringId&, const StringId&) = default;
  friend std::ostream& operator<<(std::ostream& out, const StringId& id) { return out << id.value_; }

 private:
  std::string value_;
};

using SweepId = StringId<struct SweepTag>;
// One (sweep, cell, generation).
using RunId = StringId<struct RunTag>;
// A hash of a cell's canonical configuration; the same cell has the same id in every sweep.
using CellId = StringId<struct CellTag>;
// One worker installation (a machine's state folder), stable over restarts of its daemon.
using WorkerId = StringId<struct WorkerTag>;

// Grows with every launch of a run; the fencing token at every sink. The first attempt is 1; 0 means none yet.
using AttemptNumber = std::uint32_t;

}  // namespace entrain

template <typename Tag>
struct std::hash<entrain::StringId<Tag>> {
  std::size_t operator()(const entrain::StringId<Tag>& id) const noexcept { return std::hash<std::string>()(id.value()); }
};
