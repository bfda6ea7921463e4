// What the fake trainer of these tests is told to do, as the run.json of its attempt.
#pragma once

#include <cstdint>
#include <string>

#include "worker/attempt/control_socket.h"
#include "worker/attempt/json_fields.h"

namespace entrain::launcher {

struct FakeRun {
  std::int64_t steps = 3;
  std::int64_t step_ms = 1;
  std::int64_t checkpoint_interval = 0;
  bool ready = true;          // say that the gang is up
  bool leave_record = true;
  std::string end = "completed";  // the terminal cause of the rank `end_rank`, or of all (-1)
  std::int64_t end_rank = -1;
  std::int64_t exit_status = 0;
  bool ignore_signals = false;  // SIGTERM has no effect
  bool strays = false;          // every rank leaves a child that made a session of its own

  std::string ToJson() const {
    return attempt::JsonWriter()
        .Add("steps", steps).Add("step_ms", step_ms).Add("checkpoint_interval", checkpoint_interval)
        .Add("ready", ready).Add("leave_record", leave_record).Add("end", std::string_view(end)).Add("end_rank", end_rank)
        .Add("exit_status", exit_status).Add("ignore_signals", ignore_signals).Add("strays", strays)
        .Finish();
  }
  static absl::StatusOr<FakeRun> Parse(const std::string& json) {
    absl::StatusOr<attempt::JsonReader> fields = attempt::JsonReader::Parse(json, "run.json");
    if (!fields.ok()) return fields.status();
    FakeRun run;
    fields->Get("steps", &run.steps).Get("step_ms", &run.step_ms).Get("checkpoint_interval", &run.checkpoint_interval)
        .Get("ready", &run.ready).Get("leave_record", &run.leave_record).Get("end", &run.end).Get("end_rank", &run.end_rank)
        .Get("exit_status", &run.exit_status).Get("ignore_signals", &run.ignore_signals).Get("strays", &run.strays);
    if (!fields->status().ok()) return fields->status();
    return run;
  }
};

}  // namespace entrain::launcher
