// Shared by several tests of this room.
#pragma once

#include <stdexcept>

#include "books/owner.h"
#include "wire/tpm.h"

namespace tpmspace::space {

inline constexpr std::uint64_t kSecond = SessionTerms::kSecond;

// For tests in which no command may reach the TPM.
class NoTpm final : public wire::Tpm {
 public:
  Answer transact(wire::ByteView, std::uint8_t) override { throw std::logic_error("nobody asked for the TPM"); }
};

}  // namespace tpmspace::space
