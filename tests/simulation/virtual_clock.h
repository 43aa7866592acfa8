// Time that passes only on request: a model TPM adds what its commands would take, the world adds idle time.
// Threads: none; a simulation is one thread. Units: nanoseconds from a zero that means nothing.
#pragma once

#include <cstdint>

namespace tpmspace::simulation {

class VirtualClock {
 public:
  [[nodiscard]] std::uint64_t now() const { return now_; }
  void advance(std::uint64_t nanoseconds) { now_ += nanoseconds; }

 private:
  std::uint64_t now_ = 1'000'000'000;
};

}  // namespace tpmspace::simulation
