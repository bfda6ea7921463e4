#include "cli/collect.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <utility>

#include "base/build_id.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "proto/convert.h"
#include "sweep/run_config_json.h"

namespace entrain::cli {
namespace {

void FillRun(const v1::RunDetail& detail, reports::RunData* run) {
  const v1::RunSummary& summary = detail.summary();
  run->id = summary.id();
  run->label = summary.label();
  run->variant = summary.variant();
  run->axes = {summary.axes().begin(), summary.axes().end()};
  run->state = domain::ParseRunState(summary.state()).value_or(domain::RunState::kQueued);
  run->reason = summary.reason();
  run->steps = summary.steps();
  run->result_step = summary.result_step();
  run->n_layer = summary.n_layer();
  run->n_head = summary.n_head();
  run->context = summary.context();
  run->parameters = summary.parameters();
  run->world_size = summary.world_size();
  // Not the number of the newest: a restore passes over many.
  run->attempts = detail.attempts_size();
  run->samples_thinned_every = detail.samples_thinned_every();
  run->rescue_of = summary.rescue_of();
  run->rescued_by = summary.rescued_by();
  run->fork_step = summary.fork_step();
  run->config_json = detail.config_json();
  run->config_hash = summary.cell_id();
  for (const v1::Rung& rung : detail.rungs()) {
    run->rungs.push_back({rung.step(), rung.value(), rung.metric(), rung.outcome(), rung.reason()});
  }
}

absl::Status FetchRunSamples(Client* client, std::int64_t samples_a_run, reports::RunData* run) {
  v1::FetchSamplesRequest request;
  request.set_run_id(run->id);
  request.set_every(samples_a_run == 0 ? 1 : static_cast<int>(std::max<std::int64_t>(1, run->steps / samples_a_run)));
  absl::Status broken;
  const absl::Status fetched = client->FetchSamples(request, [&](const v1::FetchSamplesResponse& part) {
    for (const v1::Sample& sample : part.samples()) {
      absl::StatusOr<domain::EntropySample> value = wire::FromWire(sample);
      if (value.ok()) run->samples.push_back(*std::move(value));
      else broken.Update(value.status());
    }
    for (const v1::Evaluation& evaluation : part.evaluations()) {
      absl::StatusOr<domain::Evaluation> value = wire::FromWire(evaluation);
      if (value.ok()) run->evaluations.push_back(*value);
      else broken.Update(value.status());
    }
  });
  ENTRAIN_RETURN_IF_ERROR(fetched);
  return broken;
}

absl::StatusOr<reports::RunData> CollectRun(Client* client, const std::string& id, std::int64_t samples_a_run, std::string* dataset) {
  ENTRAIN_ASSIGN_OR_RETURN(const v1::RunDetail detail, client->GetRun(id));
  reports::RunData run;
  FillRun(detail, &run);
  if (!detail.verdict().reason().empty()) {
    ENTRAIN_ASSIGN_OR_RETURN(run.verdict, wire::FromWire(detail.verdict()));
  }
  for (const v1::Verdict& notice : detail.notices()) {
    ENTRAIN_ASSIGN_OR_RETURN(domain::Verdict verdict, wire::FromWire(notice));
    run.notices.push_back(std::move(verdict));
  }
  // A configuration of a newer coordinator may be unreadable here; the report then shows no cost.
  if (const auto config = sweep::ParseRunConfig(run.config_json); config.ok()) {
    run.model = config->model;
    *dataset = config->dataset.ToString();
  }
  ENTRAIN_RETURN_IF_ERROR(FetchRunSamples(client, samples_a_run, &run));
  return run;
}

std::string JoinedParts(const std::set<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) StrAppend(&text, text.empty() ? "" : "; ", part);
  return text;
}

void FillWorkers(const v1::ListWorkersResponse& workers, reports::SweepData* data) {
  std::set<std::string> devices;
  std::set<std::string> versions;
  for (const v1::WorkerSummary& worker : workers.workers()) {
    devices.insert(StrCat(worker.slots(), " ", worker.slot_kind(), " slots: ", worker.device()));
    if (!worker.version().empty()) versions.insert(worker.version());
  }
  data->hardware = JoinedParts(devices);
  data->worker_versions = JoinedParts(versions);
}

}  // namespace

absl::StatusOr<reports::SweepData> CollectSweep(Client* client, const std::string& sweep_id,
                                                const std::function<void(int done, int all)>& on_run, std::int64_t samples_a_run) {
  ENTRAIN_ASSIGN_OR_RETURN(const v1::Sweep sweep, client->GetSweep(sweep_id));
  reports::SweepData data;
  data.id = sweep.summary().id();
  data.name = sweep.summary().name();
  data.owner = sweep.summary().owner();
  data.yaml = sweep.yaml();
  data.created_wall_ms = sweep.summary().created_wall_ms();
  data.build = VersionLine("entrain");
  ENTRAIN_ASSIGN_OR_RETURN(const v1::ListWorkersResponse workers, client->ListWorkers());
  FillWorkers(workers, &data);
  // A cell's result is its newest generation's.
  std::map<std::string, int> newest;
  for (const v1::RunSummary& run : sweep.runs()) newest[run.cell_id()] = std::max(newest[run.cell_id()], run.generation());
  for (const v1::RunSummary& run : sweep.runs()) {
    if (run.generation() < newest[run.cell_id()]) continue;
    ENTRAIN_ASSIGN_OR_RETURN(reports::RunData fetched, CollectRun(client, run.id(), samples_a_run, &data.dataset));
    data.runs.push_back(std::move(fetched));
    if (on_run) on_run(static_cast<int>(data.runs.size()), static_cast<int>(newest.size()));
  }
  return data;
}

std::string ReportStem(const reports::SweepData& sweep) {
  std::string stem = StrCat(sweep.name, "-", sweep.id);
  for (char& c : stem) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '-' && c != '_' && c != '.') c = '_';
  }
  if (stem.front() == '.') stem.front() = '_';
  return stem;
}

}  // namespace entrain::cli
