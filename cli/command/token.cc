#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "base/clock.h"
#include "base/files.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "cli/command/commands.h"
#include "cli/session.h"
#include "cli/table.h"
#include "transport/token_file.h"

namespace entrain::cli::command {
namespace {

constexpr char kHeader[] = "# entrain's tokens: NAME ROLE SHA-256 [expires=YYYY-MM-DD]; docs/SECURITY.md\n";

struct TokenOptions {
  std::string file = "entrain-data/tokens";
  std::string name;
  std::string role = "submit";
  std::string expires;
};

absl::StatusOr<std::string> ReadTokenText(const std::string& file) {
  absl::StatusOr<std::string> text = ReadFile(file);
  if (absl::IsNotFound(text.status())) return std::string();
  return text;
}

// Readable by its owner alone: its hashes are no secrets, but nobody else needs them.
absl::Status WriteTokenText(const std::string& file, const std::string& text) {
  const mode_t before = ::umask(0077);
  const absl::Status status = WriteFileAtomically(file, text);
  ::umask(before);
  return status;
}

absl::Status CreateIn(const TokenOptions& options, transport::Token* token, std::string* secret) {
  if (!transport::IsPersonName(options.name)) return absl::InvalidArgumentError("NAME must be 1 to 64 letters, digits and . - _ @");
  const std::optional<transport::Role> role = transport::ParseRole(options.role);
  if (!role) return absl::InvalidArgumentError(StrCat("--role must be view, submit or admin, is \"", options.role, "\""));
  if (!options.expires.empty() && !transport::EndOfDayMs(options.expires)) return absl::InvalidArgumentError("--expires must be a day, YYYY-MM-DD");
  ENTRAIN_ASSIGN_OR_RETURN(std::string text, ReadTokenText(options.file));
  ENTRAIN_RETURN_IF_ERROR(transport::ParseTokens(text, options.file).status());
  SystemIdSource ids;
  *secret = transport::NewSecret(&ids);
  *token = {options.name, *role, transport::HashOfSecret(*secret), options.expires, 0};
  if (text.empty()) text = kHeader;
  if (text.back() != '\n') text += '\n';
  return WriteTokenText(options.file, StrCat(text, transport::TokenLine(*token), "\n"));
}

int Create(Session* session, const TokenOptions& options) {
  transport::Token token;
  std::string secret;
  const absl::Status made = CreateIn(options, &token, &secret);
  if (!made.ok()) return session->Fail(made, absl::IsInvalidArgument(made) ? kExitUsage : ExitCodeOf(made));
  session->Remark(StrCat("token ", token.Id(), " of ", token.name, " with role ", options.role, " is in ", options.file,
                         "; it is shown once, here:"));
  session->Print(secret + "\n", {{"id", token.Id()}, {"name", token.name}, {"role", options.role}, {"token", secret}});
  return kExitOk;
}

int List(Session* session, const TokenOptions& options) {
  const absl::StatusOr<std::string> text = ReadFile(options.file);
  if (!text.ok()) return session->Fail(text.status());
  const auto tokens = transport::ParseTokens(*text, options.file);
  if (!tokens.ok()) return session->Fail(tokens.status());
  Table table({{"ID"}, {"NAME"}, {"ROLE"}, {"EXPIRES"}});
  nlohmann::json list = nlohmann::json::array();
  const std::int64_t now_ms = SystemClock().WallMs();
  for (const transport::Token& token : *tokens) {
    const bool over = token.expires_wall_ms != 0 && now_ms >= token.expires_wall_ms;
    const std::string role(transport::ToString(token.role));
    table.Add({token.Id(), token.name, role, StrCat(token.expires, over ? " (over)" : "")}, 2, Style::kPlain);
    list.push_back({{"id", token.Id()}, {"name", token.name}, {"role", role}, {"expires", token.expires}, {"expired", over}});
  }
  session->Print(table.empty() ? StrCat("no tokens in ", options.file, "\n") : table.Text(ColourOf(STDOUT_FILENO)), list);
  return kExitOk;
}

// Leaves every other line as it is, comments too.
absl::StatusOr<int> RevokeIn(const TokenOptions& options) {
  ENTRAIN_ASSIGN_OR_RETURN(const std::string text, ReadFile(options.file));
  ENTRAIN_RETURN_IF_ERROR(transport::ParseTokens(text, options.file).status());
  std::string kept;
  int revoked = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size() - 1) + 1;
    const std::string line = text.substr(begin, end - begin);
    begin = end;
    const auto tokens = transport::ParseTokens(line, options.file);
    const bool named = tokens.ok() && tokens->size() == 1 && (tokens->front().name == options.name || tokens->front().Id() == options.name);
    if (named) ++revoked;
    if (!named) kept += line;
  }
  if (revoked == 0) return absl::NotFoundError(StrCat(options.file, " has no token of that name or id: ", options.name));
  ENTRAIN_RETURN_IF_ERROR(WriteTokenText(options.file, kept));
  return revoked;
}

int Revoke(Session* session, const TokenOptions& options) {
  const absl::StatusOr<int> revoked = RevokeIn(options);
  if (!revoked.ok()) return session->Fail(revoked.status());
  session->Print(StrCat(*revoked, *revoked == 1 ? " token" : " tokens", " of ", options.name, " revoked; the coordinator refuses within a second\n"),
                 {{"revoked", *revoked}});
  return kExitOk;
}

CLI::App* AddOne(CLI::App* group, Session* session, const std::string& name, const std::shared_ptr<TokenOptions>& options, const Help& help,
                 int (*run)(Session*, const TokenOptions&)) {
  CLI::App* command = AddCommand(group, session, name, help);
  command->add_option("--tokens", options->file, "The file that entrain-coordinator --tokens names")->capture_default_str();
  command->callback([=] { session->command = [=] { return run(session, *options); }; });
  return command;
}

}  // namespace

void AddToken(CLI::App* app, Session* session) {
  CLI::App* group = app->add_subcommand("token", "Makes, lists and revokes people's tokens, in the coordinator's file");
  group->require_subcommand(1);
  const auto options = std::make_shared<TokenOptions>();
  CLI::App* create = AddOne(group, session, "create", options,
      {"Makes a token and prints it once",
       "Only its hash is written to the file, which the coordinator reads again by itself. Roles: view reads everything; submit also submits, and stops,\n"
       "pauses and retries its own; admin does everything, for everyone.",
       "  entrain token create alice > alice.token\n  entrain token create ops --role admin --expires 2027-01-31 --tokens /etc/entrain/tokens"}, Create);
  create->add_option("NAME", options->name, "Whose it is: the owner of what is submitted with it")->required();
  create->add_option("--role", options->role, "view, submit or admin")->capture_default_str();
  create->add_option("--expires", options->expires, "The last day on which it counts, YYYY-MM-DD (UTC)");
  AddOne(group, session, "list", options, {"Lists the tokens, without their secrets", "", "  entrain token list --tokens /etc/entrain/tokens"}, List);
  CLI::App* revoke = AddOne(group, session, "revoke", options,
      {"Takes one token, or all of a person, out of the file", "", "  entrain token revoke alice\n  entrain token revoke 2c26b46b68ff"}, Revoke);
  revoke->add_option("NAME", options->name, "A person's name, or a token's id")->required();
}

}  // namespace entrain::cli::command
