// The texts that a peer is known by (peer/proc_text.h, peer/cgroup_names.h): any bytes are answered, and what is
// answered says the same when it is written down again, stands in the text, and can be used as a C string.
// The whole input is each of the texts.

#include <algorithm>
#include <climits>

#include "fuzz.h"
#include "guard/principal.h"
#include "peer/cgroup_names.h"
#include "peer/proc_text.h"

namespace tpmspace::fuzz {
namespace {

void check_path(const std::string& path) {
  require(path.starts_with('/') && path.size() < PATH_MAX, "a path is absolute and not too long");
  require(path.find('\0') == std::string::npos, "a path can be used as a C string");
}

void check_process(const std::string& text) {
  if (const auto start = peer::parse_stat(text)) {
    require(start->pid > 0, "a process has a number");
    std::string again = std::to_string(start->pid) + " () S";
    for (int field = 4; field < 22; ++field) again += field == 9 && start->is_exiting ? " 4" : " 0";
    require(peer::parse_stat(again + " " + std::to_string(start->ticks) + " 0\n") == start, "the same start");
  }
  if (const auto ids = peer::parse_status(text)) {
    const std::string uid = std::to_string(ids->uid), gid = std::to_string(ids->gid);
    require(peer::parse_status("Uid:\t0\t" + uid + "\t0\t0\nGid:\t0\t" + gid + "\t0\t0\n") == ids, "the same ids");
  }
}

void check_names(const std::string& path) {
  const auto names = peer::names_in_cgroup(path);
  for (const auto& name : {names.unit, names.container})
    require(!name || path.find(*name) != std::string::npos, "a name stands in the path");
  require(!names.unit || names.unit->find('/') == std::string::npos, "a unit is one cgroup");
  require(!names.container || names.container->size() == 64, "an id is whole");
  require(!names.pod || names.pod->size() == 32 || names.pod->size() == 36, "likewise");
  if (names.unit) require(peer::names_in_cgroup(path + "/below") == names, "what is below a unit is in it");
}

void check_cgroups(const std::string& text) {
  check_names(text);
  const auto all = peer::parse_cgroups(text);
  if (!all) return;
  std::string again;
  for (const auto& [hierarchy, path] : *all) {
    check_path(path);
    require(text.find(":" + hierarchy + ":" + path + "\n") != std::string::npos, "the path stands in the text");
    again += "1:" + hierarchy + ":" + path + "\n";
    check_names(path);
  }
  require(peer::parse_cgroups(again) == all, "the same paths");
  const auto facts = peer::facts_of(*all, {});
  require(facts.is_contained != guard::Match::kMaybe, "it is in a container or in none");
  require(!facts.pod.value() || facts.is_contained == guard::Match::kYes, "who is in a pod is in a container");
  require(peer::facts_of(*all, *all).is_contained == guard::Match::kNo || text.find("/..") != std::string::npos,
          "where the daemon is everybody is native");
}

void check_link_and_label(const std::string& text) {
  if (const auto path = peer::parse_executable(text)) {
    check_path(*path);
    require(*path == text, "a path is as it was read");
  }
  if (const auto label = peer::parse_label(text)) {
    require(text.starts_with(*label) && !label->empty() && label->size() <= guard::kMaxLabel, "a label stands there");
    require(peer::parse_label(*label) == label, "the same label");
  }
}

}  // namespace
}  // namespace tpmspace::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tpmspace;
  std::string text;
  for (const auto byte : std::span(data, size)) text.push_back(static_cast<char>(byte));
  fuzz::check_process(text);
  fuzz::check_cgroups(text);
  fuzz::check_link_and_label(text);
  return 0;
}
