#include "coordinator/store/postgres.h"

#include <poll.h>

#include <algorithm>
#include <bit>
#include <cctype>
#include <cstring>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::store {
namespace {

// A server that says nothing for so long counts as gone.
constexpr std::int64_t kAnswerLimitMs = 30'000;

// Of the server's catalogue, fixed for ever.
constexpr Oid kBytea = 17, kInt8 = 20, kText = 25, kFloat8 = 701;
constexpr Oid kByteaArray = 1001, kInt8Array = 1016, kTextArray = 1009, kFloat8Array = 1022;

void AppendBigEndian(std::string* out, std::uint64_t value, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) out->push_back(static_cast<char>((value >> shift) & 0xff));
}

std::uint64_t ReadBigEndian(std::string_view bytes) {
  std::uint64_t value = 0;
  for (const char byte : bytes) value = (value << 8) | static_cast<unsigned char>(byte);
  return value;
}

// One dimension, no NULLs.
template <typename Values, typename Append>
std::string ArrayBytes(Oid element, const Values& values, Append append) {
  std::string out;
  AppendBigEndian(&out, values.empty() ? 0 : 1, 4);
  AppendBigEndian(&out, 0, 4);
  AppendBigEndian(&out, element, 4);
  if (values.empty()) return out;
  AppendBigEndian(&out, values.size(), 4);
  AppendBigEndian(&out, 1, 4);
  for (const auto& value : values) append(&out, value);
  return out;
}

void AppendSized(std::string* out, std::string_view bytes) {
  AppendBigEndian(out, bytes.size(), 4);
  out->append(bytes);
}

absl::StatusCode CodeOfState(std::string_view state) {
  const std::string_view group = state.substr(0, 2);
  // A server that ends, one that was demoted, a deadlock: another try may do.
  if (group == "08" || group == "40" || group == "57" || state == "53300" || state == "25006") return absl::StatusCode::kUnavailable;
  if (group == "28" || state == "42501") return absl::StatusCode::kPermissionDenied;
  if (state == "3D000" || state == "42P07") return absl::StatusCode::kFailedPrecondition;
  if (group == "53" || group == "54") return absl::StatusCode::kResourceExhausted;
  if (group == "XX") return absl::StatusCode::kDataLoss;
  return absl::StatusCode::kInternal;
}

// On one line, without its end.
std::string Words(const char* message) {
  std::string words(message == nullptr ? "" : message);
  while (!words.empty() && std::isspace(static_cast<unsigned char>(words.back())) != 0) words.pop_back();
  std::replace(words.begin(), words.end(), '\n', ' ');
  return words;
}

// What every session of ours needs whatever the server's and the role's defaults are. A commit must be durable when it is acknowledged.
const char* const kSessionSettings = R"sql(
  SET default_transaction_isolation = 'read committed';
  SET default_transaction_read_only = off;
  SET bytea_output = 'hex';
  SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local');
)sql";

}  // namespace

absl::StatusOr<PostgresTarget> PostgresTarget::Parse(const std::string& url, const std::string& password_file) {
  char* error = nullptr;
  const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> options(PQconninfoParse(url.c_str(), &error), PQconninfoFree);
  const std::unique_ptr<char, decltype(&PQfreemem)> words(error, PQfreemem);
  // Not the address itself, which may hold a password.
  if (options == nullptr) return absl::InvalidArgumentError("the address of the PostgreSQL store cannot be read: it is no postgresql://[USER@]HOST[:PORT]/DATABASE");
  PostgresTarget target;
  std::map<std::string, std::string> given;
  for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option) {
    if (option->val != nullptr) given[option->keyword] = option->val;
  }
  if (given.contains("password") || given.contains("sslpassword")) {
    return absl::InvalidArgumentError("the address of the PostgreSQL store carries a password, which the list of processes would show: "
                                      "use --store-password-file, PGPASSFILE or a service file");
  }
  // Neither a standby of the server's nor a machine that is gone may hold us up.
  const std::pair<const char*, const char*> defaults[] = {
      {"application_name", "entrain-coordinator"}, {"connect_timeout", "5"}, {"keepalives_idle", "5"}, {"keepalives_interval", "2"},
      {"keepalives_count", "3"}, {"tcp_user_timeout", "15000"}, {"target_session_attrs", "read-write"}, {"client_encoding", "UTF8"}};
  for (const auto& [keyword, value] : defaults) given.try_emplace(keyword, value);
  if (!password_file.empty()) {
    ENTRAIN_ASSIGN_OR_RETURN(const std::string content, ReadFile(password_file));
    const std::string password = content.substr(0, content.find_first_of("\r\n"));
    if (password.empty()) return absl::InvalidArgumentError(StrCat(password_file, " holds no password"));
    given["password"] = password;
  }
  const auto part = [&](const char* keyword) { return given.contains(keyword) ? given[keyword] : std::string(); };
  target.name_ = StrCat("postgresql ", part("service").empty() ? part("host") : part("service"));
  if (!part("port").empty()) StrAppend(&target.name_, ":", part("port"));
  if (!part("dbname").empty()) StrAppend(&target.name_, "/", part("dbname"));
  target.settings_.assign(given.begin(), given.end());
  return target;
}

