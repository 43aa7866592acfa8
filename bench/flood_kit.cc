#include "bench/flood_kit.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <deque>
#include <stdexcept>
#include <thread>
#include <utility>

#include "demo/kit/process.h"
#include "proto/control.h"
#include "tests/support/tpm_commands.h"

namespace tpmspace::bench {
namespace {

using demo::Clock;

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error(fmt::format("{}: {}", what, std::strerror(errno)));
}

void read_all(int fd, wire::Bytes& into, std::size_t size) {
  while (into.size() < size) {
    std::array<std::uint8_t, 4096> part{};
    const ssize_t n = ::recv(fd, part.data(), std::min(part.size(), size - into.size()), 0);
    if (n <= 0) fail("tpmspaced hangs up");
    into.insert(into.end(), part.begin(), part.begin() + n);
  }
}

void become(uid_t uid) {
  if (::setgroups(0, nullptr) != 0 || ::setresgid(uid, uid, uid) != 0 || ::setresuid(uid, uid, uid) != 0)
    fail(fmt::format("cannot become uid {}", uid));
}

// In the child: never returns.
template <typename Work>
[[noreturn]] void live_as(uid_t uid, Work work) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  try {
    become(uid);
    work();
  } catch (const std::exception& e) {
    const std::string line = fmt::format("tpmspace-bench: uid {}: {}\n", uid, e.what());
    (void)!::write(STDERR_FILENO, line.data(), line.size());
    ::_exit(1);
  }
  ::_exit(0);
}

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) fail("pipe");
    from = base::Fd(ends[0]);
    to = base::Fd(ends[1]);
  }
  base::Fd from, to;
};

Socket::Answer to_answer(wire::ByteView response) {
  Socket::Answer out{wire::read_header(response)->code, 0};
  if (out.code == 0) out.handle = wire::Reader(response.subspan(wire::kHeaderSize)).u32().value_or(0);
  return out;
}

// Takes the complete responses out of the received bytes; an incomplete response stays.
std::vector<Socket::Answer> take_responses(wire::Bytes& in) {
  std::vector<Socket::Answer> out;
  std::size_t at = 0;
  while (in.size() - at >= wire::kHeaderSize) {
    const auto header = *wire::read_header(wire::ByteView(in).subspan(at));
    if (in.size() - at < header.size) break;
    if (header.tag == wire::kTagSessions || header.tag == wire::kTagNoSessions)
      out.push_back(to_answer(wire::ByteView(in).subspan(at, header.size)));
    at += header.size;
  }
  in.erase(in.begin(), in.begin() + static_cast<std::ptrdiff_t>(at));
  return out;
}

// One connection of a crowd.
class Asker {
 public:
  explicit Asker(const std::string& socket) : socket_(socket) {}

  [[nodiscard]] int fd() const { return socket_.fd(); }
  void send(wire::ByteView frame) { socket_.send(frame); }
  // Reads the received bytes; each response is followed by the next command.
  void go_on(const Crowd& crowd) {
    std::array<std::uint8_t, 4096> part{};
    const ssize_t size = ::recv(fd(), part.data(), part.size(), MSG_DONTWAIT);
    if (size <= 0) fail("tpmspaced hangs up");
    heard_.insert(heard_.end(), part.begin(), part.begin() + size);
    for (const auto& answer : take_responses(heard_)) send_next(crowd, answer);
  }

 private:
  void send_next(const Crowd& crowd, const Socket::Answer& answer) {
    const bool made = crowd.makes && answer.handle != 0;
    const std::uint32_t old = made ? std::exchange(made_, answer.handle) : 0;
    send(old != 0 ? support::flush_context(old) : crowd.command);
  }

  Socket socket_;
  wire::Bytes heard_;
  std::uint32_t made_ = 0;
};

}  // namespace

Socket::Socket(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) throw std::runtime_error("the path is too long: " + path);
  path.copy(address.sun_path, path.size());
  const timeval patience{60, 0};
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    fail("cannot connect to " + path);
}

void Socket::send(wire::ByteView frames) {
  while (!frames.empty()) {
    const ssize_t n = ::send(fd_.get(), frames.data(), frames.size(), MSG_NOSIGNAL);
    if (n <= 0) fail("tpmspaced takes nothing");
    frames = frames.subspan(static_cast<std::size_t>(n));
  }
}

