// The texts that a peer is known by (daemon/proc_text.h, daemon/cgroup_names.h): any octets are answered, and what is
// answered says the same when it is written down again, stands in the text, and can be used as a C string.
// The whole input is each of the texts.

#include <algorithm>
#include <climits>

#include "daemon/cgroup_names.h"
#include "daemon/proc_text.h"
#include "fuzz.h"

namespace tpmspace::fuzz {
namespace {

void check_path(const std::string& path) {
  require(path.starts_with('/') && path.size() < PATH_MAX, "a path is absolute and not too long");
  require(path.find('\0') == std::string::npos, "a path can be used as a C string");
}

void check_process(const std::string& text) {
  if (const auto start = daemon::parse_stat(text)) {
    require(start->pid > 0, "a process has a number");
    std::string again = std::to_string(start->pid) + " () S";
    for (int field = 4; field < 22; ++field) again += " 0";
    require(daemon::parse_stat(again + " " + std::to_string(start->ticks) + " 0\n") == start, "the same start");
  }
  if (const auto ids = daemon::parse_status(text)) {
    const std::string uid = std::to_string(ids->uid), gid = std::to_string(ids->gid);
    require(daemon::parse_status("Uid:\t0\t" + uid + "\t0\t0\nGid:\t0\t" + gid + "\t0\t0\n") == ids, "the same ids");
  }
}

void check_names(const std::string& path) {
  const auto names = daemon::names_in_cgroup(path);
  for (const auto& name : {names.unit, names.container})
    require(!name || path.find(*name) != std::string::npos, "a name stands in the path");
  require(!names.unit || names.unit->find('/') == std::string::npos, "a unit is one cgroup");
  require(!names.container || names.container->size() == 64, "an id is whole");
  require(!names.pod || names.pod->size() == 32 || names.pod->size() == 36, "likewise");
  if (names.unit) require(daemon::names_in_cgroup(path + "/below") == names, "what is below a unit is in it");
}

void check_cgroup(const std::string& text) {
  check_names(text);
  const auto path = daemon::parse_cgroup(text);
  if (!path) return;
  check_path(*path);
  require(text.find("0::" + *path + "\n") != std::string::npos, "the path stands in the text");
  require((*path + "/").find("/../") == std::string::npos, "the path leads nowhere else");
  require(daemon::parse_cgroup("1:x:/\n0::" + *path + "\n") == path, "the same path");
  check_names(*path);
}

void check_mounts(const std::string& text) {
  const auto mount = daemon::parse_mountinfo(text);
  if (!mount) return;
  check_path(mount->point);
  check_path(mount->root);
}

void check_link_and_label(const std::string& text) {
  if (const auto path = daemon::parse_executable(text)) {
    check_path(*path);
    require(*path == text, "a path is as it was read");
  }
  if (const auto label = daemon::parse_label(text)) {
    require(text.starts_with(*label) && !label->empty() && label->size() <= daemon::kMaxLabel, "a label stands there");
    require(daemon::parse_label(*label) == label, "the same label");
  }
}

}  // namespace
}  // namespace tpmspace::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tpmspace;
  std::string text;
  for (const auto octet : std::span(data, size)) text.push_back(static_cast<char>(octet));
  fuzz::check_process(text);
  fuzz::check_cgroup(text);
  fuzz::check_mounts(text);
  fuzz::check_link_and_label(text);
  return 0;
}
