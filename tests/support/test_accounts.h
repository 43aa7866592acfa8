// Users and groups that every machine has in these tests.
#pragma once

#include <map>
#include <string>

#include "config/number_list.h"

namespace tpmspace::config {

inline Accounts test_accounts() {
  const auto among = [](std::map<std::string, std::uint32_t> known) {
    return [known = std::move(known)](const std::string& name) {
      const auto found = known.find(name);
      return found == known.end() ? std::nullopt : std::optional(found->second);
    };
  };
  return {among({{"root", 0}, {"www-data", 33}, {"alice", 1000}, {"keeper", 1001}}),
          among({{"www-data", 33}, {"tss", 114}, {"measured", 115}, {"nobodys", UINT32_MAX}})};
}

}  // namespace tpmspace::config
