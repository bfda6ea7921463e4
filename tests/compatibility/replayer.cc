#include "tests/compatibility/replayer.h"

#include <google/protobuf/descriptor.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>

#include "base/strings.h"
#include "entrain/v1/fleet_service.pb.h"
#include "entrain/v1/sweep_service.pb.h"
#include "tests/compatibility/raw_call.h"
#include "tests/compatibility/same_meaning.h"
#include "tests/compatibility/wire_messages.h"
#include "tests/integration/process.h"

namespace entrain::compatibility {
namespace {

constexpr int kPatienceMs = 30'000;

constexpr char kControl[] = "/entrain.v1.FleetService/Control";
constexpr char kListWorkers[] = "/entrain.v1.SweepService/ListWorkers";
constexpr char kWatch[] = "/entrain.v1.SweepService/Watch";

// Calls that change nothing; of a watch only the last update is no matter of speed.
bool OnlyLooks(const std::string& method) {
  static const std::set<std::string> names = {"Validate", "ListSweeps", "GetSweep", "GetRun", "Watch", "FetchSamples", "FetchCheckpoint", "ListWorkers", "CollectGarbage"};
  return method == "/entrain.v1.SweepService/Logs" || (method.find("SweepService/") != std::string::npos && names.contains(method.substr(method.rfind('/') + 1)));
}

// A stream whose every message is answered by one.
bool AnswersInTurn(const std::string& method) {
  return method.find("FleetService/") != std::string::npos && method != kControl;
}

std::uint64_t ReportIn(const v1::WorkerMessage& said) {
  switch (said.body_case()) {
    case v1::WorkerMessage::kStarted: return said.started().report();
    case v1::WorkerMessage::kEnded: return said.ended().report();
    case v1::WorkerMessage::kCheckpoint: return said.checkpoint().report();
    default: return 0;
  }
}

bool Answers(const std::string& said_bytes, const std::string& answer_bytes) {
  v1::WorkerMessage said;
  v1::CoordinatorMessage answer;
  if (!said.ParseFromString(said_bytes) || !answer.ParseFromString(answer_bytes)) return false;
  if (said.has_hello()) return answer.has_welcome();
  if (said.has_heartbeat()) return answer.has_lease();
  return answer.has_acknowledged() && answer.acknowledged().report() == ReportIn(said);
}

bool IsCommand(const std::string& bytes) {
  v1::CoordinatorMessage message;
  return message.ParseFromString(bytes) && (message.has_launch() || message.has_stop() || message.has_forget());
}

class Replayer {
 public:
  Replayer(const std::vector<Record>& records, const std::set<std::string>& schema, const std::string& address)
      : records_(records), schema_(schema), done_(records.size(), false) {
    Connect(address);
    for (const Record& record : records_) {
      if (record.what == What::kOpened) outcome_.methods.insert(methods_[record.call] = record.bytes);
    }
  }

  Outcome Run(const std::function<std::string()>& restart) {
    for (std::size_t i = 0; i < records_.size() && outcome_.differences.empty(); ++i) {
      if (records_[i].what == What::kStopping) {
        stopping_ = true;
      } else if (records_[i].what == What::kRestarted) {
        stopping_ = false;
        for (auto& [number, call] : calls_) CheckNothingMoreWasAsked(i, number, *call);
        calls_.clear();
        Connect(restart());
      } else if (!done_[i]) {
        Step(i);
      }
    }
    return std::move(outcome_);
  }

 private:
  void Connect(const std::string& address) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    channel_ = grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  }
  const std::string& MethodOf(std::size_t i) { return methods_[records_[i].call]; }

  void Differ(std::size_t i, const std::string& text) {
    outcome_.differences.push_back(StrCat("line ", i + 1, ", call ", records_[i].call, " ", MethodOf(i), ": ", text));
  }

