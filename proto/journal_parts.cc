#include "proto/journal_parts.h"

#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::journal {
namespace {

void Encode(const domain::HealthRules& value, v1::HealthRules* out) {
  v1::CollapseRule* collapse = out->mutable_collapse();
  collapse->set_enabled(value.collapse.enabled);
  collapse->set_below_fraction_of_bound(value.collapse.below_fraction_of_bound);
  collapse->set_whole_layer(value.collapse.whole_layer);
  collapse->set_share_of_heads(value.collapse.share_of_heads);
  collapse->set_observations(value.collapse.observations);
  collapse->set_min_gap_steps(value.collapse.min_gap_steps);
  out->mutable_non_finite()->set_enabled(value.non_finite.enabled);
}

void Decode(const v1::HealthRules& from, domain::HealthRules* out) {
  const v1::CollapseRule& collapse = from.collapse();
  out->collapse = {collapse.enabled(),        collapse.below_fraction_of_bound(), collapse.whole_layer(),
                   collapse.share_of_heads(), collapse.observations(),            collapse.min_gap_steps()};
  out->non_finite.enabled = from.non_finite().enabled();
}

void Encode(const domain::EarlyStopping& value, v1::EarlyStopping* out) {
  out->set_method(ToString(value.method));
  out->set_metric(ToString(value.metric));
  out->set_min_steps(value.min_steps);
  out->set_reduction_factor(value.reduction_factor);
  out->set_window_steps(value.window_steps);
}

absl::Status Decode(const v1::EarlyStopping& from, domain::EarlyStopping* out) {
  if (from.method() != "asha" && from.method() != "sha") return UnknownText("early_stopping.method", from.method());
  if (from.metric() != "eval_loss" && from.metric() != "train_loss") return UnknownText("early_stopping.metric", from.metric());
  out->method = from.method() == "asha" ? domain::Halving::kAsync : domain::Halving::kSync;
  out->metric = from.metric() == "eval_loss" ? domain::RungMetric::kEvalLoss : domain::RungMetric::kTrainLoss;
  out->min_steps = from.min_steps();
  out->reduction_factor = from.reduction_factor();
  out->window_steps = from.window_steps();
  return absl::OkStatus();
}

void Encode(const domain::RunSpec& value, v1::RunSpec* out) {
  out->set_cell(value.cell.value());
  out->set_label(value.label);
  out->set_variant(value.variant);
  for (const auto& [axis, text] : value.axes) (*out->mutable_axes())[axis] = text;
  out->set_config_json(value.config_json);
  out->mutable_resources()->set_machines(value.resources.machines);
  out->mutable_resources()->set_ranks_per_machine(value.resources.ranks_per_machine);
  out->mutable_resources()->set_threads_per_rank(value.resources.threads_per_rank);
  out->set_steps(value.steps);
  out->set_n_layer(value.n_layer);
  out->set_n_head(value.n_head);
  out->set_context(value.context);
  out->set_parameters(value.parameters);
  out->mutable_dataset()->set_name(value.dataset.name);
  out->mutable_dataset()->set_hash(value.dataset.hash);
  Encode(value.health, out->mutable_health());
  out->mutable_retries()->set_max_failures(value.retries.max_failures);
  out->mutable_retries()->set_out_of_memory(value.retries.out_of_memory);
  out->mutable_limits()->set_max_duration_s(value.limits.max_duration_s);
  out->mutable_limits()->set_stall_limit_s(value.limits.stall_limit_s);
  if (value.early_stopping.method != domain::Halving::kNone) Encode(value.early_stopping, out->mutable_early_stopping());
}

absl::Status Decode(const v1::RunSpec& from, domain::RunSpec* out) {
  out->cell = CellId(from.cell());
  out->label = from.label();
  out->variant = from.variant();
  out->axes.insert(from.axes().begin(), from.axes().end());
  out->config_json = from.config_json();
  out->resources = {from.resources().machines(), from.resources().ranks_per_machine(), from.resources().threads_per_rank()};
  out->steps = from.steps();
  out->n_layer = from.n_layer();
  out->n_head = from.n_head();
  out->context = from.context();
  out->parameters = from.parameters();
  out->dataset = {from.dataset().name(), from.dataset().hash()};
  Decode(from.health(), &out->health);
  out->retries = {from.retries().max_failures(), from.retries().out_of_memory()};
  out->limits = {from.limits().max_duration_s(), from.limits().stall_limit_s()};
  return from.has_early_stopping() ? Decode(from.early_stopping(), &out->early_stopping) : absl::OkStatus();
}

}  // namespace

absl::Status UnknownText(std::string_view field, std::string_view text) {
  return absl::DataLossError(StrCat("journal: ", field, " is \"", text, "\", which this build does not know"));
}

void Encode(const domain::AttemptKey& value, v1::AttemptKey* out) {
  out->set_run(value.run.value());
  out->set_attempt(value.attempt);
}
absl::Status Decode(const v1::AttemptKey& from, domain::AttemptKey* out) {
  *out = {RunId(from.run()), from.attempt()};
  return absl::OkStatus();
}

