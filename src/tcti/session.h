// A TCTI context in C++: the state machine of the TCTI between two C functions.
//
// Idea: a context awaits a command or a response (Awaits). Each call is first checked against this state
// (BAD_SEQUENCE), then done on the connection. A response is read whole and kept until the caller's buffer is large
// enough.
// A context belongs to the process that created the context. A forked process notices the fork at its first call and
// gets a connection of its own, whose space begins with the objects of the inherited connection's space (docs/fork.md).
// A response awaited by the parent belongs to the parent: the child awaits none. A given descriptor (`fd=N`) is one
// connection for all processes with the descriptor: the processes take turns, from a command to its response.
// Threads: one at a time, as the TCTI specification demands. A call that finds another thread in the context is refused
// with BAD_SEQUENCE, except cancel. No signals, no threads of its own.
// Units: milliseconds; bytes.
// Errors: TSS2_RC with the TCTI layer. After the loss of the connection every call returns IO_ERROR. The same holds in
// a child without a connection of its own; the first such call logs the reason.
// Source: TSS 2.0 TPM Command Transmission Interface (TCTI) API Specification 1.0.
#pragma once

#include <tss2/tss2_tcti.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "client/connection.h"
#include "client/fork_mark.h"

namespace tpmspace::tcti {

// How a forked process finds the manager.
struct Origin {
  std::string path;
  std::string chip;  // as Config::chip
};

class Session {
 public:
  // `origin` nullopt: the caller gave the descriptor, which other processes may have, too.
  Session(client::Connection connection, std::optional<Origin> origin);
  // In a child that never used the context, the parent's connection stays intact.
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  [[nodiscard]] TSS2_RC transmit(wire::ByteView command);
  // `response` null: only the size is requested. On INSUFFICIENT_BUFFER `size` is the needed size, and the response is
  // kept.
  [[nodiscard]] TSS2_RC receive(std::size_t& size, std::uint8_t* response, std::int32_t timeout_ms);
  [[nodiscard]] TSS2_RC cancel();
  // Waits for the manager's answer for a bounded time.
  [[nodiscard]] TSS2_RC set_locality(std::uint8_t locality);
  // Before the first command.
  [[nodiscard]] tl::expected<void, client::Error> use_chip(const std::string& name);
  // A descriptor to poll for a response.
  [[nodiscard]] TSS2_RC descriptor(int& fd);

 private:
  enum class Awaits : std::uint8_t { kCommand, kResponse };
  struct Stream {
    client::Connection connection;
    std::optional<wire::Bytes> response = {};  // whole, not yet given to the caller
  };

  // Makes the call unless another thread is in this context.
  template <typename Call>
  [[nodiscard]] TSS2_RC alone(Call call);
  // After a fork: forgets the response that the parent awaited.
  void notice_fork();
  // Gives this process a connection of its own.
  [[nodiscard]] TSS2_RC follow_fork();
  // Around each exchange: the connection is this process's own, or other processes do not use the connection meanwhile.
  [[nodiscard]] TSS2_RC begin();
  [[nodiscard]] TSS2_RC end(const std::optional<client::Error>& error);
  [[nodiscard]] tl::expected<client::Connection, client::Error> connect_again() const;
  void leave_stream();
  void share_connection();
  void say_why_not(const client::Error& error);

  std::unique_ptr<Stream> stream_;  // never null
  const std::optional<Origin> origin_;
  client::ForkMark mark_;
  std::optional<proto::Token>
      token_;  // with which another process may join the connection; nullopt: no process can join
  std::uint8_t locality_ = 0;
  Awaits awaits_ = Awaits::kCommand;
  std::atomic_flag in_use_;  // by a thread
  bool said_why_not_ = false;
};

// The TCTI's code for a client's error.
[[nodiscard]] TSS2_RC to_tcti(const client::Error& error);

}  // namespace tpmspace::tcti
