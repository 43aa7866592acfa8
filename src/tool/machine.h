// The machine's TPMs and their users: /dev, /sys and /proc as values.
//
// Idea: reads below a given root directory, so that tests have machines of their own. No judgement.
// Threads: no state. Errors: unreadable entries are left out; `processes_hidden` tells whether many may be missing.
// Source: Linux, Documentation/ABI/stable/sysfs-class-tpm; proc(5).
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace tpmspace::tool {

// A process that has a device open.
struct Holder {
  pid_t pid = 0;
  std::string program;
};

struct Device {
  std::string path;  // "/dev/tpm0"
  mode_t mode = 0;   // permission bits
  std::string owner, group;
  std::vector<Holder> holders;
};

// An entry of /sys/class/tpm.
struct Chip {
  std::string name;         // "tpm0"
  int version = 0;          // 1, 2; 0: unknown
  std::string description;  // "TPM 2.0 Device"; may be empty
};

struct Machine {
  std::vector<Chip> chips;
  std::vector<Device> raw;        // /dev/tpm*
  std::vector<Device> managed;    // /dev/tpmrm*
  std::vector<pid_t> abrmd;       // processes named tpm2-abrmd
  bool processes_hidden = false;  // some process's descriptors could not be read
};

[[nodiscard]] Machine look_at_machine(const std::string& root);

// "root" for 0; the number for a user without a name.
[[nodiscard]] std::string user_name(uid_t uid);
[[nodiscard]] std::string group_name(gid_t gid);
// The first line of a file; empty for a missing file.
[[nodiscard]] std::string first_line(const std::string& path);

}  // namespace tpmspace::tool
