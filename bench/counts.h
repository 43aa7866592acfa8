// TPM commands for each command of a client, counted at the TPM.
//
// Idea: a workload is set up, run once to warm up, and then counted over several rounds. The number of the client's
// commands is known; a relay in front of the TPM counts the commands that reach the TPM. On a bare TPM the two numbers
// must be equal, which proves the known number. Threads: one. Errors: sentences.
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
