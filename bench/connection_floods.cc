// Floods of connections: made and closed for ever, or as many as a user gets.
#include <sys/socket.h>
#include <sys/un.h>

#include <deque>
#include <filesystem>
#include <stdexcept>
#include <thread>

#include "base/fd.h"
#include "bench/flood_kit.h"
#include "bench/floods.h"
#include "tests/support/tpm_commands.h"

namespace tpmspace::bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Ready = Process::Ready;

sockaddr_un address_of(const std::string& socket) {
  sockaddr_un out{};
  out.sun_family = AF_UNIX;
  socket.copy(out.sun_path, sizeof out.sun_path - 1);
  return out;
}

// The work of a program that runs one command: connect, GetRandom, close.
std::vector<double> short_lives(const Scene& scene) {
  return measured_as(kVictim, [&] {
    return times_of([&] { return Socket(scene.socket).run(support::get_random()).code == 0; }, scene.span(seconds(6)));
  });
}

// Connects and closes again, and sends nothing: nothing but connecting and closing takes time.
[[noreturn]] void connect_and_close(const std::string& socket, const Ready& ready) {
  const sockaddr_un address = address_of(socket);
  ready();
  for (;;) {
    const base::Fd one(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    (void)::connect(one.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  }
}

// A server that accepts and closes, and does nothing else.
[[noreturn]] void accept_and_close(const std::string& socket, const Ready& ready) {
  const sockaddr_un address = address_of(socket);
  const base::Fd listening(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::bind(listening.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listening.get(), SOMAXCONN) != 0)
    throw std::runtime_error("cannot listen at " + socket);
  ready();
  for (;;) const base::Fd one(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
}

// The flood takes a processor, and accepting it takes another. So the control is the same flood of another server.
std::vector<double> beside_a_connect_loop(Scene& scene) {
  std::string target = scene.socket;
  const auto folder = std::filesystem::path(scene.socket).parent_path() / "others";
  if (scene.is_control) {
    std::filesystem::create_directory(folder);
    std::filesystem::permissions(folder, std::filesystem::perms(0777));
    target = folder / "socket";
    scene.others.emplace_back(kFirstHostile, [&](const Ready& ready) { accept_and_close(target, ready); });
  }
  scene.others.emplace_back(kFirstHostile, [&](const Ready& ready) { connect_and_close(target, ready); });
  return short_lives(scene);
}

// As many as there is room for; then, 100 times a second, one more is tried.
[[noreturn]] void hold_connections(const std::string& socket, const Ready& ready) {
  std::deque<Socket> held;
  const auto gets_one = [&] {
    Socket one(socket);
    const bool welcome = one.run(support::get_random()).code == 0;
    if (welcome) held.push_back(std::move(one));
    return welcome;
  };
  while (gets_one()) continue;
  ready();
  for (;; std::this_thread::sleep_for(milliseconds(10))) (void)gets_one();
}

std::vector<double> beside_full_connections(Scene& scene) {
  constexpr uid_t kUsers = 16;
  for (uid_t i = 0; !scene.is_control && i < kUsers; ++i)
    scene.others.emplace_back(kFirstHostile + i, [&](const Ready& ready) { hold_connections(scene.socket, ready); });
  return short_lives(scene);
}

}  // namespace

std::vector<Flood> connection_floods() {
  return {
      {"connect, GetRandom, close; another user connects and closes in a loop",
       "the other user connects and closes in a loop at a server of its own, which only accepts", "",
       beside_a_connect_loop},
      {"connect, GetRandom, close; 16 other users have filled their shares of 4000 connections and try for more, each "
       "100 times a second",
       "no other user is there", "[limits]\nconnections = 4000\n", beside_full_connections},
  };
}

}  // namespace tpmspace::bench
