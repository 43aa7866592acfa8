#include "bench/lab.h"

#include <fcntl.h>
#include <tss2/tss2_tctildr.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "bench/link.h"
#include "demo/kit/daemon.h"

namespace tpmspace::bench {
namespace {

using demo::Clock;

constexpr demo::seconds kStartTimeout(20);
constexpr demo::milliseconds kTick(1);
// tpm2-abrmd's largest; the default allows fewer than the bench opens.
constexpr const char* kMaxConnections = "--max-connections=100";
constexpr const char* kMaxTransients = "--max-transients=100";

// The path of a program; also searches the directories for administrators, which are not in every user's PATH.
std::string find_program(const std::string& name) {
  const char* search = std::getenv("PATH");
  std::istringstream folders(std::string(search != nullptr ? search : "") + ":/usr/sbin:/usr/bin");
  for (std::string folder; std::getline(folders, folder, ':');)
    if (const std::string path = folder + "/" + name; ::access(path.c_str(), X_OK) == 0) return path;
  return "";
}

bool has_tcti(const char* name) {
  TSS2_TCTI_INFO* info = nullptr;
  const bool found = Tss2_TctiLdr_GetInfo(name, &info) == TSS2_RC_SUCCESS;
  if (found) Tss2_TctiLdr_FreeInfo(&info);
  return found;
}

bool appears(const std::string& path) {
  const auto deadline = Clock::now() + kStartTimeout;
  while (Clock::now() < deadline) {
    if (::access(path.c_str(), F_OK) == 0) return true;
    std::this_thread::sleep_for(kTick);
  }
  return false;
}

// During its lifetime, standard error of this process goes to a log: tpm2-abrmd's TCTI warns there while its daemon is
// not up yet, and we wait for the daemon.
class QuietErrors {
 public:
  explicit QuietErrors(const std::string& log) : outer_(::dup(STDERR_FILENO)) {
    const base::Fd file(::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    ::dup2(file.get(), STDERR_FILENO);
  }
  QuietErrors(const QuietErrors&) = delete;
  QuietErrors& operator=(const QuietErrors&) = delete;
  ~QuietErrors() { ::dup2(outer_.get(), STDERR_FILENO); }

 private:
  base::Fd outer_;
};

}  // namespace

const char* name_of(Peer peer) {
  switch (peer) {
    case Peer::kDirect:
      return "swtpm";
    case Peer::kTpmspace:
      return "tpmspace";
    case Peer::kAbrmd:
      break;
  }
  return "tpm2-abrmd";
}

std::uint64_t Site::resident_bytes() const {
  if (!manager_) return 0;
  std::ifstream file("/proc/" + std::to_string(manager_->pid()) + "/statm");
  std::uint64_t all = 0, resident = 0;
  file >> all >> resident;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

tl::expected<void, std::string> Site::start_manager() {
  auto child = demo::Child::start(program_);
  if (!child) return tl::unexpected(child.error());
  manager_ = std::move(*child);
  const QuietErrors quiet(program_.log);
  const auto deadline = Clock::now() + kStartTimeout;
  while (Clock::now() < deadline) {
    if (Link::try_open(tcti_)) return {};
    if (const auto ended = manager_->wait(Clock::now()))
      return tl::unexpected(program_.arguments[0] + " " + demo::how_it_ended(*ended) + ": " +
                            demo::tail_of(program_.log));
    std::this_thread::sleep_for(kTick);
  }
  return tl::unexpected(program_.arguments[0] + " was not ready in time: " + demo::tail_of(program_.log));
}

tl::expected<Lab, std::string> Lab::make() {
  auto scratch = demo::Scratch::make();
  if (!scratch) return tl::unexpected(scratch.error());
  Lab lab(std::move(*scratch));
  if (find_program("swtpm").empty()) return tl::unexpected(std::string("swtpm is not installed"));
  if (lab.has(Peer::kAbrmd))
    if (auto started = lab.start_bus(); !started) return tl::unexpected(started.error());
  return lab;
}

bool Lab::has(Peer peer) const {
  if (peer != Peer::kAbrmd) return true;
  return !find_program("tpm2-abrmd").empty() && !find_program("dbus-daemon").empty() && has_tcti("tabrmd");
}

std::string Lab::version(Peer peer) const {
  const std::string program =
      peer == Peer::kTpmspace ? demo::own_directory() + "/tpmspaced" : find_program(name_of(peer));
  auto child = demo::Child::start({{program, "--version"}, {}, scratch_.file("version.log"), true});
  const auto line = child ? child->read_line(Clock::now() + kStartTimeout) : std::nullopt;
  return line ? line->substr(0, line->find(',')) : "";  // swtpm's goes on with whose it is
}

tl::expected<void, std::string> Lab::start_bus() {
  const std::string log = scratch_.file("bus.log");
  auto bus = demo::Child::start({{find_program("dbus-daemon"), "--session", "--nofork", "--print-address=1",
                                  "--address=unix:path=" + scratch_.file("bus.sock")},
                                 {},
                                 log,
                                 true});
  if (!bus) return tl::unexpected(bus.error());
  const auto address = bus->read_line(Clock::now() + kStartTimeout);
  if (!address) return tl::unexpected("dbus-daemon does not start: " + demo::tail_of(log));
  bus_ = std::move(*bus);
  bus_address_ = *address;
  ::setenv("DBUS_SESSION_BUS_ADDRESS", address->c_str(), 1);  // for tpm2-abrmd's TCTI in this process
  return {};
}

tl::expected<void, std::string> Lab::start_tpm(Site& site, const std::string& socket, bool counted) {
  const std::string server = counted ? socket + ".tpm" : socket, state = socket + ".state", log = socket + ".log";
  std::error_code failed;
  std::filesystem::create_directory(state, failed);
  auto tpm = demo::Child::start({{find_program("swtpm"), "socket", "--tpm2", "--tpmstate", "dir=" + state, "--server",
                                  "type=unixio,path=" + server, "--ctrl", "type=unixio,path=" + socket + ".ctrl",
                                  "--flags", "not-need-init,startup-clear"},
                                 {},
                                 log,
                                 false});
  if (!tpm) return tl::unexpected(tpm.error());
  site.tpm_ = std::move(*tpm);
  if (!appears(server)) return tl::unexpected("swtpm does not start: " + demo::tail_of(log));
  if (!counted) return {};
  auto relay = Relay::start(socket, server, log);
  if (!relay) return tl::unexpected(relay.error());
  site.relay_ = std::move(*relay);
  return {};
}

demo::Program Lab::manager_for(Peer peer, const std::string& name, const std::string& tpm_socket,
                               const std::string& settings) const {
  const std::string log = scratch_.file(name + ".manager.log");
  if (peer == Peer::kAbrmd)
    return {{find_program("tpm2-abrmd"), "--session", "--allow-root", "--dbus-name=com.intel.tss2." + name,
             "--tcti=swtpm:path=" + tpm_socket, kMaxConnections, kMaxTransients},
            {},
            log,
            false};
  const std::string config = scratch_.file(name + ".toml");
  std::ofstream(config) << settings;  // perhaps empty: the system's configuration is not for us
  return {{demo::own_directory() + "/tpmspaced", "--tpm", "swtpm:path=" + tpm_socket, "--socket",
           scratch_.file(name + ".sock"), "--config", config},
          {{"NOTIFY_SOCKET", std::nullopt}, {"LISTEN_PID", std::nullopt}, {"LISTEN_FDS", std::nullopt}},
          log,
          false};
}

tl::expected<Site, std::string> Lab::build(Peer peer, bool counted, const std::string& config) {
  const std::string name = "Site" + std::to_string(++sites_), socket = scratch_.file(name + ".swtpm");
  Site site;
  site.peer_ = peer;
  if (auto started = start_tpm(site, socket, counted); !started) return tl::unexpected(started.error());
  site.tcti_ = "swtpm:path=" + socket;
  if (peer == Peer::kDirect) return site;
  if (peer == Peer::kAbrmd) site.tcti_ = "tabrmd:bus_name=com.intel.tss2." + name + ",bus_type=session";
  if (peer == Peer::kTpmspace) {
    site.socket_ = scratch_.file(name + ".sock");
    site.tcti_ = demo::tcti_for(site.socket_);
  }
  site.program_ = manager_for(peer, name, socket, config);
  if (auto started = site.start_manager(); !started) return tl::unexpected(started.error());
  return site;
}

}  // namespace tpmspace::bench
