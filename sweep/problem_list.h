// Everything wrong with a sweep file, with its place.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "sweep/sweep.h"

namespace entrain::sweep {

// A place in the file; line 0 is none.
struct Place {
  int line = 0;
  int column = 0;
};

class ProblemList {
 public:
  // The same problem at the same place is kept once; after kMaxProblems only counted.
  void Add(Place place, std::string field, std::string message);
  bool empty() const { return problems_.empty(); }
  std::size_t size() const { return problems_.size(); }
  // In file order.
  std::vector<Problem> Take();

 private:
  static constexpr std::size_t kMaxProblems = 200;
  struct InFileOrder {
    bool operator()(const Problem& a, const Problem& b) const;
  };
  std::set<Problem, InFileOrder> problems_;
  std::size_t dropped_ = 0;
};

// "; did you mean lr?" when one of the names is close to the word, else empty.
std::string DidYouMean(std::string_view word, const std::vector<std::string>& names);

}  // namespace entrain::sweep
