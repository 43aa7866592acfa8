// The capacity of one TPM, asked from the chip at start (docs/tpm-behaviour.md 20). Filled by tpm/bring_up.
// Threads: a value, constant once made. Units: bytes, entities, tries, seconds. Source: Part 2, 6.13 (TPM_PT).
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
  std::uint32_t active_sessions = 64;  // for tpmspace: without other users' sessions
  std::uint32_t session_numbers = 64;  // ACTIVE_SESSIONS_MAX: every session number is lower
  std::uint32_t context_gap = 65535;   // CONTEXT_GAP_MAX
  std::uint32_t max_command = 4096;    // MAX_COMMAND_SIZE
  std::uint32_t max_response = 4096;   // MAX_RESPONSE_SIZE
  std::uint32_t reset_count = 0;       // TPMS_CLOCK_INFO at start
  std::uint32_t restart_count = 0;
  // At least this much stays free between commands, because other users share the chip (a device; docs/tpm-behaviour.md
  // 35).
  std::uint32_t keep_free_objects = 0;
  std::uint32_t keep_free_sessions = 0;
  std::vector<std::uint32_t> others_loaded_sessions = {};  // handles of sessions from before the start
  // The chip may lose power while tpmspace runs, and another program may send Startup (a device: the machine sleeps). A
  // power loss ends loaded entities, so the manager saves entities in time.
  bool can_be_suspended = false;
  // Bit n: PCR n does not move the counter that PolicyPCR checks (TPM_PT_PCR_NO_INCREMENT). The default is from the PC
  // Client profile: 16 and 21 to 23.
  std::uint32_t uncounted_pcrs = 0x00E10000;
  // How the chip counts wrong authorizations, at start; later changes come with `LockoutNews`.
  std::uint32_t max_auth_fail = 3;        // MAX_AUTH_FAIL; the default is a fresh libtpms'
  std::uint32_t lockout_interval = 1000;  // LOCKOUT_INTERVAL, seconds; 0: the chip does not count
  std::uint32_t lockout_counter = 0;      // LOCKOUT_COUNTER

  [[nodiscard]] bool has_other_users() const { return keep_free_objects != 0 || keep_free_sessions != 0; }

  // Active sessions kept from the bank, for rebuilding parked sessions: as many as one command can use.
  [[nodiscard]] std::uint32_t kept_for_rebuilding() const {
    constexpr std::uint32_t kMost = 3, kOneOf = 16;  // a chip with fewer than 48 sessions cannot spare three
    return std::min(kMost, active_sessions / kOneOf);
  }
};

// New values of the chip's counting of wrong authorizations, from other commands; the fields apply in this order.
struct LockoutNews {
  std::optional<std::uint32_t> max_auth_fail, lockout_interval;
  bool counter_was_reset = false;  // by an administrator
  std::optional<std::uint32_t> lockout_counter;
};

}  // namespace tpmspace::space
