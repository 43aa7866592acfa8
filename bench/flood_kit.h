// The parts of a flood: connections as plain sockets, crowds of connections in processes of other users, and the times
// of a user that does one thing after the other.
//
// Threads: each process has one. Errors: std::runtime_error with a sentence. Units: milliseconds.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "wire/bytes.h"
#include "wire/response.h"

namespace tpmspace::bench {

// A connection to tpmspaced.
class Socket {
 public:
  explicit Socket(const std::string& path);

  [[nodiscard]] int fd() const { return fd_.get(); }
  void send(wire::ByteView frames);
  // One frame; a minute is waited for it.
  [[nodiscard]] wire::Bytes receive();
  struct Answer {
    wire::Rc code = 0;
    std::uint32_t handle = 0;  // of a success whose response has one
  };
  Answer run(wire::ByteView command);

 private:
  base::Fd fd_;
};

// A process of another user. It is killed when its owner goes.
class Process {
 public:
  // Waits until `work` says that it is ready, a few minutes at most.
  using Ready = std::function<void()>;
  Process(uid_t uid, const std::function<void(const Ready& ready)>& work);
  Process(Process&& other) noexcept;
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  Process& operator=(Process&&) = delete;
  ~Process();

  [[nodiscard]] bool has_ended() const;

 private:
  pid_t pid_ = -1;
};

// Where a flood is measured, and the processes that make it: each runs until the scene is over.
struct Scene {
  std::string socket;
  bool is_control = false;
  bool quick = false;  // shorter, and with smaller crowds
  std::vector<Process> others = {};

  [[nodiscard]] std::chrono::milliseconds span(std::chrono::seconds full) const { return quick ? full / 5 : full; }
  // An error if one of the others has ended: they made no flood.
  void check() const;
};

// Users: the hostile users have numbers from here on.
inline constexpr uid_t kFirstHostile = 1001, kVictim = 6001;

// The result of `work` in a process of that user.
[[nodiscard]] std::vector<double> measured_as(uid_t uid, const std::function<std::vector<double>()>& work);

// The times of `work`, repeated 10 ms apart for that time. `work` returns whether it was served: a refusal counts as a
// minute, whatever was served before.
[[nodiscard]] std::vector<double> times_of(const std::function<bool()>& work, std::chrono::milliseconds span);
// Of the victim's GetRandom, by one connection.
[[nodiscard]] std::vector<double> random_times(const Scene& scene, std::chrono::seconds span);

// Many connections, each with a command under way, which the connection sends again after the response; of the
// unanswered commands, so many are cancelled every millisecond. For ever.
struct Crowd {
  std::size_t connections = 0;
  wire::Bytes command;
  unsigned cancels = 0;
  // The command makes an object or session: each connection keeps the last, and flushes the one before.
  bool makes = false;
};
void keep_asking(const std::string& socket, const Crowd& crowd, const Process::Ready& ready);

}  // namespace tpmspace::bench