wire::Bytes Socket::receive() {
  wire::Bytes out;
  read_all(fd_.get(), out, wire::kHeaderSize);
  read_all(fd_.get(), out, wire::read_header(out)->size);
  return out;
}

Socket::Answer Socket::run(wire::ByteView command) {
  send(command);
  return to_answer(receive());
}

Process::Process(uid_t uid, const std::function<void(const Ready& ready)>& work) {
  constexpr int kPatience = 300'000;  // ms
  Pipe pipe;
  pid_ = ::fork();
  if (pid_ < 0) fail("fork");
  if (pid_ == 0) live_as(uid, [&] { work([&] { (void)!::write(pipe.to.get(), "r", 1); }); });
  pipe.to.reset();
  pollfd there{pipe.from.get(), POLLIN, 0};
  char said = 0;
  if (::poll(&there, 1, kPatience) != 1 || ::read(pipe.from.get(), &said, 1) != 1) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    throw std::runtime_error(fmt::format("uid {} was not ready", uid));
  }
}

Process::Process(Process&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}

Process::~Process() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

bool Process::has_ended() const {
  siginfo_t how{};
  return ::waitid(P_PID, static_cast<id_t>(pid_), &how, WEXITED | WNOHANG | WNOWAIT) == 0 && how.si_pid == pid_;
}

void Scene::check() const {
  if (std::any_of(others.begin(), others.end(), [](const Process& one) { return one.has_ended(); }))
    throw std::runtime_error("a process of the flood has ended before it was measured");
}

std::vector<double> measured_as(uid_t uid, const std::function<std::vector<double>()>& work) {
  Pipe pipe;
  const pid_t pid = ::fork();
  if (pid < 0) fail("fork");
  if (pid == 0)
    live_as(uid, [&] {
      for (const double one : work()) (void)!::write(pipe.to.get(), &one, sizeof one);
    });
  pipe.to.reset();
  std::vector<double> out;
  for (double one = 0; ::read(pipe.from.get(), &one, sizeof one) == sizeof one;) out.push_back(one);
  ::waitpid(pid, nullptr, 0);
  if (out.empty()) throw std::runtime_error(fmt::format("uid {} measured nothing", uid));
  return out;
}

std::vector<double> times_of(const std::function<bool()>& work, std::chrono::milliseconds span) {
  constexpr double kRefused = 60'000;
  std::vector<double> out;
  for (const auto end = Clock::now() + span; out.empty() || Clock::now() < end;) {
    const auto start = Clock::now();
    if (!work()) return {kRefused};
    out.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return out;
}

std::vector<double> random_times(const Scene& scene, std::chrono::seconds span) {
  return measured_as(kVictim, [&] {
    Socket own(scene.socket);
    return times_of([&] { return own.run(support::get_random()).code == 0; }, scene.span(span));
  });
}

void keep_asking(const std::string& socket, const Crowd& crowd, const Process::Ready& ready) {
  const wire::Bytes hello = proto::encode(proto::Request(proto::Hello{}));
  const wire::Bytes cancel = proto::encode(proto::Request(proto::Cancel{}));
  const base::Fd poll(::epoll_create1(EPOLL_CLOEXEC));
  std::deque<Asker> askers;
  for (std::size_t i = 0; i < crowd.connections; ++i) {
    Asker& one = askers.emplace_back(socket);
    one.send(hello);
    one.send(crowd.command);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = i;
    if (::epoll_ctl(poll.get(), EPOLL_CTL_ADD, one.fd(), &event) != 0) fail("epoll_ctl");
  }
  ready();
  std::array<epoll_event, 256> events{};
  for (std::size_t next = 0;;) {
    const int n = ::epoll_wait(poll.get(), events.data(), static_cast<int>(events.size()), 1);
    for (int i = 0; i < n; ++i) askers[events.at(static_cast<std::size_t>(i)).data.u64].go_on(crowd);
    for (unsigned i = 0; i < crowd.cancels; ++i) askers[next++ % askers.size()].send(cancel);
  }
}

}  // namespace tpmspace::bench
