#include "coordinator/pool/slurm.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>
#include <utility>

#include "base/log.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::pool {
namespace {

// Of one command; a busy slurmctld answers within its MessageTimeout, which is 10 s by default.
constexpr std::int64_t kCommandLimitMs = 30'000;
// Jobs asked for in one call; the next round goes on.
constexpr std::int64_t kMaxJobsACall = 32;
// A worker that was asked to end and did not within its drain limit and this is ended by Slurm.
constexpr std::int64_t kLeaveMarginMs = 60'000;

// What sbatch and the job inherit: nothing else of the coordinator's environment, which may hold its secrets.
constexpr const char* kInherited[] = {"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "KRB5CCNAME"};

std::vector<std::string> EnvironmentOf(const SlurmSettings& settings) {
  std::vector<std::string> environment;
  for (const char* name : kInherited) {
    if (const char* value = std::getenv(name)) environment.push_back(StrCat(name, "=", value));
  }
  if (!settings.conf.empty()) environment.push_back(StrCat("SLURM_CONF=", settings.conf));
  return environment;
}

bool DoesNotAnswer(const std::string& text) {
  for (const char* sign : {"Unable to contact slurm controller", "Socket timed out", "Connection refused", "Connection timed out", "Zero Bytes were transmitted",
                           "Unable to establish controller machine", "Slurm backup controller in standby mode", "Slurm temporarily unable to accept"}) {
    if (text.find(sign) != std::string::npos) return true;
  }
  return false;
}

// The command's complaint in one line, without its own name before every part.
std::string Complaint(std::string text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string line = text.substr(0, end);
    text.erase(0, std::min(end + 1, text.size()));
    if (const std::size_t mark = line.find("error: "); mark != std::string::npos && mark < 20) line = line.substr(mark + 7);
    if (!line.empty()) StrAppend(&out, out.empty() ? "" : "; ", line);
  }
  return out.substr(0, 500);
}

class SlurmProvider : public PoolProvider {
 public:
  SlurmProvider(PoolFile file, SlurmSettings settings, const Clock* clock)
      : file_(std::move(file)), settings_(std::move(settings)), clock_(clock), prefix_(SlurmJobName(file_) + "-") {}

  const PoolLimits& limits() const override { return file_.limits; }
  std::string engine() const override { return "slurm"; }
  bool CanReleaseAny() const override { return true; }

  absl::StatusOr<std::vector<PoolMachine>> List() override {
    ENTRAIN_ASSIGN_OR_RETURN(const std::string output,
                             Run({Program("squeue"), "--me", "--noheader", "--states=all", StrCat("--name=", SlurmJobName(file_)),
                                  "--sort=i", "--format=%A|%T|%D|%r|%k"}));
    ENTRAIN_ASSIGN_OR_RETURN(const std::vector<SlurmJob> jobs, ParseJobs(output, SlurmComment(file_)));
    std::vector<PoolMachine> machines = MachinesOf(jobs, prefix_);
    std::set<std::string> there;
    for (PoolMachine& machine : machines) {
      there.insert(machine.unit);
      if (leaving_.contains(machine.unit)) machine.state = PoolMachine::State::kLeaving;
    }
    std::erase_if(leaving_, [&](const auto& entry) { return !there.contains(entry.first); });
    EndWhatDoesNotLeave();
    return machines;
  }

  absl::Status Grow(std::int64_t machines, const GangRequest* gang) override {
    const bool one_job = file_.limits.gang_shaped && gang != nullptr;
    const std::int64_t jobs = one_job ? 1 : std::min(machines, kMaxJobsACall);
    for (std::int64_t i = 0; i < jobs; ++i) {
      ENTRAIN_ASSIGN_OR_RETURN(const std::string id, Run(SbatchArguments(file_, settings_, one_job ? machines : 1), SlurmScript(file_, settings_)));
      Log(LogLevel::kInfo, "asked slurm for a job", {{"pool", file_.limits.name}, {"job", id.substr(0, id.find_first_of(";\n"))},
                                                     {"nodes", StrCat(one_job ? machines : 1)}, {"run", gang == nullptr ? "" : gang->run.value()}});
    }
    return absl::OkStatus();
  }

