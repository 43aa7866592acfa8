// The manager's own time for a command, without a TPM and without clients' sockets, and for identifying a client:
// Google Benchmark.
//
// Threads: one. Units: nanoseconds.
#pragma once

#include <string>
#include <vector>

namespace tpmspace::bench {

struct MicroRow {
  std::string what;
  double nanoseconds = 0;
};

// Throws std::runtime_error if a figure could not be measured.
[[nodiscard]] std::vector<MicroRow> measure_micro();

}  // namespace tpmspace::bench