void PostgresTarget::Keywords(std::vector<const char*>* keywords, std::vector<const char*>* values) const {
  for (const auto& [keyword, value] : settings_) {
    keywords->push_back(keyword.c_str());
    values->push_back(value.c_str());
  }
  keywords->push_back(nullptr);
  values->push_back(nullptr);
}

PostgresValues& PostgresValues::Add(Oid type, std::string bytes) {
  types_.push_back(type);
  bytes_.push_back(std::move(bytes));
  return *this;
}

PostgresValues& PostgresValues::Int(std::int64_t value) {
  std::string bytes;
  AppendBigEndian(&bytes, static_cast<std::uint64_t>(value), 8);
  return Add(kInt8, std::move(bytes));
}

PostgresValues& PostgresValues::Text(std::string_view text) { return Add(kText, std::string(text)); }

PostgresValues& PostgresValues::Ints(const std::vector<std::int64_t>& values) {
  return Add(kInt8Array, ArrayBytes(kInt8, values, [](std::string* out, std::int64_t value) {
               AppendBigEndian(out, 8, 4);
               AppendBigEndian(out, static_cast<std::uint64_t>(value), 8);
             }));
}

PostgresValues& PostgresValues::Doubles(const std::vector<double>& values) {
  return Add(kFloat8Array, ArrayBytes(kFloat8, values, [](std::string* out, double value) {
               AppendBigEndian(out, 8, 4);
               AppendBigEndian(out, std::bit_cast<std::uint64_t>(value), 8);
             }));
}

PostgresValues& PostgresValues::Texts(const std::vector<std::string_view>& values) {
  return Add(kTextArray, ArrayBytes(kText, values, AppendSized));
}

PostgresValues& PostgresValues::Blobs(const std::vector<std::string_view>& values) {
  return Add(kByteaArray, ArrayBytes(kBytea, values, AppendSized));
}

std::int64_t PostgresRows::Int(int row, int column) const { return static_cast<std::int64_t>(ReadBigEndian(Blob(row, column))); }
double PostgresRows::Double(int row, int column) const { return std::bit_cast<double>(ReadBigEndian(Blob(row, column))); }
std::string_view PostgresRows::Blob(int row, int column) const {
  return {PQgetvalue(result_.get(), row, column), static_cast<std::size_t>(PQgetlength(result_.get(), row, column))};
}

absl::StatusOr<std::unique_ptr<PostgresConnection>> PostgresConnection::Open(const PostgresTarget& target, const Clock* clock) {
  std::vector<const char*> keywords;
  std::vector<const char*> values;
  target.Keywords(&keywords, &values);
  PGconn* handle = PQconnectdbParams(keywords.data(), values.data(), 0);
  std::unique_ptr<PostgresConnection> connection(new PostgresConnection(target.name(), clock, handle));
  if (PQstatus(handle) != CONNECTION_OK) {
    const std::string words = StrCat(target.name(), ": cannot connect: ", Words(PQerrorMessage(handle)));
    // libpq gives no code: a server that answers at all has refused us in person.
    const bool refused = PQpingParams(keywords.data(), values.data(), 0) == PQPING_OK;
    return refused ? absl::FailedPreconditionError(words) : absl::UnavailableError(words);
  }
  PQsetnonblocking(handle, 1);
  ENTRAIN_RETURN_IF_ERROR(connection->Script(kSessionSettings));
  return connection;
}

