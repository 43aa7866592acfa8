// Connected clients, found without looking at other users' clients: all of them, those of a user, those of a process.
//
// Idea: connection numbers only grow, so a page of clients begins behind the last number that the reader has seen.
// Threads: belongs to the event loop. Costs: logarithmic in the number of clients, linear in what is returned.
// Limits: one entry for each connection.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "books/owner.h"
#include "host/tpm_thread.h"

namespace tpmspace::daemon {

class ClientIndex {
 public:
  // One user of an owner: connections that gave rights away belong to it as well.
  struct User {
    space::OwnerId owner = {};
    std::uint64_t part = 0;
    auto operator<=>(const User&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
  };
  [[nodiscard]] static User user_of(const space::Holder& who) { return {who.owner, who.part.user}; }

  void add(host::ClientId client, const space::Holder& who, std::optional<std::int32_t> pid) {
    all_.insert(client);
    by_user_[user_of(who)].insert(client);
    if (pid) by_pid_[*pid].insert(client);
  }
  void remove(host::ClientId client, const space::Holder& who, std::optional<std::int32_t> pid) {
    all_.erase(client);
    erase(by_user_, user_of(who), client);
    if (pid) erase(by_pid_, *pid, client);
  }

  [[nodiscard]] std::size_t size() const { return all_.size(); }
  [[nodiscard]] const std::set<host::ClientId>& all() const { return all_; }
  [[nodiscard]] const std::set<host::ClientId>& of_user(const space::Holder& who) const {
    return found(by_user_, user_of(who));
  }
  [[nodiscard]] const std::set<host::ClientId>& of_process(std::int32_t pid) const { return found(by_pid_, pid); }

 private:
  template <typename Key>
  static void erase(std::map<Key, std::set<host::ClientId>>& map, const Key& key, host::ClientId client) {
    const auto at = map.find(key);
    if (at == map.end()) return;
    at->second.erase(client);
    if (at->second.empty()) map.erase(at);
  }
  template <typename Key>
  static const std::set<host::ClientId>& found(const std::map<Key, std::set<host::ClientId>>& map, const Key& key) {
    static const std::set<host::ClientId> kNone;
    const auto at = map.find(key);
    return at == map.end() ? kNone : at->second;
  }

  std::set<host::ClientId> all_;
  std::map<User, std::set<host::ClientId>> by_user_;         // none is empty
  std::map<std::int32_t, std::set<host::ClientId>> by_pid_;  // likewise
};

// A page: at most `most` of them, behind `after`.
[[nodiscard]] inline std::vector<host::ClientId> page_of(const std::set<host::ClientId>& clients, host::ClientId after,
                                                         std::size_t most) {
  std::vector<host::ClientId> out;
  for (auto at = clients.upper_bound(after); at != clients.end() && out.size() < most; ++at) out.push_back(*at);
  return out;
}

}  // namespace tpmspace::daemon
