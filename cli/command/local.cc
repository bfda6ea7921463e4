#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "CLI/CLI.hpp"
#include "base/files.h"
#include "base/hash.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "cli/collect.h"
#include "cli/command/commands.h"
#include "cli/format.h"
#include "cli/interrupts.h"
#include "cli/local/fleet.h"
#include "cli/local/folder.h"
#include "cli/session.h"
#include "cli/sweep_file.h"
#include "cli/watching.h"
#include "reports/report.h"

namespace entrain::cli::command {
namespace {

constexpr std::int64_t kFrameMs = 250;
// How long a note about a restart stays on the screen.
constexpr std::int64_t kNoteMs = 10'000;
// How long a sweep whose rest can never start is given, so that a worker that just came up counts.
constexpr std::int64_t kNeverPatienceMs = 5'000;

struct LocalOptions {
  std::string file;
  std::string dir = "entrain-data";
  std::string data;
  std::string slots = "auto";
  bool no_watch = false;
};

// How the middle part, from submit to the last run's end, came out.
struct Course {
  absl::Status status;
  std::string sweep_id;
  v1::Sweep sweep;
  int signal = 0;
  std::string never;  // why the rest can never start; empty otherwise
};

// The sweep's part of one `entrain local`: submits, shows, keeps the children alive.
class LocalRun {
 public:
  LocalRun(Session* session, const LocalOptions& options, local::Fleet* fleet, const Interrupts* interrupts)
      : session_(session), fleet_(fleet), interrupts_(interrupts), display_(options.no_watch || session->json(), session->Asker()) {}

  Course Follow(const v1::SubmitRequest& request) {
    Course course;
    client_ = std::make_unique<Client>(fleet_->coordinator_address());
    course.status = Submit(request, &course);
    if (!course.status.ok() || course.signal != 0) return course;
    display_.TakeKeys(client_.get(), true);
    display_.set_addresses(fleet_->MetricsText());
    follower_ = std::make_unique<Follower>(client_.get(), course.sweep_id);
    while (Continue(&course)) {
      const int signal = display_.Wait(*interrupts_, kFrameMs);
      if (signal == SIGINT || signal == SIGTERM || signal == SIGHUP) course.signal = signal;
    }
    return course;
  }

  // The frame as it stands, with what the program is doing.
  void Tell(const std::string& note) {
    if (follower_ == nullptr) return;
    const Follower::News news = follower_->Latest();
    // Where there is no terminal the seconds that pass are not worth a line each.
    display_.set_note(::isatty(STDOUT_FILENO) != 0 ? note : note.substr(0, note.rfind(" (")));
    if (news.any) display_.Show(ToView(news.update));
  }

  Client* client() { return client_.get(); }
  void EndFollowing() { follower_.reset(); }

