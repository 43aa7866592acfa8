// The commands that programs send at start and exit, as if they had their own TPM: Startup, SelfTest and
// Shutdown.
//
// Idea: the TPM was started long ago and goes on running when a client leaves, so a client that may not send these
// commands to the TPM gets the response that a running TPM of its own would give. FAPI and systemd send Startup first
// and continue only after success or 0x00000100 without a layer; a refusal (0x000B0143) would make them unusable for
// every ordinary user. A client whose profile allows the command sends it to the TPM: if the TPM has lost power, the
// Startup of an administrator starts it.
// Answered are Startup and Shutdown, and SelfTest(NO), which asks only for tests that a TPM performs by itself before
// it uses an algorithm. SelfTest(YES) and IncrementalSelfTest cost TPM time, so the profile decides. If a rule disables
// SelfTest or Shutdown, the client is told so.
//
// Threads: pure. Codes: TPM_RC_INITIALIZE has no layer, as from the TPM; the others are success, or have our layer.
// Source: TPM 2.0 library, Part 3, 9.3, 9.4, 10.2; docs/decisions/0016.
#pragma once

#include <optional>
#include <string_view>

#include "guard/verdict.h"
#include "wire/command.h"
#include "wire/numbers.h"
#include "wire/rc.h"

namespace tpmspace::guard {

// The response code to a command that the guard refuses; the response has nothing else in it. Nullopt: the command
// stays refused.
[[nodiscard]] std::optional<wire::Rc> answer_of_running_tpm(const wire::Command& command, const Verdict& refused);

// For people: tpmspaced's action in place of the TPM for a command refused for this reason; empty: none.
[[nodiscard]] std::string_view sentence_of_answer(wire::CommandCode code, Reason refused);

// Commands that every client has, since a response always comes: Startup and Shutdown.
[[nodiscard]] const wire::Numbers& commands_of_everybody();

}  // namespace tpmspace::guard
