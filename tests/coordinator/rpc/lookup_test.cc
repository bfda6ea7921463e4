#include "coordinator/rpc/lookup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/core/core.h"

namespace entrain::rpc {
namespace {

using testing::HasSubstr;

class LookupTest : public testing::Test {
 protected:
  void SetUp() override {
    Admit("sabc1", {"SM", "SM+G"});
    Admit("sabd2", {"SM", "EReg(SM)"});
  }
  void Admit(const std::string& id, const std::vector<std::string>& labels) {
    domain::SweepAdmitted admitted;
    admitted.sweep = SweepId(id);
    admitted.idempotency_key = id;
    for (const std::string& label : labels) {
      domain::RunSpec run;
      run.cell = CellId("c" + label);
      run.label = label;
      admitted.spec.runs.push_back(run);
    }
    core::Apply(&state_, domain::Fact{1, 1, admitted});
  }
  core::State state_;
};

TEST_F(LookupTest, SweepsByIdPrefixAndLast) {
  EXPECT_EQ((*FindSweep(state_, "sabc1"))->id, SweepId("sabc1"));
  EXPECT_EQ((*FindSweep(state_, "sabd"))->id, SweepId("sabd2"));
  EXPECT_EQ((*FindSweep(state_, "last"))->id, SweepId("sabd2"));
  const absl::Status ambiguous = FindSweep(state_, "sab").status();
  EXPECT_EQ(ambiguous.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(ambiguous.message()), HasSubstr("sabc1, sabd2"));
  EXPECT_EQ(FindSweep(state_, "x").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(FindSweep(state_, "").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(LookupTest, NothingIsLastInAnEmptyState) {
  EXPECT_EQ(FindSweep(core::State(), "last").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(FindRun(core::State(), "SM").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(LookupTest, RunsByIdPrefixAndLabelOfTheNewestSweep) {
  const RunId id = domain::MakeRunId(SweepId("sabd2"), CellId("cSM"), 1);
  EXPECT_EQ((*FindRun(state_, id.value()))->id, id);
  EXPECT_EQ((*FindRun(state_, id.value().substr(0, 9)))->id, id);
  EXPECT_EQ((*FindRun(state_, "SM"))->id, id);
  EXPECT_EQ(FindRun(state_, "SM+G").status().code(), absl::StatusCode::kNotFound) << "a label of an older sweep";
  EXPECT_EQ(FindRun(state_, "r").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(LookupTest, TargetsAreOneRunOrASweepsRuns) {
  EXPECT_EQ(FindTargets(state_, "last")->runs.size(), 2U);
  EXPECT_TRUE(FindTargets(state_, "sabc")->is_sweep);
  EXPECT_EQ(FindTargets(state_, "EReg(SM)")->runs.size(), 1U);
  EXPECT_FALSE(FindTargets(state_, "EReg(SM)")->is_sweep);
  EXPECT_EQ(FindTargets(state_, "sab").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(FindTargets(state_, "zzz").status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace entrain::rpc
