// Parsers of /proc texts: of a process, of its cgroups, of its user namespace.
//
// Idea: pure functions over texts read by the caller, so that tests can try every odd text. The process under question
// chooses some bytes of the texts (the name of a program, of a file, of a cgroup below its own): these bytes are kept
// unchanged and never parsed as part of the surrounding text.
// Threads: functions of their arguments. Units: clock ticks of sysconf(_SC_CLK_TCK), since boot.
// Limits: a path is shorter than PATH_MAX, a label at most 4096 bytes; the reader limits the length of a text. Errors:
// nullopt: the text lacks the fact, or has another format.
// Source: proc(5), cgroups(7), cgroup_namespaces(7).
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tpmspace::peer {

// /proc/PID/stat. The program's name is in parentheses and may have any bytes, even parentheses.
struct ProcessStat {
  pid_t pid = 0;
  std::uint64_t ticks = 0;  // start time
  bool is_exiting = false;  // the main thread is exiting: some other fields of the text are no longer valid

  [[nodiscard]] bool is_same_process(const ProcessStat& other) const {
    return pid == other.pid && ticks == other.ticks;
  }
  bool operator==(const ProcessStat&) const = default;
};
[[nodiscard]] std::optional<ProcessStat> parse_stat(std::string_view text);

// The effective ids in /proc/PID/status. The text may end after the ids.
struct EffectiveIds {
  uid_t uid = static_cast<uid_t>(-1);
  gid_t gid = static_cast<gid_t>(-1);
  bool operator==(const EffectiveIds&) const = default;
};
[[nodiscard]] std::optional<EffectiveIds> parse_status(std::string_view text);

// The effective capabilities in /proc/PID/status, a bit for each.
[[nodiscard]] std::optional<std::uint64_t> parse_capabilities(std::string_view text);

// A line of /proc/PID/cgroup: the path of the process in one hierarchy.
struct CgroupPath {
  std::string hierarchy = {};  // "" is cgroup v2, "name=systemd" systemd's own of v1, "cpu,cpuacct" another hierarchy
                               // of v1
  std::string path = {};       // "/system.slice/nginx.service"; "/../x" leads out of our cgroup namespace
  bool operator==(const CgroupPath&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};
// Empty: the machine has no hierarchy. Nullopt also for a repeated hierarchy, which no kernel writes.
[[nodiscard]] std::optional<std::vector<CgroupPath>> parse_cgroups(std::string_view text);

// /proc/self/uid_map: every existing uid has a number in our user namespace.
[[nodiscard]] bool is_whole_uid_map(std::string_view text);

// The result of readlink on /proc/PID/exe. A deleted file has no path.
[[nodiscard]] std::optional<std::string> parse_executable(std::string_view text);

// The value of SO_PEERSEC, with or without a final NUL.
[[nodiscard]] std::optional<std::string> parse_label(std::string_view text);

}  // namespace tpmspace::peer
