#include "tool/doctor.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "client/connection.h"
#include "tool/capabilities.h"
#include "tool/exit_code.h"
#include "tool/installation.h"
#include "tool/status.h"

namespace tpmspace::tool {
namespace {

using Level = Finding::Level;

constexpr int kTimeoutMs = 10'000;
constexpr mode_t kOthers = 006;  // read or write
constexpr mode_t kGroup = 060;

void add(Findings& findings, Level level, std::string text) {
  findings.push_back({level, std::move(text)});
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
        fmt::format("{} does not tell its version{}; it is probably a TPM 1.2", chip.name, what));
  }
}

void judge_access(const Device& device, Findings& findings) {
  const std::string who =
      fmt::format("{} has mode {:04o}, owner {}, group {}", device.path, device.mode, device.owner, device.group);
  if ((device.mode & kOthers) != 0) {
    add(findings, Level::kProblem,
        fmt::format("{}: everybody can use the TPM beside tpmspaced; chmod 0660 {}, and look for the udev rule that "
                    "opened it",
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
              ": tpmspaced cannot have it meanwhile; systemctl disable --now tpm2-abrmd, or let its clients use it on");
    } else if (raw) {
      add(findings, Level::kProblem,
          who + ": nobody else can open it meanwhile; end that program, or let it use tpmspaced (space:)");
    } else {
      add(findings, Level::kNote, who + ", beside tpmspaced; space: would be the shared way");
    }
  }
}

// Who may connect, from the socket's mode and owner.
void judge_socket(const std::string& path, Findings& findings) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0 || !S_ISSOCK(info.st_mode)) return;
  const std::string owner = user_name(info.st_uid);
  const std::string group = group_name(info.st_gid);
  const std::string who =
      fmt::format("{} has mode {:04o}, owner {}, group {}", path, info.st_mode & 07777, owner, group);
  if ((info.st_mode & 002) != 0) {
    add(findings, Level::kNote, who + ": everybody who reaches its folder may connect");
  } else if ((info.st_mode & 020) != 0) {
    add(findings, Level::kOk, fmt::format("{}: {} and members of {} may connect", who, owner, group));
  } else {
    add(findings, Level::kOk, fmt::format("{}: {} alone may connect", who, owner));
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

void judge_contents(client::Connection& connection, Findings& findings) {
  constexpr std::pair<HandleRange, const char*> kLists[] = {
      {HandleRange::kPersistent, "persistent objects"},
      {HandleRange::kNvIndex, "NV indices"},
      {HandleRange::kTransient, "transient objects that this connection sees"},
      {HandleRange::kLoadedSession, "loaded sessions that this connection sees"},
      {HandleRange::kSavedSession, "saved sessions that this connection sees"},
  };
  for (const auto& [range, name] : kLists) {
    const auto list = handles(connection, range);
    if (list) {
      add(findings, Level::kOk, fmt::format("{}: {}", name, listed(*list)));
    } else {
      add(findings, Level::kProblem, fmt::format("the TPM does not tell its {}; see the log of tpmspaced", name));
    }
  }
  if (const auto properties = variable_properties(connection)) {
    judge_lockout(*properties, findings);
  } else {
    add(findings, Level::kProblem, "the TPM does not tell its properties; see the log of tpmspaced");
  }
}

// The pid of the tpmspaced that serves `socket`; 0 if none does.
pid_t judge_manager(const std::string& socket, Findings& findings) {
  auto connection = client::Connection::open(socket);
  if (!connection) {
    add(findings, Level::kProblem, connection.error().what);
    judge_socket(socket, findings);
    return 0;
  }
  const auto hello = connection->hello(kTimeoutMs);
  if (!hello) {
    add(findings, Level::kProblem, hello.error().what);
    return 0;
  }
  add(findings, Level::kOk, fmt::format("{} (pid {}) serves {}", hello->server, hello->pid, socket));
  judge_socket(socket, findings);
  const auto status = connection->status(kTimeoutMs);
  if (!status) {
    add(findings, Level::kProblem, status.error().what);
    return peer_pid(*connection);
  }
  judge_status(*status, findings);
  if (!status->tpm_lost) judge_contents(*connection, findings);
  return peer_pid(*connection);
}

void judge_library(const LibraryPlaces& library, Findings& findings) {
  if (!library.by_itself.empty()) {
    add(findings, Level::kOk,
        fmt::format("TSS programs can load {} (\"space:\") from {}", kLibrary, library.by_itself));
  } else if (!library.beside.empty()) {
    add(findings, Level::kNote,
        fmt::format("{} is at {}, where programs do not look by themselves; set LD_LIBRARY_PATH (`tpmspace run` does), "
                    "or install it",
                    kLibrary, library.beside));
  } else {
    add(findings, Level::kProblem,
        fmt::format("{} cannot be loaded, so TSS programs cannot use \"space:\"; install it, or set "
                    "TPM2TOOLS_TCTI=\"cmd:tpmspace connect\"",
                    kLibrary));
  }
}

void judge_environment(Findings& findings) {
  const char* tcti = std::getenv("TPM2TOOLS_TCTI");
  if (tcti == nullptr) {
    add(findings, Level::kNote,
        "TPM2TOOLS_TCTI is not set: tpm2-tools choose for themselves; export TPM2TOOLS_TCTI=space:");
  } else if (std::string_view(tcti).find("space") == std::string_view::npos) {
    add(findings, Level::kNote,
        fmt::format("TPM2TOOLS_TCTI is \"{}\": tpm2-tools do not use tpmspaced; export TPM2TOOLS_TCTI=space:", tcti));
  } else {
    add(findings, Level::kOk, fmt::format("TPM2TOOLS_TCTI is \"{}\"", tcti));
  }
}

}  // namespace

