#include "tool/doctor.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "client/connection.h"
#include "client/socket_path.h"
#include "proto/json.h"
#include "tool/capabilities.h"
#include "tool/exit_code.h"
#include "tool/installation.h"
#include "tool/status.h"
#include "tool/time_limits.h"

namespace tpmspace::tool {
namespace {

using Level = Finding::Level;

constexpr const char* kLevelNames[] = {"ok", "note", "problem"};
constexpr mode_t kOthers = 006;  // read or write
constexpr mode_t kGroup = 060;

void add(Findings& findings, Level level, std::string text) {
  findings.push_back({level, std::move(text)});
}

bool has_problem(const Findings& findings) {
  return std::any_of(findings.begin(), findings.end(), [](const Finding& f) { return f.level == Level::kProblem; });
}

// "1 object", "2 objects", "no objects".
std::string counted(std::uint64_t number, std::string_view what) {
  return fmt::format("{} {}{}", number == 0 ? "no" : std::to_string(number), what, number == 1 ? "" : "s");
}

void judge_chip(const Chip& chip, Findings& findings) {
  const std::string what = chip.description.empty() ? "" : " (" + chip.description + ")";
  if (chip.version == 2) {
    add(findings, Level::kOk, fmt::format("{} is a TPM 2.0{}", chip.name, what));
  } else if (chip.version == 1) {
    add(findings, Level::kProblem,
        fmt::format("{} is a TPM 1.2{}, which tpmspaced cannot serve; look for a TPM 2.0 setting in the firmware, or "
                    "use `tpmspaced --tpm embedded`",
                    chip.name, what));
  } else {
    add(findings, Level::kNote,
        fmt::format("{} does not report its version{}; it is probably a TPM 1.2", chip.name, what));
  }
}

void judge_access(const Device& device, Findings& findings) {
  const std::string who =
      fmt::format("{} has mode {:04o}, owner {}, group {}", device.path, device.mode, device.owner, device.group);
  if ((device.mode & kOthers) != 0) {
    add(findings, Level::kProblem,
        fmt::format("{}: every user can use the TPM directly, without tpmspaced; run chmod 0660 {}, and look for the "
                    "udev rule that set this mode",
                    who, device.path));
  } else if ((device.mode & kGroup) != 0) {
    add(findings, Level::kNote, fmt::format("{}: members of that group can use the TPM beside tpmspaced", who));
  } else {
    add(findings, Level::kOk, who);
  }
}

void judge_holders(const Device& device, bool raw, pid_t server, Findings& findings) {
  for (const Holder& holder : device.holders) {
    const std::string who = fmt::format("{} (pid {}) has {} open", holder.program, holder.pid, device.path);
    if (holder.pid == server || holder.program == "tpmspaced") {
      add(findings, Level::kOk, who);
    } else if (holder.program == "tpm2-abrmd") {
      add(findings, Level::kProblem,
          who +
              ": tpmspaced cannot open the TPM beside tpm2-abrmd; run systemctl disable --now tpm2-abrmd, or use only "
              "tpm2-abrmd");
    } else if (raw) {
      add(findings, Level::kProblem,
          who + ": no other program can open the TPM meanwhile; end this program, or let it use tpmspaced (space:)");
    } else {
      add(findings, Level::kNote, who + ", beside tpmspaced; let this program use tpmspaced (space:)");
    }
  }
}

// The users that may connect, by the socket's mode and owner.
void judge_socket(const std::string& path, Findings& findings) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0 || !S_ISSOCK(info.st_mode)) return;
  const std::string owner = user_name(info.st_uid);
  const std::string group = group_name(info.st_gid);
  const std::string who =
      fmt::format("{} has mode {:04o}, owner {}, group {}", path, info.st_mode & 07777, owner, group);
  if ((info.st_mode & 002) != 0) {
    add(findings, Level::kNote, who + ": every user with access to its directory may connect");
  } else if ((info.st_mode & 020) != 0) {
    add(findings, Level::kOk, fmt::format("{}: {} and members of {} may connect", who, owner, group));
  } else {
    add(findings, Level::kOk, fmt::format("{}: only {} may connect", who, owner));
  }
}

