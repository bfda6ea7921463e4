#include "tests/compatibility/coordinator_stage.h"

#include <gtest/gtest.h>

#include <map>

#include "entrain/v1/sweep_service.pb.h"

namespace entrain::compatibility {
namespace {

constexpr char kSubmit[] = "/entrain.v1.SweepService/Submit";
// What comes before the drawn part of a sweep's id.
constexpr std::size_t kSweepPrefix = 1;

}  // namespace

RecordedIds::RecordedIds(const std::vector<Record>& records) {
  std::map<int, std::string> methods;
  for (const Record& record : records) {
    if (record.what == What::kOpened) methods[record.call] = record.bytes;
    v1::SubmitResponse response;
    if (record.what != What::kSaid || methods[record.call] != kSubmit || !response.ParseFromString(record.bytes)) continue;
    if (response.sweep_id().size() > kSweepPrefix) sweeps_.push_back(response.sweep_id().substr(kSweepPrefix));
  }
}

std::string RecordedIds::Next(int length) {
  if (sweeps_.empty() || sweeps_.front().size() != static_cast<std::size_t>(length)) return others_.Next(length);
  std::string next = std::move(sweeps_.front());
  sweeps_.pop_front();
  return next;
}

server::Options RecordedOptions(const std::string& data_dir) {
  server::Options options;
  options.data_dir = data_dir;
  options.listen = "127.0.0.1:0";
  options.lease_ms = 600'000;
  options.heartbeat_ms = 500;
  options.retention_interval_s = 0;
  return options;
}

absl::Status CoordinatorStage::Start() {
  auto started = server::Coordinator::Start(options_, &clock_, &ids_);
  if (!started.ok()) return started.status();
  coordinator_ = *std::move(started);
  return absl::OkStatus();
}

Outcome ReplayAgainst(CoordinatorStage* stage, const std::vector<Record>& records, const std::set<std::string>& schema) {
  const auto start = [stage] {
    stage->Stop();
    const absl::Status started = stage->Start();
    EXPECT_TRUE(started.ok()) << started;
    return started.ok() ? stage->address() : "";
  };
  const std::string address = start();
  return address.empty() ? Outcome{.differences = {"the coordinator does not start"}} : Replay(records, schema, address, start);
}

}  // namespace entrain::compatibility
