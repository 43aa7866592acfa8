#include "tool/relay.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "client/connection.h"
#include "proto/control.h"
#include "proto/frame.h"
#include "tool/exit_code.h"
#include "wire/bytes.h"
#include "wire/command.h"

namespace tpmspace::tool {
namespace {

// At most as much as a pipe takes without blocking after poll has reported it writable.
constexpr std::size_t kAtOnce = 4096;

// The start of the manager's output, up to the length of a refusal.
class FirstAnswer {
 public:
  void add(wire::ByteView data) {
    const std::size_t n = std::min(data.size(), kEnough - bytes_.size());
    bytes_.insert(bytes_.end(), data.begin(), data.begin() + static_cast<std::ptrdiff_t>(n));
  }
  // Whether the output is exactly a "no place" refusal.
  [[nodiscard]] bool is_refusal() const {
    if (bytes_.size() == kEnough) return false;
    proto::FrameReader reader(proto::kMaxFrameSize);
    reader.feed(bytes_);
    const auto arrival = reader.next();
    if (!arrival || reader.buffered() != 0) return false;
    if (const auto* response = std::get_if<proto::TpmFrame>(&*arrival)) {
      const auto header = wire::read_header(response->bytes);
      return header && header->code == client::kNoPlace;
    }
    const auto* control = std::get_if<proto::ControlFrame>(&*arrival);
    const auto reply = control != nullptr ? proto::decode_reply(*control) : std::nullopt;
    const auto* refusal = reply ? std::get_if<proto::Refusal>(&*reply) : nullptr;
    return refusal != nullptr && refusal->code == client::kNoPlace;
  }

 private:
  static constexpr std::size_t kEnough = 64;  // a refusal has 10 to 16
  wire::Bytes bytes_;
};

// One direction. Reads only when its buffer is empty, writes only when it is not.
class Stream {
 public:
  enum class Outcome { kGoesOn, kEndOfInput, kNobodyReads, kFailed };

  Stream(int from, int to) : from_(from), to_(to) {}

  [[nodiscard]] bool wants_to_read() const { return !ended_ && held_.empty(); }
  [[nodiscard]] bool wants_to_write() const { return !held_.empty(); }
  [[nodiscard]] bool done() const { return ended_ && held_.empty(); }
  // For a reader that went away: drops the rest and reads no more.
  void give_up() {
    ended_ = true;
    held_ = {};
  }
  // Data read and not yet written.
  [[nodiscard]] wire::ByteView held() const { return held_; }

  Outcome read_some() {
    const ssize_t n = read(from_, buffer_.data(), buffer_.size());
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return Outcome::kGoesOn;
    if (n > 0) {
      held_ = wire::ByteView(buffer_).first(static_cast<std::size_t>(n));
      return Outcome::kGoesOn;
    }
    ended_ = true;  // a reset is also an end
    return n == 0 || errno == ECONNRESET ? Outcome::kEndOfInput : Outcome::kFailed;
  }

  Outcome write_some() {
    const ssize_t n = write(to_, held_.data(), std::min(held_.size(), kAtOnce));
    if (n >= 0) {
      held_ = held_.subspan(static_cast<std::size_t>(n));
    } else if (errno == EPIPE || errno == ECONNRESET) {
      return Outcome::kNobodyReads;
    } else if (errno != EINTR && errno != EAGAIN) {
      return Outcome::kFailed;
    }
    return Outcome::kGoesOn;
  }

 private:
  int from_;
  int to_;
  std::array<std::uint8_t, kRelayBuffer> buffer_{};
  wire::ByteView held_;  // of buffer_: read and not yet written
  bool ended_ = false;
};

short wanted(bool read, bool write) {
  return static_cast<short>((read ? POLLIN : 0) | (write ? POLLOUT : 0));
}

class Relay {
 public:
  Relay(int input, int output, int socket, const std::string& name)
      : input_(input), output_(output), socket_(socket), name_(name), up_(input, socket), down_(socket, output) {}

