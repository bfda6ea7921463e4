#include "data/preparation_record.h"

#include <nlohmann/json.hpp>

#include "base/status_macros.h"
#include "base/strings.h"
#include "data/shard_json.h"

namespace entrain::data {
namespace {

using nlohmann::json;

constexpr int kVersion = 1;

json WriterToJson(const ShardWriterState& state) {
  json object = {{"shards", json::array()}, {"unfinished", nullptr}};
  for (const ShardInfo& shard : state.shards) object["shards"].push_back(ShardToJson(shard));
  if (state.unfinished) object["unfinished"] = ShardToJson(*state.unfinished);
  return object;
}

absl::StatusOr<ShardWriterState> WriterFromJson(const json& object) {
  ShardWriterState state;
  for (const json& item : object.at("shards")) {
    ENTRAIN_ASSIGN_OR_RETURN(ShardInfo shard, WholeShardFromJson(item));
    state.shards.push_back(std::move(shard));
  }
  if (object.at("unfinished").is_null()) return state;
  ENTRAIN_ASSIGN_OR_RETURN(state.unfinished, ShardFromJson(object.at("unfinished")));
  return state;
}

json ScanToJson(const ScanResult& scan) {
  return {{"fraction", scan.split.fraction},
          {"lowest", scan.split.lowest},
          {"highest", scan.split.highest},
          {"split_documents", scan.split.documents},
          {"kinds", scan.kinds},
          {"documents", scan.documents},
          {"bytes", scan.bytes},
          {"last_document_bytes", scan.last_document_bytes},
          {"binary_files", scan.binary_files},
          {"chain", scan.chain}};
}

ScanResult ScanFromJson(const json& object) {
  ScanResult scan;
  scan.split = {object.at("fraction").get<double>(), object.at("lowest").get<std::uint64_t>(),
                object.at("highest").get<std::uint64_t>(), object.at("split_documents").get<std::int64_t>()};
  scan.kinds = object.at("kinds").get<std::string>();
  scan.documents = object.at("documents").get<std::int64_t>();
  scan.bytes = object.at("bytes").get<std::int64_t>();
  scan.last_document_bytes = object.at("last_document_bytes").get<std::int64_t>();
  scan.binary_files = object.at("binary_files").get<std::int64_t>();
  scan.chain = object.at("chain").get<std::string>();
  return scan;
}

json WriteToJson(const WriteState& state) {
  return {{"file", state.at.file},
          {"offset", state.at.offset},
          {"line", state.at.line},
          {"documents", state.documents},
          {"bytes", state.bytes},
          {"chain", state.chain},
          {"round_trip_documents", state.round_trip.documents},
          {"round_trip_exact", state.round_trip.exact},
          {"train", WriterToJson(state.train)},
          {"validation", WriterToJson(state.validation)}};
}

absl::StatusOr<WriteState> WriteFromJson(const json& object) {
  WriteState state;
  state.at = {object.at("file").get<std::size_t>(), object.at("offset").get<std::int64_t>(), object.at("line").get<std::int64_t>()};
  state.documents = object.at("documents").get<std::int64_t>();
  state.bytes = object.at("bytes").get<std::int64_t>();
  state.chain = object.at("chain").get<std::string>();
  state.round_trip = {object.at("round_trip_documents").get<std::int64_t>(), object.at("round_trip_exact").get<std::int64_t>()};
  ENTRAIN_ASSIGN_OR_RETURN(state.train, WriterFromJson(object.at("train")));
  ENTRAIN_ASSIGN_OR_RETURN(state.validation, WriterFromJson(object.at("validation")));
  return state;
}

}  // namespace

std::string ToJson(const PreparationRecord& record) {
  const json object = {{"version", kVersion},
                       {"scan", ScanToJson(record.scan)},
                       {"tokenizer_file", record.tokenizer_file},
                       {"write", WriteToJson(record.write)}};
  return object.dump() + "\n";
}

absl::StatusOr<PreparationRecord> ParsePreparationRecord(std::string_view text) {
  try {
    const json object = json::parse(text);
    if (object.at("version") != kVersion) return absl::InvalidArgumentError("another version of the record");
    PreparationRecord record;
    record.scan = ScanFromJson(object.at("scan"));
    record.tokenizer_file = object.at("tokenizer_file").get<std::string>();
    ENTRAIN_ASSIGN_OR_RETURN(record.write, WriteFromJson(object.at("write")));
    return record;
  } catch (const json::exception& error) {
    return absl::InvalidArgumentError(error.what());
  }
}

}  // namespace entrain::data
