// Event lines and control lines: one JSON object each.
#include <string>
#include <type_traits>

#include "base/status_macros.h"
#include "base/strings.h"
#include "worker/attempt/attempt_folder.h"
#include "worker/attempt/json_fields.h"

namespace entrain::attempt {
namespace {

std::string Encode(const GangReady& ready) {
  return JsonWriter().Add("type", "ready").Add("resume_step", ready.resume_step).Finish();
}

std::string Encode(const domain::EntropySample& sample) {
  return JsonWriter()
      .Add("type", "step")
      .Add("step", sample.step)
      .Add("loss", sample.loss)
      .Add("reg", sample.reg)
      .Add("grad_norm", sample.grad_norm)
      .Add("lr", sample.lr)
      .Add("tokens", sample.tokens)
      .Add("tokens_per_second", sample.tokens_per_second)
      .Add("wall_ms", sample.wall_ms)
      .Add("entropy_nats", sample.entropy_nats)
      .Add("max_abs_score", sample.max_abs_score)
      .Add("theta", sample.theta)
      .Finish();
}

std::string Encode(const domain::Evaluation& evaluation) {
  return JsonWriter()
      .Add("type", "evaluation")
      .Add("step", evaluation.step)
      .Add("loss", evaluation.loss)
      .Add("tokens", evaluation.tokens)
      .Add("wall_ms", evaluation.wall_ms)
      .Finish();
}

std::string Encode(const CheckpointWritten& written) {
  return JsonWriter()
      .Add("type", "checkpoint")
      .Add("step", written.step)
      .Add("folder", written.folder)
      .Add("bytes", written.bytes)
      .Add("hash", written.hash)
      .Add("best_step", written.best_step)
      .Finish();
}

absl::StatusOr<AttemptEvent> DecodeReady(JsonReader& fields) {
  GangReady ready;
  ENTRAIN_RETURN_IF_ERROR(fields.Get("resume_step", &ready.resume_step).status());
  return ready;
}

absl::StatusOr<AttemptEvent> DecodeStep(JsonReader& fields) {
  domain::EntropySample sample;
  fields.Get("step", &sample.step)
      .Get("loss", &sample.loss)
      .Get("reg", &sample.reg)
      .Get("grad_norm", &sample.grad_norm)
      .Get("lr", &sample.lr)
      .Get("tokens", &sample.tokens)
      .Get("tokens_per_second", &sample.tokens_per_second)
      .Get("wall_ms", &sample.wall_ms)
      .Get("entropy_nats", &sample.entropy_nats)
      .Get("max_abs_score", &sample.max_abs_score)
      .Get("theta", &sample.theta);
  ENTRAIN_RETURN_IF_ERROR(fields.status());
  return sample;
}

absl::StatusOr<AttemptEvent> DecodeEvaluation(JsonReader& fields) {
  domain::Evaluation evaluation;
  fields.Get("step", &evaluation.step)
      .Get("loss", &evaluation.loss)
      .Get("tokens", &evaluation.tokens)
      .Get("wall_ms", &evaluation.wall_ms);
  ENTRAIN_RETURN_IF_ERROR(fields.status());
  return evaluation;
}

absl::StatusOr<AttemptEvent> DecodeCheckpoint(JsonReader& fields) {
  CheckpointWritten written;
  fields.Get("step", &written.step)
      .Get("folder", &written.folder)
      .Get("bytes", &written.bytes)
      .Get("hash", &written.hash);
  if (fields.Has("best_step")) fields.Get("best_step", &written.best_step);
  ENTRAIN_RETURN_IF_ERROR(fields.status());
  return written;
}

}  // namespace

std::string EncodeEvent(const AttemptEvent& event) {
  return std::visit([](const auto& body) { return Encode(body); }, event);
}

absl::StatusOr<AttemptEvent> DecodeEvent(std::string_view line) {
  ENTRAIN_ASSIGN_OR_RETURN(JsonReader fields, JsonReader::Parse(line, "event"));
  std::string type;
  ENTRAIN_RETURN_IF_ERROR(fields.Get("type", &type).status());
  if (type == "step") return DecodeStep(fields);
  if (type == "evaluation") return DecodeEvaluation(fields);
  if (type == "checkpoint") return DecodeCheckpoint(fields);
  if (type == "ready") return DecodeReady(fields);
  return fields.Problem("type", StrCat("is '", type, "'; known are ready, step, evaluation and checkpoint"));
}

std::string EncodeCommand(const StopCommand& command) {
  return JsonWriter()
      .Add("command", "stop")
      .Add("mode", command.mode == domain::StopMode::kNow ? "now" : "checkpoint")
      .Add("reason", command.reason)
      .Finish();
}

absl::StatusOr<StopCommand> DecodeCommand(std::string_view line) {
  ENTRAIN_ASSIGN_OR_RETURN(JsonReader fields, JsonReader::Parse(line, "command"));
  std::string name;
  std::string mode;
  StopCommand command;
  ENTRAIN_RETURN_IF_ERROR(fields.Get("command", &name).Get("mode", &mode).Get("reason", &command.reason).status());
  if (name != "stop") return fields.Problem("command", StrCat("is '", name, "'; known is stop"));
  if (mode != "now" && mode != "checkpoint") {
    return fields.Problem("mode", StrCat("is '", mode, "'; known are checkpoint and now"));
  }
  command.mode = mode == "now" ? domain::StopMode::kNow : domain::StopMode::kCheckpoint;
  return command;
}

}  // namespace entrain::attempt
