#include "tests/coordinator/core/scenario.h"

#include <map>
#include <optional>
#include <sstream>

#include "base/strings.h"
#include "coordinator/core/explain.h"
#include "tests/coordinator/core/world.h"

namespace entrain::core {
namespace {

using domain::AttemptKey;

// One line: plain words and name=value options; `~ text` at the end is a text that must be contained.
struct Line {
  std::vector<std::string> words;
  std::map<std::string, std::string> options;
  std::string text;

  std::string Word(std::size_t i) const { return i < words.size() ? words[i] : ""; }
  std::int64_t Number(const std::string& name, std::int64_t otherwise) const {
    const auto found = options.find(name);
    return found == options.end() ? otherwise : std::stoll(found->second);
  }
  std::string Option(const std::string& name, const std::string& otherwise = "") const {
    const auto found = options.find(name);
    return found == options.end() ? otherwise : found->second;
  }
};

Line ParseLine(std::string text) {
  Line line;
  if (const auto tilde = text.find(" ~ "); tilde != std::string::npos) {
    line.text = text.substr(tilde + 3);
    text.resize(tilde);
  }
  std::istringstream in(text);
  for (std::string word; in >> word;) {
    if (word.front() == '#') break;
    const auto equals = word.find('=');
    if (equals == std::string::npos) {
      line.words.push_back(word);
    } else {
      line.options[word.substr(0, equals)] = word.substr(equals + 1);
    }
  }
  return line;
}

std::string CodeText(const absl::Status& status) { return absl::StatusCodeToString(status.code()); }

class Scenario {
 public:
  explicit Scenario(const CoreConfig& config) : world_(config) {}

  void Do(const Line& line) {
    const std::string& verb = line.words.front();
    if (verb == "expect") {
      Expect(line);
      return;
    }
    effects_.clear();
    if (verb == "submit") return Submit(line);
    if (verb == "join") return Join(line);
    if (verb == "restart") {
      effects_ = world_.Restart();
      return;
    }
    if (verb == "wait") return world_.Advance(std::stoll(line.Word(1)));
    if (verb == "tick") {
      world_.Advance(line.words.size() > 1 ? std::stoll(line.Word(1)) : 0);
      effects_ = world_.Do(domain::Tick{});
      return;
    }
    if (verb == "heartbeat") {
      effects_ = world_.Do(domain::WorkerHeartbeat{WorkerId(line.Word(1)), line.Word(2) == "draining"});
      return;
    }
    if (verb == "disconnect") {
      const WorkerId worker(line.Word(1));
      effects_ = world_.Do(domain::WorkerDisconnected{worker, world_.state().FindWorker(worker)->incarnation});
      return;
    }
    if (verb == "retry") {
      effects_ = world_.Do(domain::RetryRun{1, RunOf(line.Word(1)), "ann"});
      return;
    }
    if (const auto action = domain::ParseWorkerAction(verb)) {
      effects_ = world_.Do(domain::ActOnWorker{1, WorkerId(line.Word(1)), *action, "ann", line.text});
      return;
    }
    if (verb == "retire") return Retire(line);
    if (verb == "release_sweep") {
      effects_ = world_.Do(domain::ReleaseSweep{1, SweepId(line.Word(1)), "ann"});
      return;
    }
    if (verb == "restored") return Restored(line);
    if (verb == "progress") {
      effects_ = world_.Do(domain::RunProgressed{KeyOf(line.Word(1))});
      return;
    }
    if (verb == "rung") {
      effects_ = world_.Do(domain::RungReached{KeyOf(line.Word(1)), std::stoll(line.Word(2)), std::stoll(line.Word(3)), std::stod(line.Word(4))});
      return;
    }
    if (verb == "stop" || verb == "pause" || verb == "resume") return Act(line);
    if (verb == "verdict" || verb == "judged") return FromTheLane(line);
    Report(line);
  }

  std::vector<std::string> TakeProblems() {
    for (const std::string& broken : world_.broken()) problems_.push_back(broken);
    return std::exchange(problems_, {});
  }
  bool HasBroken() const { return !world_.broken().empty(); }
  bool DriveToEnd() { return world_.DriveToEnd(); }

 private:
  void Fail(const std::string& problem) { problems_.push_back(problem); }

  // "s1.2" is the second run of sweep s1, "s1.2g3" its third generation.
  RunId RunOf(const std::string& name) const {
    const auto dot = name.find('.');
    const auto g = name.find('g', dot);
    const std::string cell = name.substr(0, g);
    const std::int64_t generation = g == std::string::npos ? 1 : std::stoll(name.substr(g + 1));
    return domain::MakeRunId(SweepId(name.substr(0, dot)), CellId("cell-" + cell), generation);
  }
  // "s1.2@3".
  AttemptKey KeyOf(const std::string& name) const {
    const auto at = name.find('@');
    return {RunOf(name.substr(0, at)), static_cast<AttemptNumber>(std::stoul(name.substr(at + 1)))};
  }