  void Step(std::size_t i) {
    const Record& record = records_[i];
    if (OnlyLooks(MethodOf(i))) {
      if (record.what == What::kEnded) LookAgain(i);
      return;
    }
    if (record.what == What::kOpened) {
      calls_[record.call] = std::make_unique<RawCall>(channel_, record.bytes);
      return;
    }
    const auto call = calls_.find(record.call);
    // Cut by a server that ended.
    const bool over = record.what == What::kLeft || record.what == What::kEnded;
    if (call == calls_.end() || (stopping_ && over)) return;
    switch (record.what) {
      case What::kHeard: return Say(i, call->second.get());
      case What::kClosed: return call->second->Close();
      case What::kSaid: return Expect(i, call->second.get());
      case What::kLeft:
        CheckNothingMoreWasAsked(i, record.call, *call->second);
        calls_.erase(call);
        return AwaitGone(record.call);
      case What::kEnded: {
        ExpectEnd(i, call->second.get());
        calls_.erase(call);
        return AwaitGone(record.call);
      }
      default: return;
    }
  }

  void Say(std::size_t i, RawCall* call) {
    call->Say(records_[i].bytes);
    ++outcome_.said;
    const bool control = MethodOf(i) == kControl;
    if (!control && !AnswersInTurn(MethodOf(i))) return;
    const auto answers = [&](const std::string& answer) { return !control || Answers(records_[i].bytes, answer); };
    for (std::size_t j = i + 1; j < records_.size(); ++j) {
      if (records_[j].call != records_[i].call || records_[j].what != What::kSaid || done_[j]) continue;
      if (answers(records_[j].bytes)) return Expect(j, call);
    }
    // The caller left before the answer; what it said was heard all the same.
    call->Await(answers, kPatienceMs);
  }

  std::string DifferenceTo(std::size_t i, const std::string& bytes) {
    const auto recorded = Parse(MethodOf(i), What::kSaid, records_[i].bytes);
    const auto today = Parse(MethodOf(i), What::kSaid, bytes);
    if (recorded == nullptr) return "this build cannot read the recorded answer";
    if (today == nullptr) return "the answer cannot be read";
    return Difference(*recorded, *today, schema_);
  }

  void Expect(std::size_t i, RawCall* call) {
    std::string nearest;
    const auto found = call->Await(
        [&](const std::string& bytes) {
          const std::string difference = DifferenceTo(i, bytes);
          // Of answers of several kinds, that to the one of the same kind says most.
          if (nearest.empty() || difference.size() < nearest.size()) nearest = difference;
          return difference.empty();
        },
        kPatienceMs);
    done_[i] = true;
    if (found) {
      ++outcome_.compared;
      return;
    }
    const auto end = call->AwaitEnd(0);
    const auto recorded = Parse(MethodOf(i), What::kSaid, records_[i].bytes);
    Differ(i, StrCat("not said: ", recorded == nullptr ? "(unreadable)" : recorded->ShortDebugString(), nearest.empty() ? "; nothing else was" : StrCat("; nearest:\n", nearest),
                     end ? StrCat("; the call ended with ", static_cast<int>(end->error_code()), ": ", end->error_message()) : ""));
  }

  void ExpectEnd(std::size_t i, RawCall* call) {
    call->Close();
    const auto end = call->AwaitEnd(kPatienceMs);
    if (!end || std::to_string(static_cast<int>(end->error_code())) != records_[i].bytes) {
      return Differ(i, end ? StrCat("ended with ", static_cast<int>(end->error_code()), " (", end->error_message(), "), recorded ", records_[i].bytes) : "did not end");
    }
    CheckNothingMoreWasAsked(i, records_[i].call, *call);
  }

  // A coordinator hears of a broken connection beside its calls; whom it thinks connected decides what it does next.
  void AwaitGone(int number) {
    if (methods_[number] != kControl) return;
    std::string worker;
    for (const Record& record : records_) {
      v1::WorkerMessage said;
      if (record.call == number && record.what == What::kHeard && said.ParseFromString(record.bytes) && said.has_hello()) worker = said.hello().worker_id();
    }
    testing::Eventually([&] {
      RawCall call(channel_, kListWorkers);
      call.Say("");
      call.Close();
      v1::ListWorkersResponse workers;
      const auto answer = call.Await([](const std::string&) { return true; }, kPatienceMs);
      if (!answer || !workers.ParseFromString(*answer)) return true;
      return std::none_of(workers.workers().begin(), workers.workers().end(), [&](const v1::WorkerSummary& other) {
        return other.id() == worker && (other.state() == "live" || other.state() == "draining");
      });
    }, kPatienceMs);
  }

