#include "bench/relay.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <iostream>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "client/connection.h"
#include "proto/frame.h"
#include "proto/socket_path.h"

namespace tpmspace::bench {
namespace {

using base::Fd;
using demo::Clock;

Fd listen_here(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() > proto::kMaxSocketPath) return {};
  std::memcpy(address.sun_path, path.data(), path.size());
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);  // NOLINT: the C interface's one type of address
  if (::bind(fd.get(), generic, sizeof address) != 0 || ::listen(fd.get(), 8) != 0) return {};
  return fd;
}

// Both ways of one connection, until either side ends it.
class Passage {
 public:
  Passage(Fd client, Fd tpm) : client_(std::move(client)), tpm_(std::move(tpm)) {}

  [[nodiscard]] std::array<pollfd, 2> waiting() const {
    return {pollfd{client_.get(), POLLIN, 0}, pollfd{tpm_.get(), POLLIN, 0}};
  }
  // False: it ended. Adds the complete frames passed to the TPM to `commands`.
  bool pass(bool from_client, std::uint64_t& commands) {
    std::array<std::uint8_t, 8192> buffer{};
    const int from = (from_client ? client_ : tpm_).get(), to = (from_client ? tpm_ : client_).get();
    const ssize_t n = ::recv(from, buffer.data(), buffer.size(), 0);
    if (n <= 0) return false;
    if (from_client) {
      frames_.feed(wire::ByteView(buffer).first(static_cast<std::size_t>(n)));
      while (frames_.next()) ++commands;
    }
    return ::send(to, buffer.data(), static_cast<std::size_t>(n), MSG_NOSIGNAL) == n;
  }

 private:
  Fd client_, tpm_;
  proto::FrameReader frames_{proto::kMaxFrameSize};
};

// False: the input ended.
bool answer_question(std::uint64_t commands) {
  std::array<char, 64> line{};
  const ssize_t n = ::read(STDIN_FILENO, line.data(), line.size());
  if (n <= 0) return false;
  std::cout << commands << std::endl;
  return true;
}

}  // namespace

int run_relay(const std::string& listen_at, const std::string& tpm) {
  const Fd listener = listen_here(listen_at);
  if (!listener) return 1;
  std::uint64_t commands = 0;
  std::vector<Passage> passages;  // none or one
  std::cout << "ready" << std::endl;
  for (;;) {
    std::vector<pollfd> waiting{{STDIN_FILENO, POLLIN, 0}};
    if (passages.empty()) waiting.push_back({listener.get(), POLLIN, 0});
    for (const auto& passage : passages)
      for (const auto& one : passage.waiting()) waiting.push_back(one);
    if (::poll(waiting.data(), waiting.size(), -1) < 0) continue;
    if (waiting[0].revents != 0 && !answer_question(commands)) return 0;
    if (passages.empty()) {
      if (waiting[1].revents == 0) continue;
      auto to_tpm = client::connect_socket(tpm);
      Fd client(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (to_tpm && client) passages.emplace_back(std::move(client), std::move(*to_tpm));
    } else if ((waiting[1].revents != 0 && !passages[0].pass(true, commands)) ||
               (waiting[2].revents != 0 && !passages[0].pass(false, commands))) {
      passages.clear();
    }
  }
}

tl::expected<Relay, std::string> Relay::start(const std::string& listen_at, const std::string& tpm,
                                              const std::string& log) {
  auto child =
      demo::Child::start({{demo::own_directory() + "/tpmspace-bench", "relay", listen_at, tpm}, {}, log, true});
  if (!child) return tl::unexpected(child.error());
  Relay relay(std::move(*child));
  if (relay.child_.read_line(Clock::now() + demo::seconds(10)) != "ready")
    return tl::unexpected("the counting relay does not start: " + demo::tail_of(log));
  return relay;
}

std::uint64_t Relay::count() {
  child_.say("count\n");
  const auto line = child_.read_line(Clock::now() + demo::seconds(10));
  return line ? std::stoull(*line) : 0;
}

std::uint64_t Relay::settled_count() {
  constexpr demo::milliseconds kQuiet(100);
  std::uint64_t now = count(), before = 0;
  do {
    before = now;
    std::this_thread::sleep_for(kQuiet);
    now = count();
  } while (now != before);
  return now;
}

}  // namespace tpmspace::bench