  void Submit(const Line& line) {
    domain::SubmitSweep submit;
    submit.request = 1;
    submit.proposed_id = SweepId(line.Word(1));
    submit.idempotency_key = line.Option("key", line.Word(1));
    submit.spec.name = "sweep";
    submit.spec.owner = line.Option("owner", "ann");
    submit.spec.yaml = line.Option("yaml", "text");
    submit.spec.priority = line.Number("priority", 0);
    submit.spec.max_concurrent_runs = line.Number("cap", 0);
    const std::string halving = line.Option("halving", "none");
    if (halving != "none") {
      submit.spec.early_stopping.method = halving == "sha" ? domain::Halving::kSync : domain::Halving::kAsync;
      submit.spec.early_stopping.min_steps = line.Number("min_steps", 10);
      submit.spec.early_stopping.reduction_factor = line.Number("eta", 3);
    }
    const std::string content = line.Option("content", line.Word(1));
    for (std::int64_t i = 1; i <= line.Number("runs", 1); ++i) {
      submit.spec.runs.push_back(MakeRunSpec(StrCat(content, ".", i), line.Number("machines", 1), line.Number("ranks", 1),
                                             line.Number("steps", 100), line.Number("failures", 2)));
      domain::RunSpec& run = submit.spec.runs.back();
      run.limits = {line.Number("max_duration", 0), line.Number("stall_limit", 0)};
      run.retries.out_of_memory = line.Option("retry_oom") == "yes";
      run.early_stopping = submit.spec.early_stopping;
    }
    effects_ = world_.Do(submit);
  }

  void Join(const Line& line) {
    domain::WorkerJoined joined;
    const WorkerId worker(line.Word(1));
    const Worker* known = world_.state().FindWorker(worker);
    joined.info = MakeWorkerInfo(line.Word(1), static_cast<std::int32_t>(line.Number("slots", known == nullptr ? 1 : known->info.slots)));
    if (line.Option("peers") == "no") joined.info.peer_address.clear();
    joined.incarnation = world_.NextIncarnation(worker);
    if (line.options.contains("incarnation")) joined.incarnation = static_cast<std::uint64_t>(line.Number("incarnation", 0));
    std::istringstream in(line.Option("has"));
    for (std::string name; std::getline(in, name, ',');) joined.live_attempts.push_back(KeyOf(name));
    effects_ = world_.Do(joined);
  }

  // retire RUN 10,20 ~ why: the run's checkpoints of these steps.
  void Retire(const Line& line) {
    domain::RetireCheckpoints event{RunOf(line.Word(1)), {}, line.text};
    std::istringstream in(line.Word(2));
    for (std::string step; std::getline(in, step, ',');) {
      for (const domain::Checkpoint& checkpoint : world_.state().FindRun(event.run)->checkpoints) {
        if (checkpoint.step == std::stoll(step)) event.checkpoints.push_back({checkpoint.attempt, checkpoint.step});
      }
    }
    effects_ = world_.Do(event);
  }

  // restored [highest=N] s1.1=STEP ...: the last step whose sample the store holds.
  void Restored(const Line& line) {
    domain::StoreRestored event;
    event.highest_attempt = static_cast<AttemptNumber>(line.Number("highest", 0));
    event.reason = "the store was restored";
    for (const auto& [name, value] : line.options) {
      if (name != "highest") event.samples.push_back({RunOf(name), std::stoll(value)});
    }
    effects_ = world_.Do(event);
  }

  void Act(const Line& line) {
    const std::string& verb = line.words.front();
    const auto action = verb == "stop" ? domain::RunAction::kStop : verb == "pause" ? domain::RunAction::kPause : domain::RunAction::kResume;
    effects_ = world_.Do(domain::ActOnRun{1, RunOf(line.Word(1)), action, "ann"});
  }

  void FromTheLane(const Line& line) {
    const AttemptKey key = KeyOf(line.Word(1));
    const std::int64_t step = std::stoll(line.Word(2));
    if (line.words.front() == "judged") {
      effects_ = world_.Do(domain::RunJudged{key, step});
      return;
    }
    domain::Verdict verdict;
    verdict.attempt = key.attempt;
    verdict.step = step;
    verdict.reason = *domain::ParseHaltReason(line.Word(3).empty() ? "collapse" : line.Word(3));
    verdict.explanation = StrCat("fired at step ", step);
    verdict.rule = line.Option("rule", "collapse.whole_layer");
    verdict.action = *domain::ParseRuleAction(line.Option("action", "stop_and_keep"));
    verdict.steps = {line.Number("since", step), step};
    verdict.values = {0.0, 0.0};
    effects_ = world_.Do(domain::VerdictReached{key.run, verdict});
  }

