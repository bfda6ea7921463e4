#include "coordinator/rpc/notice_json.h"

#include <google/protobuf/util/json_util.h>

#include "base/strings.h"
#include "entrain/v1/sweep_service.pb.h"
#include "proto/convert.h"

namespace entrain::rpc {

std::string NoticeId(const RunId& run, const domain::Verdict& verdict) {
  return StrCat(run.value(), ".", verdict.attempt, "-", verdict.rule, "-", verdict.step);
}

std::string NoticeJson(const core::State& state, const RunId& id, const domain::Verdict& verdict, std::int64_t wall_ms) {
  v1::Notice notice;
  notice.set_id(NoticeId(id, verdict));
  notice.set_event("verdict");
  notice.set_run_id(id.value());
  notice.set_wall_ms(wall_ms);
  if (const core::Run* run = state.FindRun(id)) {
    notice.set_run_label(run->spec->label);
    notice.set_variant(run->spec->variant);
    notice.set_sweep_id(run->sweep.value());
    if (const core::Sweep* sweep = state.FindSweep(run->sweep)) {
      notice.set_sweep_name(sweep->spec->name);
      notice.set_owner(sweep->spec->owner);
    }
  }
  *notice.mutable_verdict() = wire::ToWire(verdict);
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  // It fails only on messages with unknown types inside.
  if (!google::protobuf::util::MessageToJsonString(notice, &json, options).ok()) return "{}";
  return json;
}

}  // namespace entrain::rpc
