// Shell completion from the command line's own description, so that the two cannot differ.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace entrain::cli {

// What a command's positional argument is.
enum class Argument { kNone, kFile, kId, kWords };

struct CommandShape {
  struct Option {
    std::vector<std::string> names;  // "-f", "--follow"
    std::string description;
    bool takes_value = false;
    bool takes_file = false;
    std::vector<std::string> values;  // when only these are allowed
  };
  std::vector<std::string> path;  // {"data", "prepare"}
  std::string description;
  std::vector<Option> options;
  Argument argument = Argument::kNone;
  std::vector<std::string> words;  // of kWords
};

// Every command, those that only group others too (with the others' names as words).
std::vector<CommandShape> ShapesOf(const CLI::App& app);

std::string BashCompletion(const std::vector<CommandShape>& commands);
std::string ZshCompletion(const std::vector<CommandShape>& commands);
std::string FishCompletion(const std::vector<CommandShape>& commands);

}  // namespace entrain::cli
