// What the manager itself takes for a command, without a TPM and without sockets: Google Benchmark.
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

[[nodiscard]] std::vector<MicroRow> measure_micro();

}  // namespace tpmspace::bench
