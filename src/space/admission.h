// Decides whether one more session may be started: the Banker's algorithm over the chip's active sessions.
//
// Idea: each space claims the most sessions needed at once to finish any task. A state is safe if some order exists in
// which every space with sessions reaches its claim and gives all its sessions back; a session is admitted iff the
// state after the admission is safe. So two spaces with one session each, and a need of two more, can never block each
// other. A space without sessions blocks no other and does not count. The bank does not expect to get back sessions
// beyond a claim or sessions without a space (client-saved, connection closed).
// A greedy order is exact here: the end of a space never lowers the number of free sessions, so the order by need
// decides. Spaces with the same need form one bar of a histogram; claims are small, so the histogram is small.
// Threads: a value. Units: sessions.
// Source: Dijkstra, EWD 623 (the mathematics behind the banker's algorithm).
#pragma once

#include <cstdint>
#include <map>

namespace tpmspace::space {

class Bank {
 public:
  // `sessions`: the chip's active sessions that the bank can give.
  explicit Bank(std::uint32_t sessions) : free_(sessions) {}

  // Adds a space that holds sessions; no effect if it holds none.
  void add_holder(std::uint32_t held, std::uint32_t claim);
  // Adds sessions that the bank does not expect back.
  void add_lost(std::uint32_t sessions);
  // Adds free sessions that were missing before.
  void find(std::uint32_t sessions) { free_ += sessions; }

  // Negative: more sessions are given than the chip has (a chip that shrank).
  [[nodiscard]] std::int64_t free() const { return free_; }
  [[nodiscard]] bool is_safe() const;
  // Whether a space that holds `held` (already added, if not 0) may have one more.
  [[nodiscard]] bool admits(std::uint32_t held, std::uint32_t claim) const;

  bool operator==(const Bank&) const = default;

 private:
  struct Bar {
    std::uint32_t spaces = 0;
    std::int64_t returns = 0;  // the sessions given back by these spaces at the end

    bool operator==(const Bar&) const = default;
  };
  void remove_holder(std::uint32_t held, std::uint32_t claim);

  std::int64_t free_;
  std::map<std::uint32_t, Bar> by_need_;
};

}  // namespace tpmspace::space