pid_t peer_pid(const client::Connection& connection) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return getsockopt(connection.fd(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? peer.pid : 0;
}

std::string listed(const std::vector<std::uint32_t>& handles) {
  if (handles.empty()) return "none";
  std::string out = std::to_string(handles.size()) + ":";
  constexpr std::size_t kShown = 16;
  for (std::size_t i = 0; i < std::min(handles.size(), kShown); ++i) out += fmt::format(" 0x{:08x}", handles[i]);
  return handles.size() > kShown ? out + " ..." : out;
}

constexpr std::pair<HandleRange, const char*> kLists[] = {
    {HandleRange::kPersistent, "persistent objects"},
    {HandleRange::kNvIndex, "NV indices"},
    {HandleRange::kTransient, "transient objects that this connection sees"},
    {HandleRange::kLoadedSession, "loaded sessions that this connection sees"},
    {HandleRange::kSavedSession, "saved sessions that this connection sees"},
};

// The TPM's answers, up to the first missing answer.
struct Contents {
  std::vector<std::vector<std::uint32_t>> lists;  // in the order of kLists
  std::optional<std::map<std::uint32_t, std::uint32_t>> properties;
};

Contents look_at_contents(client::Connection& connection) {
  Contents out;
  for (const auto& [range, name] : kLists) {
    auto list = handles(connection, range);
    if (!list) return out;
    out.lists.push_back(*std::move(list));
  }
  out.properties = variable_properties(connection);
  return out;
}

// One cause is one problem: answers after the first missing answer are not judged.
void judge_contents(const Contents& contents, Findings& findings) {
  for (std::size_t i = 0; i < contents.lists.size(); ++i)
    add(findings, Level::kOk, fmt::format("{}: {}", kLists[i].second, listed(contents.lists[i])));
  if (contents.properties) return judge_lockout(*contents.properties, findings);
  const bool is_a_list = contents.lists.size() < std::size(kLists);
  add(findings, Level::kProblem,
      fmt::format("the TPM does not report its {}; `tpmspace whoami` shows whether tpmspaced refused the command; "
                  "otherwise see the log of tpmspaced",
                  is_a_list ? kLists[contents.lists.size()].second : "properties"));
}

// The pid of the tpmspaced that serves `socket`; 0 if none does.
pid_t judge_manager(const std::string& socket, Findings& findings) {
  auto connection = client::Connection::open(socket);
  if (!connection) {
    add(findings, Level::kProblem, connection.error().what);
    judge_socket(socket, findings);
    return 0;
  }
  const auto hello = connection->hello(kAnswerMs);
  if (!hello) {
    add(findings, Level::kProblem, hello.error().what);
    // A tpmspaced that refuses this user still serves the socket.
    return hello.error().kind == client::Error::Kind::kRefused ? peer_pid(*connection) : 0;
  }
  add(findings, Level::kOk, fmt::format("{} (pid {}) serves {}", hello->server, hello->pid, socket));
  judge_socket(socket, findings);
  // The status comes last, since it shows a TPM that was lost meanwhile.
  const Contents contents = look_at_contents(*connection);
  const auto status = connection->status(kAnswerMs);
  if (!status) {
    add(findings, Level::kProblem, status.error().what);
    return peer_pid(*connection);
  }
  judge_status(*status, findings);
  if (!status->tpm_lost) judge_contents(contents, findings);
  return peer_pid(*connection);
}

// --- TPM2TOOLS_TCTI

namespace fs = std::filesystem;

std::string absolute(const std::string& path) {
  std::error_code failed;
  std::string out = fs::absolute(path, failed).lexically_normal().string();
  return failed ? path : out;
}

bool same_socket(const std::string& a, const std::string& b) {
  std::error_code failed;
  return absolute(a) == absolute(b) || fs::equivalent(a, b, failed);
}

// The recommended value of TPM2TOOLS_TCTI.
std::string wanted_tcti(const Surroundings& around) {
  const bool is_default = same_socket(around.socket, around.default_socket);
  const std::string path = absolute(around.socket);
  if (!around.library_found)
    return "\"cmd:" + around.program + " connect" + (is_default ? "" : " --socket " + path) + "\"";
  if (is_default) return "space:";
  return path.find(',') == std::string::npos ? "space:path=" + path : "space:" + path;  // a comma ends path=
}

std::string_view take_word(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  const std::string_view word = text.substr(0, text.find(' '));
  text.remove_prefix(word.size());
  return word;
}

// The target of a TCTI.
struct Route {
  std::string socket;
  std::string program;  // the program that the TCTI runs; empty: none
};

// "path=/a,locality=1", "/a": the path; empty: the default.
std::string path_in(std::string_view configuration) {
  if (configuration.starts_with('/')) return std::string(configuration);
  while (!configuration.empty()) {
    const std::string_view item = configuration.substr(0, configuration.find(','));
    constexpr std::string_view kKey = "path=";
    if (item.starts_with(kKey)) return std::string(item.substr(kKey.size()));
    configuration.remove_prefix(std::min(item.size() + 1, configuration.size()));
  }
  return "";
}

// "tpmspace connect --socket /a".
std::optional<Route> route_of_command(std::string_view command, const std::string& default_socket) {
  const std::string program(take_word(command));
  if (fs::path(program).filename() != "tpmspace" || take_word(command) != "connect") return std::nullopt;
  Route out{default_socket, program};
  constexpr std::string_view kOption = "--socket";
  for (std::string_view word = take_word(command); !word.empty(); word = take_word(command)) {
    if (word == kOption)
      out.socket = take_word(command);
    else if (word.starts_with(kOption) && word.size() > kOption.size())
      out.socket = word.substr(kOption.size() + 1);
  }
  return out;
}

// nullopt: not to a tpmspaced.
std::optional<Route> route_of(std::string_view tcti, const std::string& default_socket) {
  const std::string_view name = tcti.substr(0, tcti.find(':'));
  const std::string_view rest = tcti.substr(std::min(name.size() + 1, tcti.size()));
  if (name == "cmd") return route_of_command(rest, default_socket);
  const std::string file = fs::path(name).filename().string();
  if (name != "space" && !file.starts_with("libtss2-tcti-space.so")) return std::nullopt;
  const std::string path = path_in(rest);
  return Route{path.empty() ? default_socket : path, ""};
}

bool can_be_run(const std::string& program) {
  if (program.find('/') != std::string::npos) return access(program.c_str(), X_OK) == 0;
  const char* search = std::getenv("PATH");
  std::istringstream folders(search != nullptr ? search : "");
  for (std::string folder; std::getline(folders, folder, ':');)
    if (access(folder.append("/").append(program).c_str(), X_OK) == 0) return true;
  return false;
}

Surroundings surroundings(const std::string& socket, const LibraryPlaces& library) {
  Surroundings out;
  out.socket = socket;
  out.default_socket = client::default_socket_path();
  if (const char* tcti = std::getenv("TPM2TOOLS_TCTI")) out.tcti = tcti;
  out.library_found = !library.by_itself.empty() || !library.beside.empty();
  out.program = can_be_run("tpmspace") ? "tpmspace" : own_directory() + "/tpmspace";
  out.can_be_run = can_be_run;
  return out;
}

void judge_library(const LibraryPlaces& library, const Surroundings& around, Findings& findings) {
  if (!library.by_itself.empty()) {
    add(findings, Level::kOk,
        fmt::format("TSS programs can load {} (\"space:\") from {}", kLibrary, library.by_itself));
  } else if (!library.beside.empty()) {
    add(findings, Level::kNote,
        fmt::format("{} is at {}, where programs do not look by default; set LD_LIBRARY_PATH (`tpmspace run` does), or "
                    "install it",
                    kLibrary, library.beside));
  } else {
    add(findings, Level::kProblem,
        fmt::format("{} cannot be loaded, so TSS programs cannot use \"space:\"; install it, or set "
                    "TPM2TOOLS_TCTI={}",
                    kLibrary, wanted_tcti(around)));
  }
}

// A TPM that has gone comes back by itself; a TPM that hangs, or a descriptor that was handed over, does not. A
// software TPM needs no restart of the machine.
std::string_view remedy_for_lost(std::string_view back_end) {
  if (back_end.starts_with("embedded")) return "if the TPM does not come back by itself, restart tpmspaced";
  if (back_end.starts_with("swtpm")) return "if swtpm has ended, start it again: tpmspaced finds it";
  return "if the TPM does not come back by itself, restart tpmspaced; if that does not help, restart the machine";
}

// The sums of all spaces: for administrators.
void judge_all_spaces(const proto::Status& status, Findings& findings) {
  add(findings, Level::kOk,
      fmt::format(
          "all spaces of this TPM together: {} ({} in {}), {} ({} loaded, {} saved by clients; the TPM can have {})",
          counted(status.spaces_objects, "object"), status.spaces_objects_loaded,
          counted(status.chip_object_slots, "slot"), counted(status.spaces_sessions, "session"),
          status.spaces_sessions_loaded, status.spaces_sessions_client_saved, status.chip_active_sessions));
  if (status.spaces_sessions >= status.chip_active_sessions && status.chip_active_sessions != 0)
    add(findings, Level::kProblem,
        fmt::format(
            "all {} active sessions of the chip are in use ({} saved by clients), so no program can start a further "
            "session; end programs that hold sessions, flush sessions left in files (tpm2_flushcontext), or lower "
            "limits.sessions and limits.client_saved_sessions in /etc/tpmspace/tpmspace.toml",
            status.chip_active_sessions, status.spaces_sessions_client_saved));
  if (status.connections_now >= status.limits_connections && status.limits_connections != 0)
    add(findings, Level::kProblem,
        fmt::format(
            "all {} connections are in use; raise the limit in /etc/tpmspace/tpmspace.toml, or see `tpmspace clients`",
            status.limits_connections));
}

std::string_view how_to_see_it() {
  return ::geteuid() == 0 ? kWhenRootIsNone : "run doctor as root to see them";
}

// An ordinary user sees nothing of other users' spaces.
void judge_own_part(const proto::Status& status, Findings& findings) {
  add(findings, Level::kOk,
      fmt::format("you have {} and {} to tpmspaced ({} sessions at most for all users together)",
                  counted(status.spaces_sessions + status.sessions_parked, "session"),
                  counted(status.connections_now, "connection"), status.chip_active_sessions));
  add(findings, Level::kNote,
      "objects and sessions of other users are not shown to you; " + std::string(how_to_see_it()));
}

void judge_other_chips(const proto::Status& status, Findings& findings) {
  std::istringstream lost(status.tpm_lost_chips);
  for (std::string name; lost >> name;)
    if (name != status.tpm_chip)
      add(findings, Level::kProblem,
          fmt::format("the chip \"{}\" does not answer, or is missing; tpmspaced tries this chip again, and the log of "
                      "tpmspaced says why",
                      name));
}

}  // namespace

