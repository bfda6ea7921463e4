// The real Prometheus scrapes a worker and answers questions about its heads.
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "gtest/gtest.h"
#include "metrics/worker_metrics.h"
#include "tests/metrics/http_get.h"

extern char** environ;

namespace entrain::metrics {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

bool Eventually(const std::function<bool()>& condition) {
  const auto deadline = steady_clock::now() + seconds(60);
  while (steady_clock::now() < deadline) {
    if (condition()) return true;
    std::this_thread::sleep_for(milliseconds(50));
  }
  return false;
}

int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
  close(fd);
  return ntohs(address.sin_port);
}

class Prometheus {
 public:
  explicit Prometheus(int target_port) {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    std::ofstream(folder_ + "/prometheus.yml")
        << "global: {scrape_interval: 250ms}\nscrape_configs:\n- job_name: entrain\n  static_configs:\n  - targets: ['127.0.0.1:"
        << target_port << "']\n";
  }
  ~Prometheus() { Stop(); }

  // Another process may take the port first; then the server ends and the next port is tried.
  bool Start() {
    for (int attempt = 0; attempt < 5; ++attempt) {
      port_ = FreePort();
      Spawn();
      const bool up = Eventually([this] { return Ended() || HttpGet(port_, "/-/ready").status == 200; });
      if (up && pid_ > 0) return true;
      Stop();
    }
    return false;
  }

  // The values of an instant vector.
  std::vector<double> Query(std::string promql) const {
    const HttpAnswer answer = HttpGet(port_, "/api/v1/query?query=" + Escaped(promql));
    std::vector<double> values;
    if (answer.status != 200) return values;
    const auto parsed = nlohmann::json::parse(answer.body);
    for (const auto& series : parsed["data"]["result"]) {
      values.push_back(std::stod(series["value"][1].get<std::string>()));
    }
    return values;
  }
  std::string LogFile() const { return folder_ + "/log"; }

 private:
  static std::string Escaped(const std::string& text) {
    std::string escaped;
    char buffer[4];
    for (unsigned char c : text) {
      std::snprintf(buffer, sizeof buffer, "%%%02X", c);
      escaped += buffer;
    }
    return escaped;
  }

  void Spawn() {
    const std::vector<std::string> arguments = {"prometheus", "--config.file=" + folder_ + "/prometheus.yml",
                                                "--storage.tsdb.path=" + folder_ + "/data",
                                                "--web.listen-address=127.0.0.1:" + std::to_string(port_)};
    std::vector<char*> argv;
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 2, LogFile().c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (posix_spawnp(&pid_, "prometheus", &actions, nullptr, argv.data(), environ) != 0) pid_ = -1;
    posix_spawn_file_actions_destroy(&actions);
  }
  bool Ended() {
    if (pid_ > 0 && waitpid(pid_, nullptr, WNOHANG) == pid_) pid_ = -1;
    return pid_ <= 0;
  }
  void Stop() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

  std::string folder_ = testing::TempDir() + "/prometheus_test_" + std::to_string(getpid());
  int port_ = 0;
  pid_t pid_ = -1;
};

TEST(PrometheusTest, AnswersForEveryHeadAndForgetsAFinishedRun) {
  SystemClock clock;
  auto metrics = WorkerMetrics::Serve("127.0.0.1:0", &clock).value();
  metrics->RunBegan({.run_id = "r1", .sweep = "s1", .variant = "SM", .label = "SM seed=1", .n_layer = 3, .n_head = 4,
                     .context = 64, .steps = 100}, 1);
  domain::EntropySample sample;
  sample.step = 1;
  for (int i = 0; i < 12; ++i) sample.entropy_nats.push_back(0.25f * static_cast<float>(i));
  metrics->Observe("r1", sample);

  Prometheus prometheus(metrics->port());
  ASSERT_TRUE(prometheus.Start()) << "see " << prometheus.LogFile();
  ASSERT_TRUE(Eventually([&] { return prometheus.Query("entrain_attention_entropy_nats").size() == 12; }));
  EXPECT_EQ(prometheus.Query(R"(entrain_attention_entropy_nats{run="r1",layer="2",head="3"})"), std::vector<double>{2.75});
  EXPECT_EQ(prometheus.Query(R"(sum(entrain_attention_entropy_nats{layer="1"}))"), std::vector<double>{1.0 + 1.25 + 1.5 + 1.75});
  EXPECT_EQ(prometheus.Query("entrain_attention_entropy_nats * on (run) group_left (variant) entrain_run_info").size(), 12u);
  EXPECT_EQ(prometheus.Query("count(entrain_attention_entropy_nats < on (run) group_left () "
                             "(0.05 * entrain_run_entropy_bound_nats))"),
            std::vector<double>{1});

  metrics->RunEnded("r1");
  EXPECT_TRUE(Eventually([&] { return prometheus.Query("{run=\"r1\"}").empty(); }));
  EXPECT_EQ(prometheus.Query("entrain_worker_slots").size(), 1u);
}

}  // namespace
}  // namespace entrain::metrics
