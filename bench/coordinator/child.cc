#include "bench/coordinator/child.h"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "base/strings.h"

extern char** environ;

namespace entrain::bench {
namespace {

constexpr std::int64_t kPatienceMs = 120'000;

}  // namespace

Child Child::Start(const std::string& program, std::vector<std::string> arguments, const std::string& address_file) {
  std::filesystem::remove(address_file);
  arguments.insert(arguments.begin(), program);
  arguments.insert(arguments.end(), {"--address-file", address_file});
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  Child child;
  const SystemClock clock;
  const std::int64_t begin_ns = clock.BootNs();
  if (posix_spawn(&child.pid_, program.c_str(), nullptr, nullptr, argv.data(), environ) != 0) {
    std::printf("%s does not start\n", program.c_str());
    std::exit(1);
  }
  while (child.address_.empty()) {
    std::ifstream in(address_file);
    std::getline(in, child.address_);
    const bool gone = waitpid(child.pid_, nullptr, WNOHANG) != 0;
    if (gone || clock.BootNs() - begin_ns > kPatienceMs * 1'000'000) {
      std::printf("%s gives no address\n", program.c_str());
      std::exit(1);
    }
    if (child.address_.empty()) std::this_thread::yield();
  }
  child.ready_s_ = static_cast<double>(clock.BootNs() - begin_ns) / 1e9;
  return child;
}

Child::Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)), address_(std::move(other.address_)), ready_s_(other.ready_s_) {}

Child::~Child() {
  if (pid_ > 0) Kill(SIGTERM);
}

void Child::Kill(int signal) {
  kill(pid_, signal);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

double Child::ResidentMib() const {
  std::ifstream in(StrCat("/proc/", pid_, "/statm"));
  double pages = 0.0;
  double resident = 0.0;
  in >> pages >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1 << 20);
}

double Child::CpuSeconds() const {
  std::ifstream in(StrCat("/proc/", pid_, "/stat"));
  std::string field;
  double ticks = 0.0;
  for (int i = 1; i <= 15 && in >> field; ++i) {
    if (i >= 14) ticks += std::stod(field);
  }
  return ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
}

}  // namespace entrain::bench
