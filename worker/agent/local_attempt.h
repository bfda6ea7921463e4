// What the daemon knows about one attempt of its machine. Owned by the loop's thread; slow work on it runs elsewhere and posts back.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "domain/fleet.h"
#include "policy/policy.h"
#include "worker/agent/attempt_journal.h"
#include "worker/agent/event_tail.h"
#include "worker/agent/launch_plan.h"
#include "worker/agent/log_tail.h"
#include "worker/agent/peer_service.h"
#include "worker/core/worker_core.h"

namespace entrain::agent {

struct LocalAttempt {
  enum class Phase {
    kStarting,  // its folder and supervisor are being made
    kPrepared,  // a part of another worker's gang that waits for its start
    kLive,      // its supervisor stands
    kDraining,  // the supervisor is gone; events are read to the end and checkpoints published
    kClosing,   // how it ended is being collected
    kEnded,     // the state machine knows the end
  };

  LocalAttempt(const v1::Launch& message, const std::string& path)
      : key{RunId(message.key().run_id()), message.key().attempt()},
        launch(message),
        folder(path),
        journal(path),
        delivery(journal.ReadDelivery()),
        events(folder, launch, delivery),
        log(folder.Path("log.txt"), launch.key(), delivery.log_offset),
        policy(PolicyOf(launch)) {}

  domain::AttemptKey key;
  v1::Launch launch;
  attempt::AttemptFolder folder;
  AttemptJournal journal;
  Delivery delivery;
  EventTail events;
  LogTail log;

  Phase phase = Phase::kStarting;
  bool told_up = false;          // the state machine knows that the gang is up
  bool told_delivered = false;
  bool fenced = false;           // nothing more is sent
  std::string damage;            // the event stream ended in this
  std::string kill_reason;
  // Judges its own events, for as long as the coordinator is away; null without rules, or once they have said what they say.
  std::unique_ptr<policy::RunPolicy> policy;
  std::string sick;  // why the rules would end or pause it; empty: well
  std::optional<worker::SendStop> stop;  // asked for and not yet in the trainer's socket
  std::set<std::int64_t> published;      // steps
  int publishing = 0;                    // those that wait are counted
  std::vector<attempt::CheckpointWritten> to_publish_again;  // the coordinator's root was out of reach
  std::int64_t publish_again_boot_ms = 0;
  std::string publish_error;  // of the newest checkpoint; empty when it was published
  std::int64_t ended_boot_ms = 0;

  // --- A part of a gang whose head is another worker ---
  bool member = false;
  bool ended_by_head = false;  // which knows what it left
  std::int64_t prepared_boot_ms = 0;
  std::optional<domain::AttemptEnd> end;
  std::vector<PeerAnswer<v1::PrepareResponse>> await_prepared;
  std::vector<PeerAnswer<v1::EndResponse>> await_end;
};

}  // namespace entrain::agent
