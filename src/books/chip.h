// What one TPM can hold, asked from the chip at start (TPM-RULES 20: ask, do not assume). Filled by tpm/bring_up.
// Threads: a value, constant once made. Units: octets, entities, tries, seconds. Source: Part 2, 6.13 (TPM_PT).
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tpmspace::space {

struct Chip {
  std::uint32_t object_slots = 3;      // transient objects that fit at once (HR_TRANSIENT_AVAIL of the empty chip)
  std::uint32_t loaded_sessions = 3;   // HR_LOADED_AVAIL of the empty chip
  std::uint32_t active_sessions = 64;  // ours: the chip's, less those of others
  std::uint32_t session_numbers = 64;  // ACTIVE_SESSIONS_MAX: a session's number is below it
  std::uint32_t context_gap = 65535;   // CONTEXT_GAP_MAX
  std::uint32_t max_command = 4096;    // MAX_COMMAND_SIZE
  std::uint32_t max_response = 4096;   // MAX_RESPONSE_SIZE
  std::uint32_t reset_count = 0;       // TPMS_CLOCK_INFO at start
  std::uint32_t restart_count = 0;
  // Between commands at least this much stays free, because others use the chip too (a device; TPM-RULES 35).
  std::uint32_t keep_free_objects = 0;
  std::uint32_t keep_free_sessions = 0;
  std::vector<std::uint32_t> others_loaded_sessions = {};  // handles of those that were there before us
  // It may lose power while we run, and be started up by somebody else (a device: the machine goes to sleep). What was
  // loaded is lost then, so it is saved while there is time.
  bool can_be_suspended = false;
  // Bit n: PCR n does not move the counter that PolicyPCR looks at (TPM_PT_PCR_NO_INCREMENT); the default is that of
  // the PC Client profile: 16 and 21 to 23.
  std::uint32_t uncounted_pcrs = 0x00E10000;
  // How it counts wrong authorizations, at start; what changes later comes with `LockoutNews`.
  std::uint32_t max_auth_fail = 3;        // MAX_AUTH_FAIL; the default is a fresh libtpms'
  std::uint32_t lockout_interval = 1000;  // LOCKOUT_INTERVAL, seconds; 0: it does not count
  std::uint32_t lockout_counter = 0;      // LOCKOUT_COUNTER

  [[nodiscard]] bool has_other_users() const { return keep_free_objects != 0 || keep_free_sessions != 0; }

  // Active sessions that the bank gives to nobody: those that have left the TPM come back with them, as many as one
  // command can use.
  [[nodiscard]] std::uint32_t kept_for_rebuilding() const {
    constexpr std::uint32_t kMost = 3, kOneOf = 16;  // a chip with fewer than 48 cannot spare so many
    return std::min(kMost, active_sessions / kOneOf);
  }
};

// What was learned in passing of how the chip counts wrong authorizations, in the order in which it is true.
struct LockoutNews {
  std::optional<std::uint32_t> max_auth_fail, lockout_interval;
  bool counter_was_reset = false;  // by an administrator
  std::optional<std::uint32_t> lockout_counter;
};

}  // namespace tpmspace::space
