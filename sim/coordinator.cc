#include "sim/coordinator.h"

#include <algorithm>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include "coordinator/core/compact.h"
#include "coordinator/core/core.h"

namespace entrain::sim {
namespace {

constexpr std::int64_t kTickMs = 500;
// After this long without a word a half-open stream is given up, as gRPC's keepalive does.
constexpr std::int64_t kKeepaliveMs = 20'000;

// For the trace; empty for what comes all the time.
std::string TextOf(const decltype(domain::Event::body)& body) {
  if (const auto* joined = std::get_if<domain::WorkerJoined>(&body)) {
    return StrCat(joined->info.id.value(), " joins as incarnation ", joined->incarnation, " with ", joined->live_attempts.size(), " attempts");
  }
  if (const auto* gone = std::get_if<domain::WorkerDisconnected>(&body)) return StrCat(gone->worker.value(), " disconnects, incarnation ", gone->incarnation);
  if (const auto* ended = std::get_if<domain::AttemptEnded>(&body)) {
    return StrCat(ended->worker.value(), " reports ", ended->key.ToString(), " ended, ", ToString(ended->end.cause), " at step ", ended->end.last_step);
  }
  if (const auto* started = std::get_if<domain::AttemptStarted>(&body)) return StrCat(started->worker.value(), " reports ", started->key.ToString(), " up");
  if (const auto* written = std::get_if<domain::CheckpointPublished>(&body)) {
    return StrCat(written->worker.value(), " reports a checkpoint of ", written->key.ToString(), " at step ", written->checkpoint.step);
  }
  if (const auto* verdict = std::get_if<domain::VerdictReached>(&body)) {
    return StrCat("verdict on ", verdict->run.value(), ".", verdict->verdict.attempt, " at step ", verdict->verdict.step);
  }
  if (const auto* rung = std::get_if<domain::RungReached>(&body)) {
    return StrCat(rung->key.ToString(), " comes to rung ", rung->rung, " with ", rung->value, " at step ", rung->step);
  }
  if (const auto* act = std::get_if<domain::ActOnWorker>(&body)) {
    return StrCat("people: ", ToString(act->action), " ", act->worker.value());
  }
  if (const auto* judged = std::get_if<domain::RunJudged>(&body)) return StrCat(judged->key.ToString(), " is judged through step ", judged->through_step);
  if (const auto* act = std::get_if<domain::ActOnRun>(&body)) {
    constexpr const char* kWishes[] = {"stop ", "pause ", "resume "};
    return StrCat("people: ", kWishes[static_cast<int>(act->action)], act->run.value());
  }
  if (const auto* retry = std::get_if<domain::RetryRun>(&body)) return StrCat("people: retry ", retry->run.value());
  if (const auto* submit = std::get_if<domain::SubmitSweep>(&body)) return StrCat("people: submit ", submit->idempotency_key, ", ", submit->spec.runs.size(), " runs");
  return "";
}

}  // namespace

Coordinator::Coordinator(Stage* stage, Network* network, Referee* referee, const core::CoreConfig& config)
    : stage_(stage),
      network_(network),
      referee_(referee),
      config_(config),
      disk_(stage, [referee](const auto& events, const auto& facts) { referee->Committed(events, facts); }) {
  network_->RouteCoordinator([this](const ConnectionPtr& connection, const ToCoordinator& message) { Receive(connection, message); });
}

void Coordinator::Later(std::int64_t delay_ms, std::function<void()> action) {
  stage_->timeline().After(delay_ms, [this, life = lives_, action = std::move(action)] {
    if (running() && life == lives_) action();
  });
}

void Coordinator::Start() {
  ++lives_;
  stage_->Note("coordinator: life ", lives_, " begins");
  if (lives_ > 1 && stage_->rng().Below(3) == 0) WriteSnapshot();
  clock_ = ManualClock();
  clock_set_at_ms_ = stage_->now_ms();
  // Snapshots are written by WriteSnapshot: the loop's own come from a thread, whose timing no seed decides.
  loop_ = std::make_unique<server::CoreLoop>(&disk_, config_, &clock_, &published_, nullptr, std::numeric_limits<std::int64_t>::max());
  if (const absl::Status status = loop_->Recover(); !status.ok()) return stage_->Break("recovery: ", status.ToString());
  const std::int64_t last_event_ms = *disk_.LastEventMs();
  referee_->Recovered(*published_.Get(), std::max(last_event_ms, published_.Get()->at_ms));
  loop_->SendRecoveryEffects([this](const domain::Effect& effect) { Act(effect); });
  TickLoop(lives_);
}

void Coordinator::WriteSnapshot() {
  disk_.WriteSnapshot(core::CompactFacts(disk_.FactsToCompact(), config_)).IgnoreError();
}

void Coordinator::Crash(const std::string& why, std::int64_t down_ms) {
  if (!running()) return;
  ++crashes_;
  stage_->Note("coordinator: dies (", why, ")");
  // The machine's kernel ends its streams; a worker behind a cut link does not hear that.
  for (const auto& [worker, connection] : connections_) network_->Down(connection, Refused{});
  connections_.clear();
  inbox_.clear();
  callers_.clear();
  judges_.clear();
  heard_at_ms_.clear();
  loop_.reset();
  stage_->timeline().After(down_ms, [this] {
    if (!running()) Start();
  });
}

void Coordinator::TickLoop(std::uint64_t life) {
  std::vector<ConnectionPtr> dead;
  for (const auto& [worker, connection] : connections_) {
    if (stage_->now_ms() - connection->heard_ms > kKeepaliveMs) dead.push_back(connection);
  }
  for (const ConnectionPtr& connection : dead) EndStream(connection);
  Post(domain::Tick{});
  stage_->timeline().After(kTickMs, [this, life] {
    if (running() && life == lives_) TickLoop(life);
  });
}

void Coordinator::Receive(const ConnectionPtr& connection, const ToCoordinator& message) {
  connection->heard_ms = stage_->now_ms();
  if (const auto* joined = std::get_if<domain::WorkerJoined>(&message)) return Accept(connection, *joined);
  if (!running() || connection->life != lives_) return;
  const auto open = connections_.find(connection->worker);
  const bool newest = open != connections_.end() && open->second == connection;
  if (std::holds_alternative<Goodbye>(message)) return newest ? EndStream(connection) : void();
  if (const auto* batch = std::get_if<SampleBatch>(&message)) return newest ? StoreSamples(connection, *batch) : void();
  if (const auto* heartbeat = std::get_if<domain::WorkerHeartbeat>(&message)) {
    if (!newest && stage_->rng().Below(4) != 0) return;
    Post(*heartbeat);
    network_->Down(connection, LeaseTerm{config_.lease_ms});
    return;
  }
  // A report that was read from an older stream just before a newer one replaced it is still taken.
  if (newest || stage_->rng().Below(2) == 0) {
    std::visit([this](const auto& report) { Post(report); }, std::get<worker::Report>(message));
  }
}

void Coordinator::Accept(const ConnectionPtr& connection, const domain::WorkerJoined& joined) {
  if (!running()) return network_->Down(connection, Refused{});
  ConnectionPtr& place = connections_[connection->worker];
  if (place != nullptr && place->incarnation >= connection->incarnation) return network_->Down(connection, Refused{});
  if (place != nullptr) {
    const ConnectionPtr older = std::exchange(place, nullptr);
    network_->Down(older, Refused{});
    // The thread of the older stream may notice later than the newer one begins.
    Later(stage_->Between(0, 400), [this, older] { Post(domain::WorkerDisconnected{older->worker, older->incarnation}); });
  }
  connection->life = lives_;
  place = connection;
  network_->Down(connection, Welcome{config_.lease_ms, kHeartbeatMs});
  Post(joined);
}

void Coordinator::EndStream(const ConnectionPtr& connection) {
  const auto open = connections_.find(connection->worker);
  if (open == connections_.end() || open->second != connection) return;
  connections_.erase(open);
  Post(domain::WorkerDisconnected{connection->worker, connection->incarnation});
}

void Coordinator::StoreSamples(const ConnectionPtr& connection, const SampleBatch& batch) {
  // What SampleLane::Store does, without its threads.
  const samples::PublishedState::View state = published_.Get();
  const core::Run* run = state->FindRun(batch.key.run);
  const std::int64_t through = batch.samples.back().step;
  if (run == nullptr || batch.key.attempt < run->attempt) return network_->Down(connection, SampleAck{batch.key, through, true});
  if (batch.key.attempt > run->attempt) return stage_->Break("samples of attempt ", batch.key.ToString(), ", which is not known yet");
  std::vector<store::StoredSample> stored;
  for (const domain::EntropySample& sample : batch.samples) stored.push_back({batch.key.attempt, sample});
  if (stage_->Chance(stage_->weather().fail_append_per_mille)) {
    // Stored or not, the stream ends and the worker sends it again.
    if (stage_->rng().Below(2) == 0) samples_->AppendSamples(batch.key.run, run->spec->context, stored, {}).IgnoreError();
    network_->Down(connection, Refused{});
    return EndStream(connection);
  }
  samples_->AppendSamples(batch.key.run, run->spec->context, stored, {}).IgnoreError();
  network_->Down(connection, SampleAck{batch.key, through, false});
  std::vector<domain::EntropySample> rounded = batch.samples;
  for (domain::EntropySample& sample : rounded) sample.entropy_nats = store::AsStored(sample.entropy_nats, run->spec->context);
  ToLane(
      [attempt = batch.key.attempt, rounded = std::move(rounded)](samples::RunJudge* judge, std::vector<EventBody>* events) {
        return judge->Feed(attempt, rounded, {}, events);
      },
      batch.key.run);
}

void Coordinator::ToLane(std::function<absl::Status(samples::RunJudge*, std::vector<EventBody>*)> job, const RunId& run) {
  // One thread: in order, each a little later than the one before.
  lane_busy_until_ms_ = std::max(lane_busy_until_ms_, stage_->now_ms()) + stage_->Between(0, 3);
  Later(lane_busy_until_ms_ - stage_->now_ms(), [this, run, job = std::move(job)] {
    std::unique_ptr<samples::RunJudge>& judge = judges_[run];
    if (judge == nullptr) {
      const samples::PublishedState::View state = published_.Get();
      const core::Run* known = state->FindRun(run);
      if (known == nullptr || IsFinal(known->state)) return;
      judge = std::make_unique<samples::RunJudge>(run, known->spec, samples_.get());
    }
    std::vector<EventBody> events;
    if (const absl::Status status = job(judge.get(), &events); !status.ok()) return Crash("the sample lane gave up", stage_->Between(100, 5'000));
    // The queue to the core may be long; what is said of one run stays in order.
    const Weather& weather = stage_->weather();
    const std::int64_t longest_ms = stage_->faults() && stage_->rng().Below(weather.one_slow_batch_in) == 0 ? weather.slow_batch_ms : 50;
    std::int64_t& heard_at_ms = heard_at_ms_[run];
    for (EventBody& event : events) {
      referee_->LaneSaid(event);
      heard_at_ms = std::max(heard_at_ms, stage_->now_ms() + stage_->Between(0, longest_ms));
      Later(heard_at_ms - stage_->now_ms(), [this, event = std::move(event)] { Post(event); });
    }
  });
}

void Coordinator::Request(EventBody body, domain::RequestId request, std::function<void(const domain::Reply&)> answer) {
  if (!running()) return;
  callers_[request] = std::move(answer);
  Post(std::move(body));
}

void Coordinator::Post(EventBody body) {
  inbox_.push_back(std::move(body));
  if (inbox_.size() > 1) return;
  // Mostly one event a decision; sometimes a burst is decided in one transaction.
  Later(stage_->rng().Below(5) == 0 ? stage_->Between(5, 40) : 0, [this] { Decide(); });
}

void Coordinator::Decide() {
  std::vector<EventBody> bodies = std::exchange(inbox_, {});
  events_ += static_cast<std::int64_t>(bodies.size());
  coverage_.Reach(*published_.Get(), bodies.front());
  for (const EventBody& body : bodies) {
    if (!stage_->keeps_trace()) break;
    if (const std::string text = TextOf(body); !text.empty()) stage_->Note("decides: ", text);
  }
  clock_.Advance(stage_->now_ms() - clock_set_at_ms_);
  clock_set_at_ms_ = stage_->now_ms();
  std::vector<domain::Effect> effects;
  const absl::Status status = loop_->Step(std::move(bodies), [&effects, this](const domain::Effect& effect) {
    referee_->Leaves(effect);
    effects.push_back(effect);
  });
  if (!status.ok()) {
    for (const domain::Effect& effect : effects) Act(effect);
    return Crash("commit failed", stage_->Between(100, 20'000));
  }
  referee_->Check(*published_.Get());
  for (const domain::Effect& effect : effects) Act(effect);
}

void Coordinator::Act(const domain::Effect& effect) {
  if (const auto* reply = std::get_if<domain::Reply>(&effect)) {
    const auto caller = callers_.find(reply->request);
    if (caller == callers_.end()) return;
    auto answer = std::move(caller->second);
    callers_.erase(caller);
    network_->Call([answer = std::move(answer), reply = *reply] { answer(reply); });
  } else if (const auto* begin = std::get_if<domain::BeginAttempt>(&effect)) {
    ToLane([e = *begin](samples::RunJudge* judge, std::vector<EventBody>* events) { return judge->Begin(e.key.attempt, e.resume_step, events); },
           begin->key.run);
  } else if (const auto* through = std::get_if<domain::JudgeThrough>(&effect)) {
    ToLane(
        [e = *through](samples::RunJudge* judge, std::vector<EventBody>* events) {
          judge->JudgeThrough(e.key.attempt, e.last_step, events);
          return absl::OkStatus();
        },
        through->key.run);
  } else {
    std::visit(
        [this](const auto& message) {
          if constexpr (requires { message.worker; }) {
            const auto open = connections_.find(message.worker);
            if (open == connections_.end()) return;
            if constexpr (std::is_same_v<std::decay_t<decltype(message)>, domain::LaunchAttempt>) {
              // As rpc::FleetHub.
              if (!core::IsStillMeant(*published_.Get(), message, open->second->incarnation)) return;
            }
            network_->Down(open->second, message);
          }
        },
        effect);
  }
}

}  // namespace entrain::sim