void judge_machine(const Machine& machine, pid_t server, Findings& findings) {
  for (const Chip& chip : machine.chips) judge_chip(chip, findings);
  if (machine.chips.empty() && machine.raw.empty()) {
    if (server != 0)
      add(findings, Level::kOk, "this machine shows no TPM of its own, and needs none for what tpmspaced serves");
    else
      add(findings, Level::kNote,
          "this machine shows no TPM; `tpmspaced --tpm embedded` and `tpmspace run -- CMD` need none");
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
        "not all processes can be looked into, so others may have the TPM open; run doctor as root");
  for (const pid_t pid : machine.abrmd)
    add(findings, Level::kNote,
        fmt::format("tpm2-abrmd runs (pid {}); its clients and those of tpmspaced cannot share one TPM", pid));
}

void judge_status(const proto::Status& status, Findings& findings) {
  if (status.tpm_lost) {
    add(findings, Level::kProblem,
        fmt::format("the TPM ({}) does not answer any more; restart tpmspaced, and the machine if that does not help",
                    status.tpm_backend));
  } else {
    add(findings, Level::kOk,
        fmt::format("its TPM: {}, {} {} {}", status.tpm_backend, status.tpm_manufacturer, status.tpm_vendor,
                    status.tpm_firmware));
  }
  if (status.tpm_resets != 0)
    add(findings, Level::kNote,
        fmt::format("the TPM was reset {} behind tpmspaced's back", counted(status.tpm_resets, "time")));
  add(findings, Level::kOk,
      fmt::format(
          "all its spaces together: {} ({} in {}), {} ({} loaded, {} saved by clients; the TPM knows {} at most)",
          counted(status.spaces_objects, "object"), status.spaces_objects_loaded,
          counted(status.chip_object_slots, "slot"), counted(status.spaces_sessions, "session"),
          status.spaces_sessions_loaded, status.spaces_sessions_client_saved, status.chip_active_sessions));
  if (status.spaces_sessions >= status.chip_active_sessions && status.chip_active_sessions != 0)
    add(findings, Level::kProblem,
        fmt::format("all {} active sessions of the chip are taken ({} of them saved by clients), so nobody can start "
                    "another one; end the programs that hold them, let those that leave sessions in files flush them "
                    "(tpm2_flushcontext), or lower limits.sessions and limits.client_saved_sessions in "
                    "/etc/tpmspace/tpmspace.toml",
                    status.chip_active_sessions, status.spaces_sessions_client_saved));
  if (status.connections_now >= status.limits_connections && status.limits_connections != 0)
    add(findings, Level::kProblem,
        fmt::format(
            "all {} connections are taken; raise the limit in /etc/tpmspace/tpmspace.toml, or look who holds them",
            status.limits_connections));
  if (status.current_command != 0)
    add(findings, Level::kNote,
        fmt::format("{} has been at the TPM for {}", command_name(status.current_command),
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
        fmt::format("the TPM is locked out: {}; one is forgiven every {} s, or use tpm2_dictionarylockout "
                    "--clear-lockout with the lockout authorization",
                    counter, interval));
  } else if (failures != 0) {
    add(findings, Level::kNote, fmt::format("{}; one is forgiven every {} s", counter, interval));
  } else {
    add(findings, Level::kOk,
        fmt::format("{}; recovery of the lockout authorization takes {} s", counter,
                    value(property::kLockoutRecovery)));
  }
}

std::string findings_text(const Findings& findings) {
  constexpr const char* kNames[] = {"ok", "note", "problem"};
  std::string out;
  for (const Finding& finding : findings)
    out += fmt::format("{:<8} {}\n", kNames[static_cast<std::size_t>(finding.level)], finding.text);
  return out;
}

int examine(const std::string& socket, const std::string& root) {
  Findings findings;
  const pid_t server = judge_manager(socket, findings);
  judge_machine(look_at_machine(root), server, findings);
  judge_library(find_library(), findings);
  judge_environment(findings);
  const bool printed = print(findings_text(findings));
  const bool problem =
      std::any_of(findings.begin(), findings.end(), [](const Finding& f) { return f.level == Level::kProblem; });
  return printed && !problem ? kExitOk : kExitFailure;
}

}  // namespace tpmspace::tool
