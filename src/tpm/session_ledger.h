// Which sessions of a shared chip are ours, in a file that outlives us.
//
// Idea: on a device others have sessions too, so at the start nobody can tell by looking which were left by a tpmspaced
// that was killed. What is in the file is ours, as long as the TPM was not reset or restarted since, and nobody
// else flushed it and got its number (then there is no telling). It is rewritten whole (a new
// file in its place, so never half) before a client hears of a session, and only when something changed.
// Threads: with the TPM. Sizes: a line for each session, at most the chip's. Errors: sentences; without the file we
// serve all the same, only what a killed tpmspaced leaves in the chip stays there.
// Source: DESIGN, "Failure".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

namespace tpmspace::tpm {

// Sessions by handle, and the TPM's counters (TPMS_CLOCK_INFO) when they were there: after a reset or a restart numbers
// may stand for others'.
struct HeldSessions {
  std::uint32_t reset_count = 0, restart_count = 0;
  std::vector<std::uint32_t> handles;

  bool operator==(const HeldSessions&) const = default;
};

class SessionLedger {
 public:
  // The directory must be there.
  explicit SessionLedger(std::string path) : path_(std::move(path)) {}

  [[nodiscard]] const std::string& path() const { return path_; }
  // What was written last, by whoever was here before; no handles: no file, or none of ours.
  [[nodiscard]] HeldSessions read() const;
  [[nodiscard]] tl::expected<void, std::string> write(const HeldSessions& held);

 private:
  std::string path_;
  std::optional<HeldSessions> written_;
};

}  // namespace tpmspace::tpm
