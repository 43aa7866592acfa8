// Which NV indices are PIN Fail indices: each counts wrong authorizations separately, and rightful users need the
// tries.
//
// Idea: only the chip knows the type (NV_ReadPublic), and the type of an index never changes. So the chip's answer is
// kept until the next command that could define or remove an index. Other users of the chip can define and remove
// indices unnoticed. With such users "PIN Fail" is asked again each time, and "not PIN Fail" after a wrong
// authorization, so at most one wrong try reaches an index after an unnoticed change to PIN Fail.
// Threads: with the manager. Not part of the books. Limits: kMaxKnown indices; when one more comes, all are forgotten.
// Source: Part 2, 13.2 (TPM_NT); Part 1, 37.2.8 (PIN Fail).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

#include "books/chip.h"
#include "space/tpm_port.h"
#include "wire/command_table.h"

namespace tpmspace::space {

// Judges by TPMA_NV.
[[nodiscard]] constexpr bool is_pin_fail(std::uint32_t attributes) {
  constexpr std::uint32_t kPinFail = 8;  // TPM_NT
  return (attributes >> 4 & 0xF) == kPinFail;
}

// Whether the command may add, remove or retype indices, even if the TPM answers with an error.
[[nodiscard]] bool may_change_indices(const wire::CommandRow& row);

class PinIndices {
 public:
  static constexpr std::size_t kMaxKnown = 1024;

  PinIndices(const Chip& chip, TpmPort& port) : chip_(chip), port_(port) {}

  // At most one TPM command. False for a missing index. Indices of rev. 1.83 (is_nv, and not 0x01......) are not asked
  // and count as PIN Fail. Error: the TPM could not be asked.
  TpmPort::Result<bool> is_one(std::uint32_t index);
  // An authorization of the index was wrong.
  void doubt(std::uint32_t index);
  void forget() { known_.clear(); }

  [[nodiscard]] std::size_t known() const { return known_.size(); }

 private:
  const Chip& chip_;
  TpmPort& port_;
  std::map<std::uint32_t, bool> known_;
};

}  // namespace tpmspace::space