  // started|ended|checkpoint WORKER ATTEMPT ...
  void Report(const Line& line) {
    const std::string& verb = line.words.front();
    const WorkerId worker(line.Word(1));
    const AttemptKey key = KeyOf(line.Word(2));
    last_report_ = next_report_++;
    if (verb == "started") {
      effects_ = world_.Do(domain::AttemptStarted{worker, last_report_, key});
    } else if (verb == "ended") {
      domain::AttemptEnd end;
      end.cause = *domain::ParseEndCause(line.Word(3));
      end.last_step = line.Word(4).empty() ? 0 : std::stoll(line.Word(4));
      effects_ = world_.Do(domain::AttemptEnded{worker, last_report_, key, end});
    } else if (verb == "checkpoint") {
      const std::int64_t step = std::stoll(line.Word(3));
      const std::int64_t best = line.Number("best", 0);
      effects_ = world_.Do(domain::CheckpointPublished{worker, last_report_, key, {key.attempt, step, StrCat("step-", step), 1, "h", best}});
    } else {
      Fail(StrCat("unknown command ", verb));
      return;
    }
    if (!TakeEffect(StrCat("ack ", worker.value(), " ", last_report_))) Fail("the report was not acknowledged");
  }

  // Effects as text, the form in which a script expects them.
  std::string TextOf(const domain::Effect& effect) const {
    if (const auto* launch = std::get_if<domain::LaunchAttempt>(&effect)) {
      return StrCat("launch ", launch->worker.value(), " ", launch->key.ToString(), " from=", launch->resume_from.step);
    }
    if (const auto* stop = std::get_if<domain::StopAttempt>(&effect)) return StrCat("stop ", stop->worker.value(), " ", stop->key.ToString());
    if (const auto* forget = std::get_if<domain::ForgetAttempt>(&effect)) {
      return StrCat("forget ", forget->worker.value(), " ", forget->key.ToString());
    }
    if (const auto* ack = std::get_if<domain::AcknowledgeReport>(&effect)) return StrCat("ack ", ack->worker.value(), " ", ack->report);
    if (const auto* judge = std::get_if<domain::JudgeThrough>(&effect)) return StrCat("judge ", judge->key.ToString(), " ", judge->last_step);
    if (const auto* begin = std::get_if<domain::BeginAttempt>(&effect)) return StrCat("begin ", begin->key.ToString(), " ", begin->resume_step);
    const auto& reply = std::get<domain::Reply>(effect);
    return StrCat("reply ", CodeText(reply.status), " ", reply.id);
  }

  bool TakeEffect(const std::string& text) {
    for (auto effect = effects_.begin(); effect != effects_.end(); ++effect) {
      if (TextOf(*effect) != text) continue;
      effects_.erase(effect);
      return true;
    }
    return false;
  }
  void ExpectEffect(const std::string& text) {
    if (TakeEffect(text)) return;
    std::string had;
    for (const domain::Effect& effect : effects_) StrAppend(&had, "\n      ", TextOf(effect));
    Fail(StrCat("no effect \"", text, "\"; there are", had.empty() ? " none" : had));
  }

  void Expect(const Line& line) {
    const std::string what = line.Word(1);
    if (what == "run") return ExpectRun(line);
    if (what == "worker") {
      const Worker* worker = world_.state().FindWorker(WorkerId(line.Word(2)));
      if (worker == nullptr || worker->StatusText() != line.Word(3)) Fail(StrCat("worker is ", worker == nullptr ? "unknown" : worker->StatusText()));
      if (worker != nullptr && worker->quarantine_reason.find(line.text) == std::string::npos) Fail(StrCat("the reason is ", worker->quarantine_reason));
    } else if (what == "none") {
      for (const domain::Effect& effect : effects_) Fail(StrCat("unexpected effect ", TextOf(effect)));
    } else if (what == "reply") {
      ExpectReply(line);
    } else if (what == "launch") {
      ExpectEffect(StrCat("launch ", line.Word(2), " ", KeyOf(line.Word(3)).ToString(), " from=", line.Number("from", 0)));
    } else if (what == "stop" || what == "forget") {
      ExpectEffect(StrCat(what, " ", line.Word(2), " ", KeyOf(line.Word(3)).ToString()));
    } else if (what == "judge" || what == "begin") {
      ExpectEffect(StrCat(what, " ", KeyOf(line.Word(2)).ToString(), " ", line.Word(3)));
    } else {
      Fail(StrCat("cannot expect ", what));
    }
  }

