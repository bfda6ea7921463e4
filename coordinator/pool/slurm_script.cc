#include "base/strings.h"
#include "coordinator/pool/slurm.h"

namespace entrain::pool {
namespace {

// From the signal to the end of the allocation: the drain, and Slurm's own slack.
constexpr std::int64_t kSignalMarginSeconds = 60;
// In an allocation no other daemon comes after one that is gone.
constexpr std::int64_t kDaemonAbsenceMs = 5'000;

// One word for a shell.
std::string Quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string Joined(const std::vector<std::string>& words, char separator) {
  std::string text;
  for (const std::string& word : words) StrAppend(&text, text.empty() ? "" : std::string(1, separator), word);
  return text;
}

// What the worker is told, a quoted word each; $slots and $dir are the body's.
std::string WorkerCommand(const PoolFile& file, const SlurmSettings& settings) {
  std::string text = StrCat(Quoted(settings.worker), " --coordinator ", Quoted(Joined(settings.coordinators, ',')), " --dir \"$dir\" --name \"$name\"",
                            " --slot-kind ", file.limits.shape.kind == domain::SlotKind::kGpu ? "gpu" : "cpu", " --slots \"$slots\" --metrics ",
                            Quoted(settings.metrics), " --drain-limit-ms ", settings.drain_seconds * 1000, " --daemon-absence-limit-ms ", kDaemonAbsenceMs);
  if (!settings.artifacts.empty()) StrAppend(&text, " --artifacts ", Quoted(settings.artifacts));
  if (!settings.tls_ca.empty()) {
    StrAppend(&text, " --tls-ca ", Quoted(settings.tls_ca), " --tls-cert ", Quoted(settings.tls_cert), " --tls-key ", Quoted(settings.tls_key));
  }
  if (file.limits.peers) StrAppend(&text, " --peer-listen 0.0.0.0:0 --peer-address \"$(hostname -f)\"");
  for (const std::string& option : settings.worker_options) StrAppend(&text, " ", Quoted(option));
  return text;
}

// Of GPUs the worker counts what Slurm made visible.
std::string SlotsLines(const PoolFile& file, const SlurmSettings& settings) {
  if (file.limits.shape.kind == domain::SlotKind::kGpu) return "slots=auto\n";
  return StrCat("slots=$((SLURM_CPUS_ON_NODE / ", settings.cpus_per_slot, "))\n[ \"$slots\" -le ", file.limits.shape.slots, " ] || slots=", file.limits.shape.slots, "\n");
}

}  // namespace

std::string SlurmJobName(const PoolFile& file) { return StrCat(file.cluster, "-", file.limits.name); }
std::string SlurmComment(const PoolFile& file) { return StrCat("entrain pool ", file.limits.name, " of ", file.cluster); }

std::string SlurmScript(const PoolFile& file, const SlurmSettings& settings) {
  const std::string base = StrCat(Quoted(settings.state_dir), "/", SlurmJobName(file), "-$SLURM_JOB_ID-");
  // On each node. The worker's folder goes once all was reported; what a worker leaves that did not get so far stays for people.
  const std::string body = StrCat(settings.prelude.empty() ? "" : StrCat(". ", Quoted(settings.prelude), "\n"), "name=", SlurmJobName(file),
                                  "-$SLURM_JOB_ID-$SLURM_PROCID\n", SlotsLines(file, settings), "dir=", base, "$SLURM_NODEID\n",
                                  "mkdir -p -m 700 \"$dir\" || exit 1\n", WorkerCommand(file, settings), " &\nworker=$!\necho $worker > \"$dir.pid\"\n",
                                  // The second signal would end the daemon at once.
                                  "trap 'trap \"\" TERM; kill -TERM $worker' TERM\n", "wait $worker; status=$?\n",
                                  "while kill -0 $worker 2>/dev/null; do wait $worker; status=$?; done\n", "rm -f \"$dir.pid\"\n",
                                  "[ $status -ne 0 ] || rm -rf \"$dir\"\nexit $status\n");
  return StrCat("#!/bin/bash\n# Workers of the pool ", file.limits.name, ", one a node, until they are asked to end.\n", "body=", Quoted(body), "\n",
                "if [ \"$SLURM_JOB_NUM_NODES\" -eq 1 ]; then\n  eval \"$body\"\nfi\n",
                // Slurm's own signal for steps would reach every process of a gang: only the workers are told.
                "tell() {\n  trap '' TERM\n  srun --overlap --nodes=\"$SLURM_JOB_NUM_NODES\" --ntasks-per-node=1 --cpus-per-task=1 \\\n    bash -c ",
                Quoted(StrCat("kill -TERM \"$(cat ", base, "$SLURM_NODEID.pid)\"")), "\n}\ntrap tell TERM\n",
                "srun --nodes=\"$SLURM_JOB_NUM_NODES\" --ntasks-per-node=1 --cpus-per-task=\"$SLURM_CPUS_PER_TASK\" --kill-on-bad-exit=0 --wait=0 bash -c \"$body\" &\n",
                "step=$!\nwait $step; status=$?\nwhile kill -0 $step 2>/dev/null; do wait $step; status=$?; done\nexit $status\n");
}

std::vector<std::string> SbatchArguments(const PoolFile& file, const SlurmSettings& settings, std::int64_t nodes) {
  const std::int64_t slots = file.limits.shape.slots;
  std::vector<std::string> arguments = {StrCat(settings.bin, "/sbatch"),
                                        "--parsable",
                                        "--no-requeue",
                                        StrCat("--job-name=", SlurmJobName(file)),
                                        StrCat("--comment=", SlurmComment(file)),
                                        StrCat("--nodes=", nodes),
                                        "--ntasks-per-node=1",
                                        StrCat("--cpus-per-task=", slots * settings.cpus_per_slot),
                                        StrCat("--output=", settings.log_dir, "/%x-%j.log"),
                                        StrCat("--chdir=", settings.log_dir),
                                        StrCat("--signal=B:TERM@", settings.drain_seconds + kSignalMarginSeconds)};
  if (file.limits.shape.kind == domain::SlotKind::kGpu) {
    arguments.push_back(StrCat("--gres=gpu:", settings.gpu_type.empty() ? "" : settings.gpu_type + ":", slots));
  }
  const auto add = [&](const char* option, const std::string& value) {
    if (!value.empty()) arguments.push_back(StrCat(option, "=", value));
  };
  add("--partition", settings.partition);
  add("--account", settings.account);
  add("--qos", settings.qos);
  add("--time", settings.time_limit);
  arguments.insert(arguments.end(), settings.options.begin(), settings.options.end());
  return arguments;
}

}  // namespace entrain::pool
