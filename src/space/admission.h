// Whether one more session may be started: the Banker's algorithm over the chip's active sessions.
//
// Idea: each space claims the most sessions it needs at once to finish anything. A state is safe if some order exists
// in which every space that holds sessions reaches its claim and gives everything back; a session is admitted iff the
// state after it is safe. So two spaces that each hold one and need two more can never stop each other. A space that
// holds nothing stops nobody and does not count. What a space holds beyond its claim, and what nobody holds any more
// (client-saved, connection gone), is not counted on to come back.
// Greedy is exact here: finishing a space never makes less free, so the order by need decides. Spaces with the same
// need are one bar of a histogram; claims are small, so the histogram is. Threads: a value. Units: sessions. Source:
// Dijkstra, EWD 623 (the mathematics behind the banker's algorithm); DESIGN, "Sessions".
#pragma once

#include <cstdint>
#include <map>

namespace tpmspace::space {

class Bank {
 public:
  // `sessions`: the chip's active ones that are ours to give.
  explicit Bank(std::uint32_t sessions) : free_(sessions) {}

  // A space that holds some. Precondition: `held` > 0.
  void add_holder(std::uint32_t held, std::uint32_t claim);
  // Sessions that nobody will give back.
  void add_lost(std::uint32_t sessions);
  // So many of these are there again.
  void find(std::uint32_t sessions) { free_ += sessions; }

  // More is out than there is (a chip that shrank): negative.
  [[nodiscard]] std::int64_t free() const { return free_; }
  [[nodiscard]] bool is_safe() const;
  // Whether a space that holds `held` (already added, if not 0) may have one more.
  [[nodiscard]] bool admits(std::uint32_t held, std::uint32_t claim) const;

  bool operator==(const Bank&) const = default;

 private:
  struct Bar {
    std::uint32_t spaces = 0;
    std::int64_t returns = 0;  // what they give back when they have finished

    bool operator==(const Bar&) const = default;
  };
  void remove_holder(std::uint32_t held, std::uint32_t claim);

  std::int64_t free_;
  std::map<std::uint32_t, Bar> by_need_;
};

}  // namespace tpmspace::space
