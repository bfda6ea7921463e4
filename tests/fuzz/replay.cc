// Runs a fuzz target over its stored corpus with the ordinary compiler: every input, and what a torn write or a flipped byte makes of it.
//     replay CORPUS_FOLDER
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <vector>

#include "base/files.h"
#include "base/random.h"
#include "tests/fuzz/fuzz.h"

namespace {

constexpr std::size_t kPrefixes = 64;
constexpr int kFlips = 64;

int RunOne(std::string_view input) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
  return 1;
}

int RunAround(const std::string& input, entrain::Rng* rng) {
  int runs = RunOne(input);
  const std::size_t stride = std::max<std::size_t>(1, input.size() / kPrefixes);
  for (std::size_t length = 0; length < input.size(); length += stride) runs += RunOne(std::string_view(input).substr(0, length));
  for (int i = 0; i < kFlips && !input.empty(); ++i) {
    std::string changed = input;
    changed[rng->Below(changed.size())] = static_cast<char>(rng->Below(256));
    runs += RunOne(changed);
  }
  return runs;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 64;
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) files.push_back(entry.path().string());
  std::sort(files.begin(), files.end());
  entrain::Rng rng(1, 0);
  int runs = 0;
  for (const std::string& file : files) runs += RunAround(entrain::ReadFile(file).value(), &rng);
  std::printf("%d inputs from %zu files\n", runs, files.size());
  return files.empty() ? 1 : 0;
}
