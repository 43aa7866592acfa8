#include "tool/machine.h"

#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>

namespace tpmspace::tool {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> out;
  std::error_code failed;
  for (fs::directory_iterator at(folder, failed), end; !failed && at != end; at.increment(failed))
    out.push_back(at->path().filename().string());
  std::sort(out.begin(), out.end());
  return out;
}

bool all_digits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

int number(std::string_view text) {
  int value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::vector<Chip> chips_in(const std::string& root) {
  std::vector<Chip> out;
  const std::string folder = root + "/sys/class/tpm";
  for (const auto& name : names_in(folder)) {
    const fs::path chip = fs::path(folder) / name;
    out.push_back({name, number(first_line(chip / "tpm_version_major")), first_line(chip / "device/description")});
  }
  return out;
}

std::vector<Device> devices_in(const std::string& root, std::string_view prefix) {
  std::vector<Device> out;
  const fs::path folder = root + "/dev";
  for (const auto& name : names_in(folder)) {
    if (!name.starts_with(prefix) || !all_digits(std::string_view(name).substr(prefix.size()))) continue;
    struct stat info {};
    if (stat((folder / name).c_str(), &info) != 0) continue;
    out.push_back({"/dev/" + name, info.st_mode & 07777, user_name(info.st_uid), group_name(info.st_gid), {}});
  }
  return out;
}

void add_holder(std::vector<Device>& devices, const std::string& target, const Holder& holder) {
  for (auto& device : devices) {
    const bool known = std::any_of(device.holders.begin(), device.holders.end(),
                                   [&](const Holder& other) { return other.pid == holder.pid; });
    if (device.path == target && !known) device.holders.push_back(holder);
  }
}

void look_at_process(const std::string& root, const std::string& pid, Machine& machine) {
  const std::string folder = root + "/proc/" + pid;
  const Holder process{number(pid), first_line(folder + "/comm")};
  if (process.program == "tpm2-abrmd") machine.abrmd.push_back(process.pid);
  std::error_code failed;
  for (fs::directory_iterator at(folder + "/fd", failed), end; !failed && at != end; at.increment(failed)) {
    std::error_code gone;
    const std::string target = fs::read_symlink(at->path(), gone).string();
    if (gone) continue;
    add_holder(machine.raw, target, process);
    add_holder(machine.managed, target, process);
  }
  if (failed == std::errc::permission_denied) machine.processes_hidden = true;
}

}  // namespace

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::string user_name(uid_t uid) {
  const passwd* entry = getpwuid(uid);  // thread-safe: the program has one thread
  return entry != nullptr ? entry->pw_name : std::to_string(uid);
}

std::string group_name(gid_t gid) {
  const group* entry = getgrgid(gid);
  return entry != nullptr ? entry->gr_name : std::to_string(gid);
}

Machine look_at_machine(const std::string& root) {
  Machine machine;
  machine.chips = chips_in(root);
  machine.raw = devices_in(root, "tpm");
  machine.managed = devices_in(root, "tpmrm");
  for (const auto& name : names_in(root + "/proc"))
    if (all_digits(name)) look_at_process(root, name, machine);
  return machine;
}

}  // namespace tpmspace::tool
