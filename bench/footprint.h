// The footprint of a manager: memory with one client and with many, and the time from its start to the first response.
//
// Threads: one. Units: as named. Errors: sentences.
#pragma once

#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "bench/lab.h"

namespace tpmspace::bench {

struct FootprintRow {
  std::string what, unit;
  std::optional<double> tpmspace, abrmd;
};

[[nodiscard]] tl::expected<std::vector<FootprintRow>, std::string> measure_footprint(Lab& lab, unsigned starts);

}  // namespace tpmspace::bench
