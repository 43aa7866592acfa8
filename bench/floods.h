// The effect of one user's flood on another user, beside a control.
//
// Idea: a flood runs twice on sites of the same make, once as the control: with a crowd that sends harmless requests,
// or without a crowd. The times that another user waits for one thing after the other are measured; the ratio of the
// 90th percentiles counts, since a flood shows in the slow times. To add one: a `Flood` in a function that `all_floods`
// in floods.cc names.
// Threads: one, and a process for each user: only root can act as other users. Errors: sentences.
#pragma once

#include <functional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "bench/flood_kit.h"
#include "bench/lab.h"

namespace tpmspace::bench {

struct Flood {
  std::string what;     // the measured work, and the flood
  std::string control;  // the control
  std::string config;   // tpmspaced's configuration
  // Milliseconds of the measured work.
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
