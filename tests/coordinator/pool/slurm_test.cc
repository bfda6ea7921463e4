#include "coordinator/pool/slurm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/strings.h"

namespace entrain::pool {
namespace {

using State = PoolMachine::State;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

PoolFile File(const std::string& slurm, const std::string& top = "kind: cpu\n") {
  const auto file = ParsePoolFile("pool: hpc\nprovider: slurm\nslots: 4\nmax: 8\n" + top + "slurm:\n" + slurm, "pool.yaml");
  EXPECT_TRUE(file.ok()) << file.status();
  return *file;
}
constexpr char kLeast[] = "  worker: /opt/entrain-worker\n  coordinator: [a:7070, b:7070]\n";

SlurmSettings Settings(const PoolFile& file) {
  const auto settings = ReadSlurmSettings(file);
  EXPECT_TRUE(settings.ok()) << settings.status();
  return *settings;
}
std::string SlurmProblems(const std::string& slurm, const std::string& top = "kind: cpu\n") {
  return std::string(ReadSlurmSettings(File(slurm, top)).status().message());
}

TEST(SlurmTest, AsksForTheShape) {
  const PoolFile file = File(StrCat(kLeast, "  partition: long\n  time_limit: 4:00:00\n  cpus_per_slot: 2\n  options: [\"--mem=8G\", \"--constraint=a&b\"]\n"));
  EXPECT_THAT(SbatchArguments(file, Settings(file), 3),
              ElementsAre("/usr/bin/sbatch", "--parsable", "--no-requeue", "--job-name=entrain-hpc", "--comment=entrain pool hpc of entrain",
                          "--nodes=3", "--ntasks-per-node=1", "--cpus-per-task=8", "--output=/tmp/%x-%j.log", "--chdir=/tmp", "--signal=B:TERM@180",
                          "--partition=long", "--time=4:00:00", "--mem=8G", "--constraint=a&b"));
}

TEST(SlurmTest, AsksForGpus) {
  const PoolFile file = File(StrCat(kLeast, "  gpu_type: h200\n"), "kind: gpu\n");
  EXPECT_THAT(SbatchArguments(file, Settings(file), 1), Contains("--gres=gpu:h200:4"));
  EXPECT_THAT(SlurmScript(file, Settings(file)), HasSubstr("slots=auto"));
}

TEST(SlurmTest, NothingInTheScriptIsAShellsToRead) {
  const PoolFile file = File(StrCat(kLeast, "  artifacts: \"/srv/it's $HOME; `id`\"\n"));
  const std::string script = SlurmScript(file, Settings(file));
  // Quoted once for the body, and the body for the script.
  EXPECT_THAT(script, HasSubstr(R"(--artifacts '\''/srv/it'\''\'\'''\''s $HOME; `id`'\'')"));
}

TEST(SlurmTest, RefusesWhatCannotWork) {
  EXPECT_THAT(SlurmProblems("  coordinator: [a]\n"), HasSubstr("slurm.worker: must be given"));
  EXPECT_THAT(SlurmProblems("  coordinator: [a]\n"), HasSubstr("pool.yaml:7:16: slurm.coordinator: must be HOST:PORT; is a"));
  EXPECT_THAT(SlurmProblems("  worker: bin/w\n  coordinator: [a:1]\n"), HasSubstr("slurm.worker: must be an absolute path; is bin/w"));
  EXPECT_THAT(SlurmProblems(StrCat(kLeast, "  tls_ca: /ca.pem\n")), HasSubstr("slurm.tls_cert: must be given with the two other tls files"));
  EXPECT_THAT(SlurmProblems(kLeast, "peers: true\n"), HasSubstr("slurm.tls_ca: must be given with peers"));
  EXPECT_THAT(SlurmProblems(StrCat(kLeast, "  options: [\"-p\", \"--nodes=4\"]\n")), HasSubstr("slurm.options: must be of the form --name or --name=value; is -p"));
  EXPECT_THAT(SlurmProblems(StrCat(kLeast, "  options: [\"--nodes=4\"]\n")), HasSubstr("slurm.options: --nodes is set by the pool"));
  EXPECT_THAT(SlurmProblems(StrCat(kLeast, "  prelude: \"/a\\nb\"\n")), HasSubstr("slurm.prelude: must be one line"));
  EXPECT_THAT(SlurmProblems(StrCat(kLeast, "  partitoin: x\n")), HasSubstr("slurm.partitoin: unknown field; did you mean partition?"));
  EXPECT_THAT(SlurmProblems(StrCat(kLeast, "  gpu_type: a\n")), HasSubstr("slurm.gpu_type: the pool's kind is cpu"));
}

TEST(SlurmTest, ReadsJobsOfThisPoolAlone) {
  const auto jobs = ParseJobs("12|RUNNING|1|None|entrain pool hpc of entrain\n"
                              "13|PENDING|2|Resources|entrain pool hpc of entrain\n"
                              "14|RUNNING|1|None|entrain pool hpc of other\n"
                              "15|RUNNING|1|None|(null)\n"
                              "16|CANCELLED|1|None|entrain pool hpc of entrain\n",
                              "entrain pool hpc of entrain");
  ASSERT_TRUE(jobs.ok()) << jobs.status();
  const std::vector<PoolMachine> machines = MachinesOf(*jobs, "entrain-hpc-");
  EXPECT_THAT(machines, ElementsAre(PoolMachine{"12", "12", "entrain-hpc-12-0", State::kUp, ""},
                                    PoolMachine{"13.0", "13", "entrain-hpc-13-0", State::kPending, "Resources"},
                                    PoolMachine{"13.1", "13", "entrain-hpc-13-1", State::kPending, "Resources"}));
}

TEST(SlurmTest, EveryStateOfAJobIsOneOfAMachine) {
  const auto state_of = [](const std::string& state) -> std::string {
    const std::vector<PoolMachine> machines = MachinesOf({{"1", state, 1, "None"}}, "p-");
    if (machines.empty()) return "none";
    return machines[0].state == State::kUp ? "up" : machines[0].state == State::kPending ? "pending" : "leaving";
  };
  for (const char* over : {"CANCELLED", "COMPLETED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE", "PREEMPTED"}) {
    EXPECT_EQ(state_of(over), "none") << over;
  }
  for (const char* coming : {"PENDING", "CONFIGURING", "REQUEUED"}) EXPECT_EQ(state_of(coming), "pending") << coming;
  EXPECT_EQ(state_of("COMPLETING"), "leaving");
  // It is there, though it does not run now; what a newer Slurm calls a state is there too.
  for (const char* there : {"RUNNING", "SUSPENDED", "STOPPED", "SIGNALING", "A_NEW_STATE"}) EXPECT_EQ(state_of(there), "up") << there;
}

TEST(SlurmTest, AnOutputThatIsNoneOfSqueuesIsAnError) {
  for (const char* line : {"slurm_load_jobs error: x", "12|RUNNING", "a|RUNNING|1|None|c", "12|RUNNING|0|None|c", "12|RUNNING|x|None|c"}) {
    EXPECT_EQ(ParseJobs(line, "c").status().code(), absl::StatusCode::kInternal) << line;
  }
  EXPECT_TRUE(ParseJobs("\n", "c")->empty());
}

TEST(SlurmTest, KnowsItsOwnWorkers) {
  SystemClock clock;
  const auto provider = MakeSlurmProvider(File(kLeast), &clock);
  ASSERT_TRUE(provider.ok()) << provider.status();
  EXPECT_TRUE((*provider)->Owns("entrain-hpc-12-0"));
  for (const char* other : {"entrain-hpc-12", "entrain-hpc-x-0", "entrain-hpc-big-12-0", "entrain-hp-12-0", "host7", "entrain-hpc-12-"}) {
    EXPECT_FALSE((*provider)->Owns(other)) << other;
  }
}

TEST(SlurmTest, SlurmThatIsNotInstalledIsSaid) {
  SystemClock clock;
  const auto provider = MakeSlurmProvider(File(StrCat(kLeast, "  bin: /no/such/folder\n")), &clock);
  ASSERT_TRUE(provider.ok()) << provider.status();
  EXPECT_THAT(std::string((*provider)->List().status().message()), HasSubstr("/no/such/folder/squeue"));
}

}  // namespace
}  // namespace entrain::pool