  void CheckNothingMoreWasAsked(std::size_t i, int number, RawCall& call) {
    if (methods_[number] != kControl) return;
    for (const std::string& bytes : call.Rest()) {
      if (!IsCommand(bytes)) continue;
      v1::CoordinatorMessage message;
      message.ParseFromString(bytes);
      Differ(i, StrCat("the worker of call ", number, " was told more than then: ", message.ShortDebugString()));
    }
  }

  // The whole call, at the place of its recorded end.
  void LookAgain(std::size_t end) {
    std::string request;
    std::vector<std::size_t> answers;
    for (std::size_t i = 0; i < end; ++i) {
      if (records_[i].call != records_[end].call) continue;
      if (records_[i].what == What::kHeard) request = records_[i].bytes;
      if (records_[i].what == What::kSaid) answers.push_back(i);
    }
    if (MethodOf(end) == kWatch && answers.size() > 1) answers.erase(answers.begin(), answers.end() - 1);
    ++outcome_.said;
    std::string difference;
    testing::Eventually([&] { return (difference = Look(request, answers, end)).empty(); }, kPatienceMs);
    if (!difference.empty()) return Differ(end, difference);
    outcome_.compared += static_cast<int>(answers.size());
  }

  std::string Look(const std::string& request, const std::vector<std::size_t>& answers, std::size_t end) {
    RawCall call(channel_, MethodOf(end));
    call.Say(request);
    call.Close();
    for (const std::size_t i : answers) {
      const auto answer = call.Await([](const std::string&) { return true; }, kPatienceMs);
      if (!answer) break;
      if (const std::string difference = DifferenceTo(i, *answer); !difference.empty()) return difference;
      if (i == answers.back() && MethodOf(end) == kWatch) return "";
    }
    const auto status = call.AwaitEnd(kPatienceMs);
    if (!status) return "did not end";
    if (std::to_string(static_cast<int>(status->error_code())) == records_[end].bytes) return "";
    return StrCat("ended with ", static_cast<int>(status->error_code()), " (", status->error_message(), "), recorded ", records_[end].bytes);
  }

  const std::vector<Record>& records_;
  const std::set<std::string>& schema_;
  std::vector<bool> done_;  // answers that were awaited before their place
  std::map<int, std::string> methods_;
  std::shared_ptr<grpc::Channel> channel_;
  std::map<int, std::unique_ptr<RawCall>> calls_;
  bool stopping_ = false;
  Outcome outcome_;
};

// Of the records from `begin` on, those of calls that began there.
std::vector<Record> WholeCalls(const std::vector<Record>& records, std::size_t begin) {
  std::vector<Record> last(records.begin() + static_cast<std::ptrdiff_t>(begin), records.end());
  std::set<int> whole;
  for (const Record& record : last) {
    if (record.what == What::kOpened) whole.insert(record.call);
  }
  std::erase_if(last, [&](const Record& record) { return !whole.contains(record.call); });
  return last;
}

}  // namespace

Outcome Replay(const std::vector<Record>& records, const std::set<std::string>& schema, std::string address, const std::function<std::string()>& restart) {
  return Replayer(records, schema, address).Run(restart);
}

std::vector<Record> LastLooks(const std::vector<Record>& records) {
  std::map<int, std::string> methods;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < records.size(); ++i) {
    if (records[i].what == What::kOpened) methods[records[i].call] = records[i].bytes;
    if (!OnlyLooks(methods[records[i].call])) begin = i + 1;
  }
  return WholeCalls(records, begin);
}

std::vector<Record> AfterRestart(const std::vector<Record>& records) {
  std::size_t begin = 0;
  for (std::size_t i = 0; i < records.size(); ++i) {
    if (records[i].what == What::kRestarted) begin = i + 1;
  }
  return WholeCalls(records, begin);
}

}  // namespace entrain::compatibility
