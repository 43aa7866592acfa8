// Prepares a reachable TPM for use: starts the TPM, flushes entities of tpmspace, and asks for the limits.
//
// Idea: runs once, before the first client's command. Every response is parsed totally and bounded; a TPM that lies
// causes an error sentence, never an endless loop or an unreasonable limit. An embedded TPM and an swtpm have no other
// users and are flushed completely (objects, loaded and saved sessions). A device has other users' sessions too: only
// transient objects are flushed, and sessions that an earlier tpmspaced left behind (`left_behind`); other sessions are
// subtracted from the capacity.
// Threads: only the thread that owns the TPM.
// Errors: a sentence with the TPM's behaviour and the remedy.
// Source: TPM 2.0 library, Part 2, 6.13 (TPM_PT), 8.9 (TPMA_CC), 10.11 (TPMS_CLOCK_INFO); Part 3, 9.3, 28.4, 29.1,
// 30.2.
#pragma once

#include <cstdint>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "tpm/session_ledger.h"
#include "tpm/spec.h"
#include "wire/tpm.h"

namespace tpmspace::tpm {

struct ChipFacts {
  // The chip's room for tpmspace after flushing.
  std::uint32_t object_slots = 0;     // HR_TRANSIENT_AVAIL
  std::uint32_t loaded_sessions = 0;  // HR_LOADED_AVAIL
  std::uint32_t active_sessions = 0;  // HR_ACTIVE_AVAIL
  // Sessions of other users, loaded and saved; not in the three values above. Always 0 on a TPM without other users.
  std::vector<std::uint32_t> foreign_loaded = {};  // handles
  std::uint32_t foreign_saved = 0;

  std::uint32_t active_max = 0;    // ACTIVE_SESSIONS_MAX
  std::uint32_t context_gap = 0;   // CONTEXT_GAP_MAX
  std::uint32_t max_command = 0;   // MAX_COMMAND_SIZE, bytes
  std::uint32_t max_response = 0;  // MAX_RESPONSE_SIZE, bytes
  std::uint32_t reset_count = 0;   // TPMS_CLOCK_INFO
  std::uint32_t restart_count = 0;
  // PCR_NO_INCREMENT, bit n for PCR n. If the chip does not report the property: the PC Client profile's value.
  std::uint32_t uncounted_pcrs = 0x00E10000;
  // How the chip counts wrong authorizations. If the chip does not report these properties: cautious defaults.
  std::uint32_t max_auth_fail = 3;        // MAX_AUTH_FAIL
  std::uint32_t lockout_interval = 1000;  // LOCKOUT_INTERVAL, seconds
  std::uint32_t lockout_counter = 0;      // LOCKOUT_COUNTER

  std::string manufacturer;             // "IBM"; printable ASCII
  std::string vendor;                   // "SW TPM"; printable ASCII
  std::uint64_t firmware = 0;           // FIRMWARE_VERSION_1 and _2
  std::vector<std::uint32_t> commands;  // TPMA_CC words as the chip gave them, ascending by code

  bool started = false;       // the TPM needed a Startup and got Startup(CLEAR)
  std::uint32_t flushed = 0;  // objects and sessions found and flushed
};

// `left_behind`: for a device.
[[nodiscard]] tl::expected<ChipFacts, std::string> bring_up(wire::Tpm& tpm, Kind kind,
                                                            const HeldSessions& left_behind = {});

}  // namespace tpmspace::tpm
