// Whether the other machines of a gang can be reached: a TCP connection to each one's worker is tried once a second. One that is taken or
// refused shows that the machine answers, so a worker that is being restarted is no lost machine; silence does not.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <netinet/in.h>

namespace entrain::launcher {

// One thread.
class LinkWatch {
 public:
  // `addresses`: IP:PORT, separated by commas; what is no IPv4 address is left out. Every machine counts as heard at `now_ms`.
  LinkWatch(std::string_view addresses, std::int64_t now_ms);
  ~LinkWatch();
  LinkWatch(const LinkWatch&) = delete;
  LinkWatch& operator=(const LinkWatch&) = delete;

  // Looks at what came back and tries again where it is time; does not block.
  void Poll(std::int64_t now_ms);
  // The first machine not heard for `limit_ms`; empty: none.
  std::string SilentFor(std::int64_t limit_ms, std::int64_t now_ms) const;
  // This process did not run for a while, so silence means nothing.
  void Restart(std::int64_t now_ms);

 private:
  struct Machine {
    std::string address;
    sockaddr_in place{};
    int fd = -1;  // of the connection being tried
    std::int64_t tried_ms = 0;
    std::int64_t heard_ms = 0;
  };
  static void Try(Machine* machine, std::int64_t now_ms);
  static void Look(Machine* machine, std::int64_t now_ms);
  static void Close(Machine* machine);

  std::vector<Machine> machines_;
};

}  // namespace entrain::launcher
