// `tpmspace door`: the sockets by which clients come in; one more, or one less, until tpmspaced ends.
//
// Threads: one. Units: connections. Errors: a sentence on stderr, exit code 1; 2 for what is no order.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "proto/doors.h"
#include "tool/manager_place.h"

namespace tpmspace::tool {

struct DoorOptions {
  enum class What : std::uint8_t { kList, kAdd, kRemove };
  What what = What::kList;
  ManagerPlace manager;
  bool json = false;
  // Of the door.
  std::string name, path, owner, group, profile, chip;
  std::string mode = {};  // empty: proto::usual_mode
  int locality = -1;      // -1: as its profile says
  std::uint32_t connections = 0;
  bool separate_users = false;
};

[[nodiscard]] std::string doors_text(const std::vector<proto::DoorEntry>& doors);
// One array, one line a door.
[[nodiscard]] std::string doors_json(const std::vector<proto::DoorEntry>& doors);

// What to export so that programs use the listener at that path: one line.
[[nodiscard]] std::string how_to_use(const std::string& path);

[[nodiscard]] int manage_doors(const DoorOptions& options);
// `tpmspace policy reload`.
[[nodiscard]] int reload_policy(const ManagerPlace& manager);

}  // namespace tpmspace::tool
