#include "coordinator/rpc/access.h"

#include <grpc/grpc_security_constants.h>
#include <grpcpp/security/auth_metadata_processor.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_context.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>

#include "base/files.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "transport/grpc_status.h"

namespace entrain::rpc {
namespace {

using transport::Token;

constexpr std::string_view kBearer = "Bearer ";
constexpr std::size_t kMaxCertificates = 4096;
// A pool of workers may share one certificate.
constexpr double kWorkerWeight = 10;
constexpr double kNotedRefusalsPerSecond = 10;
constexpr double kNotedRefusalsBurst = 100;

std::string_view ViewOf(grpc::string_ref text) { return {text.data(), text.size()}; }

std::string_view CertificateText(const grpc::AuthContext* context) {
  if (context == nullptr) return {};
  const std::vector<grpc::string_ref> found = context->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
  return found.empty() ? std::string_view() : ViewOf(found.front());
}

template <typename Metadata>
std::optional<std::string_view> HeaderOf(const Metadata& metadata, const char* name) {
  const auto found = metadata.find(name);
  if (found == metadata.end()) return std::nullopt;
  return ViewOf(found->second);
}

class Doorkeeper : public grpc::AuthMetadataProcessor {
 public:
  explicit Doorkeeper(Access* access) : access_(access) {}
  // Nothing here waits for anything.
  bool IsBlocking() const override { return false; }
  grpc::Status Process(const InputMetadata& metadata, grpc::AuthContext* context, OutputMetadata* /*consumed*/,
                       OutputMetadata* /*response*/) override {
    return transport::ToGrpc(access_->Admit(HeaderOf(metadata, ":path").value_or(""), {HeaderOf(metadata, "authorization"), CertificateText(context)}));
  }

 private:
  Access* const access_;
};

std::string StampOf(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return "absent";
  return StrCat(info.st_ino, ".", info.st_dev, ".", info.st_size, ".", info.st_mtim.tv_sec, ".", info.st_mtim.tv_nsec);
}

std::string CodeText(const absl::Status& status) { return status.ok() ? "ok" : absl::StatusCodeToString(status.code()); }

}  // namespace

Access::Access(const AccessOptions& options, const Clock* clock, std::function<void(const std::string&)> count_limit)
    : options_(options),
      clock_(clock),
      count_limit_(std::move(count_limit)),
      streams_(clock, options.streams_per_client, options.slow_stream_ms),
      rates_(options.requests_per_second, 2 * options.requests_per_second),
      refusals_(kNotedRefusalsPerSecond, kNotedRefusalsBurst) {}

absl::StatusOr<std::unique_ptr<Access>> Access::Open(const AccessOptions& options, const Clock* clock,
                                                     std::function<void(const std::string&)> count_limit) {
  std::unique_ptr<Access> access(new Access(options, clock, std::move(count_limit)));
  if (!options.audit_file.empty()) {
    ENTRAIN_ASSIGN_OR_RETURN(access->audit_, AuditLog::Open(options.audit_file));
  }
  if (!options.tokens_file.empty()) {
    access->tokens_stamp_ = StampOf(options.tokens_file);
    ENTRAIN_RETURN_IF_ERROR(access->ReadTokens());
    if (access->tokens_->empty()) Log(LogLevel::kWarning, "there are no tokens: nobody can submit", {{"file", options.tokens_file}});
  }
  access->watch_ = std::thread([access = access.get()] { access->Watch(); });
  return access;
}

Access::~Access() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  stop_changed_.notify_all();
  if (watch_.joinable()) watch_.join();
}

void Access::Guard(const std::shared_ptr<grpc::ServerCredentials>& credentials) {
  credentials->SetAuthMetadataProcessor(std::make_shared<Doorkeeper>(this));
}

std::shared_ptr<const Access::Tokens> Access::tokens() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return tokens_;
}

std::shared_ptr<const transport::Certificate> Access::CertificateOf(std::string_view pem) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto known = certificates_.find(pem);
  if (known != certificates_.end()) return known->second;
  const absl::StatusOr<transport::Certificate> read = transport::ParseCertificate(pem);
  if (!read.ok()) return nullptr;
  if (certificates_.size() >= kMaxCertificates) certificates_.clear();
  return certificates_[std::string(pem)] = std::make_shared<transport::Certificate>(*read);
}

