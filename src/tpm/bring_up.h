// From a TPM that answers to a TPM we know: started, emptied of what is ours, and asked for its limits.
//
// Idea: run once, before the first client's command. Everything the TPM says is parsed totally and bounded; a TPM that
// lies costs an error sentence, never a loop without end or a limit beyond reason.
// What is flushed: an embedded TPM and an swtpm are ours alone and are flushed whole (objects, loaded and saved
// sessions). On a device others have sessions too: only transient objects are flushed, and the sessions that a
// tpmspaced before us left behind (`left_behind`); what else is there is counted out of the capacity. Threads: those of
// the TPM: call it from the thread that owns it. Errors: a sentence: what the TPM did, and what to do. Source: TPM 2.0
// library, Part 2, 6.13 (TPM_PT), 8.9 (TPMA_CC), 10.11 (TPMS_CLOCK_INFO); Part 3, 9.3, 28.4, 29.1, 30.2.
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
  // Room for us on the chip as it is after flushing.
  std::uint32_t object_slots = 0;     // HR_TRANSIENT_AVAIL
  std::uint32_t loaded_sessions = 0;  // HR_LOADED_AVAIL
  std::uint32_t active_sessions = 0;  // HR_ACTIVE_AVAIL
  // Sessions of others, loaded and saved; not in the three above. Always 0 on a TPM that is ours alone.
  std::vector<std::uint32_t> foreign_loaded = {};  // handles
  std::uint32_t foreign_saved = 0;

  std::uint32_t active_max = 0;    // ACTIVE_SESSIONS_MAX
  std::uint32_t context_gap = 0;   // CONTEXT_GAP_MAX
  std::uint32_t max_command = 0;   // MAX_COMMAND_SIZE, octets
  std::uint32_t max_response = 0;  // MAX_RESPONSE_SIZE, octets
  std::uint32_t reset_count = 0;   // TPMS_CLOCK_INFO
  std::uint32_t restart_count = 0;
  // PCR_NO_INCREMENT, bit n for PCR n. A chip that does not say is taken for one of the PC Client profile.
  std::uint32_t uncounted_pcrs = 0x00E10000;
  // How it counts wrong authorizations. A chip that says nothing of it is taken for a careful one.
  std::uint32_t max_auth_fail = 3;        // MAX_AUTH_FAIL
  std::uint32_t lockout_interval = 1000;  // LOCKOUT_INTERVAL, seconds
  std::uint32_t lockout_counter = 0;      // LOCKOUT_COUNTER

  std::string manufacturer;             // "IBM"; printable ASCII
  std::string vendor;                   // "SW TPM"; printable ASCII
  std::uint64_t firmware = 0;           // FIRMWARE_VERSION_1 and _2
  std::vector<std::uint32_t> commands;  // TPMA_CC words as the chip gave them, ascending by code

  bool started = false;       // it wanted a Startup and got Startup(CLEAR)
  std::uint32_t flushed = 0;  // objects and sessions found and flushed
};

// `left_behind`: for a device.
[[nodiscard]] tl::expected<ChipFacts, std::string> bring_up(wire::Tpm& tpm, Kind kind,
                                                            const HeldSessions& left_behind = {});

}  // namespace tpmspace::tpm
