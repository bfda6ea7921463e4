#include <algorithm>
#include <string>

#include "base/strings.h"
#include "coordinator/scheduler/placement.h"
#include "coordinator/scheduler/plan.h"

namespace entrain::scheduler {
namespace {

// Counting stops here: "100 or more runs go first".
constexpr std::size_t kMaxCountedAhead = 100;
constexpr std::size_t kMaxNamedAhead = 3;

std::string Count(std::int64_t count, std::string_view noun) { return StrCat(count, " ", noun, count == 1 ? "" : "s"); }

std::string Needs(const Shape& shape) {
  if (shape.machines == 1) return StrCat("needs ", Count(shape.ranks, "slot"), shape.ranks == 1 ? "" : " on one machine");
  return StrCat("needs ", shape.machines, " groups of ", Count(shape.ranks, "slot"), " on machines of one kind");
}

struct Sizes {
  std::int64_t machines = 0;
  std::int64_t slots = 0;
  std::int64_t largest = 0;
  std::int64_t without_peers = 0;  // machines
};

Sizes SizesOf(const Fleet& fleet) {
  Sizes sizes;
  for (const auto& [machine_class, class_fleet] : fleet.classes()) {
    sizes.machines += class_fleet->known;
    sizes.slots += class_fleet->known * machine_class.slots;
    sizes.largest = std::max<std::int64_t>(sizes.largest, machine_class.slots);
    if (!machine_class.has_peers) sizes.without_peers += class_fleet->known;
  }
  return sizes;
}

std::string LargestText(const Sizes& sizes) {
  return sizes.machines == 1 ? StrCat("the only machine has ", sizes.largest)
                             : StrCat("the largest of ", sizes.machines, " machines has ", sizes.largest);
}

// Machines by the first filter that they fail.
struct Unusable {
  std::int64_t silent = 0;
  std::int64_t draining = 0;
  std::int64_t not_connected = 0;
  std::int64_t quarantined = 0;
  std::int64_t too_small = 0;
  std::int64_t busy = 0;
  std::int64_t without_peers = 0;
};

Unusable UnusableOf(const Fleet& fleet, const Shape& shape) {
  Unusable unusable;
  for (const auto& [machine_class, class_fleet] : fleet.classes()) {
    unusable.silent += class_fleet->silent;
    unusable.draining += class_fleet->draining;
    unusable.not_connected += class_fleet->not_connected;
    unusable.quarantined += class_fleet->quarantined;
    for (std::int64_t free = 0; free <= machine_class.slots; ++free) {
      const auto count = static_cast<std::int64_t>(class_fleet->usable_by_free[static_cast<std::size_t>(free)].size());
      if (machine_class.slots < shape.ranks) {
        unusable.too_small += count;
      } else if (free < shape.ranks) {
        unusable.busy += count;
      } else if (!machine_class.has_peers && free / shape.ranks < shape.machines) {
        unusable.without_peers += count;
      }
    }
  }
  return unusable;
}

// "1 silent, 2 busy".
std::string UnusableText(const Fleet& fleet, const Shape& shape) {
  const Unusable unusable = UnusableOf(fleet, shape);
  std::string text;
  const auto add = [&text](std::int64_t count, std::string_view what) {
    if (count > 0) StrAppend(&text, text.empty() ? "" : ", ", count, " ", what);
  };
  add(unusable.silent, "silent");
  add(unusable.draining, "draining");
  add(unusable.not_connected, "not connected");
  add(unusable.quarantined, "quarantined");
  add(unusable.too_small, "too small");
  add(unusable.busy, "busy");
  add(unusable.without_peers, "without --peer-listen");
  return text;
}

// "2 runs go first (SM seed=1, SM seed=2)"; of many, the first few by name.
std::string AheadText(const Index& index, const Request& request, const RunNames& name) {
  std::string text;
  if (const std::string* owner = index.queue.OwnerAhead(request)) {
    text = StrCat("; runs of ", *owner, " go first, who holds ", Count(index.queue.SlotsOf(*owner), "slot"), " to ", request.owner, "'s ",
                  index.queue.SlotsOf(request.owner));
  }
  const Queue::AheadOf ahead = index.queue.Ahead(request, kMaxCountedAhead, kMaxNamedAhead);
  if (ahead.count == 0) return text.empty() ? "; it is next" : text;
  const std::string many = ahead.count == kMaxCountedAhead ? " or more" : "";
  StrAppend(&text, "; ", ahead.count, many, ahead.count == 1 ? " run goes first (" : " runs go first (");
  for (std::size_t i = 0; i < ahead.first.size(); ++i) StrAppend(&text, i == 0 ? "" : ", ", name(ahead.first[i]));
  return StrCat(text, ahead.count > ahead.first.size() ? ", ...)" : ")");
}

}  // namespace

WaitReason ExplainFit(const Fleet& fleet, const Shape& shape) {
  const Elastic* const elastic = fleet.ElasticFor(shape);
  const std::string grows =
      elastic == nullptr ? "" : StrCat("; the pool ", elastic->pool, " may add machines of ", Count(elastic->slots, "slot"), ", ", elastic->machines, " at most");
  if (fleet.machines().empty()) return {false, StrCat(Needs(shape), "; no worker has joined yet", grows)};
  if (CouldEverFit(fleet, shape)) return {false, ""};
  if (elastic != nullptr) return {false, StrCat(Needs(shape), "; no machine here could hold it", grows)};
  const Sizes sizes = SizesOf(fleet);
  if (shape.machines == 1 || sizes.largest < shape.ranks) return {true, StrCat(Needs(shape), "; ", LargestText(sizes))};
  std::string text = StrCat(Needs(shape), "; ", Count(sizes.machines, "machine"), " with ", sizes.slots, " slots in all cannot hold them");
  if (sizes.without_peers > 0) {
    StrAppend(&text, ": ", sizes.without_peers, " of them ", sizes.without_peers == 1 ? "shares" : "share", " no gang (started without --peer-listen)");
  }
  return {true, text};
}

WaitReason Explain(const Index& index, const Request& request, const RunNames& name) {
  WaitReason fit = ExplainFit(index.fleet, request.shape);
  if (!fit.text.empty()) return fit;
  if (index.queue.AtCap(request.sweep)) {
    return {false, StrCat("its sweep may hold slots for ", Count(index.queue.Cap(request.sweep), "run"), " at once, and ",
                          index.queue.Active(request.sweep), index.queue.Active(request.sweep) == 1 ? " does" : " do")};
  }
  const Sizes sizes = SizesOf(index.fleet);
  std::string text = StrCat(Needs(request.shape), "; ", index.fleet.free_slots(), " of ", sizes.slots, " free");
  const bool fits_now = FindGang(index.fleet, request.shape, request.preferred_device).has_value();
  if (fits_now) {
    StrAppend(&text, ", kept for a run that goes first");
  } else {
    const std::string unusable = UnusableText(index.fleet, request.shape);
    if (!unusable.empty() && sizes.machines > 1) StrAppend(&text, " (machines: ", unusable, ")");
    if (sizes.machines == 1 && unusable != "1 busy" && !unusable.empty()) StrAppend(&text, " (its machine is ", unusable.substr(2), ")");
  }
  return {false, StrCat(text, AheadText(index, request, name))};
}

}  // namespace entrain::scheduler
