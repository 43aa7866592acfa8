// A user who connects and closes in a loop, and what another user's next connection takes meanwhile.
//
// Idea: the victim connects, runs GetRandom and closes, some hundred times: first alone, then beside the flood, then
// alone again. The flood is another process, and another user if we are root. The control is a loop of the same process
// that makes as many system calls and never connects: what a busy CPU costs anyway.
// Threads: one. Errors: sentences.
#pragma once

#include <string>
#include <tl/expected.hpp>

#include "bench/lab.h"

namespace tpmspace::bench {

// Microseconds, medians.
struct ConnectFlood {
  double idle = 0, control = 0, flooded = 0;
};
[[nodiscard]] tl::expected<ConnectFlood, std::string> measure_connect_flood(Lab& lab, unsigned connections);

}  // namespace tpmspace::bench