  void ExpectReply(const Line& line) {
    for (auto effect = effects_.begin(); effect != effects_.end(); ++effect) {
      const auto* reply = std::get_if<domain::Reply>(&*effect);
      if (reply == nullptr) continue;
      if (CodeText(reply->status) != line.Word(2)) Fail(StrCat("the reply is ", reply->status.ToString()));
      if (line.options.contains("sweep") && reply->id != line.Option("sweep")) Fail(StrCat("the reply names ", reply->id));
      if (line.options.contains("run") && reply->id != RunOf(line.Option("run")).value()) Fail(StrCat("the reply names ", reply->id));
      const std::string message(reply->status.message());
      if (message.find(line.text) == std::string::npos) Fail(StrCat("the reply says \"", message, "\""));
      effects_.erase(effect);
      return;
    }
    Fail("no reply");
  }

  void ExpectRun(const Line& line) {
    const Run* run = world_.state().FindRun(RunOf(line.Word(2)));
    if (run == nullptr) return Fail("no such run");
    std::string is = std::string(ToString(run->state));
    if (is != line.Word(3)) Fail(StrCat("the run is ", is, " (", run->reason, ")"));
    const auto check = [&](const std::string& name, const std::string& value) {
      if (line.options.contains(name) && line.Option(name) != value) Fail(StrCat(name, " is ", value));
    };
    check("attempt", StrCat(run->attempt));
    check("failures", StrCat(run->failures));
    check("halt", std::string(ToString(run->halt_reason)));
    check("failure", std::string(ToString(run->failure)));
    check("result", StrCat(run->result_step));
    check("aged", run->aged ? "yes" : "no");
    check("rung", run->rungs.empty() ? "" : StrCat(run->rungs.size() - 1, ",", ToString(run->rungs.back().outcome)));
    check("judged", run->fully_judged ? "yes" : "no");
    check("generation", StrCat(run->generation));
    check("checkpoint", StrCat(run->checkpoints.empty() ? 0 : run->checkpoints.back().step));
    std::string steps;
    for (const domain::Checkpoint& checkpoint : run->checkpoints) StrAppend(&steps, steps.empty() ? "" : ",", checkpoint.step);
    check("checkpoints", steps);
    std::string retired;
    for (const RetiredCheckpoint& gone : run->retired) StrAppend(&retired, retired.empty() ? "" : ",", gone.checkpoint.step);
    check("retired", retired);
    const Wait wait = DescribeWait(world_.state(), run->id);
    check("never", wait.never ? "yes" : "no");
    check("stored_never", run->wait.has_value() && run->wait->never ? "yes" : "no");
    const std::string reason = run->state == domain::RunState::kQueued ? wait.reason : run->reason;
    if (reason.find(line.text) == std::string::npos) Fail(StrCat("the reason is \"", reason, "\""));
  }

  World world_;
  std::vector<domain::Effect> effects_;
  std::vector<std::string> problems_;
  std::uint64_t next_report_ = 1;
  std::uint64_t last_report_ = 0;
};

}  // namespace

std::vector<std::string> RunScenario(const std::string& script) {
  std::vector<std::string> problems;
  CoreConfig config;
  config.backoff_ms = 0;
  std::optional<Scenario> scenario;
  std::istringstream in(script);
  int number = 0;
  for (std::string text; std::getline(in, text);) {
    ++number;
    const Line line = ParseLine(text);
    if (line.words.empty()) continue;
    if (line.words.front() == "config") {
      config.lease_ms = line.Number("lease_ms", config.lease_ms);
      config.backoff_ms = line.Number("backoff_ms", config.backoff_ms);
      config.max_checkpoints_kept = static_cast<std::size_t>(line.Number("checkpoints_kept", 20));
      config.age_limit_ms = line.Number("age_limit_ms", config.age_limit_ms);
      config.min_run_before_preempt_ms = line.Number("min_run_ms", config.min_run_before_preempt_ms);
      config.quarantine_after = line.Number("quarantine_after", config.quarantine_after);
      config.quarantine_ms = line.Number("quarantine_ms", config.quarantine_ms);
      config.max_lost_in_a_row = line.Number("max_lost", config.max_lost_in_a_row);
      continue;
    }
    if (!scenario.has_value()) scenario.emplace(config);
    scenario->Do(line);
    const bool broken = scenario->HasBroken();
    for (const std::string& problem : scenario->TakeProblems()) problems.push_back(StrCat("line ", number, " (", text, "): ", problem));
    if (broken) return problems;
  }
  if (!scenario.has_value()) return {"the scenario is empty"};
  if (!scenario->DriveToEnd()) problems.push_back("after the last line: not every run ended");
  for (const std::string& problem : scenario->TakeProblems()) problems.push_back(StrCat("after the last line: ", problem));
  return problems;
}

}  // namespace entrain::core
