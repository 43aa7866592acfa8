// The duration of commands, relative to a client that has the TPM for itself.
//
// Idea: one visit to each peer in turn, many times over, so that other work of the machine affects all alike. Within a
// visit a figure is the median of many; a ratio is taken within one turn, and the median of the ratios counts. Where
// the scheduler puts the threads of a manager changes a short answer's time several times over: waking a thread on
// another CPU costs more than all the work. So all is measured twice: with everything on one CPU, where only the work
// counts, and as the scheduler likes it. Threads: one, and a thread for each connection where many work at a time.
// Errors: sentences.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "bench/lab.h"

namespace tpmspace::bench {

// Of one peer.
struct Measured {
  double value = 0;  // median of the visits, in the row's unit
  double ratio = 1;  // to the bare TPM in the same turn, median
};
struct RatioRow {
  std::string what, unit;
  std::array<std::optional<Measured>, 3> of;  // by Peer
};

enum class Placement : std::uint8_t { kOneCpu, kFree };
[[nodiscard]] tl::expected<std::vector<RatioRow>, std::string> measure_times(Lab& lab, Placement placement,
                                                                             unsigned turns);

}  // namespace tpmspace::bench
