#include "proto/journal_parts.h"

#include "base/status_macros.h"
#include "base/strings.h"
#include "proto/journal.h"

namespace entrain::journal {
namespace {

std::string ActionText(domain::RuleAction action) { return std::string(domain::ToString(action)); }
// Empty in journals that knew one action; what this build does not know ends a run as ever.
domain::RuleAction ActionOf(const std::string& text) { return domain::ParseRuleAction(text).value_or(domain::RuleAction::kStopAndKeep); }

void Encode(const domain::CollapseRule& value, v1::CollapseRule* out) {
  out->set_enabled(value.enabled);
  out->set_action(ActionText(value.action));
  out->set_below_fraction_of_bound(value.below_fraction_of_bound);
  out->set_whole_layer(value.whole_layer);
  out->set_share_of_heads(value.share_of_heads);
  out->set_observations(value.observations);
  out->set_min_gap_steps(value.min_gap_steps);
  out->set_min_gap_fraction(value.min_gap_fraction);
  out->set_cascade_layers(value.cascade_layers);
  out->set_cascade_below(value.cascade_below);
  out->set_cascade_steps(value.cascade_steps);
  out->set_cascade_fraction(value.cascade_fraction);
}
domain::CollapseRule RuleOf(const v1::CollapseRule& from) {
  return {from.enabled(), ActionOf(from.action()), from.below_fraction_of_bound(), from.whole_layer(), from.share_of_heads(),
          from.observations(), from.min_gap_steps(), from.min_gap_fraction(), from.cascade_layers(), from.cascade_below(),
          from.cascade_steps(), from.cascade_fraction()};
}

// The rules beside collapse begin alike.
template <typename Value, typename Message>
void EncodeUse(const Value& value, Message* out) {
  out->set_enabled(value.enabled);
  out->set_action(ActionText(value.action));
}
template <typename Value, typename Message>
void EncodeSustained(const Value& value, Message* out) {
  EncodeUse(value, out);
  out->set_sustained_steps(value.sustained_steps);
  out->set_sustained_fraction(value.sustained_fraction);
}

void Encode(const domain::HealthRules& value, v1::HealthRules* out) {
  out->set_preset(std::string(domain::ToString(value.preset)));
  Encode(value.collapse, out->mutable_collapse());
  EncodeUse(value.non_finite, out->mutable_non_finite());
  EncodeSustained(value.overload, out->mutable_overload());
  out->mutable_overload()->set_above_fraction_of_bound(value.overload.above_fraction_of_bound);
  out->mutable_overload()->set_share_of_heads(value.overload.share_of_heads);
  EncodeUse(value.spike, out->mutable_spike());
  out->mutable_spike()->set_spreads(value.spike.spreads);
  out->mutable_spike()->set_at_least_nats(value.spike.at_least_nats);
  out->mutable_spike()->set_observations(value.spike.observations);
  out->mutable_spike()->set_window_steps(value.spike.window_steps);
  EncodeSustained(value.divergence, out->mutable_divergence());
  out->mutable_divergence()->set_above_best_nats(value.divergence.above_best_nats);
  out->mutable_divergence()->set_window_steps(value.divergence.window_steps);
  EncodeSustained(value.plateau, out->mutable_plateau());
  out->mutable_plateau()->set_min_improvement_nats(value.plateau.min_improvement_nats);
  out->mutable_plateau()->set_window_steps(value.plateau.window_steps);
  EncodeSustained(value.max_score, out->mutable_max_score());
  out->mutable_max_score()->set_above(value.max_score.above);
}

void Decode(const v1::HealthRules& from, domain::HealthRules* out) {
  out->preset = domain::ParseHealthPreset(from.preset()).value_or(domain::HealthPreset::kDefault);
  out->collapse = RuleOf(from.collapse());
  out->non_finite = {from.non_finite().enabled(), ActionOf(from.non_finite().action())};
  const v1::OverloadRule& overload = from.overload();
  out->overload = {overload.enabled(), ActionOf(overload.action()), overload.above_fraction_of_bound(), overload.share_of_heads(),
                   overload.sustained_steps(), overload.sustained_fraction()};
  const v1::SpikeRule& spike = from.spike();
  out->spike = {spike.enabled(), ActionOf(spike.action()), spike.spreads(), spike.at_least_nats(), spike.observations(), spike.window_steps()};
  const v1::DivergenceRule& divergence = from.divergence();
  out->divergence = {divergence.enabled(), ActionOf(divergence.action()), divergence.above_best_nats(), divergence.window_steps(),
                     divergence.sustained_steps(), divergence.sustained_fraction()};
  const v1::PlateauRule& plateau = from.plateau();
  out->plateau = {plateau.enabled(), ActionOf(plateau.action()), plateau.min_improvement_nats(), plateau.window_steps(),
                  plateau.sustained_steps(), plateau.sustained_fraction()};
  const v1::ScoreRule& score = from.max_score();
  out->max_score = {score.enabled(), ActionOf(score.action()), score.above(), score.sustained_steps(), score.sustained_fraction()};
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
  for (const domain::RunSpec& rescue : value.rescue) Encode(rescue, out->add_rescue());
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
  for (const v1::RunSpec& rescue : from.rescue()) ENTRAIN_RETURN_IF_ERROR(Decode(rescue, &out->rescue.emplace_back()));
  return from.has_early_stopping() ? Decode(from.early_stopping(), &out->early_stopping) : absl::OkStatus();
}

}  // namespace

std::string EncodeHealthRules(const domain::HealthRules& rules) {
  v1::HealthRules out;
  Encode(rules, &out);
  return out.SerializeAsString();
}

absl::StatusOr<domain::HealthRules> DecodeHealthRules(std::string_view bytes) {
  v1::HealthRules message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::DataLossError(StrCat("journal: ", bytes.size(), " bytes are no health rules"));
  }
  domain::HealthRules rules;
  Decode(message, &rules);
  return rules;
}

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
  out->set_action(ActionText(value.action));
  out->mutable_layers()->Assign(value.layers.begin(), value.layers.end());
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
  out->action = ActionOf(from.action());
  out->layers.assign(from.layers().begin(), from.layers().end());
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
  out->set_peer_address(value.peer_address);
}
absl::Status Decode(const v1::WorkerInfo& from, domain::WorkerInfo* out) {
  if (from.slot_kind() != "cpu" && from.slot_kind() != "gpu") return UnknownText("worker_info.slot_kind", from.slot_kind());
  *out = {WorkerId(from.id()), from.name(), from.version(),
          from.slot_kind() == "gpu" ? domain::SlotKind::kGpu : domain::SlotKind::kCpu, from.slots(), from.device(), from.peer_address()};
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
