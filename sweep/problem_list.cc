#include "sweep/problem_list.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "base/strings.h"

namespace entrain::sweep {
namespace {

// Optimal string alignment: insertions, deletions, replacements and swaps of neighbours cost one each.
std::size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before_last(b.size() + 1);
  std::vector<std::size_t> last(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(last.begin(), last.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
    std::swap(before_last, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

}  // namespace

bool ProblemList::InFileOrder::operator()(const Problem& a, const Problem& b) const {
  return std::tie(a.line, a.column, a.field, a.message) < std::tie(b.line, b.column, b.field, b.message);
}

void ProblemList::Add(Place place, std::string field, std::string message) {
  Problem problem{place.line, place.column, std::move(field), std::move(message)};
  if (problems_.size() < kMaxProblems) {
    problems_.insert(std::move(problem));
  } else if (!problems_.contains(problem)) {
    ++dropped_;
  }
}

std::vector<Problem> ProblemList::Take() {
  std::vector<Problem> problems(problems_.begin(), problems_.end());
  if (dropped_ > 0) problems.push_back({0, 0, "", StrCat(dropped_, " further problems are not listed")});
  problems_.clear();
  dropped_ = 0;
  return problems;
}

std::string DidYouMean(std::string_view word, const std::vector<std::string>& names) {
  constexpr std::size_t kMaxWordLength = 64;
  if (word.size() > kMaxWordLength) return "";
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const std::string& name : names) {
    const std::size_t distance = EditDistance(word, name);
    if (distance < best_distance && distance < name.size()) {
      best_distance = distance;
      best = name;
    }
  }
  return best.empty() ? "" : StrCat("; did you mean ", best, "?");
}

}  // namespace entrain::sweep
