#include "cli/completion.h"

#include "CLI/CLI.hpp"
#include "base/strings.h"

namespace entrain::cli {
namespace {

const std::vector<std::string> kOutputs = {"table", "json"};
const std::vector<std::string> kShells = {"bash", "zsh", "fish"};

std::string Joined(const std::vector<std::string>& words, std::string_view between) {
  std::string text;
  for (const std::string& word : words) StrAppend(&text, text.empty() ? "" : between, word);
  return text;
}

CommandShape::Option OptionShape(const CLI::Option& option) {
  CommandShape::Option shape;
  for (const std::string& name : option.get_snames()) shape.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) shape.names.push_back("--" + name);
  shape.description = option.get_description();
  shape.takes_value = option.get_items_expected_max() > 0;
  const std::string& last = shape.names.back();
  if (last == "--output") shape.values = kOutputs;
  shape.takes_file = last == "--data" || last == "--dir" || last == "--artifacts" || last.rfind("--tls-", 0) == 0 || last == "--token-file" || last == "--tokens";
  return shape;
}

CommandShape ShapeOf(const CLI::App& app, const std::vector<std::string>& path) {
  CommandShape shape;
  shape.path = path;
  shape.description = app.get_description();
  for (const CLI::Option* option : app.get_options()) {
    if (!option->get_positional()) {
      shape.options.push_back(OptionShape(*option));
      continue;
    }
    const std::string name = option->get_name();
    if (name == "SHELL") {
      shape.argument = Argument::kWords;
      shape.words = kShells;
    } else {
      shape.argument = name == "SWEEP.yaml" || name == "PATH" ? Argument::kFile : Argument::kId;
    }
  }
  for (const CLI::App* child : app.get_subcommands([](const CLI::App*) { return true; })) {
    shape.argument = Argument::kWords;
    shape.words.push_back(child->get_name());
  }
  return shape;
}

void Collect(const CLI::App& app, const std::vector<std::string>& path, std::vector<CommandShape>* shapes) {
  shapes->push_back(ShapeOf(app, path));
  for (const CLI::App* child : app.get_subcommands([](const CLI::App*) { return true; })) {
    std::vector<std::string> deeper = path;
    deeper.push_back(child->get_name());
    Collect(*child, deeper, shapes);
  }
}

std::vector<std::string> OptionNames(const CommandShape& command) {
  std::vector<std::string> names;
  for (const auto& option : command.options) names.insert(names.end(), option.names.begin(), option.names.end());
  return names;
}

// Inside a single-quoted shell word.
std::string Quoted(const std::string& text) {
  std::string quoted;
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted;
}

// zsh gives ':' and brackets in descriptions a meaning.
std::string ZshText(const std::string& text) {
  std::string escaped;
  for (const char c : Quoted(text)) {
    if (c == ':' || c == '[' || c == ']') escaped += '\\';
    escaped += c;
  }
  return escaped;
}

std::string FirstSentence(const std::string& text) { return text.substr(0, text.find_first_of(";:.")); }

std::string ZshOption(const CommandShape::Option& option) {
  std::string text;
  for (const std::string& name : option.names) {
    const std::string value = !option.takes_value      ? ""
                              : !option.values.empty() ? StrCat(":value:(", Joined(option.values, " "), ")")
                              : option.takes_file      ? ":path:_files"
                                                       : ":value:";
    StrAppend(&text, " \\\n        '", name, "[", ZshText(FirstSentence(option.description)), "]", value, "'");
  }
  return text;
}

}  // namespace

std::vector<CommandShape> ShapesOf(const CLI::App& app) {
  std::vector<CommandShape> shapes;
  Collect(app, {}, &shapes);
  return shapes;
}

