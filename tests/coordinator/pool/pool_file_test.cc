#include "coordinator/pool/pool_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/pool/open_pool.h"

namespace entrain::pool {
namespace {

using testing::HasSubstr;

constexpr char kGood[] = R"(pool: hpc
provider: slurm
cluster: lab
kind: cpu
slots: 8
min: 1
max: 16
idle_seconds: 120
poll_seconds: 2
slurm:
  worker: /opt/entrain/bin/entrain-worker
  coordinator: [head:7070]
)";

std::string Problems(const std::string& text) {
  const auto file = ParsePoolFile(text, "pool.yaml");
  EXPECT_EQ(file.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(file.status().message());
}

TEST(PoolFileTest, ReadsWhatIsWritten) {
  const auto file = ParsePoolFile(kGood, "pool.yaml");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->provider, "slurm");
  EXPECT_EQ(file->cluster, "lab");
  const PoolLimits expected{.name = "hpc", .shape = {domain::SlotKind::kCpu, 8}, .min_machines = 1, .max_machines = 16, .idle_ms = 120'000,
                            .gang_shaped = false, .peers = false, .poll_ms = 2'000};
  EXPECT_EQ(file->limits, expected);
  SystemClock clock;
  const auto provider = OpenPool(*file, &clock, [](std::int64_t) { return false; });
  ASSERT_TRUE(provider.ok()) << provider.status();
  EXPECT_EQ((*provider)->engine(), "slurm");
}

TEST(PoolFileTest, NamesEveryProblemWithItsPlace) {
  const std::string text = "pool: Hpc\nprovider: slurm\nslots: 0\nmax: 4\nmin: 5\nidle_second: 3\nslurm: {}\n";
  EXPECT_EQ(Problems(text),
            "pool.yaml:1:7: pool: must be 1 to 40 of a-z, 0-9 and -, beginning with a letter and not ending with -; is \"Hpc\"\n"
            "pool.yaml:3:8: slots: must be at least 1 and at most 4096, is 0\n"
            "pool.yaml:5:6: min: is 5, more than max (4)\n"
            "pool.yaml:6:1: idle_second: unknown field; did you mean idle_seconds?");
}

TEST(PoolFileTest, TellsWhatIsMissing) {
  const std::string problems = Problems("cluster: lab\n");
  for (const char* field : {"pool: must be given", "provider: must be given", "slots: must be given", "max: must be given"}) {
    EXPECT_THAT(problems, HasSubstr(field));
  }
  EXPECT_THAT(Problems("pool: a\nprovider: slurm\nslots: 1\nmax: 1\n"), HasSubstr("slurm: must be given"));
}

TEST(PoolFileTest, TheSectionIsTheProviders) {
  EXPECT_THAT(Problems("pool: a\nprovider: kubernetes\nslots: 1\nmax: 1\nkubernetes: {}\nslurm: {}\n"), HasSubstr("6:1: slurm: the provider is kubernetes"));
  EXPECT_THAT(Problems("pool: a\nprovider: pbs\nslots: 1\nmax: 1\n"), HasSubstr("provider: must be one of: slurm, kubernetes; is pbs"));
  EXPECT_THAT(Problems("pool: a\nprovider: slurm\nslots: 1\nmax: 1\nslurm: [a]\n"), HasSubstr("slurm: must be a map of fields; is a list"));
}

TEST(PoolFileTest, RefusesWhatIsNoMap) {
  EXPECT_THAT(Problems("- a\n"), HasSubstr("must be a map of fields"));
  EXPECT_FALSE(ParsePoolFile("", "pool.yaml").ok());
  EXPECT_FALSE(ParsePoolFile("pool: [\n", "pool.yaml").ok());
}

TEST(PoolFileTest, AGangPoolHasNoMinimum) {
  EXPECT_THAT(Problems("pool: a\nprovider: slurm\nslots: 1\nmax: 2\nmin: 1\ngang: true\nslurm: {}\n"), HasSubstr("min: must be 0 with gang"));
  EXPECT_THAT(Problems("pool: a\nprovider: slurm\nslots: 1\nmax: 2\ngang: true\nslurm: {}\n"), HasSubstr("peers: must be true with gang"));
}

TEST(PoolFileTest, AFileThatIsNotThereIsNamed) {
  EXPECT_THAT(std::string(ReadPoolFile("/no/such/pool.yaml").status().message()), HasSubstr("/no/such/pool.yaml"));
}

}  // namespace
}  // namespace entrain::pool
