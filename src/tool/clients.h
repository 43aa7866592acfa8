// `tpmspace clients`: the connected clients, since when, and their use of the TPM. `tpmspace whoami`: the rights of
// this user, the reason, and why the last command was refused.
//
// Idea: the manager knows the clients. A program's name that the manager may not read (its user lacks CAP_SYS_PTRACE)
// is looked up here, which root, or the program's own user, may do.
// Threads: one. Units: nanoseconds. Errors: a sentence on stderr, exit code 1.
// Limits: at most kMostShown clients are requested; the others are counted.
#pragma once

#include <functional>
#include <string>

#include "proto/clients.h"
#include "tool/manager_place.h"

namespace tpmspace::tool {

inline constexpr std::size_t kMostShown = 10'000;

// The program's name for the manager: of a process of this user that started at least `age` ago. Empty: the process has
// ended or cannot be examined.
using ProgramOf = std::function<std::string(std::uint32_t pid, std::uint32_t uid, std::uint64_t age)>;
[[nodiscard]] std::string program_of(std::uint32_t pid, std::uint32_t uid, std::uint64_t age);

// Each client is a line of numbers, followed by indented lines of words. Fits 80 columns, except for long names.
[[nodiscard]] std::string clients_text(const proto::Clients& clients, const ProgramOf& program);
[[nodiscard]] std::string clients_json(const proto::Clients& clients, const ProgramOf& program);
[[nodiscard]] std::string report_text(const proto::WhoReport& report);
[[nodiscard]] std::string report_json(const proto::WhoReport& report);

[[nodiscard]] int show_clients(const ManagerPlace& manager, bool json);
[[nodiscard]] int show_whoami(const ManagerPlace& manager, bool json);
// `policy explain --as pid=N [COMMAND HANDLE...]`. Exit codes: see policy.h.
[[nodiscard]] int explain_process(const ManagerPlace& manager, std::uint32_t pid,
                                  const std::vector<std::string>& words);

}  // namespace tpmspace::tool
