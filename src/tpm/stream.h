// A descriptor that takes TPM commands and gives responses: the common part of sockets and devices.
//
// Idea: one command in flight. A response is whole when it has as many bytes as its header says. Anything else (too few
// before the end, too many, a size below 10 or above 64 KiB, unrequested bytes) means that both sides disagree on where
// a message begins, so the stream is broken for good: a guess could hand one client's response to another.
// Threads: `send`, `receive` and `exchange` belong to one thread; `hang_up` is for any thread.
// Limits: up to 64 KiB a message.
// Errors: kGone with a sentence; the same again for every later call. A signal (EINTR) and partial reads and writes are
// no errors.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <tl/expected.hpp>

#include "base/fd.h"
#include "wire/tpm.h"

namespace tpmspace::tpm {

class Stream {
 public:
  using Error = wire::Tpm::Error;
  static constexpr std::size_t kMaxMessage = 65536;

  // `name`: the other side in sentences: "the device /dev/tpm0". Sets O_NONBLOCK on the open file description.
  [[nodiscard]] static tl::expected<std::unique_ptr<Stream>, std::string> open(base::Fd fd, std::string name);

  // One TPM command and its response. Without a deadline: the caller of `hang_up` watches deadlines.
  [[nodiscard]] wire::Tpm::Answer exchange(wire::ByteView command);
  // The two halves of `exchange`, for work between both.
  [[nodiscard]] tl::expected<void, Error> send_command(wire::ByteView command);
  [[nodiscard]] wire::Tpm::Answer receive_response();

  // The parts, for protocols with another framing. Exactly `size` bytes; kNoAnswer after `limit`, which breaks the
  // stream as well.
  [[nodiscard]] tl::expected<void, Error> send(wire::ByteView data);
  [[nodiscard]] tl::expected<wire::Bytes, Error> receive(std::size_t size,
                                                         std::optional<std::chrono::milliseconds> limit);

  void hang_up();
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  using Deadline = std::optional<std::chrono::steady_clock::time_point>;

  Stream(base::Fd fd, base::Fd wake, std::string name, bool is_socket)
      : fd_(std::move(fd)), wake_(std::move(wake)), name_(std::move(name)), is_socket_(is_socket) {}
  [[nodiscard]] tl::expected<void, Error> nothing_unasked();
  [[nodiscard]] tl::expected<void, Error> wait_for(short events, const Deadline& deadline);
  [[nodiscard]] tl::expected<std::size_t, Error> read_some(wire::Bytes& into, std::size_t at, const Deadline& deadline);
  tl::unexpected<Error> broken(std::string why);
  tl::unexpected<Error> broken_by_errno(const char* what, int number);

  const base::Fd fd_;
  const base::Fd wake_;  // an eventfd, readable after `hang_up`
  const std::string name_;
  const bool is_socket_;
  std::atomic<bool> hung_up_ = false;
  std::string why_broken_;  // used by the transacting thread; empty: sound
};

}  // namespace tpmspace::tpm
