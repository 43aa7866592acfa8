// TPM commands for each command of a client, counted at the TPM.
//
// Idea: a workload is set up, gone through once to warm up, and then counted over several rounds; what the client sends
// is known, what reaches the TPM is counted by a relay in front of it. On a bare TPM the two must be equal, which
// proves that we know what the client sends. Threads: one. Errors: sentences.
#pragma once

#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "bench/lab.h"

namespace tpmspace::bench {

struct CountRow {
  std::string workload;
  std::optional<double> bare, tpmspace, abrmd;  // none: cannot be had
  std::string linux_elsewhere;                  // /dev/tpmrm0, measured at another time and place; "" unknown
};

[[nodiscard]] tl::expected<std::vector<CountRow>, std::string> count_commands(Lab& lab);

}  // namespace tpmspace::bench
