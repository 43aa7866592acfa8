// A TPM behind the gate: the gate shows every command at the TPM, and a client's own command can be cancelled.
//
// Idea: a decorator. An unrequested CANCELED (cancels of libtpms and of a device act on the whole chip) makes the
// decorator send the command once more; a requested CANCELED goes to the client. If the request came before the
// client's own command was sent, the decorator answers from layer 11.
// Threads: with the engine.
// Threads: with the engine.
#pragma once

#include "engine/gate.h"
#include "wire/command_table.h"
#include "wire/tpm.h"

namespace tpmspace::engine {

class WatchedTpm : public wire::Tpm {
 public:
  // `cancelable`: the commands are clients' own commands.
  WatchedTpm(wire::Tpm& tpm, const wire::CommandTable& table, Gate& gate, bool cancelable)
      : tpm_(tpm), table_(table), gate_(gate), cancelable_(cancelable) {}

  Answer transact(wire::ByteView command, std::uint8_t locality) override;

 private:
  Answer once(wire::ByteView command, std::uint8_t locality);

  wire::Tpm& tpm_;
  const wire::CommandTable& table_;
  Gate& gate_;
  const bool cancelable_;
};

}  // namespace tpmspace::engine
