#include "cli/json_output.h"

#include <cmath>

#include "cli/format.h"

namespace entrain::cli {
namespace {

using nlohmann::json;

json Number(double value) { return std::isfinite(value) ? json(value) : json(nullptr); }

// 0 means "none yet" on the wire.
json NumberOrNull(double value) { return value == 0.0 ? json(nullptr) : Number(value); }

json Time(std::int64_t wall_ms) {
  if (wall_ms <= 0) return nullptr;
  std::string text = FormatUtc(wall_ms);
  text[10] = 'T';
  return text + "Z";
}

template <typename Map>
json MapJson(const Map& map) {
  json object = json::object();
  for (const auto& [key, value] : map) object[key] = value;
  return object;
}

template <typename List>
json Numbers(const List& values) {
  json list = json::array();
  for (const auto value : values) list.push_back(Number(static_cast<double>(value)));
  return list;
}

json VerdictJson(const v1::Verdict& verdict) {
  if (verdict.reason().empty()) return nullptr;
  return {{"attempt", verdict.attempt()},
          {"step", verdict.step()},
          {"reason", verdict.reason()},
          {"rule", verdict.rule()},
          {"action", verdict.action()},
          {"layers", json(std::vector<int>(verdict.layers().begin(), verdict.layers().end()))},
          {"heads", json(std::vector<int>(verdict.heads().begin(), verdict.heads().end()))},
          {"steps", json(std::vector<std::int64_t>(verdict.steps().begin(), verdict.steps().end()))},
          {"values", Numbers(verdict.values())},
          {"limit", Number(verdict.limit())},
          {"explanation", verdict.explanation()}};
}

json AttemptJson(const v1::AttemptInfo& attempt) {
  return {{"attempt", attempt.attempt()},
          {"workers", json(std::vector<std::string>(attempt.workers().begin(), attempt.workers().end()))},
          {"resume_step", attempt.resume_step()},
          {"cause", attempt.cause().empty() ? json(nullptr) : json(attempt.cause())},
          {"last_step", attempt.last_step()},
          {"message", attempt.message()}};
}

json CheckpointJson(const v1::Checkpoint& checkpoint) {
  return {{"attempt", checkpoint.attempt()},
          {"step", checkpoint.step()},
          {"path", checkpoint.path()},
          {"bytes", checkpoint.bytes()},
          {"hash", checkpoint.hash()}};
}

json RetiredJson(const v1::RetiredCheckpoint& retired) {
  return {{"checkpoint", CheckpointJson(retired.checkpoint())}, {"time", Time(retired.wall_ms())}, {"reason", retired.reason()}};
}

json RungJson(const v1::Rung& rung) {
  return {{"step", rung.step()},
          {"metric", rung.metric()},
          {"value", Number(rung.value())},
          {"outcome", rung.outcome()},
          {"reason", rung.reason()}};
}

template <typename List, typename Convert>
json Listed(const List& messages, Convert convert) {
  json list = json::array();
  for (const auto& message : messages) list.push_back(convert(message));
  return list;
}

}  // namespace

nlohmann::json ToJson(const v1::SweepSummary& sweep) {
  return {{"id", sweep.id()},
          {"name", sweep.name()},
          {"owner", sweep.owner()},
          {"created", Time(sweep.created_wall_ms())},
          {"runs", sweep.run_count()},
          {"runs_by_state", MapJson(sweep.runs_by_state())},
          {"finished", sweep.finished()},
          {"released", Time(sweep.released_wall_ms())},
          {"released_by", sweep.released_by()}};
}

nlohmann::json ToJson(const v1::RunSummary& run) {
  return {{"id", run.id()},
          {"sweep_id", run.sweep_id()},
          {"cell_id", run.cell_id()},
          {"label", run.label()},
          {"variant", run.variant()},
          {"axes", MapJson(run.axes())},
          {"generation", run.generation()},
          {"state", run.state()},
          {"reason", run.reason()},
          {"halt_reason", run.halt_reason()},
          {"failure_class", run.failure_class()},
          {"attempt", run.attempt()},
          {"step", run.step()},
          {"steps", run.steps()},
          {"result_step", run.result_step()},
          {"rescue_of", run.rescue_of()},
          {"rescued_by", run.rescued_by()},
          {"fork_step", run.fork_step()},
          {"loss", NumberOrNull(run.loss())},
          {"eval_loss", NumberOrNull(run.eval_loss())},
          {"best_eval_loss", NumberOrNull(run.best_eval_loss())},
          {"perplexity", run.eval_loss() == 0.0 ? json(nullptr) : Number(std::exp(run.eval_loss()))},
          {"tokens_per_second", NumberOrNull(run.tokens_per_second())},
          {"tokens", run.tokens()},
          {"eta_seconds", run.eta_ms() < 0 ? json(nullptr) : json(static_cast<double>(run.eta_ms()) / 1000.0)},
          {"n_layer", run.n_layer()},
          {"n_head", run.n_head()},
          {"context", run.context()},
          {"parameters", run.parameters()},
          {"entropy_fraction", Numbers(run.entropy_fraction())},
          {"world_size", run.world_size()},
          {"failures", run.failures()},
          {"never_placeable", run.never_placeable()},
          {"fully_judged", run.fully_judged()},
          {"created", Time(run.created_wall_ms())},
          {"started", Time(run.started_wall_ms())},
          {"finished", Time(run.finished_wall_ms())},
          {"estimated_memory_bytes", run.estimated_memory_bytes()},
          {"estimated_disk_bytes", run.estimated_disk_bytes()}};
}

nlohmann::json ToJson(const v1::Sweep& sweep) {
  return {{"sweep", ToJson(sweep.summary())}, {"runs", Listed(sweep.runs(), [](const v1::RunSummary& run) { return ToJson(run); })}, {"yaml", sweep.yaml()}};
}

nlohmann::json ToJson(const v1::RunDetail& run) {
  json history = json::array();
  for (const v1::HistoryEntry& entry : run.history()) {
    history.push_back({{"time", Time(entry.wall_ms())}, {"what", entry.what()}, {"reason", entry.reason()}});
  }
  json evaluations = json::array();
  for (const v1::Evaluation& evaluation : run.evaluations()) {
    evaluations.push_back({{"step", evaluation.step()},
                           {"loss", Number(evaluation.loss())},
                           {"perplexity", Number(std::exp(evaluation.loss()))},
                           {"tokens", evaluation.tokens()},
                           {"time", Time(evaluation.wall_ms())}});
  }
  // The configuration is JSON already; a damaged one is shown as text.
  json config = json::parse(run.config_json(), nullptr, false);
  if (config.is_discarded()) config = run.config_json();
  return {{"run", ToJson(run.summary())},
          {"config", std::move(config)},
          {"verdict", VerdictJson(run.verdict())},
          {"notices", Listed(run.notices(), VerdictJson)},
          {"attempts", Listed(run.attempts(), AttemptJson)},
          {"checkpoints", Listed(run.checkpoints(), CheckpointJson)},
          {"retired", Listed(run.retired(), RetiredJson)},
          {"samples_thinned_every", run.samples_thinned_every()},
          {"samples_thinned", Time(run.samples_thinned_wall_ms())},
          {"evaluations", std::move(evaluations)},
          {"owner", run.owner()},
          {"priority", run.priority()},
          {"failure_rule", run.failure_rule()},
          {"rungs", Listed(run.rungs(), RungJson)},
          {"history", std::move(history)}};
}

nlohmann::json ToJson(const v1::WorkerSummary& worker) {
  return {{"id", worker.id()},
          {"name", worker.name()},
          {"state", worker.state()},
          {"slots", worker.slots()},
          {"slots_used", worker.slots_used()},
          {"slot_kind", worker.slot_kind()},
          {"device", worker.device()},
          {"version", worker.version()},
          {"reason", worker.reason()}};
}

nlohmann::json ToJson(const v1::PoolSummary& pool) {
  return {{"name", pool.name()},
          {"engine", pool.engine()},
          {"slot_kind", pool.slot_kind()},
          {"slots", pool.slots()},
          {"min_machines", pool.min_machines()},
          {"max_machines", pool.max_machines()},
          {"pending", pool.pending()},
          {"up", pool.up()},
          {"leaving", pool.leaving()},
          {"doing", pool.doing()},
          {"problem", pool.problem()},
          {"pending_reasons", std::vector<std::string>(pool.pending_reasons().begin(), pool.pending_reasons().end())}};
}

}  // namespace entrain::cli