  absl::Status Release(const std::vector<PoolMachine>& machines) override {
    std::set<std::string> pending, up;
    for (const PoolMachine& machine : machines) (machine.state == PoolMachine::State::kPending ? pending : up).insert(machine.unit);
    if (!pending.empty()) ENTRAIN_RETURN_IF_ERROR(Cancel({}, pending));
    // The batch script alone, which tells the workers.
    if (!up.empty()) ENTRAIN_RETURN_IF_ERROR(Cancel({"--batch", "--signal=TERM"}, up));
    for (const std::set<std::string>* jobs : {&pending, &up}) {
      for (const std::string& job : *jobs) leaving_.try_emplace(job, clock_->BootMs());
    }
    return absl::OkStatus();
  }

  bool Owns(const std::string& worker_name) const override {
    if (!worker_name.starts_with(prefix_)) return false;
    const std::string_view rest = std::string_view(worker_name).substr(prefix_.size());
    const std::size_t dash = rest.find('-');
    if (dash == std::string_view::npos) return false;
    return IsNumber(rest.substr(0, dash)) && IsNumber(rest.substr(dash + 1));
  }

 private:
  static bool IsNumber(std::string_view text) {
    return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  }
  std::string Program(const char* name) const { return StrCat(settings_.bin, "/", name); }

  // What it printed. UNAVAILABLE, or FAILED_PRECONDITION with what Slurm said.
  absl::StatusOr<std::string> Run(const std::vector<std::string>& arguments, const std::string& input = "") {
    absl::StatusOr<CommandResult> result = RunCommand(arguments, EnvironmentOf(settings_), input, kCommandLimitMs);
    if (!result.ok()) {
      if (absl::IsDeadlineExceeded(result.status())) return absl::UnavailableError(std::string(result.status().message()));
      return result.status();
    }
    if (result->exit_code == 0) return std::move(result->output);
    const std::string name = arguments[0].substr(arguments[0].rfind('/') + 1);
    const std::string text = StrCat(name, " says: ", result->errors.empty() ? StrCat("exit code ", result->exit_code) : Complaint(result->errors));
    return DoesNotAnswer(result->errors) ? absl::UnavailableError(text) : absl::FailedPreconditionError(text);
  }

  absl::Status Cancel(std::vector<std::string> options, const std::set<std::string>& jobs) {
    options.insert(options.begin(), Program("scancel"));
    options.insert(options.end(), jobs.begin(), jobs.end());
    const absl::StatusOr<std::string> done = Run(options);
    const bool gone = !done.ok() && (done.status().message().find("Invalid job id") != absl::string_view::npos ||
                                     done.status().message().find("already completing or completed") != absl::string_view::npos);
    return done.ok() || gone ? absl::OkStatus() : done.status();
  }

  void EndWhatDoesNotLeave() {
    std::set<std::string> late;
    for (auto& [job, since_ms] : leaving_) {
      if (clock_->BootMs() - since_ms < settings_.drain_seconds * 1000 + kLeaveMarginMs) continue;
      late.insert(job);
      since_ms = clock_->BootMs();
    }
    if (late.empty()) return;
    const absl::Status ended = Cancel({}, late);
    Log(LogLevel::kWarning, "jobs did not end when asked", {{"pool", file_.limits.name}, {"jobs", StrCat(late.size())}, {"scancel", std::string(ended.message())}});
  }

  const PoolFile file_;
  const SlurmSettings settings_;
  const Clock* const clock_;
  const std::string prefix_;
  // Jobs that were asked to end, and since when.
  std::map<std::string, std::int64_t> leaving_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<PoolProvider>> MakeSlurmProvider(const PoolFile& file, const Clock* clock) {
  ENTRAIN_ASSIGN_OR_RETURN(SlurmSettings settings, ReadSlurmSettings(file));
  return std::make_unique<SlurmProvider>(file, std::move(settings), clock);
}

}  // namespace entrain::pool
