// What a TCTI context does, as C++: the state machine of the TCTI between two C functions.
//
// Idea: a context awaits a command or a response (Awaits). Each call is judged against that first (BAD_SEQUENCE), then
// done on the connection. A response is taken from the socket whole and kept until the caller has room for it.
// A context belongs to the process that made it. A process that was forked from it notices that with its first call,
// and gets a connection of its own, whose space begins with what the inherited one has (docs/fork.md). The response
// that the parent awaited is the parent's: the child awaits none. A descriptor that was given (`fd=N`) is one
// connection for all processes that have it: they take turns, from a command to its response. Threads: one at a time,
// as the TCTI specification says. A call that finds another thread in the context is refused with BAD_SEQUENCE, but for
// cancel. No signals, no threads of its own. Units: milliseconds. Sizes: bytes. Errors: TSS2_RC with the TCTI layer.
// After the connection is lost every call gives IO_ERROR; so does each call in a child that cannot have a connection of
// its own, and the first of them logs why. Source: TSS 2.0 TPM Command Transmission Interface (TCTI) API
// Specification 1.0.
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

// How a process that was forked finds the manager.
struct Origin {
  std::string path;
  std::string chip;  // as Config::chip
};

class Session {
 public:
  // `origin` nullopt: of a descriptor that somebody else made, and other processes may have.
  Session(client::Connection connection, std::optional<Origin> origin);
  // In a child that never used it, the parent's connection goes on.
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  [[nodiscard]] TSS2_RC transmit(wire::ByteView command);
  // `response` null: only the size is asked. On INSUFFICIENT_BUFFER *size is what is needed and the response is kept.
  [[nodiscard]] TSS2_RC receive(std::size_t& size, std::uint8_t* response, std::int32_t timeout_ms);
  [[nodiscard]] TSS2_RC cancel();
  // Waits for the manager's answer, a bounded time.
  [[nodiscard]] TSS2_RC set_locality(std::uint8_t locality);
  // Before the first command.
  [[nodiscard]] tl::expected<void, client::Error> use_chip(const std::string& name);
  // What can be polled for a response.
  [[nodiscard]] TSS2_RC descriptor(int& fd);

 private:
  enum class Awaits : std::uint8_t { kCommand, kResponse };
  struct Stream {
    client::Connection connection;
    std::optional<wire::Bytes> response = {};  // whole, not yet given to the caller
  };

  // Does the call unless another thread is in this context.
  template <typename Call>
  [[nodiscard]] TSS2_RC alone(Call call);
  // What the parent awaited is not awaited here.
  void notice_fork();
  // The connection is this process's own from then on.
  [[nodiscard]] TSS2_RC follow_fork();
  // Around each exchange: the connection is this process's own, or other processes do not use it meanwhile.
  [[nodiscard]] TSS2_RC begin();
  [[nodiscard]] TSS2_RC end(const std::optional<client::Error>& error);
  [[nodiscard]] tl::expected<client::Connection, client::Error> connect_again() const;
  void leave_stream();
  void share_connection();
  void say_why_not(const client::Error& error);

  std::unique_ptr<Stream> stream_;  // never null
  const std::optional<Origin> origin_;
  client::ForkMark mark_;
  std::optional<proto::Token> token_;  // that the connection may be joined by; nullopt: it cannot be
  std::uint8_t locality_ = 0;
  Awaits awaits_ = Awaits::kCommand;
  std::atomic_flag in_use_;  // by a thread
  bool said_why_not_ = false;
};

// The TCTI's word for a client's error.
[[nodiscard]] TSS2_RC to_tcti(const client::Error& error);

}  // namespace tpmspace::tcti
