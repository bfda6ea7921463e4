// The way between a client and a PostgreSQL server, as a second socket: it loses the request or the answer that a marked message belongs
// to, or delivers the request long after the client has given the connection up.
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace entrain::testing {

class ServerLink {
 public:
  enum class Fault {
    kNone,
    kLoseRequest,  // the server never sees it
    kLoseAnswer,   // it was carried out, and nobody hears
    kLateRequest,  // the client's end is closed at once, the server gets it at DeliverLate
  };
  // Listens in `dir` and leads to the socket in `server_dir`.
  ServerLink(const std::string& dir, const std::string& server_dir);
  ~ServerLink();
  ServerLink(const ServerLink&) = delete;
  ServerLink& operator=(const ServerLink&) = delete;

  const std::string& dir() const { return dir_; }
  // The next message that holds `mark` suffers it, once.
  void Arm(Fault fault, const std::string& mark);
  // When it happens, new connections are refused until Open.
  void CloseWhenItHappens() { closes_ = true; }
  void Open() { closed_ = closes_ = false; }
  // Silent from here on: nothing passes, nothing is closed.
  void Freeze(bool frozen) { frozen_ = frozen; }
  // True once it has happened.
  bool Happened() const { return happened_; }
  // Sends what was held back and waits for the server's answer, which is returned.
  std::string DeliverLate();

 private:
  struct Pair {
    int client = -1;
    int server = -1;
    bool lose_answer = false;
  };
  void Work();
  void Accept();
  // False: the pair is over.
  bool FromClient(Pair* pair);
  bool FromServer(Pair* pair);

  const std::string dir_;
  const std::string server_path_;
  int listener_ = -1;
  std::atomic<bool> ending_ = false;
  std::atomic<bool> happened_ = false;
  std::atomic<bool> frozen_ = false;
  std::atomic<bool> closes_ = false;
  std::atomic<bool> closed_ = false;
  std::mutex mutex_;
  Fault fault_ = Fault::kNone;
  std::string mark_;
  std::string late_;
  int late_server_ = -1;
  std::vector<Pair> pairs_;
  std::thread thread_;
};

}  // namespace entrain::testing
