// A counting relay: stands in front of a TPM's socket and counts the commands that pass.
//
// Idea: the count is taken at the TPM, outside of everything that is compared, and in the same way for all. Serves one
// connection at a time, as swtpm does. On its standard input it takes "count" and answers with the number so far; it
// ends with its input. In a process of its own. Threads: one.
#pragma once

#include <cstdint>
#include <string>
#include <tl/expected.hpp>

#include "demo/kit/process.h"
#include "demo/kit/scratch.h"

namespace tpmspace::bench {

// The relay's own process. The exit code.
int run_relay(const std::string& listen_at, const std::string& tpm);

// The handle on one.
class Relay {
 public:
  [[nodiscard]] static tl::expected<Relay, std::string> start(const std::string& listen_at, const std::string& tpm,
                                                              const std::string& log);
  // TPM commands so far, once no command has come for a little while: commands after a client's end count too.
  [[nodiscard]] std::uint64_t settled_count();

 private:
  explicit Relay(demo::Child child) : child_(std::move(child)) {}
  [[nodiscard]] std::uint64_t count();
  demo::Child child_;
};

}  // namespace tpmspace::bench
