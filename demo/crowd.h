// Many clients at a time: started, led from stage to stage together, and the outcome of each.
//
// Idea: all clients wait at the same stage until the last client has reached it (or has failed), then all continue at
// once, so that they really compete. The crowd waits for no client beyond its deadline.
// Threads: one. Errors: a client that fails is an outcome; a sentence if a client cannot even be started.
#pragma once

#include <cstdint>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "demo/kit/esys.h"
#include "demo/kit/process.h"

namespace tpmspace::demo {

struct Outcome {
  enum class How : std::uint8_t { kUnderWay, kDone, kFailed, kVanished };
  How how = How::kUnderWay;
  unsigned signatures = 0, quotes = 0, secrets = 0;  // right ones
  unsigned wrong = 0;                                // answers that were not right
  Failure failure;                                   // kFailed
};

class Crowd {
 public:
  // `log` gets the clients' standard error.
  [[nodiscard]] static tl::expected<Crowd, std::string> start(unsigned clients, const std::string& tcti,
                                                              unsigned rounds, const std::string& log,
                                                              Deadline deadline);

  // Until every client that still can waits at its next place.
  void gather();
  // Lets the clients go on from there; clients at the last stage end.
  void let_go();
  // Until all have ended; a client that does not end is killed. A client that was done but does not end well has
  // vanished.
  void see_off();

  [[nodiscard]] const std::vector<Outcome>& outcomes() const { return outcomes_; }

 private:
  explicit Crowd(Deadline deadline) : deadline_(deadline) {}
  [[nodiscard]] Outcome listen(Child& client) const;

  Deadline deadline_;
  std::vector<Child> clients_;
  std::vector<Outcome> outcomes_;  // of each client
};

}  // namespace tpmspace::demo
