#include "coordinator/rpc/access.h"

#include <filesystem>
#include <set>

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>

#include "base/files.h"
#include "base/strings.h"
#include "entrain/v1/artifact_service.pb.h"
#include "entrain/v1/fleet_service.pb.h"
#include "entrain/v1/sweep_service.pb.h"

namespace entrain::rpc {
namespace {

using testing::HasSubstr;
using transport::Role;

TEST(MethodRulesTest, EveryMethodOfEveryServiceHasOneRow) {
  std::set<std::string> methods;
  for (const auto* file : {v1::SubmitRequest::descriptor()->file(), v1::Hello::descriptor()->file(), v1::PushBegin::descriptor()->file()}) {
    for (int s = 0; s < file->service_count(); ++s) {
      for (int m = 0; m < file->service(s)->method_count(); ++m) {
        methods.insert(StrCat("/", file->service(s)->full_name(), "/", file->service(s)->method(m)->name()));
      }
    }
  }
  EXPECT_GE(methods.size(), 22U);
  std::set<std::string> rows;
  for (const MethodRule& rule : MethodRules()) {
    EXPECT_TRUE(rows.insert(std::string(rule.method)).second) << rule.method << " has two rows";
    EXPECT_TRUE(rule.role || rule.workers) << rule.method << " is for nobody";
    if (rule.method.starts_with("/entrain.")) {
      EXPECT_EQ(methods.count(std::string(rule.method)), 1U) << rule.method << " is no method";
      EXPECT_FALSE(rule.anyone) << rule.method;
    }
  }
  for (const std::string& method : methods) EXPECT_NE(FindMethodRule(method), nullptr) << method << " has no row";
}

TEST(CallerTest, ARoleMayWhatTheOneBelowMay) {
  Caller caller;
  caller.kind = Caller::Kind::kPerson;
  caller.name = "alice";
  for (const MethodRule& rule : MethodRules()) {
    for (const Role role : {Role::kView, Role::kSubmit, Role::kAdmin}) {
      caller.role = role;
      const bool expected = rule.anyone || (rule.role && role >= *rule.role);
      EXPECT_EQ(MayCall(caller, rule).ok(), expected) << rule.method << " as " << ToString(role);
    }
    caller.role = std::nullopt;
    EXPECT_EQ(MayCall(caller, rule).ok(), rule.anyone) << rule.method;
  }
}

TEST(CallerTest, OnlyAnAdminActsAsAnother) {
  Caller alice;
  alice.kind = Caller::Kind::kPerson;
  alice.name = "alice";
  alice.role = Role::kSubmit;
  EXPECT_EQ(ActingName(alice, "").value(), "alice");
  EXPECT_EQ(ActingName(alice, "alice").value(), "alice");
  EXPECT_TRUE(absl::IsPermissionDenied(ActingName(alice, "bob").status()));
  EXPECT_TRUE(MayActOn(alice, "alice").ok());
  EXPECT_TRUE(absl::IsPermissionDenied(MayActOn(alice, "bob")));
  alice.role = Role::kAdmin;
  EXPECT_EQ(ActingName(alice, "bob").value(), "bob");
  EXPECT_TRUE(MayActOn(alice, "bob").ok());
  EXPECT_EQ(ActingName(Caller(), "me").value(), "me") << "a process of this machine is who it says it is";
}

TEST(RequestRatesTest, ABucketFillsAtItsRate) {
  RequestRates rates(10, 3);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(rates.Take("a", 0));
  EXPECT_FALSE(rates.Take("a", 0));
  EXPECT_TRUE(rates.Take("b", 0)) << "another's bucket";
  EXPECT_FALSE(rates.Take("a", 99));
  EXPECT_TRUE(rates.Take("a", 100));
  EXPECT_FALSE(rates.Take("a", 100));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(rates.Take("a", 100'000));
  EXPECT_FALSE(rates.Take("a", 100'000)) << "no more than the burst is saved up";
}

TEST(StreamPlacesTest, OneClientHasSoManyAndASlowOneIsEnded) {
  ManualClock clock;
  clock.Advance(1);
  StreamPlaces places(&clock, 2, 1000);
  int cancelled = 0;
  auto first = places.Take("a", true, [&] { ++cancelled; }).value();
  auto second = places.Take("a", true, [] {}).value();
  const absl::Status third = places.Take("a", true, [] {}).status();
  EXPECT_TRUE(absl::IsResourceExhausted(third));
  EXPECT_THAT(std::string(third.message()), HasSubstr("streams_per_client"));
  EXPECT_TRUE(places.Take("b", true, [] {}).ok());
  EXPECT_TRUE(places.Take("a", false, [] {}).ok()) << "not limited";
  second.reset();
  EXPECT_TRUE(places.Take("a", true, [] {}).ok());
  clock.Advance(5000);
  EXPECT_EQ(places.EndSlow(), 0) << "a stream that waits for nothing may last";
  const auto waiting = first->Wait();
  clock.Advance(999);
  EXPECT_EQ(places.EndSlow(), 0);
  clock.Advance(1);
  EXPECT_EQ(places.EndSlow(), 1);
  EXPECT_EQ(places.EndSlow(), 0) << "once";
  EXPECT_EQ(cancelled, 1);
}

class AuditTest : public testing::Test {
 protected:
  void SetUp() override {
    path_ = StrCat(testing::TempDir(), "/audit-", ::getpid(), "-", testing::UnitTest::GetInstance()->current_test_info()->name());
    for (const char* end : {"", ".1", ".tokens"}) std::filesystem::remove(path_ + end);
  }
  std::string path_;
};

TEST_F(AuditTest, ALineIsOneLineOfJsonWhateverIsInIt) {
  EXPECT_EQ(AuditLine({1'700'000'000'123, "ali\nce", "submit", "", "", "stop", "\"s\\1\"", "ok", "\xff"}),
            "{\"time\":\"2023-11-14T22:13:20.123Z\",\"action\":\"stop\",\"target\":\"\\\"s\\\\1\\\"\",\"outcome\":\"ok\","
            "\"who\":\"ali\\u000ace\",\"role\":\"submit\",\"detail\":\"\\u00ff\"}\n");
}

TEST_F(AuditTest, ARenamedFileIsLeftBehind) {
  const auto log = AuditLog::Open(path_).value();
  ASSERT_TRUE(log->Append({0, "a", "", "", "", "one", "", "ok", ""}).ok());
  std::filesystem::rename(path_, path_ + ".1");
  log->Note({0, "a", "", "", "", "noted", "", "ok", ""});
  ASSERT_TRUE(log->Append({0, "a", "", "", "", "two", "", "ok", ""}).ok());
  EXPECT_THAT(ReadFile(path_ + ".1").value(), HasSubstr("one"));
  EXPECT_THAT(ReadFile(path_).value(), testing::AllOf(HasSubstr("noted"), HasSubstr("two"), testing::Not(HasSubstr("one"))));
}

TEST_F(AuditTest, TokensComeAndGoWithoutARestartAndAWrongFileChangesNothing) {
  ManualClock clock;
  AccessOptions options;
  options.tokens_file = path_ + ".tokens";
  options.audit_file = path_;
  options.look_every_ms = 3'600'000;
  const auto access = Access::Open(options, &clock, nullptr).value();
  const auto list = [&](const std::string& secret) {
    const std::string header = "Bearer " + secret;
    return access->Admit("/entrain.v1.SweepService/ListSweeps", {header, ""});
  };
  EXPECT_TRUE(absl::IsUnauthenticated(list("s1")));
  const std::string line = transport::TokenLine({"alice", Role::kView, transport::HashOfSecret("s1"), "", 0}) + "\n";
  ASSERT_TRUE(WriteFileAtomically(options.tokens_file, line).ok());
  access->Look();
  EXPECT_TRUE(list("s1").ok());
  EXPECT_TRUE(absl::IsUnauthenticated(list("s2")));
  ASSERT_TRUE(WriteFileAtomically(options.tokens_file, "alice view s2\n").ok());
  access->Look();
  EXPECT_TRUE(list("s1").ok()) << "the last good file counts";
  std::filesystem::remove(options.tokens_file);
  access->Look();
  EXPECT_TRUE(absl::IsUnauthenticated(list("s1"))) << "no file, no tokens";
  const std::string log = ReadFile(path_).value();
  EXPECT_THAT(log, HasSubstr("\"action\":\"token_known\",\"target\":\"alice\""));
  EXPECT_THAT(log, HasSubstr("\"action\":\"token_gone\",\"target\":\"alice\""));
  EXPECT_THAT(log, HasSubstr("\"action\":\"refused\",\"target\":\"/entrain.v1.SweepService/ListSweeps\",\"outcome\":\"UNAUTHENTICATED\""));
}

}  // namespace
}  // namespace entrain::rpc
