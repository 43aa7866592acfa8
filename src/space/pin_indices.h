// Which NV indices are PIN Fail indices: each counts its own wrong authorizations, which its rightful users need.
//
// Idea: only the chip knows (NV_ReadPublic), and an index has its type for life. So what it said is kept until a
// command is sent that could define or remove one. Where others use the chip, too, they can do that past us: there "it
// is one" is asked again each time, and "it is none" after a wrong authorization, so that of an index which has become
// one past us at most one wrong try gets through.
// Threads: with the manager. Not part of the books. Limits: kMaxKnown indices; one more, and all are forgotten.
// Source: Part 2, 13.2 (TPM_NT); Part 1, 37.2.8 (PIN Fail).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

#include "books/chip.h"
#include "space/tpm_port.h"
#include "wire/command_table.h"

namespace tpmspace::space {

// By its TPMA_NV.
[[nodiscard]] constexpr bool is_pin_fail(std::uint32_t attributes) {
  constexpr std::uint32_t kPinFail = 8;  // TPM_NT
  return (attributes >> 4 & 0xF) == kPinFail;
}

// Whether indices may have come, gone or got another type after it, whatever the TPM answered.
[[nodiscard]] bool may_change_indices(const wire::CommandRow& row);

class PinIndices {
 public:
  static constexpr std::size_t kMaxKnown = 1024;

  PinIndices(const Chip& chip, TpmPort& port) : chip_(chip), port_(port) {}

  // At most one TPM command. An index that is not there is none; of those of rev. 1.83 (is_nv, and not 0x01......)
  // nobody asks: they count as one. Error: it could not be asked.
  TpmPort::Result<bool> is_one(std::uint32_t index);
  // Its authorization was wrong.
  void doubt(std::uint32_t index);
  void forget() { known_.clear(); }

  [[nodiscard]] std::size_t known() const { return known_.size(); }

 private:
  const Chip& chip_;
  TpmPort& port_;
  std::map<std::uint32_t, bool> known_;
};

}  // namespace tpmspace::space
