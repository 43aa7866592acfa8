// What the texts of /proc say: of a process, of its cgroups, of its user namespace.
//
// Idea: pure functions over texts that somebody else read, so that every odd one can be tried. Some octets in them are
// chosen by whoever is asked about (the name of a program, of a file, of a cgroup below one that was given to him):
// they are taken as they are and never as part of the text around them.
// Threads: functions of their arguments. Units: clock ticks of sysconf(_SC_CLK_TCK), since boot.
// Limits: a path is shorter than PATH_MAX, a label at most 4096 octets; how long a text may be is the reader's affair.
// Errors: nullopt: the text does not say it, or is not such a text.
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

// /proc/PID/stat. The name of the program stands in it in parentheses and may have any bytes, parentheses too.
struct ProcessStat {
  pid_t pid = 0;
  std::uint64_t ticks = 0;  // when it started
  bool is_exiting = false;  // its main thread: some of what else is said of it does not hold any more

  [[nodiscard]] bool is_same_process(const ProcessStat& other) const {
    return pid == other.pid && ticks == other.ticks;
  }
  bool operator==(const ProcessStat&) const = default;
};
[[nodiscard]] std::optional<ProcessStat> parse_stat(std::string_view text);

// The effective ids in /proc/PID/status. What stands behind them in the text need not be there.
struct EffectiveIds {
  uid_t uid = static_cast<uid_t>(-1);
  gid_t gid = static_cast<gid_t>(-1);
  bool operator==(const EffectiveIds&) const = default;
};
[[nodiscard]] std::optional<EffectiveIds> parse_status(std::string_view text);

// The effective capabilities there, a bit for each.
[[nodiscard]] std::optional<std::uint64_t> parse_capabilities(std::string_view text);

// A line of /proc/PID/cgroup: where the process is in one hierarchy.
struct CgroupPath {
  std::string hierarchy = {};  // "" is cgroup v2, "name=systemd" systemd's own of v1, "cpu,cpuacct" another one of v1
  std::string path = {};       // "/system.slice/nginx.service"; "/../x" leads out of our cgroup namespace
  bool operator==(const CgroupPath&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};
// None: the machine has no hierarchy. Nullopt also for one that stands there twice, which no kernel writes.
[[nodiscard]] std::optional<std::vector<CgroupPath>> parse_cgroups(std::string_view text);

// /proc/self/uid_map: every uid there is is one in our user namespace, too.
[[nodiscard]] bool is_whole_uid_map(std::string_view text);

// What readlink says of /proc/PID/exe. A file that is deleted has no path.
[[nodiscard]] std::optional<std::string> parse_executable(std::string_view text);

// What SO_PEERSEC says, with or without a NUL behind it.
[[nodiscard]] std::optional<std::string> parse_label(std::string_view text);

}  // namespace tpmspace::peer