void judge_machine(const Machine& machine, pid_t server, Findings& findings) {
  for (const Chip& chip : machine.chips) judge_chip(chip, findings);
  if (machine.chips.empty() && machine.raw.empty()) {
    if (server != 0)
      add(findings, Level::kOk, "no TPM is visible here, but tpmspaced serves a TPM");
    else
      add(findings, Level::kNote,
          "this machine shows no TPM; `tpmspaced --tpm embedded` and `tpmspace run -- CMD` need no TPM");
  }
  for (const Device& device : machine.raw) {
    judge_access(device, findings);
    judge_holders(device, true, server, findings);
  }
  for (const Device& device : machine.managed) {
    judge_access(device, findings);
    judge_holders(device, false, server, findings);
  }
  if (machine.processes_hidden && !(machine.raw.empty() && machine.managed.empty()))
    add(findings, Level::kNote,
        "doctor cannot examine all processes, so other programs may have the TPM open; run doctor as root");
  for (const pid_t pid : machine.abrmd)
    add(findings, Level::kNote,
        fmt::format("tpm2-abrmd runs (pid {}); its clients and the clients of tpmspaced cannot share one TPM", pid));
}

std::optional<std::string> note_of_other_manager(std::string_view variable, std::string_view tcti,
                                                 const std::string& default_socket, const std::string& socket) {
  const auto route = route_of(tcti, default_socket);
  if (route && same_socket(route->socket, socket)) return std::nullopt;
  const std::string is = fmt::format("{} is \"{}\": programs that read the variable ", variable, tcti);
  if (!route) return is + fmt::format("do not use tpmspaced; this report is about tpmspaced at {}", socket);
  return is + fmt::format("use {}; this report is about {}; for a report about their socket add --socket {}",
                          route->socket, socket, route->socket);
}

