#include "demo/turns.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <iostream>
#include <memory>
#include <vector>

#include "base/fd.h"
#include "proto/frame.h"
#include "proto/socket_path.h"
#include "tpm/bring_up.h"
#include "tpm/embedded.h"
#include "wire/command.h"

namespace tpmspace::demo {
namespace {

using base::Fd;

Fd listen_at(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() > proto::kMaxSocketPath) return {};
  std::memcpy(address.sun_path, path.data(), path.size());
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);  // NOLINT: the C interface's one type of address
  if (::bind(fd.get(), generic, sizeof address) != 0 || ::listen(fd.get(), 128) != 0) return {};
  return fd;
}

struct Guest {
  Fd socket;
  proto::FrameReader reader{proto::kMaxFrameSize};
};

class Turns {
 public:
  Turns(wire::Tpm& tpm, Fd listener) : tpm_(tpm), listener_(std::move(listener)) {}

  // Until the standard input ends.
  void run() {
    for (;;) {
      std::vector<pollfd> waiting{{STDIN_FILENO, POLLIN, 0}, {listener_.get(), POLLIN, 0}};
      for (const auto& guest : guests_) waiting.push_back({guest.socket.get(), POLLIN, 0});
      if (::poll(waiting.data(), waiting.size(), -1) < 0) continue;
      if (waiting[0].revents != 0) return;
      // From the end, so that a removed client does not move the clients still to be looked at.
      for (std::size_t i = guests_.size(); i-- > 0;)
        if (waiting[i + 2].revents != 0 && !serve(guests_[i])) guests_.erase(guests_.begin() + static_cast<long>(i));
      if (waiting[1].revents != 0) admit();
    }
  }

  [[nodiscard]] std::uint64_t commands() const { return commands_; }

 private:
  void admit() {
    Fd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (socket) guests_.push_back(Guest{std::move(socket), proto::FrameReader(proto::kMaxFrameSize)});
  }

  // False: this one is gone.
  bool serve(Guest& guest) {
    std::array<std::uint8_t, 8192> buffer{};
    const ssize_t n = ::recv(guest.socket.get(), buffer.data(), buffer.size(), 0);
    if (n <= 0) return false;
    guest.reader.feed(wire::ByteView(buffer).first(static_cast<std::size_t>(n)));
    while (auto arrival = guest.reader.next()) {
      // The library tells a manager how a forked process may join (docs/fork.md). There is no manager here.
      if (std::holds_alternative<proto::ControlFrame>(*arrival)) continue;
      const auto* frame = std::get_if<proto::TpmFrame>(&*arrival);
      if (frame == nullptr || !pass_on(frame->bytes, guest.socket.get())) return false;
    }
    return true;
  }

  bool pass_on(wire::ByteView command, int to) {
    const auto answer = tpm_.transact(command, 0);
    if (!answer) return false;
    ++commands_;
    return ::send(to, answer->data(), answer->size(), MSG_NOSIGNAL) == static_cast<ssize_t>(answer->size());
  }

  wire::Tpm& tpm_;
  Fd listener_;
  std::vector<Guest> guests_;
  std::uint64_t commands_ = 0;
};

// How many handles from `first` on the TPM lists.
std::uint32_t count_handles(wire::Tpm& tpm, std::uint32_t first) {
  constexpr std::uint32_t kCapHandles = 1, kMany = 254;
  const auto command = wire::Writer()
                           .u16(wire::kTagNoSessions)
                           .u32(22)
                           .u32(wire::cc::kGetCapability)
                           .u32(kCapHandles)
                           .u32(first)
                           .u32(kMany)
                           .take();
  const auto answer = tpm.transact(command, 0);
  if (!answer) return 0;
  wire::Reader reader(*answer);
  (void)reader.take(wire::kHeaderSize + 5);  // more data, capability
  return reader.u32().value_or(0);
}

int give_up(const std::string& why) {
  std::cerr << why << "\n";
  return 1;
}

}  // namespace

int take_turns(const std::string& socket) {
  constexpr std::uint32_t kObjects = 0x80000000, kLoadedSessions = 0x02000000, kSavedSessions = 0x03000000;
  auto tpm = tpm::EmbeddedTpm::open("");
  if (!tpm) return give_up(tpm.error());
  if (const auto facts = tpm::bring_up(**tpm, tpm::Kind::kEmbedded); !facts) return give_up(facts.error());
  Fd listener = listen_at(socket);
  if (!listener) return give_up("cannot listen at " + socket);
  Turns turns(**tpm, std::move(listener));
  std::cout << "ready" << std::endl;
  turns.run();
  std::cout << turns.commands() << " " << count_handles(**tpm, kObjects) << " "
            << count_handles(**tpm, kLoadedSessions) + count_handles(**tpm, kSavedSessions) << std::endl;
  return 0;
}

}  // namespace tpmspace::demo
