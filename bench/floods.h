// What one user's flood does to another user, beside a control.
//
// Idea: a flood is worked twice on sites of the same make, once as the control: the same crowd that asks for something
// harmless, or nobody. What is measured is how long another user waits for one thing after the other; what counts is
// the ratio of the slowest tenth's beginning (the 90th percentile), since a flood shows in the slow ones.
// To add one: a `Flood` in a function that `all_floods` in floods.cc names.
// Threads: one, and a process for each user: only root can be others. Errors: sentences.
#pragma once

#include <functional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "bench/flood_kit.h"
#include "bench/lab.h"

namespace tpmspace::bench {

struct Flood {
  std::string what;     // what is measured, and under what
  std::string control;  // what the control is
  std::string config;   // tpmspaced's configuration
  // Milliseconds of what was measured there.
  std::function<std::vector<double>(Scene& scene)> run;
};

struct FloodRow {
  std::string what, control;
  double control_ms = 0, flood_ms = 0;  // 90th percentiles
};

// More than this is a miss.
inline constexpr double kMostOfControl = 3;

// With a sentence on standard error for each row, since it takes minutes. `about`: only floods whose `what` contains
// it.
[[nodiscard]] tl::expected<std::vector<FloodRow>, std::string> measure_floods(Lab& lab, bool quick,
                                                                              const std::string& about = "");
[[nodiscard]] std::vector<std::string> missed(const std::vector<FloodRow>& rows);

// --- The floods; each file of them has a function here
[[nodiscard]] std::vector<Flood> session_floods();
[[nodiscard]] std::vector<Flood> room_floods();
[[nodiscard]] std::vector<Flood> connection_floods();

}  // namespace tpmspace::bench