std::string BashCompletion(const std::vector<CommandShape>& commands) {
  std::string cases;
  std::string known;
  for (const CommandShape& command : commands) {
    if (!command.path.empty()) StrAppend(&known, " '", Joined(command.path, " "), "'");
    const std::string_view kind = command.argument == Argument::kFile    ? "file"
                                  : command.argument == Argument::kId    ? "id"
                                  : command.argument == Argument::kWords ? "words"
                                                                         : "none";
    StrAppend(&cases, "    '", Joined(command.path, " "), "') options='", Joined(OptionNames(command), " "), "' kind=", kind, " words='",
              Joined(command.words, " "), "' ;;\n");
  }
  return StrCat(R"sh(# bash completion of entrain; load it with: source <(entrain completion bash)
_entrain() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command='' options='' kind='' words='' i candidate
  local known=()sh",
                known, R"sh( )
  for ((i = 1; i < COMP_CWORD; i++)); do
    candidate="${command:+$command }${COMP_WORDS[i]}"
    local name
    for name in "${known[@]}"; do
      if [[ $name == "$candidate" ]]; then command=$candidate; fi
    done
  done
  case "$command" in
)sh",
                cases, R"sh(  esac
  COMPREPLY=()
  case "$prev" in
    -o | --output) COMPREPLY=($(compgen -W 'table json' -- "$cur")); return ;;
    --data | --dir | --artifacts | --tokenizer | --out | --tls-ca | --tls-cert | --tls-key) COMPREPLY=($(compgen -f -- "$cur")); return ;;
    --coordinator | --key | --slots | --slot-gflops | --timeout | --attempt | --name | --max-bytes | --validation | --include | --field | --format | --vocab-size | --end-token | --threads | \
      --preset | --layers | --heads | --width | --context | --vocab | --bandwidth-mbps | --round-trip-ms)
      return ;;
  esac
  if [[ $cur == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$cur"))
    return
  fi
  case "$kind" in
    words) COMPREPLY=($(compgen -W "$words" -- "$cur")) ;;
    file) COMPREPLY=($(compgen -f -- "$cur")) ;;
    id) COMPREPLY=($(compgen -W "last $("${COMP_WORDS[0]}" list --ids 2>/dev/null)" -- "$cur")) ;;
  esac
}
complete -o filenames -F _entrain entrain
)sh");
}

std::string ZshCompletion(const std::vector<CommandShape>& commands) {
  std::string names;
  std::string cases;
  for (const CommandShape& command : commands) {
    if (command.path.empty()) continue;
    if (command.path.size() == 1) {
      StrAppend(&names, "    '", command.path[0], ":", ZshText(FirstSentence(command.description)), "'\n");
    }
    StrAppend(&cases, "    '", Joined(command.path, " "), "')\n      _arguments");
    for (const auto& option : command.options) cases += ZshOption(option);
    if (command.argument == Argument::kFile) cases += " \\\n        '*:file:_files'";
    if (command.argument == Argument::kId) cases += " \\\n        '*:id:_entrain_ids'";
    if (command.argument == Argument::kWords) StrAppend(&cases, " \\\n        '1:what:(", Joined(command.words, " "), ")'");
    cases += "\n      ;;\n";
  }
  return StrCat(R"sh(#compdef entrain
# zsh completion of entrain; put it into a folder of $fpath as _entrain, or: source <(entrain completion zsh)
_entrain_ids() {
  local -a ids
  ids=(last ${(f)"$(entrain list --ids 2>/dev/null)"})
  compadd -a ids
}
_entrain() {
  local -a commands
  commands=(
)sh",
                names, R"sh(  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  if [[ $command == data && $CURRENT -gt 2 ]]; then
    command="data $words[2]"
    shift words
    (( CURRENT-- ))
  fi
  case "$command" in
)sh",
                cases, R"sh(  esac
}
if [[ $funcstack[1] == _entrain ]]; then _entrain "$@"; else compdef _entrain entrain; fi
)sh");
}

std::string FishCompletion(const std::vector<CommandShape>& commands) {
  std::string text =
      "# fish completion of entrain; load it with: entrain completion fish | source\n"
      "complete -c entrain -f\n";
  for (const CommandShape& command : commands) {
    if (command.path.empty()) continue;
    const std::string& name = command.path.back();
    const std::string before =
        command.path.size() == 1 ? "__fish_use_subcommand" : StrCat("__fish_seen_subcommand_from ", command.path[command.path.size() - 2]);
    const std::string inside = StrCat("__fish_seen_subcommand_from ", name);
    StrAppend(&text, "complete -c entrain -n '", before, "' -a ", name, " -d '", Quoted(FirstSentence(command.description)), "'\n");
    for (const auto& option : command.options) {
      StrAppend(&text, "complete -c entrain -n '", inside, "'");
      for (const std::string& option_name : option.names) {
        StrAppend(&text, option_name.rfind("--", 0) == 0 ? StrCat(" -l ", option_name.substr(2)) : StrCat(" -s ", option_name.substr(1)));
      }
      if (!option.values.empty()) StrAppend(&text, " -x -a '", Joined(option.values, " "), "'");
      else if (option.takes_file) text += " -r -F";
      else if (option.takes_value) text += " -x";
      StrAppend(&text, " -d '", Quoted(FirstSentence(option.description)), "'\n");
    }
    if (command.argument == Argument::kFile) StrAppend(&text, "complete -c entrain -n '", inside, "' -F\n");
    if (command.argument == Argument::kId) {
      StrAppend(&text, "complete -c entrain -n '", inside, "' -a 'last (entrain list --ids 2>/dev/null)'\n");
    }
    if (command.argument == Argument::kWords && name == "completion") {
      StrAppend(&text, "complete -c entrain -n '", inside, "' -a '", Joined(command.words, " "), "'\n");
    }
  }
  return text;
}

}  // namespace entrain::cli
