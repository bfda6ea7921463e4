#include <unistd.h>

#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "base/strings.h"
#include "cli/command/commands.h"
#include "cli/format.h"
#include "cli/session.h"
#include "cli/table.h"

namespace entrain::cli::command {
namespace {

std::string WhenText(const v1::GarbageItem& item, bool dry_run) {
  if (item.due_in_s() > 0) return StrCat("in ", FormatDuration(item.due_in_s() * 1000));
  if (dry_run) return "now";
  return item.deleted() ? "deleted" : "in use";
}

nlohmann::json ItemJson(const v1::GarbageItem& item) {
  return {{"kind", item.kind()},     {"name", item.name()},         {"bytes", item.bytes()}, {"reason", item.reason()},
          {"due_in_s", item.due_in_s()}, {"deleted", item.deleted()}, {"count", item.count()}};
}

// What is in the artifact root once everything of `found` that may go is gone.
std::int64_t BytesLeft(const v1::CollectGarbageResponse& found) {
  std::int64_t left = found.artifact_bytes();
  for (const v1::GarbageItem& item : found.items()) {
    const bool of_database = item.kind() == "samples" || item.kind() == "log_lines";
    if (!of_database && item.due_in_s() == 0) left -= item.bytes();
  }
  return left;
}

std::string TotalText(const v1::CollectGarbageResponse& found) {
  std::string text = StrCat("artifact root: ", FormatBytes(found.artifact_bytes()));
  if (found.artifact_quota_bytes() > 0) StrAppend(&text, ", its quota is ", FormatBytes(found.artifact_quota_bytes()));
  if (found.sample_bytes() > 0) StrAppend(&text, "; samples: ", FormatBytes(found.sample_bytes()));
  if (found.log_bytes() > 0) StrAppend(&text, "; logs: ", FormatBytes(found.log_bytes()));
  text += "\n";
  if (found.artifact_quota_bytes() > 0 && BytesLeft(found) > found.artifact_quota_bytes()) {
    text += "Everything else is needed: `entrain release SWEEP` gives up a finished sweep's last checkpoints, or raise --artifact-quota.\n";
  }
  return text;
}

int CollectGarbage(Session* session, bool now) {
  const auto found = session->client().CollectGarbage(/*dry_run=*/!now);
  if (!found.ok()) return session->Fail(found.status());
  Table table({{"KIND"}, {"WHAT"}, {"SIZE", Align::kRight}, {"WHEN"}, {"WHY"}});
  nlohmann::json items = nlohmann::json::array();
  for (const v1::GarbageItem& item : found->items()) {
    table.Add({item.kind(), item.name(), FormatBytes(item.bytes()), WhenText(item, !now), item.reason()});
    items.push_back(ItemJson(item));
  }
  session->Print(StrCat(table.empty() ? "nothing to delete\n" : table.Text(ColourOf(STDOUT_FILENO)), TotalText(*found)),
                 {{"dry_run", !now}, {"items", items}, {"artifact_bytes", found->artifact_bytes()}, {"artifact_quota_bytes", found->artifact_quota_bytes()},
                  {"sample_bytes", found->sample_bytes()}, {"log_bytes", found->log_bytes()}});
  return kExitOk;
}

}  // namespace

void AddGc(CLI::App* app, Session* session) {
  const auto now = std::make_shared<bool>(false);
  CLI::App* command = AddCommand(app, session, "gc",
      {"Shows what retention would delete, and why; with --now, deletes it",
       "The coordinator deletes by itself every ten minutes (--retention-interval). What nothing in its store names, such as an upload that\n"
       "broke off, is shown with the time that is left of its grace.",
       "  entrain gc\n  entrain gc -o json\n  entrain gc --now"});
  command->add_flag("--now", *now, "Delete, instead of only saying what");
  command->callback([=] { session->command = [=] { return CollectGarbage(session, *now); }; });
}

}  // namespace entrain::cli::command
