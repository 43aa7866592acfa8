// One table with requests, cost and results; a column for each trial.
//
// Threads: values. Units: commands are counted, not estimated: by tpmspaced, or by the helper that takes turns.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "demo/crowd.h"

namespace tpmspace::demo {

// One workload on one TPM.
struct Trial {
  std::string name;  // "bare TPM"
  std::vector<Outcome> outcomes;
  std::uint64_t client_commands = 0;                  // = without_tpm + commands that went to the TPM
  std::uint64_t without_tpm = 0;                      // of the client commands: answered by tpmspace itself
  std::uint64_t added = 0;                            // TPM commands that no client sent: saving, loading, flushing
  std::uint64_t objects_left = 0, sessions_left = 0;  // in the TPM, when all clients had gone
  double seconds = 0;

  [[nodiscard]] std::uint64_t passed_on() const { return client_commands - without_tpm; }
  [[nodiscard]] std::uint64_t tpm_commands() const { return passed_on() + added; }
  [[nodiscard]] unsigned finished() const;
  [[nodiscard]] unsigned failures() const;  // clients that did not finish
  [[nodiscard]] unsigned wrong_answers() const;
};

[[nodiscard]] std::string table(const std::vector<Trial>& trials);
// How its clients failed: "21 clients at CreatePrimary: out of memory ... (0x00000902)", a line for each way.
[[nodiscard]] std::string how_it_failed(const Trial& trial);

}  // namespace tpmspace::demo