absl::StatusOr<Caller> Access::IdentifyToken(std::string_view authorization) const {
  if (!authorization.starts_with(kBearer)) return absl::UnauthenticatedError("the authorization header is not Bearer TOKEN");
  const std::shared_ptr<const Tokens> all = tokens();
  const Token* token = transport::FindToken(*all, authorization.substr(kBearer.size()), clock_->WallMs());
  if (token == nullptr) return absl::UnauthenticatedError("the token is not known here, was revoked or has expired");
  Caller caller;
  caller.kind = Caller::Kind::kPerson;
  caller.name = token->name;
  caller.role = token->role;
  caller.token_id = token->Id();
  // All tokens of a person count together.
  caller.client = StrCat("person ", token->name);
  return caller;
}

absl::StatusOr<Caller> Access::Identify(const Credentials& credentials) const {
  const bool with_tokens = !options_.tokens_file.empty();
  if (with_tokens && credentials.authorization) return IdentifyToken(*credentials.authorization);
  Caller caller;
  if (!options_.tls) {
    // Whoever is on this machine may be a worker; a person only where no tokens are wanted.
    if (with_tokens) caller.role = std::nullopt;
    return caller;
  }
  const std::shared_ptr<const transport::Certificate> certificate = CertificateOf(credentials.certificate);
  if (certificate == nullptr) return absl::UnauthenticatedError("the connection shows no usable certificate");
  caller.name = certificate->common_name;
  caller.role = std::nullopt;
  if (certificate->IsWorkers()) {
    caller.kind = Caller::Kind::kWorker;
    caller.client = StrCat("worker ", HashHex(credentials.certificate));
    caller.certificate = certificate;
    return caller;
  }
  caller.kind = with_tokens ? Caller::Kind::kNobody : Caller::Kind::kPerson;
  // Without tokens the authority's certificates alone decide.
  if (!with_tokens) caller.role = transport::Role::kAdmin;
  caller.client = StrCat("certificate ", HashHex(credentials.certificate));
  return caller;
}

absl::Status Access::Decide(const absl::StatusOr<Caller>& caller, std::string_view method) {
  const MethodRule* rule = FindMethodRule(method);
  ENTRAIN_RETURN_IF_ERROR(caller.status());
  if (rule == nullptr) return absl::PermissionDeniedError("nobody may call this method");
  ENTRAIN_RETURN_IF_ERROR(MayCall(*caller, *rule));
  if (caller->kind == Caller::Kind::kLocal) return absl::OkStatus();
  const std::lock_guard<std::mutex> lock(mutex_);
  const double weight = caller->kind == Caller::Kind::kWorker ? kWorkerWeight : 1;
  if (rates_.Take(caller->client, clock_->BootMs(), weight)) return absl::OkStatus();
  return absl::ResourceExhaustedError(StrCat("requests_per_second: more than ", rates_.per_second() * weight, " calls a second of this client"));
}

absl::Status Access::Admit(std::string_view method, const Credentials& credentials) {
  const absl::StatusOr<Caller> caller = Identify(credentials);
  const absl::Status status = Decide(caller, method);
  if (status.ok()) return status;
  if (absl::IsResourceExhausted(status) && count_limit_) count_limit_("requests_per_second");
  bool noted = audit_ != nullptr;
  if (noted) {
    const std::lock_guard<std::mutex> lock(mutex_);
    noted = refusals_.Take("", clock_->BootMs());
  }
  if (!noted) return status;
  AuditEntry entry{clock_->WallMs(), "", "", "", "", "refused", std::string(method), CodeText(status), std::string(status.message())};
  if (caller.ok()) {
    entry.who = caller->name;
    entry.role = caller->RoleText();
    entry.token = caller->token_id;
  }
  audit_->Note(entry);
  return status;
}

Caller Access::CallerOf(const grpc::ServerContextBase& call) const {
  const std::shared_ptr<const grpc::AuthContext> context = call.auth_context();
  absl::StatusOr<Caller> caller = Identify({HeaderOf(call.client_metadata(), "authorization"), CertificateText(context.get())});
  if (!caller.ok()) {
    // A token that was revoked while its call was on the way.
    caller = Caller{Caller::Kind::kNobody, "", std::nullopt, "", "nobody", nullptr, ""};
  }
  caller->peer = call.peer();
  return *std::move(caller);
}

