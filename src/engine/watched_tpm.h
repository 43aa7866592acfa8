// A TPM seen through the gate: every command shows what is at the TPM, and a client's own can be given up.
//
// Idea: a decorator. A CANCELED that nobody asked for (libtpms's cancel and a device's are the whole chip's) is sent
// again once; one that was asked for goes to the client. One that was asked for before the client's own command was
// sent is answered here, with our layer.
// Threads: with the engine.
#pragma once

#include "engine/gate.h"
#include "wire/command_table.h"
#include "wire/tpm.h"

namespace tpmspace::engine {

class WatchedTpm : public wire::Tpm {
 public:
  // `cancelable`: what is sent here are clients' own commands.
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