void judge_tcti(const Surroundings& around, Findings& findings) {
  const std::string remedy = "export TPM2TOOLS_TCTI=" + wanted_tcti(around);
  if (!around.tcti)
    return add(findings, Level::kNote, "TPM2TOOLS_TCTI is not set: tpm2-tools choose a TCTI by themselves; " + remedy);
  const std::string is = fmt::format("TPM2TOOLS_TCTI is \"{}\"", *around.tcti);
  const auto route = route_of(*around.tcti, around.default_socket);
  if (!route) return add(findings, Level::kNote, is + ": tpm2-tools do not use tpmspaced; " + remedy);
  if (!route->program.empty() && !around.can_be_run(route->program)) {
    const bool is_path = route->program.find('/') != std::string::npos;
    return add(findings, Level::kProblem,
               fmt::format("{}, and {} {}; {}", is, route->program,
                           is_path ? "cannot be executed" : "is not in PATH, so tpm2-tools cannot start it", remedy));
  }
  if (!same_socket(route->socket, around.socket))
    return add(findings, Level::kNote,
               fmt::format("{}: tpm2-tools use {}, not {}, which is examined here; {}", is, route->socket,
                           around.socket, remedy));
  add(findings, Level::kOk, is);
}

void judge_status(const proto::Status& status, Findings& findings) {
  if (status.tpm_lost) {
    add(findings, Level::kProblem,
        fmt::format("the TPM ({}) no longer answers; {}", status.tpm_backend, remedy_for_lost(status.tpm_backend)));
  } else {
    add(findings, Level::kOk,
        fmt::format("the TPM: {}, {} {} {}", status.tpm_backend, status.tpm_manufacturer, status.tpm_vendor,
                    status.tpm_firmware));
  }
  judge_other_chips(status, findings);
  if (status.tpm_resets != 0)
    add(findings, Level::kNote,
        fmt::format("the TPM was reset, restarted or resumed {} while tpmspaced served it",
                    counted(status.tpm_resets, "time")));
  if (status.server_own_only)
    judge_own_part(status, findings);
  else
    judge_all_spaces(status, findings);
  if (status.current_command != 0)
    add(findings, Level::kNote,
        fmt::format("the TPM has been executing {} for {}", command_name(status.current_command),
                    duration_text(status.current_time)));
}