absl::Status PostgresConnection::Lost() const {
  return absl::UnavailableError(StrCat(name_, ": connection lost: ", Words(PQerrorMessage(handle_.get()))));
}

absl::Status PostgresConnection::ErrorOf(const PGresult* result) const {
  const char* state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  if (state == nullptr || PQstatus(handle_.get()) != CONNECTION_OK) return Lost();
  const char* words = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  return absl::Status(CodeOfState(state), StrCat(name_, ": ", Words(words), " (SQLSTATE ", state, ")"));
}

absl::Status PostgresConnection::AwaitSocket(std::int64_t deadline_ms, bool until_sent) {
  const std::int64_t left_ms = deadline_ms - clock_->BootMs();
  if (left_ms <= 0) return absl::UnavailableError(StrCat(name_, ": no answer for ", kAnswerLimitMs / 1000, " s"));
  pollfd socket{PQsocket(handle_.get()), static_cast<short>(POLLIN | (until_sent ? POLLOUT : 0)), 0};
  poll(&socket, 1, static_cast<int>(std::min<std::int64_t>(left_ms, 1'000)));
  if ((socket.revents & (POLLIN | POLLERR | POLLHUP)) != 0 && PQconsumeInput(handle_.get()) == 0) return Lost();
  return absl::OkStatus();
}

absl::StatusOr<PostgresRows> PostgresConnection::Answer() {
  const std::int64_t deadline_ms = clock_->BootMs() + kAnswerLimitMs;
  for (int flushed = 1; flushed != 0;) {
    flushed = PQflush(handle_.get());
    if (flushed < 0) return Lost();
    if (flushed > 0) ENTRAIN_RETURN_IF_ERROR(AwaitSocket(deadline_ms, true));
  }
  absl::StatusOr<PostgresRows> answer = absl::UnavailableError(StrCat(name_, ": no answer"));
  for (;;) {
    while (PQisBusy(handle_.get()) != 0) ENTRAIN_RETURN_IF_ERROR(AwaitSocket(deadline_ms, false));
    PGresult* result = PQgetResult(handle_.get());
    if (result == nullptr) return answer;
    PostgresRows rows(result);
    const ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
      answer = std::move(rows);
    } else {
      answer = ErrorOf(result);
      if (PQstatus(handle_.get()) != CONNECTION_OK) return answer;
    }
  }
}

absl::StatusOr<PostgresRows> PostgresConnection::Run(const std::string& sql, const PostgresValues& values) {
  const auto [entry, fresh] = prepared_.try_emplace(sql, StrCat("s", prepared_.size()));
  const int count = static_cast<int>(values.bytes().size());
  if (fresh) {
    absl::StatusOr<PostgresRows> planned = Lost();
    if (PQsendPrepare(handle_.get(), entry->second.c_str(), sql.c_str(), count, values.types().data()) != 0) planned = Answer();
    if (!planned.ok()) {
      prepared_.erase(entry);
      return planned;
    }
  }
  std::vector<const char*> pointers;
  std::vector<int> lengths;
  const std::vector<int> formats(static_cast<std::size_t>(count), 1);
  for (const std::string& bytes : values.bytes()) {
    pointers.push_back(bytes.data());
    lengths.push_back(static_cast<int>(bytes.size()));
  }
  if (PQsendQueryPrepared(handle_.get(), entry->second.c_str(), count, pointers.data(), lengths.data(), formats.data(), 1) == 0) return Lost();
  return Answer();
}

absl::Status PostgresConnection::Script(const std::string& sql) {
  if (PQsendQuery(handle_.get(), sql.c_str()) == 0) return Lost();
  return Answer().status();
}

}  // namespace entrain::store
