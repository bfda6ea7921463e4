#include "proto/convert.h"

#include <string>
#include <string_view>

#include "base/status_macros.h"
#include "base/strings.h"
#include "proto/journal.h"

namespace entrain::wire {
namespace {

absl::Status BadField(std::string_view field, std::string_view problem) {
  return absl::InvalidArgumentError(StrCat(field, " ", problem));
}

absl::Status RequireNotNegative(std::int64_t value, std::string_view field) {
  if (value >= 0) return absl::OkStatus();
  return BadField(field, StrCat("is negative: ", value));
}

absl::Status RequireAtMost(std::int64_t count, std::int64_t limit, std::string_view field) {
  if (count <= limit) return absl::OkStatus();
  return BadField(field, StrCat("has ", count, " entries, at most ", limit, " are allowed"));
}

absl::Status RequireText(const std::string& text, int limit, std::string_view field) {
  if (static_cast<int>(text.size()) <= limit) return absl::OkStatus();
  return BadField(field, StrCat("has ", text.size(), " bytes, at most ", limit, " are allowed"));
}

// Ids become file names and SQL keys: letters, digits, '-', '_' and '.', not starting with a dot.
absl::Status RequireId(const std::string& id, std::string_view field) {
  ENTRAIN_RETURN_IF_ERROR(RequireText(id, kMaxIdBytes, field));
  if (id.empty()) return BadField(field, "is empty");
  for (const char c : id) {
    const bool allowed = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
    if (!allowed) return BadField(field, "has a character other than letters, digits, '-', '_' and '.'");
  }
  if (id.front() == '.') return BadField(field, "starts with a dot");
  return absl::OkStatus();
}

absl::Status RequireInnerPath(const std::string& path, std::string_view field) {
  ENTRAIN_RETURN_IF_ERROR(RequireText(path, kMaxTextBytes, field));
  if (path.empty()) return absl::OkStatus();
  if (path.front() == '/') return BadField(field, "must be relative to the artifact root");
  std::string_view rest = path;
  while (!rest.empty()) {
    const std::size_t slash = rest.find('/');
    const std::string_view part = rest.substr(0, slash);
    if (part.empty() || part == "." || part == "..") return BadField(field, "leaves the artifact root or is not normal");
    rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
  }
  return absl::OkStatus();
}

template <typename Wire, typename T>
void CopyList(const std::vector<T>& from, Wire* to) {
  to->Assign(from.begin(), from.end());
}

template <typename T, typename Wire>
std::vector<T> ListOf(const Wire& from) {
  return std::vector<T>(from.begin(), from.end());
}

}  // namespace

v1::Sample ToWire(const domain::EntropySample& sample) {
  v1::Sample out;
  out.set_step(sample.step);
  out.set_loss(sample.loss);
  out.set_reg(sample.reg);
  out.set_grad_norm(sample.grad_norm);
  out.set_lr(sample.lr);
  out.set_tokens(sample.tokens);
  out.set_tokens_per_second(sample.tokens_per_second);
  out.set_wall_ms(sample.wall_ms);
  CopyList(sample.entropy_nats, out.mutable_entropy_nats());
  CopyList(sample.max_abs_score, out.mutable_max_abs_score());
  CopyList(sample.theta, out.mutable_theta());
  return out;
}

absl::StatusOr<domain::EntropySample> FromWire(const v1::Sample& sample) {
  if (sample.step() < 1) return BadField("sample.step", StrCat("must be at least 1, is ", sample.step()));
  ENTRAIN_RETURN_IF_ERROR(RequireNotNegative(sample.tokens(), "sample.tokens"));
  ENTRAIN_RETURN_IF_ERROR(RequireAtMost(sample.entropy_nats_size(), kMaxHeads, "sample.entropy_nats"));
  ENTRAIN_RETURN_IF_ERROR(RequireAtMost(sample.max_abs_score_size(), kMaxLayers, "sample.max_abs_score"));
  if (sample.theta_size() != 0 && sample.theta_size() != sample.entropy_nats_size()) {
    return BadField("sample.theta", StrCat("has ", sample.theta_size(), " entries for ", sample.entropy_nats_size(), " heads"));
  }
  domain::EntropySample out;
  out.step = sample.step();
  out.loss = sample.loss();
  out.reg = sample.reg();
  out.grad_norm = sample.grad_norm();
  out.lr = sample.lr();
  out.tokens = sample.tokens();
  out.tokens_per_second = sample.tokens_per_second();
  out.wall_ms = sample.wall_ms();
  out.entropy_nats = ListOf<float>(sample.entropy_nats());
  out.max_abs_score = ListOf<float>(sample.max_abs_score());
  out.theta = ListOf<float>(sample.theta());
  return out;
}

v1::Evaluation ToWire(const domain::Evaluation& evaluation) {
  v1::Evaluation out;
  out.set_step(evaluation.step);
  out.set_loss(evaluation.loss);
  out.set_tokens(evaluation.tokens);
  out.set_wall_ms(evaluation.wall_ms);
  return out;
}

absl::StatusOr<domain::Evaluation> FromWire(const v1::Evaluation& evaluation) {
  ENTRAIN_RETURN_IF_ERROR(RequireNotNegative(evaluation.step(), "evaluation.step"));
  ENTRAIN_RETURN_IF_ERROR(RequireNotNegative(evaluation.tokens(), "evaluation.tokens"));
  return domain::Evaluation{evaluation.step(), evaluation.loss(), evaluation.tokens(), evaluation.wall_ms()};
}

v1::Checkpoint ToWire(const domain::Checkpoint& checkpoint) {
  v1::Checkpoint out;
  out.set_attempt(checkpoint.attempt);
  out.set_step(checkpoint.step);
  out.set_path(checkpoint.path);
  out.set_bytes(checkpoint.bytes);
  out.set_hash(checkpoint.hash);
  out.set_best_step(checkpoint.best_step);
  return out;
}

absl::StatusOr<domain::Checkpoint> FromWire(const v1::Checkpoint& checkpoint) {
  ENTRAIN_RETURN_IF_ERROR(RequireNotNegative(checkpoint.step(), "checkpoint.step"));
  ENTRAIN_RETURN_IF_ERROR(RequireNotNegative(checkpoint.bytes(), "checkpoint.bytes"));
  ENTRAIN_RETURN_IF_ERROR(RequireInnerPath(checkpoint.path(), "checkpoint.path"));
  ENTRAIN_RETURN_IF_ERROR(RequireText(checkpoint.hash(), kMaxIdBytes, "checkpoint.hash"));
  ENTRAIN_RETURN_IF_ERROR(RequireNotNegative(checkpoint.best_step(), "checkpoint.best_step"));
  return domain::Checkpoint{checkpoint.attempt(), checkpoint.step(), checkpoint.path(),
                            checkpoint.bytes(),   checkpoint.hash(), checkpoint.best_step()};
}

v1::Verdict ToWire(const domain::Verdict& verdict) {
  v1::Verdict out;
  out.set_attempt(verdict.attempt);
  out.set_step(verdict.step);
  out.set_reason(std::string(domain::ToString(verdict.reason)));
  out.set_rule(verdict.rule);
  out.set_action(std::string(domain::ToString(verdict.action)));
  CopyList(verdict.layers, out.mutable_layers());
  CopyList(verdict.heads, out.mutable_heads());
  CopyList(verdict.steps, out.mutable_steps());
  CopyList(verdict.values, out.mutable_values());
  out.set_limit(verdict.limit);
  out.set_explanation(verdict.explanation);
  return out;
}

absl::StatusOr<domain::Verdict> FromWire(const v1::Verdict& verdict) {
  const auto reason = domain::ParseHaltReason(verdict.reason());
  if (!reason) return BadField("verdict.reason", StrCat("is not known: \"", verdict.reason(), "\""));
  ENTRAIN_RETURN_IF_ERROR(RequireNotNegative(verdict.step(), "verdict.step"));
  ENTRAIN_RETURN_IF_ERROR(RequireAtMost(verdict.heads_size(), kMaxHeads, "verdict.heads"));
  if (verdict.steps_size() != verdict.values_size()) {
    return BadField("verdict.values", StrCat("has ", verdict.values_size(), " entries for ", verdict.steps_size(), " steps"));
  }
  domain::Verdict out;
  // A coordinator of the version before knows one action.
  const auto action = domain::ParseRuleAction(verdict.action().empty() ? "stop_and_keep" : verdict.action());
  if (!action) return BadField("verdict.action", StrCat("is not known: \"", verdict.action(), "\""));
  out.action = *action;
  ENTRAIN_RETURN_IF_ERROR(RequireAtMost(verdict.layers_size(), kMaxHeads, "verdict.layers"));
  out.layers = ListOf<std::int32_t>(verdict.layers());
  out.attempt = verdict.attempt();
  out.step = verdict.step();
  out.reason = *reason;
  out.rule = verdict.rule();
  out.heads = ListOf<std::int32_t>(verdict.heads());
  out.steps = ListOf<std::int64_t>(verdict.steps());
  out.values = ListOf<double>(verdict.values());
  out.limit = verdict.limit();
  out.explanation = verdict.explanation();
  return out;
}

v1::AttemptKey ToWire(const domain::AttemptKey& key) {
  v1::AttemptKey out;
  out.set_run_id(key.run.value());
  out.set_attempt(key.attempt);
  return out;
}

absl::StatusOr<domain::AttemptKey> FromWire(const v1::AttemptKey& key) {
  ENTRAIN_RETURN_IF_ERROR(RequireId(key.run_id(), "key.run_id"));
  if (key.attempt() == 0) return BadField("key.attempt", "must be at least 1");
  return domain::AttemptKey{RunId(key.run_id()), key.attempt()};
}

WireGang ToWire(const domain::Gang& gang) {
  WireGang out;
  for (const domain::GangMember& member : gang.members) {
    v1::GangMember* wire = out.Add();
    wire->set_worker_id(member.worker.value());
    CopyList(member.slots, wire->mutable_slots());
  }
  return out;
}

absl::StatusOr<domain::Gang> FromWire(const WireGang& members) {
  if (members.empty()) return BadField("gang", "has no member");
  ENTRAIN_RETURN_IF_ERROR(RequireAtMost(members.size(), kMaxGangMembers, "gang"));
  domain::Gang gang;
  for (const v1::GangMember& member : members) {
    ENTRAIN_RETURN_IF_ERROR(RequireId(member.worker_id(), "gang.worker_id"));
    ENTRAIN_RETURN_IF_ERROR(RequireAtMost(member.slots_size(), kMaxSlotsPerWorker, "gang.slots"));
    for (const std::int32_t slot : member.slots()) ENTRAIN_RETURN_IF_ERROR(RequireNotNegative(slot, "gang.slots"));
    gang.members.push_back({WorkerId(member.worker_id()), ListOf<std::int32_t>(member.slots())});
  }
  return gang;
}

v1::AttemptEnded ToWire(const domain::AttemptEnd& end) {
  v1::AttemptEnded out;
  out.set_cause(std::string(domain::ToString(end.cause)));
  out.set_last_step(end.last_step);
  out.set_message(end.message);
  out.set_exit_code(end.exit_code);
  out.set_loss(end.loss);
  out.set_tokens(end.tokens);
  return out;
}

absl::StatusOr<domain::AttemptEnd> FromWire(const v1::AttemptEnded& end) {
  const auto cause = domain::ParseEndCause(end.cause());
  if (!cause) return BadField("ended.cause", StrCat("is not known: \"", end.cause(), "\""));
  ENTRAIN_RETURN_IF_ERROR(RequireNotNegative(end.last_step(), "ended.last_step"));
  ENTRAIN_RETURN_IF_ERROR(RequireNotNegative(end.tokens(), "ended.tokens"));
  ENTRAIN_RETURN_IF_ERROR(RequireText(end.message(), kMaxTextBytes, "ended.message"));
  return domain::AttemptEnd{*cause, end.last_step(), end.message(), end.exit_code(), end.loss(), end.tokens()};
}

v1::Hello ToWire(const domain::WorkerInfo& info) {
  v1::Hello out;
  out.set_worker_id(info.id.value());
  out.set_name(info.name);
  out.set_version(info.version);
  out.set_slot_kind(std::string(ToString(info.slot_kind)));
  out.set_slots(info.slots);
  out.set_device(info.device);
  out.set_peer_address(info.peer_address);
  return out;
}

absl::StatusOr<domain::WorkerInfo> FromWire(const v1::Hello& hello) {
  ENTRAIN_RETURN_IF_ERROR(RequireId(hello.worker_id(), "hello.worker_id"));
  ENTRAIN_RETURN_IF_ERROR(RequireText(hello.name(), kMaxIdBytes * 4, "hello.name"));
  ENTRAIN_RETURN_IF_ERROR(RequireText(hello.version(), kMaxIdBytes, "hello.version"));
  ENTRAIN_RETURN_IF_ERROR(RequireText(hello.device(), kMaxIdBytes * 4, "hello.device"));
  ENTRAIN_RETURN_IF_ERROR(RequireText(hello.peer_address(), kMaxIdBytes * 4, "hello.peer_address"));
  if (hello.slot_kind() != "cpu" && hello.slot_kind() != "gpu") {
    return BadField("hello.slot_kind", StrCat("must be \"cpu\" or \"gpu\", is \"", hello.slot_kind(), "\""));
  }
  if (hello.slots() < 1 || hello.slots() > kMaxSlotsPerWorker) {
    return BadField("hello.slots", StrCat("must be 1 to ", kMaxSlotsPerWorker, ", is ", hello.slots()));
  }
  return domain::WorkerInfo{WorkerId(hello.worker_id()), hello.name(), hello.version(),
                            hello.slot_kind() == "gpu" ? domain::SlotKind::kGpu : domain::SlotKind::kCpu, hello.slots(),
                            hello.device(), hello.peer_address()};
}

v1::Launch ToWire(const domain::LaunchAttempt& launch, const std::string& sweep_name) {
  v1::Launch out;
  *out.mutable_key() = ToWire(launch.key);
  *out.mutable_gang() = ToWire(launch.gang);
  out.set_config_json(launch.spec->config_json);
  *out.mutable_resume_from() = ToWire(launch.resume_from);
  out.set_sweep_name(sweep_name);
  out.set_variant(launch.spec->variant);
  out.set_label(launch.spec->label);
  out.set_n_layer(static_cast<std::int32_t>(launch.spec->n_layer));
  out.set_n_head(static_cast<std::int32_t>(launch.spec->n_head));
  out.set_context(launch.spec->context);
  out.set_steps(launch.spec->steps);
  out.set_changed_settings(launch.changed_settings);
  out.set_health(journal::EncodeHealthRules(launch.spec->health));
  return out;
}

std::string_view ToString(domain::SlotKind kind) { return kind == domain::SlotKind::kGpu ? "gpu" : "cpu"; }

}  // namespace entrain::wire