void judge_lockout(const std::map<std::uint32_t, std::uint32_t>& properties, Findings& findings) {
  const auto value = [&](std::uint32_t name) {
    const auto at = properties.find(name);
    return at == properties.end() ? 0 : at->second;
  };
  const auto failures = value(property::kLockoutCounter);
  const auto limit = value(property::kMaxAuthFail);
  const auto interval = value(property::kLockoutInterval);
  const std::string counter = fmt::format("{} of {} authorization failures are counted", failures, limit);
  if ((value(property::kPermanent) & kInLockout) != 0) {
    add(findings, Level::kProblem,
        fmt::format("the TPM is locked out: {}; the TPM forgives one failure every {} s; to end the lockout now, use "
                    "tpm2_dictionarylockout --clear-lockout with the lockout authorization",
                    counter, interval));
  } else if (failures != 0) {
    add(findings, Level::kNote, fmt::format("{}; the TPM forgives one failure every {} s", counter, interval));
  } else {
    add(findings, Level::kOk,
        fmt::format("{}; recovery of the lockout authorization takes {} s", counter,
                    value(property::kLockoutRecovery)));
  }
}

std::string findings_text(const Findings& findings) {
  std::string out;
  for (const Finding& finding : findings)
    out += fmt::format("{:<8} {}\n", kLevelNames[static_cast<std::size_t>(finding.level)], finding.text);
  return out;
}

std::string findings_json(const Findings& findings) {
  std::string rows;
  for (const Finding& finding : findings)
    rows += fmt::format("{}    {{\"level\": \"{}\", \"text\": {}}}", rows.empty() ? "\n" : ",\n",
                        kLevelNames[static_cast<std::size_t>(finding.level)], proto::json_string(finding.text));
  return fmt::format("{{\n  \"ok\": {},\n  \"findings\": [{}]\n}}\n", !has_problem(findings), rows);
}

int examine(const std::string& socket, const std::string& root, bool json) {
  Findings findings;
  const pid_t server = judge_manager(socket, findings);
  judge_machine(look_at_machine(root), server, findings);
  const LibraryPlaces library = find_library();
  const Surroundings around = surroundings(socket, library);
  judge_library(library, around, findings);
  judge_tcti(around, findings);
  const bool printed = print(json ? findings_json(findings) : findings_text(findings));
  return printed && !has_problem(findings) ? kExitOk : kExitFailure;
}

}  // namespace tpmspace::tool
