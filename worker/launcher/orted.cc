#include "worker/launcher/orted.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <map>
#include <set>
#include <sstream>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::launcher {
namespace {

constexpr char kParametersFile[] = "orted";
constexpr std::size_t kMaxNodesBytes = 64 << 10;
// Set by mpirun for every daemon of ours; each machine sets its own values.
const std::set<std::string, std::less<>> kSetOnEachMachine = {
    "orte_abort_on_non_zero_status", "plm", "plm_rsh_agent", "plm_rsh_no_tree_spawn", "oob_tcp_if_include", "btl",
    "rmaps_base_mapping_policy", "hwloc_base_binding_policy", "orte_tag_output", "pmix"};
const std::set<std::string, std::less<>> kTaken = {"ess", "ess_base_jobid", "ess_base_vpid", "ess_base_num_procs", "orte_node_regex", "orte_hnp_uri"};

absl::Status Refuse(std::string_view what, std::string_view value) {
  return absl::InvalidArgumentError(StrCat("not a start of orted as this program knows it: ", what, " \"", value.substr(0, 200), "\""));
}

// A shell would take the quotes and blanks away.
std::string Bare(std::string_view word) {
  while (!word.empty() && word.front() == ' ') word.remove_prefix(1);
  while (!word.empty() && word.back() == ' ') word.remove_suffix(1);
  if (word.size() >= 2 && word.front() == '"' && word.back() == '"') word = word.substr(1, word.size() - 2);
  return std::string(word);
}

absl::StatusOr<std::uint32_t> NumberIn(std::string_view text, std::string_view what) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return Refuse(what, text);
  return value;
}

// JOB.0;tcp://IP,IP:PORT -> PORT; the job must be the one that the daemon joins.
absl::StatusOr<std::uint32_t> PortOfHead(std::string_view uri, std::string_view job_id) {
  const std::string begin = StrCat(job_id, ".0;tcp://");
  if (uri.substr(0, begin.size()) != begin) return Refuse("orte_hnp_uri", uri);
  const std::string_view rest = uri.substr(begin.size());
  const std::string_view first = rest.substr(0, rest.find(';'));
  const std::size_t colon = first.rfind(':');
  if (colon == std::string_view::npos) return Refuse("orte_hnp_uri", uri);
  return NumberIn(first.substr(colon + 1), "orte_hnp_uri");
}

absl::StatusOr<std::map<std::string, std::string>> ReadParameters(const std::vector<std::string>& words) {
  std::map<std::string, std::string> taken;
  for (std::size_t i = 1; i < words.size(); ++i) {
    const std::string word = Bare(words[i]);
    if (word == "--daemonize" || word.empty()) continue;
    if (word != "-mca" && word != "--mca") return Refuse("word", word);
    if (i + 2 >= words.size()) return Refuse("last word", word);
    const std::string name = Bare(words[i + 1]);
    const std::string value = Bare(words[i + 2]);
    i += 2;
    if (kTaken.contains(name)) {
      taken[name] = value;
    } else if (!kSetOnEachMachine.contains(name)) {
      return Refuse("parameter", name);
    }
  }
  for (const std::string& name : kTaken) {
    if (!taken.contains(name)) return Refuse("missing parameter", name);
  }
  return taken;
}

}  // namespace

absl::Status CheckOrtedParameters(const OrtedParameters& parameters, std::uint32_t machines) {
  if (parameters.daemons != machines) return Refuse("number of daemons", StrCat(parameters.daemons));
  if (parameters.daemon < 1 || parameters.daemon >= machines) return Refuse("daemon", StrCat(parameters.daemon));
  if (parameters.job_id == 0) return Refuse("job", "0");
  if (parameters.head_port < 1 || parameters.head_port > 65'535) return Refuse("port", StrCat(parameters.head_port));
  const auto known = [](unsigned char c) { return std::isalnum(c) != 0 || std::string_view(".,-_:[]@()").find(static_cast<char>(c)) != std::string_view::npos; };
  const bool plain = !parameters.nodes.empty() && parameters.nodes.size() <= kMaxNodesBytes && parameters.nodes.front() != '-' &&
                     std::all_of(parameters.nodes.begin(), parameters.nodes.end(), known);
  return plain ? absl::OkStatus() : Refuse("host names", parameters.nodes);
}

absl::StatusOr<OrtedParameters> ParseOrtedCommand(const std::vector<std::string>& words) {
  if (words.empty() || Bare(words[0]) != "orted") return Refuse("program", words.empty() ? "" : words[0]);
  ENTRAIN_ASSIGN_OR_RETURN(const auto taken, ReadParameters(words));
  if (taken.at("ess") != "env") return Refuse("ess", taken.at("ess"));
  OrtedParameters parameters;
  ENTRAIN_ASSIGN_OR_RETURN(parameters.job_id, NumberIn(taken.at("ess_base_jobid"), "ess_base_jobid"));
  ENTRAIN_ASSIGN_OR_RETURN(parameters.daemon, NumberIn(taken.at("ess_base_vpid"), "ess_base_vpid"));
  ENTRAIN_ASSIGN_OR_RETURN(parameters.daemons, NumberIn(taken.at("ess_base_num_procs"), "ess_base_num_procs"));
  ENTRAIN_ASSIGN_OR_RETURN(parameters.head_port, PortOfHead(taken.at("orte_hnp_uri"), taken.at("ess_base_jobid")));
  parameters.nodes = taken.at("orte_node_regex");
  ENTRAIN_RETURN_IF_ERROR(CheckOrtedParameters(parameters, parameters.daemons));
  return parameters;
}

std::vector<std::string> OrtedArguments(const OrtedParameters& parameters, const attempt::AttemptSpec& spec, const std::string& orted) {
  const std::string head_ip = spec.hosts.substr(0, spec.hosts.find(':'));
  return {orted,
          "-mca", "ess", "env",
          "-mca", "ess_base_jobid", std::to_string(parameters.job_id),
          "-mca", "ess_base_vpid", std::to_string(parameters.daemon),
          "-mca", "ess_base_num_procs", std::to_string(parameters.daemons),
          "-mca", "orte_node_regex", parameters.nodes,
          "-mca", "orte_hnp_uri", StrCat(parameters.job_id, ".0;tcp://", head_ip, ":", parameters.head_port),
          "-mca", "oob_tcp_if_include", spec.network_interface,
          "-mca", "hwloc_base_binding_policy", "none",
          "-mca", "orte_tag_output", "1",
          "-mca", "pmix", "^s1,s2,cray,isolated"};
}

absl::Status WriteOrtedParameters(const attempt::AttemptFolder& folder, const OrtedParameters& parameters) {
  return WriteFileAtomically(folder.Path(kParametersFile),
                             StrCat(parameters.job_id, " ", parameters.daemon, " ", parameters.daemons, " ", parameters.head_port, " ", parameters.nodes, "\n"));
}

absl::StatusOr<OrtedParameters> ReadOrtedParameters(const attempt::AttemptFolder& folder) {
  ENTRAIN_ASSIGN_OR_RETURN(const std::string text, ReadFile(folder.Path(kParametersFile)));
  std::istringstream fields(text);
  OrtedParameters parameters;
  fields >> parameters.job_id >> parameters.daemon >> parameters.daemons >> parameters.head_port >> parameters.nodes;
  if (!fields) return absl::DataLossError(StrCat(folder.Path(kParametersFile), " is damaged"));
  return parameters;
}

}  // namespace entrain::launcher
