#include <algorithm>
#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"
#include "coordinator/pool/slurm.h"

namespace entrain::pool {
namespace {

using sweep::Field;
using sweep::Place;
using sweep::ProblemList;

const std::vector<Field<SlurmSettings>>& SlurmFields() {
  using S = SlurmSettings;
  using sweep::Between;
  static const std::vector<Field<SlurmSettings>> fields = {
      sweep::Text("worker", &S::worker, "path of entrain-worker on the nodes"),
      sweep::Texts("coordinator", &S::coordinators, "HOST:PORT of the coordinators, as the nodes reach them"),
      sweep::Text("artifacts", &S::artifacts, "artifact root that the nodes share with the coordinator"),
      sweep::Text("state_dir", &S::state_dir, "folder on the node's own disk"),
      sweep::Text("log_dir", &S::log_dir, "where a job's output is written"),
      sweep::Text("tls_ca", &S::tls_ca, "certificates that the coordinator's is checked against"),
      sweep::Text("tls_cert", &S::tls_cert, "the workers' certificate"),
      sweep::Text("tls_key", &S::tls_key, "its private key"),
      sweep::Text("metrics", &S::metrics, "HOST:PORT of a worker's metrics"),
      sweep::Integer("drain_seconds", &S::drain_seconds, Between(5, 86'400), "what a worker may take to stop its gangs"),
      sweep::Texts("worker_options", &S::worker_options, "further options of entrain-worker"),
      sweep::Text("prelude", &S::prelude, "file that the batch script sources first"),
      sweep::Integer("cpus_per_slot", &S::cpus_per_slot, Between(1, 1'024), "processors a slot"),
      sweep::Text("gpu_type", &S::gpu_type, "kind of GPU, as the cluster's gres names it"),
      sweep::Text("partition", &S::partition, "partition"),
      sweep::Text("account", &S::account, "account"),
      sweep::Text("qos", &S::qos, "quality of service"),
      sweep::Text("time_limit", &S::time_limit, "time limit of a job"),
      sweep::Texts("options", &S::options, "further options of sbatch"),
      sweep::Text("bin", &S::bin, "folder of sbatch, squeue and scancel"),
      sweep::Text("conf", &S::conf, "slurm.conf"),
  };
  return fields;
}

bool HasControlCharacter(const std::string& text) {
  return std::any_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7f; });
}

class Check {
 public:
  Check(const sweep::YamlNode& map, ProblemList* problems) : map_(map), problems_(problems) {}

  void Path(const char* field, const std::string& path, bool needed) {
    if (path.empty() && !needed) return;
    if (path.empty()) return Bad(field, "must be given");
    if (path.front() != '/') Bad(field, StrCat("must be an absolute path; is ", path));
    Plain(field, path);
  }
  void Plain(const char* field, const std::string& text) {
    if (HasControlCharacter(text)) Bad(field, "must be one line without control characters");
  }
  // One argument a line, each an option: --name or --name=value.
  void Options(const char* field, const std::vector<std::string>& options, const std::vector<std::string>& ours) {
    for (const std::string& option : options) {
      Plain(field, option);
      if (!option.starts_with("--") || option.size() < 3) Bad(field, StrCat("must be of the form --name or --name=value; is ", option));
      const std::string name = option.substr(0, option.find('='));
      if (std::find(ours.begin(), ours.end(), name) != ours.end()) Bad(field, StrCat(name, " is set by the pool"));
    }
  }
  void Bad(const char* field, const std::string& message) {
    const sweep::YamlEntry* entry = map_.Find(field);
    problems_->Add(entry == nullptr ? map_.place : entry->value->place, StrCat("slurm.", field), message);
  }

 private:
  const sweep::YamlNode& map_;
  ProblemList* problems_;
};

void CheckSettings(const SlurmSettings& settings, const PoolFile& file, ProblemList* problems) {
  Check check(*file.section, problems);
  check.Path("worker", settings.worker, true);
  check.Path("artifacts", settings.artifacts, false);
  check.Path("state_dir", settings.state_dir, true);
  check.Path("log_dir", settings.log_dir, true);
  check.Path("prelude", settings.prelude, false);
  check.Path("bin", settings.bin, true);
  check.Path("conf", settings.conf, false);
  check.Path("tls_ca", settings.tls_ca, false);
  check.Path("tls_cert", settings.tls_cert, false);
  check.Path("tls_key", settings.tls_key, false);
  if (settings.coordinators.empty()) check.Bad("coordinator", "must be given");
  for (const std::string& address : settings.coordinators) {
    check.Plain("coordinator", address);
    if (address.rfind(':') == std::string::npos) check.Bad("coordinator", StrCat("must be HOST:PORT; is ", address));
  }
  const int tls = !settings.tls_ca.empty() + !settings.tls_cert.empty() + !settings.tls_key.empty();
  if (tls != 0 && tls != 3) check.Bad(settings.tls_ca.empty() ? "tls_ca" : settings.tls_cert.empty() ? "tls_cert" : "tls_key",
                                      "must be given with the two other tls files");
  if (file.limits.peers && tls != 3) check.Bad("tls_ca", "must be given with peers, with tls_cert and tls_key");
  for (const auto& [field, text] : {std::pair{"metrics", settings.metrics}, std::pair{"gpu_type", settings.gpu_type}, std::pair{"partition", settings.partition},
                                    std::pair{"account", settings.account}, std::pair{"qos", settings.qos}, std::pair{"time_limit", settings.time_limit}}) {
    check.Plain(field, text);
  }
  if (!settings.gpu_type.empty() && file.limits.shape.kind == domain::SlotKind::kCpu) check.Bad("gpu_type", "the pool's kind is cpu");
  check.Options("options", settings.options,
                {"--job-name", "--comment", "--nodes", "--output", "--chdir", "--signal", "--parsable", "--wrap", "--array", "--ntasks-per-node", "--cpus-per-task",
                 "--requeue"});
  check.Options("worker_options", settings.worker_options, {"--coordinator", "--dir", "--name", "--slots", "--slot-kind", "--drain-limit-ms"});
}

}  // namespace

absl::StatusOr<SlurmSettings> ReadSlurmSettings(const PoolFile& file) {
  ProblemList problems;
  SlurmSettings settings;
  ReadFields(*file.section, SlurmFields(), "slurm.", {}, &settings, &problems);
  // A field that could not be read was said already.
  if (problems.empty()) CheckSettings(settings, file, &problems);
  ENTRAIN_RETURN_IF_ERROR(StatusOfProblems(file.path, &problems));
  return settings;
}

}  // namespace entrain::pool
