// The real entrain-coordinator as a child process.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace entrain::bench {

class Child {
 public:
  // `program` with `arguments`; --address-file is added, and Start returns once it is there.
  static Child Start(const std::string& program, std::vector<std::string> arguments, const std::string& address_file);
  Child(Child&& other) noexcept;
  ~Child();  // ends it

  const std::string& address() const { return address_; }
  // From exec to the address.
  double ready_s() const { return ready_s_; }
  double ResidentMib() const;
  // User and system time so far.
  double CpuSeconds() const;
  void Kill(int signal);

 private:
  Child() = default;
  pid_t pid_ = -1;
  std::string address_;
  double ready_s_ = 0.0;
};

}  // namespace entrain::bench
