// `tpmspace listener`: lists the sockets for clients; adds or removes a socket until tpmspaced ends.
//
// Threads: one. Units: connections. Errors: a sentence on stderr, exit code 1; 2 for an invalid order.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "proto/listener_messages.h"
#include "tool/manager_place.h"

namespace tpmspace::tool {

struct ListenerOptions {
  enum class What : std::uint8_t { kList, kAdd, kRemove };
  What what = What::kList;
  ManagerPlace manager;
  bool json = false;
  // Of the listener.
  std::string name, path, owner, group, profile, chip;
  std::string mode = {};  // empty: proto::usual_mode
  int locality = -1;      // -1: as its profile says
  std::uint32_t connections = 0;
  bool separate_users = false;
};

[[nodiscard]] std::string listeners_text(const std::vector<proto::ListenerEntry>& listeners);
// One array, one line a listener.
[[nodiscard]] std::string listeners_json(const std::vector<proto::ListenerEntry>& listeners);

// One line with the command to export, so that programs use the listener at that path.
[[nodiscard]] std::string how_to_use(const std::string& path);

[[nodiscard]] int manage_listeners(const ListenerOptions& options);
// `tpmspace policy reload`.
[[nodiscard]] int reload_policy(const ManagerPlace& manager);

}  // namespace tpmspace::tool
