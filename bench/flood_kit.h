// What a flood is made of: connections as plain sockets, crowds of them in processes of other users, and the times of
// a user who does one thing after the other.
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

 private:
  pid_t pid_ = -1;
};

// What `work` gives in a process of that user.
[[nodiscard]] std::vector<double> measured_as(uid_t uid, const std::function<std::vector<double>()>& work);

// How long `work` takes, again and again, 10 ms apart, for that time.
[[nodiscard]] std::vector<double> times_of(const std::function<void()>& work, std::chrono::milliseconds span);

// Many connections that each have a command under way, and send it again when it is answered; of those that were not,
// so many are cancelled every millisecond. For ever.
struct Crowd {
  std::size_t connections = 0;
  wire::Bytes command;
  unsigned cancels = 0;
};
void keep_asking(const std::string& socket, const Crowd& crowd, const Process::Ready& ready);

}  // namespace tpmspace::bench