void Encode(const domain::Gang& value, v1::Gang* out) {
  for (const domain::GangMember& member : value.members) {
    v1::GangMember* wire = out->add_members();
    wire->set_worker(member.worker.value());
    wire->mutable_slots()->Assign(member.slots.begin(), member.slots.end());
  }
}
absl::Status Decode(const v1::Gang& from, domain::Gang* out) {
  for (const v1::GangMember& member : from.members()) {
    out->members.push_back({WorkerId(member.worker()), {member.slots().begin(), member.slots().end()}});
  }
  return absl::OkStatus();
}

void Encode(const domain::Checkpoint& value, v1::Checkpoint* out) {
  out->set_attempt(value.attempt);
  out->set_step(value.step);
  out->set_path(value.path);
  out->set_bytes(value.bytes);
  out->set_hash(value.hash);
  out->set_best_step(value.best_step);
}
absl::Status Decode(const v1::Checkpoint& from, domain::Checkpoint* out) {
  *out = {from.attempt(), from.step(), from.path(), from.bytes(), from.hash(), from.best_step()};
  return absl::OkStatus();
}

void Encode(const domain::Verdict& value, v1::Verdict* out) {
  out->set_attempt(value.attempt);
  out->set_step(value.step);
  out->set_reason(std::string(domain::ToString(value.reason)));
  out->set_rule(value.rule);
  out->mutable_heads()->Assign(value.heads.begin(), value.heads.end());
  out->mutable_steps()->Assign(value.steps.begin(), value.steps.end());
  out->mutable_values()->Assign(value.values.begin(), value.values.end());
  out->set_limit(value.limit);
  out->set_explanation(value.explanation);
}
absl::Status Decode(const v1::Verdict& from, domain::Verdict* out) {
  const auto reason = domain::ParseHaltReason(from.reason());
  if (!reason) return UnknownText("verdict.reason", from.reason());
  out->attempt = from.attempt();
  out->step = from.step();
  out->reason = *reason;
  out->rule = from.rule();
  out->heads.assign(from.heads().begin(), from.heads().end());
  out->steps.assign(from.steps().begin(), from.steps().end());
  out->values.assign(from.values().begin(), from.values().end());
  out->limit = from.limit();
  out->explanation = from.explanation();
  return absl::OkStatus();
}

void Encode(const domain::AttemptEnd& value, v1::AttemptEnd* out) {
  out->set_cause(std::string(domain::ToString(value.cause)));
  out->set_last_step(value.last_step);
  out->set_message(value.message);
  out->set_exit_code(value.exit_code);
  out->set_loss(value.loss);
  out->set_tokens(value.tokens);
}
absl::Status Decode(const v1::AttemptEnd& from, domain::AttemptEnd* out) {
  const auto cause = domain::ParseEndCause(from.cause());
  if (!cause) return UnknownText("attempt_end.cause", from.cause());
  *out = {*cause, from.last_step(), from.message(), from.exit_code(), from.loss(), from.tokens()};
  return absl::OkStatus();
}

void Encode(const domain::WorkerInfo& value, v1::WorkerInfo* out) {
  out->set_id(value.id.value());
  out->set_name(value.name);
  out->set_version(value.version);
  out->set_slot_kind(value.slot_kind == domain::SlotKind::kGpu ? "gpu" : "cpu");
  out->set_slots(value.slots);
  out->set_device(value.device);
}
absl::Status Decode(const v1::WorkerInfo& from, domain::WorkerInfo* out) {
  if (from.slot_kind() != "cpu" && from.slot_kind() != "gpu") return UnknownText("worker_info.slot_kind", from.slot_kind());
  *out = {WorkerId(from.id()), from.name(), from.version(),
          from.slot_kind() == "gpu" ? domain::SlotKind::kGpu : domain::SlotKind::kCpu, from.slots(), from.device()};
  return absl::OkStatus();
}

void Encode(const domain::SweepSpec& value, v1::SweepSpec* out) {
  out->set_name(value.name);
  out->set_owner(value.owner);
  out->set_yaml(value.yaml);
  out->set_priority(value.priority);
  out->set_max_concurrent_runs(value.max_concurrent_runs);
  for (const domain::RunSpec& run : value.runs) Encode(run, out->add_runs());
  if (value.early_stopping.method != domain::Halving::kNone) Encode(value.early_stopping, out->mutable_early_stopping());
}
absl::Status Decode(const v1::SweepSpec& from, domain::SweepSpec* out) {
  out->name = from.name();
  out->owner = from.owner();
  out->yaml = from.yaml();
  out->priority = from.priority();
  out->max_concurrent_runs = from.max_concurrent_runs();
  out->runs.resize(static_cast<std::size_t>(from.runs_size()));
  for (int i = 0; i < from.runs_size(); ++i) ENTRAIN_RETURN_IF_ERROR(Decode(from.runs(i), &out->runs[static_cast<std::size_t>(i)]));
  return from.has_early_stopping() ? Decode(from.early_stopping(), &out->early_stopping) : absl::OkStatus();
}

}  // namespace entrain::journal