absl::StatusOr<std::unique_ptr<StreamPlaces::Place>> Access::Enter(grpc::ServerContextBase* call) {
  const Caller caller = CallerOf(*call);
  std::string client = caller.client;
  // Workers that share a certificate are told apart by their machines.
  if (caller.kind == Caller::Kind::kWorker) StrAppend(&client, " ", caller.peer.substr(0, caller.peer.rfind(':')));
  auto place = streams_.Take(client, caller.kind != Caller::Kind::kLocal, [call] { call->TryCancel(); });
  if (!place.ok() && count_limit_) count_limit_("streams_per_client");
  return place;
}

absl::Status Access::Record(const Caller& caller, std::string_view action, std::string_view target, const absl::Status& status,
                            std::string_view detail) {
  if (audit_ == nullptr) return status;
  const std::string who = caller.kind == Caller::Kind::kLocal && caller.name.empty() ? "local" : caller.name;
  std::string text(detail);
  if (!status.ok()) StrAppend(&text, text.empty() ? "" : ": ", std::string(status.message()));
  const AuditEntry entry{clock_->WallMs(), who, caller.RoleText(), caller.token_id, caller.peer, std::string(action), std::string(target), CodeText(status), text};
  if (!status.ok()) {
    audit_->Note(entry);
    return status;
  }
  const absl::Status written = audit_->Append(entry);
  if (written.ok()) return status;
  Log(LogLevel::kError, "audit log not written", {{"reason", std::string(written.message())}});
  return absl::InternalError(StrCat(action, " was carried out, but not written to the audit log: ", std::string(written.message())));
}

absl::Status Access::ReadTokens() {
  const absl::StatusOr<std::string> text = ReadFile(options_.tokens_file);
  if (!text.ok() && !absl::IsNotFound(text.status())) return text.status();
  ENTRAIN_ASSIGN_OR_RETURN(Tokens read, transport::ParseTokens(text.ok() ? *text : "", options_.tokens_file));
  const auto fresh = std::make_shared<const Tokens>(std::move(read));
  std::shared_ptr<const Tokens> before;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    before = std::exchange(tokens_, fresh);
  }
  RecordTokenChanges(*before, *fresh);
  return absl::OkStatus();
}

void Access::RecordTokenChanges(const Tokens& before, const Tokens& after) {
  if (audit_ == nullptr) return;
  const auto record = [&](const Tokens& from, const Tokens& other, std::string_view action) {
    for (const Token& token : from) {
      if (std::find(other.begin(), other.end(), token) != other.end()) continue;
      audit_->Note({clock_->WallMs(), "file", "", token.Id(), "", std::string(action), token.name, "ok", std::string(ToString(token.role))});
    }
  };
  record(before, after, "token_gone");
  record(after, before, "token_known");
  audit_->Flush().IgnoreError();
}

void Access::Look() {
  if (const int ended = streams_.EndSlow(); ended > 0) {
    Log(LogLevel::kWarning, "ended streams whose peers did not move", {{"streams", std::to_string(ended)}});
    for (int i = 0; i < ended && count_limit_; ++i) count_limit_("slow_stream_ms");
  }
  if (audit_ != nullptr) audit_->Flush().IgnoreError();
  if (options_.tokens_file.empty()) return;
  const std::string stamp = StampOf(options_.tokens_file);
  if (stamp == tokens_stamp_) return;
  tokens_stamp_ = stamp;
  const absl::Status read = ReadTokens();
  if (read.ok()) {
    Log(LogLevel::kInfo, "read the tokens again", {{"file", options_.tokens_file}, {"tokens", std::to_string(tokens()->size())}});
  } else {
    Log(LogLevel::kError, "the tokens as they were before still count", {{"reason", std::string(read.message())}});
  }
}

void Access::Watch() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!stop_changed_.wait_for(lock, std::chrono::milliseconds(options_.look_every_ms), [&] { return stopping_; })) {
    lock.unlock();
    Look();
    lock.lock();
  }
}

}  // namespace entrain::rpc
