// The sessions of tpmspace on a shared chip, in a file that outlives the process.
//
// Idea: a device has other users' sessions too, so at start the chip does not show which sessions a killed tpmspaced
// left. Sessions in the file belong to tpmspace if the TPM was not reset or restarted since, and if no other user
// flushed the session and got its number (an undetectable case). The whole file is replaced by a new file (so never
// half written) before a client learns of a session, and only after a change.
// Threads: with the TPM. Limits: a line for each session, at most the chip's number of sessions.
// Errors: sentences; without the file tpmspaced still serves, but sessions of a killed tpmspaced stay in the chip.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

namespace tpmspace::tpm {

// Sessions by handle, and the TPM's counters (TPMS_CLOCK_INFO) at that time: after a reset or a restart, the numbers
// may belong to other users.
struct HeldSessions {
  std::uint32_t reset_count = 0, restart_count = 0;
  std::vector<std::uint32_t> handles;

  bool operator==(const HeldSessions&) const = default;
};

class SessionLedger {
 public:
  // Precondition: the directory exists.
  explicit SessionLedger(std::string path) : path_(std::move(path)) {}

  [[nodiscard]] const std::string& path() const { return path_; }
  // The last written value, also from an earlier process; no handles: the file is missing or invalid.
  [[nodiscard]] HeldSessions read() const;
  [[nodiscard]] tl::expected<void, std::string> write(const HeldSessions& held);

 private:
  std::string path_;
  std::optional<HeldSessions> written_;
};

}  // namespace tpmspace::tpm