  int run() {
    while (!code_) turn();
    return *code_;
  }

 private:
  using Outcome = Stream::Outcome;

  void turn() {
    // A descriptor without a wanted event is left out (-1): poll would report its hang-up again and again. Only the
    // output is always watched, since the end of its reader is the end of the relay.
    const short on_socket = wanted(down_.wants_to_read(), up_.wants_to_write());
    std::array<pollfd, 3> fds = {{{up_.wants_to_read() ? input_ : -1, POLLIN, 0},
                                  {output_, wanted(false, down_.wants_to_write()), 0},
                                  {on_socket != 0 ? socket_ : -1, on_socket, 0}}};
    if (poll(fds.data(), fds.size(), -1) < 0) return;  // EINTR

    if (fds[0].revents != 0) from_input(up_.read_some());
    if ((fds[2].revents & POLLOUT) != 0 || ((fds[2].revents & POLLHUP) != 0 && up_.wants_to_write()))
      to_socket(up_.write_some());
    if (down_.wants_to_read() && (fds[2].revents & (POLLIN | POLLHUP | POLLERR)) != 0) from_socket(down_.read_some());
    if ((fds[1].revents & POLLOUT) != 0) {
      to_output(down_.write_some());
    } else if ((fds[1].revents & (POLLERR | POLLHUP | POLLNVAL)) != 0) {
      end(kExitOk);
    }
    if (down_.done()) end(kExitOk);
  }

  void from_input(Outcome outcome) {
    if (outcome == Outcome::kFailed) return fail("cannot read standard input: ");
    if (outcome == Outcome::kEndOfInput) half_close();
  }
  void to_socket(Outcome outcome) {
    if (outcome == Outcome::kFailed) return lost();
    if (outcome == Outcome::kNobodyReads) up_.give_up();  // the manager's last frame and end must still be read
  }
  void from_socket(Outcome outcome) {
    if (outcome == Outcome::kFailed) return fail("cannot read from tpmspaced: ");
    first_answer_.add(down_.held());
    if (outcome == Outcome::kEndOfInput && (!half_closed_ || first_answer_.is_refusal())) lost();
  }
  void to_output(Outcome outcome) {
    if (outcome == Outcome::kFailed) return fail("cannot write standard output: ");
    if (outcome == Outcome::kNobodyReads) end(kExitOk);
  }

  // No data is held then: input is read only after all earlier input was written.
  void half_close() {
    half_closed_ = true;
    shutdown(socket_, SHUT_WR);
  }
  void lost() {
    print_error(first_answer_.is_refusal()
                    ? client::no_place(name_).what
                    : "tpmspaced closed the connection before the end of the input; the log of tpmspaced says why");
    end(kExitFailure);
  }
  void fail(const std::string& what) {
    print_error(what + std::strerror(errno));
    end(kExitFailure);
  }
  void end(int code) {
    if (!code_) code_ = code;
  }

  int input_, output_, socket_;
  const std::string& name_;
  FirstAnswer first_answer_;
  Stream up_, down_;
  bool half_closed_ = false;
  std::optional<int> code_;
};

}  // namespace

int relay(int input, int output, base::Fd socket, const std::string& name) {
  (void)std::signal(SIGPIPE, SIG_IGN);
  return Relay(input, output, socket.get(), name).run();
}

int connect_to_manager(const ManagerPlace& manager) {
  const auto connected = connect_to(manager);
  if (!connected) {
    print_error(connected.error().what);
    return kExitFailure;
  }
  base::Fd socket(::fcntl(connected->fd(), F_DUPFD_CLOEXEC, 0));
  if (!socket) {
    print_error(std::string("no descriptor is free: ") + std::strerror(errno));
    return kExitFailure;
  }
  return relay(STDIN_FILENO, STDOUT_FILENO, std::move(socket), socket_of(manager));
}

}  // namespace tpmspace::tool
