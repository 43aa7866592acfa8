// `tpmspace clients`: who is connected, since when, and what they use the TPM for. `tpmspace whoami`: what this user
// may do, why, and why their last command was refused.
//
// Idea: the manager knows the clients; the name of a program that it may not look at (its user lacks CAP_SYS_PTRACE) is
// looked up here, where root, or the program's own user, may.
// Threads: one. Units: nanoseconds. Errors: a sentence on stderr, exit code 1.
// Limits: at most kMostShown clients are asked for; the others are counted.
#pragma once

#include <functional>
#include <string>

#include "proto/clients.h"
#include "tool/manager_place.h"

namespace tpmspace::tool {

inline constexpr std::size_t kMostShown = 10'000;

// The name of a program that the manager does not know: of the process, which is of this user and must have started at
// least so long ago. Empty: it is gone, or cannot be looked at.
using ProgramOf = std::function<std::string(std::uint32_t pid, std::uint32_t uid, std::uint64_t age)>;
[[nodiscard]] std::string program_of(std::uint32_t pid, std::uint32_t uid, std::uint64_t age);

// Each client is a line of numbers, and indented lines of words behind it. Fits 80 columns, but for long names.
[[nodiscard]] std::string clients_text(const proto::Clients& clients, const ProgramOf& program);
[[nodiscard]] std::string clients_json(const proto::Clients& clients, const ProgramOf& program);
[[nodiscard]] std::string report_text(const proto::WhoReport& report);
[[nodiscard]] std::string report_json(const proto::WhoReport& report);

[[nodiscard]] int show_clients(const ManagerPlace& manager, bool json);
[[nodiscard]] int show_whoami(const ManagerPlace& manager, bool json);
// `policy explain --as pid=N [COMMAND HANDLE...]`. Exit codes as policy.h has them.
[[nodiscard]] int explain_process(const ManagerPlace& manager, std::uint32_t pid,
                                  const std::vector<std::string>& words);

}  // namespace tpmspace::tool
