// From a back end's specification to a TPM that is ready to serve: what a TPM's thread does first.
//
// Idea: two steps, each a function, so that the loop holds the back end (to hang up on it) before the TPM has answered
// anything, and so that tests can put another TPM there. One that is gone is opened again in the same way.
// Threads: both run on the TPM's thread. Errors: a sentence.
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

// What the TPM said of itself.
struct ChipReport {
  wire::CommandTable table;  // adopted
  space::Chip chip;
  std::string manufacturer, vendor, firmware;
  std::vector<std::string> notes;  // sentences for the log
};

// How it is opened.
struct Opening {
  std::stop_token given_up = {};  // nobody wants it any more: what is waited for is left
  bool again = false;             // it was tried before: nobody waits to be told how it goes
};

struct TpmSource {
  std::function<tl::expected<std::unique_ptr<tpm::BackEnd>, std::string>(const Opening&)> open;
  std::function<tl::expected<ChipReport, std::string>(wire::Tpm&, const Opening&)> bring_up;
  // Told what is ours in the TPM before a client is; empty: nobody wants to know.
  std::function<void(const engine::Engine::HeldSessions&)> remember;
  std::string name;         // for the log and status
  std::string socket = {};  // the Unix socket that it is reached by: when that appears anew, so does the TPM; or empty
  bool can_hang = true;     // an embedded TPM works in our own thread: if it does not answer, it still computes
  bool can_return = true;   // a descriptor that was handed over is the only one
};

// The log is for what the back end says while it serves; it must outlive the source and the TPM.
// `ledger`: path of the session ledger of a device; empty: none.
[[nodiscard]] TpmSource tpm_source(const tpm::Spec& spec, log::Log& log, const std::string& ledger);

}  // namespace tpmspace::host