 private:
  // A worker that has not said hello yet would make the coordinator warn of runs that nobody can hold.
  void AwaitWorker() {
    const std::int64_t deadline_ms = clock_.BootMs() + 5'000;
    while (clock_.BootMs() < deadline_ms) {
      const auto workers = client_->ListWorkers();
      if (workers.ok() && workers->workers_size() > 0 && workers->workers(0).state() == "live") return;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }

  absl::Status Submit(const v1::SubmitRequest& request, Course* course) {
    AwaitWorker();
    const std::int64_t deadline_ms = clock_.BootMs() + 30'000;
    for (;;) {
      const auto response = client_->Submit(request);
      if (response.ok()) {
        course->sweep_id = response->sweep_id();
        for (const std::string& warning : response->warnings()) session_->Remark(StrCat("warning: ", warning));
        return absl::OkStatus();
      }
      if (!absl::IsUnavailable(response.status()) || clock_.BootMs() > deadline_ms) return response.status();
      std::string note;
      ENTRAIN_RETURN_IF_ERROR(fleet_->Tend(&note));
      const int signal = interrupts_->Wait(kFrameMs);
      if (signal == SIGINT || signal == SIGTERM || signal == SIGHUP) {
        course->signal = signal;
        return absl::OkStatus();
      }
    }
  }

  // One look at everything; false when the course is over.
  bool Continue(Course* course) {
    if (course->signal != 0) return false;
    std::string note;
    course->status = fleet_->Tend(&note);
    if (!course->status.ok()) return false;
    const Follower::News news = follower_->Latest();
    if (!note.empty()) Hold(note);
    else if (clock_.BootMs() > note_until_ms_) note_ = AwayNote(news, client_->address());
    display_.set_note(note_);
    if (news.any) {
      display_.Show(ToView(news.update));
      course->sweep = news.update.sweep();
    }
    course->status = news.refused;
    if (!news.refused.ok() || news.finished) return false;
    return !OnlyNeverLeft(news, &course->never);
  }

  void Hold(const std::string& note) {
    note_ = note;
    note_until_ms_ = clock_.BootMs() + kNoteMs;
  }

  // Whether every run that is not final can never start on this machine, for a while.
  bool OnlyNeverLeft(const Follower::News& news, std::string* reason) {
    int waiting = 0;
    for (const v1::RunSummary& run : news.update.sweep().runs()) {
      const auto state = domain::ParseRunState(run.state());
      if (state.has_value() && domain::IsFinal(*state)) continue;
      if (!run.never_placeable() || news.update.workers_size() == 0) waiting = -1'000'000;
      ++waiting;
      if (run.never_placeable()) *reason = StrCat(run.label(), ": ", run.reason());
    }
    if (waiting <= 0) {
      never_since_ms_ = -1;
      reason->clear();
      return false;
    }
    if (never_since_ms_ < 0) never_since_ms_ = clock_.BootMs();
    if (clock_.BootMs() - never_since_ms_ >= kNeverPatienceMs) return true;
    reason->clear();
    return false;
  }

  Session* session_;
  local::Fleet* fleet_;
  const Interrupts* interrupts_;
  SystemClock clock_;
  std::unique_ptr<Client> client_;
  Display display_;  // uses the client
  std::unique_ptr<Follower> follower_;
  std::string note_;
  std::int64_t note_until_ms_ = 0;
  std::int64_t never_since_ms_ = -1;
};

// The same file with the same content and data in the same folder is the same sweep, so that the command continues it.
std::string KeyOf(const Preparation& preparation) {
  return "local-" + HashHex(StrCat(preparation.file.absolute, "\n", preparation.file.yaml, "\n",
                                   preparation.binding.dataset.ref.ToString()));
}

struct Result {
  std::string text;
  nlohmann::json json;
};

absl::StatusOr<Result> WriteReport(Client* client, const std::string& sweep_id, const local::Folder& folder) {
  ENTRAIN_ASSIGN_OR_RETURN(const reports::SweepData sweep, CollectSweep(client, sweep_id));
  const std::string path = folder.Path(StrCat("report-", ReportStem(sweep), ".html"));
  ENTRAIN_RETURN_IF_ERROR(WriteFileAtomically(path, reports::ReportHtml(sweep)));
  const std::vector<reports::LeaderboardRow> rows = reports::MakeLeaderboard(sweep);
  Result result;
  StrAppend(&result.text, "\n", reports::LeaderboardText(rows));
  for (const std::string& line : reports::SummaryLines(sweep)) StrAppend(&result.text, Printable(line), "\n");
  StrAppend(&result.text, "\nreport: ", path, "\n");
  result.json = {{"sweep_id", sweep.id}, {"leaderboard", nlohmann::json::parse(reports::LeaderboardJson(rows))}, {"report", path}};
  return result;
}

// From the started children to their end; the exit code.
int Work(Session* session, const LocalOptions& options, const local::Folder& folder, const v1::SubmitRequest& request) {
  const SystemClock clock;
  const Interrupts interrupts;
  local::Fleet fleet(&folder, options.slots, &clock, &interrupts);
  std::string told;
  const auto tell_before = [&](const std::string& note) {
    if (note != told && note.find("starting the") == std::string::npos) session->Remark(note);
    told = note;
  };
  const absl::Status started = fleet.Start(tell_before);
  if (!started.ok()) {
    fleet.End(false, tell_before);
    return absl::IsCancelled(started) ? static_cast<int>(kExitInterrupted) : session->Fail(started);
  }
  std::optional<LocalRun> run(std::in_place, session, options, &fleet, &interrupts);
  const Course course = run->Follow(request);
  absl::StatusOr<Result> result = Result();
  if (course.status.ok() && course.signal == 0) result = WriteReport(run->client(), course.sweep_id, folder);
  const bool checkpoints = course.signal != 0;
  fleet.End(checkpoints, [&](const std::string& note) { run->Tell(note); });
  run->Tell("");
  run.reset();  // the terminal is ours again
  if (!course.status.ok()) {
    return session->Fail(course.status, absl::IsInvalidArgument(course.status) ? kExitBadSweep : kExitError);
  }
  if (course.signal != 0) {
    session->Remark("ended; the same command continues the sweep");
    return course.signal == SIGINT ? kExitInterrupted : kExitTerminated;
  }
  if (!result.ok()) return session->Fail(result.status(), kExitError);
  session->Print(result->text, result->json);
  if (course.never.empty()) return ExitCodeOfSweep(course.sweep);
  return session->Fail(absl::FailedPreconditionError(StrCat("can never start on this machine: ", course.never)), kExitFailed);
}

int Local(Session* session, const LocalOptions& options) {
  if (const int code = CheckSweepFile(*session, options.file, options.data); code != kExitOk) return code;
  const absl::StatusOr<local::Folder> folder = local::Folder::Open(options.dir);
  if (!folder.ok()) return session->Fail(folder.status());
  Preparation preparation = PrepareSubmission(*session, options.file, options.data, folder->Path("artifacts"));
  if (!preparation.request.has_value()) return preparation.exit_code;
  preparation.request->set_idempotency_key(KeyOf(preparation));
  return Work(session, options, *folder, *preparation.request);
}

std::string CheckSlots(const std::string& text) {
  const bool number = !text.empty() && text.size() < 6 && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  return text == "auto" || (number && std::stoi(text) > 0) ? "" : "is auto or a number from 1";
}

}  // namespace

void AddLocal(CLI::App* app, Session* session) {
  const auto options = std::make_shared<LocalOptions>();
  CLI::App* command = AddCommand(app, session, "local",
      {"Trains a sweep on this machine, nothing to set up",
       "Starts a coordinator and a worker, shows the sweep live, writes the report and ends them. Ctrl-C checkpoints every run and ends\n"
       "everything; the same command in the same folder continues. Exit codes as of `entrain wait`.",
       "  entrain local sweep.yaml\n  entrain local sweep.yaml --data ~/texts\n  entrain local sweep.yaml --dir /scratch/run1 --slots 4"});
  command->add_option("SWEEP.yaml", options->file, "Sweep file (YAML)")->required();
  command->add_option("--dir", options->dir, "Folder for everything that is kept")->capture_default_str();
  command->add_option("--data", options->data, "Text to train on instead of the file's data path");
  command->add_option("--slots", options->slots, "Slots of the worker: a number, or auto for what the machine offers")
      ->check(CheckSlots)
      ->capture_default_str();
  command->add_flag("--no-watch", options->no_watch, "No live view, only the leaderboard at the end");
  command->callback([=] { session->command = [=] { return Local(session, *options); }; });
}

}  // namespace entrain::cli::command
