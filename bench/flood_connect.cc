#include "bench/flood_connect.h"

#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <stdexcept>

#include "base/fd.h"
#include "bench/link.h"
#include "bench/statistics.h"
#include "demo/kit/process.h"
#include "tests/support/tpm_commands.h"

namespace tpmspace::bench {
namespace {

constexpr uid_t kFlooder = 65533;  // some user without an account

// Connects to the path and closes, for ever; an empty path makes sockets that never connect.
[[noreturn]] void flood(const std::string& path) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::geteuid() == 0 && (::setgid(kFlooder) != 0 || ::setuid(kFlooder) != 0)) ::_exit(1);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  for (;;) {
    const base::Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    (void)::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  }
}

class ConnectLoop {
 public:
  explicit ConnectLoop(const std::string& path) : pid_(::fork()) {
    if (pid_ < 0) throw std::runtime_error("cannot start another process");
    if (pid_ == 0) flood(path);
  }
  ConnectLoop(const ConnectLoop&) = delete;
  ConnectLoop& operator=(const ConnectLoop&) = delete;
  ~ConnectLoop() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

 private:
  pid_t pid_;
};

double median_connection(const std::string& tcti, unsigned connections) {
  std::vector<double> all;
  for (unsigned i = 0; i < connections; ++i) {
    const auto start = demo::Clock::now();
    Link(tcti).run(support::get_random());
    all.push_back(std::chrono::duration<double, std::micro>(demo::Clock::now() - start).count());
  }
  return median(std::move(all));
}

}  // namespace

tl::expected<ConnectFlood, std::string> measure_connect_flood(Lab& lab, unsigned connections) try {
  auto site = lab.build(Peer::kTpmspace, false);
  if (!site) return tl::unexpected(site.error());
  const std::string path = site->tcti().substr(site->tcti().find("path=") + 5);
  // The flooder is another user, and the laboratory is ours alone.
  ::chmod(path.c_str(), 0666);
  ::chmod(path.substr(0, path.rfind('/')).c_str(), 0711);
  ConnectFlood out;
  out.idle = median_connection(site->tcti(), connections);
  {
    const ConnectLoop busy("");
    out.control = median_connection(site->tcti(), connections);
  }
  {
    const ConnectLoop busy(path);
    out.flooded = median_connection(site->tcti(), connections);
  }
  return out;
} catch (const std::exception& e) {
  return tl::unexpected(std::string(e.what()));
}

}  // namespace tpmspace::bench
