// From a back end's specification to a TPM that is ready to serve: the first work of a TPM's thread.
//
// Idea: two steps, each a function, so that the loop has the back end (to hang up) before the TPM has responded to any
// command, and so that tests can substitute another TPM. A TPM that is gone is opened again in the same way. Threads:
// both functions run on the TPM's thread. Errors: a sentence.
#pragma once

#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "books/chip.h"
#include "engine/engine.h"
#include "log/log.h"
#include "tpm/backend.h"
#include "tpm/spec.h"
#include "wire/command_table.h"

namespace tpmspace::host {

// The TPM's description of itself.
struct ChipReport {
  wire::CommandTable table;  // adopted
  space::Chip chip;
  std::string manufacturer, vendor, firmware;
  std::vector<std::string> notes;  // sentences for the log
};

// How the TPM is opened.
struct Opening {
  std::stop_token given_up = {};  // requested when the TPM is no longer wanted: opening stops waiting
  bool again = false;             // a retry: no progress is reported
};

struct TpmSource {
  std::function<tl::expected<std::unique_ptr<tpm::BackEnd>, std::string>(const Opening&)> open;
  std::function<tl::expected<ChipReport, std::string>(wire::Tpm&, const Opening&)> bring_up;
  // Called with our sessions in the TPM before a client learns of them; empty: no record is needed.
  std::function<void(const engine::Engine::HeldSessions&)> remember;
  std::string name;         // for the log and status
  std::string socket = {};  // the Unix socket of the TPM's server: when the socket appears anew, the TPM may be back;
                            // or empty
  bool can_hang = true;     // an embedded TPM works in our own thread: if it does not respond, it still computes
  bool can_return = true;   // false: a descriptor that was handed over cannot be opened again
};

// The log receives the back end's messages while it serves; the log must outlive the source and the TPM. `ledger`: path
// of the session ledger of a device; empty: none.
[[nodiscard]] TpmSource tpm_source(const tpm::Spec& spec, log::Log& log, const std::string& ledger);

}  // namespace tpmspace::host
