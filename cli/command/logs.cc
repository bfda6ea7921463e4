#include <cstdio>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "base/strings.h"
#include "cli/command/commands.h"
#include "cli/format.h"
#include "cli/session.h"

namespace entrain::cli::command {
namespace {

struct LogsOptions {
  std::string run;
  std::uint32_t attempt = 0;
  bool follow = false;
};

// One JSON value whatever the length: an array that is written as its lines come.
class LineWriter {
 public:
  explicit LineWriter(bool json) : json_(json) {
    if (json_) std::fputs("[", stdout);
  }
  ~LineWriter() {
    if (json_) std::fputs("\n]\n", stdout);
    std::fflush(stdout);
  }
  void Write(const v1::LogLine& line) {
    if (json_) {
      const nlohmann::json value = {{"attempt", line.attempt()}, {"text", line.text()}};
      std::printf("%s\n  %s", first_ ? "" : ",", value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
      first_ = false;
    } else {
      std::printf("%s\n", Printable(line.text()).c_str());
    }
    std::fflush(stdout);
  }

 private:
  bool json_;
  bool first_ = true;
};

int Logs(Session* session, const LogsOptions& options) {
  v1::LogsRequest request;
  request.set_run_id(options.run);
  request.set_attempt(options.attempt);
  request.set_follow(options.follow);
  StreamStop never;
  absl::Status status;
  std::unique_ptr<LineWriter> writer;
  status = session->client().Logs(request, &never, [&](const v1::LogLine& line) {
    if (writer == nullptr) writer = std::make_unique<LineWriter>(session->json());
    writer->Write(line);
  });
  if (status.ok() && writer == nullptr) writer = std::make_unique<LineWriter>(session->json());
  writer.reset();
  return status.ok() ? static_cast<int>(kExitOk) : session->Fail(status);
}

}  // namespace

void AddLogs(CLI::App* app, Session* session) {
  const auto options = std::make_shared<LogsOptions>();
  CLI::App* command = AddCommand(app, session, "logs",
      {"Prints what a run's ranks wrote to standard output and error",
       "",
       "  entrain logs r4f2\n  entrain logs \"SM seed=1\" -f\n  entrain logs r4f2 --attempt 2"});
  command->add_option("RUN", options->run, "An id, the beginning of one, or a label of the newest sweep")->required();
  command->add_option("--attempt", options->attempt, "Only this attempt; 0: all")->capture_default_str();
  command->add_flag("-f,--follow", options->follow, "Go on with new lines until the run is final");
  command->callback([=] { session->command = [=] { return Logs(session, *options); }; });
}

}  // namespace entrain::cli::command
