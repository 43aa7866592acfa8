// A hostile client under `safe`: it knows its objects and sessions in the TPM, and sends random commands with them.
//
// Idea: commands come from the command table, as far as a profile allows them; their handles from what the client owns
// and what is there for everybody, as the row's uses say; their authorizations are passwords and policy sessions that
// also encrypt or decrypt. What a response hands out is kept and used in later commands.
// Threads: values. Limits: as many objects, sequences and sessions as the TPM holds; one is flushed when it is full.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "guard/profile.h"
#include "safe_grammar.h"
#include "wire/command.h"

namespace tpmspace::fuzz {

class SafeClient {
 public:
  // `nv`, `persistent`: provided by an administrator.
  SafeClient(std::uint64_t seed, const guard::Profile& profile, std::vector<std::uint32_t> nv,
             std::vector<std::uint32_t> persistent);

  // Another command, which the profile allows.
  [[nodiscard]] Bytes next();
  void learn(const wire::Command& command, ByteView response);

 private:
  [[nodiscard]] Bytes compose(const wire::CommandRow& row);
  [[nodiscard]] std::uint32_t handle_for(wire::HandleUse use);
  [[nodiscard]] std::uint32_t any_handle();
  [[nodiscard]] Bytes authorizations(const wire::CommandRow& row);
  [[nodiscard]] std::vector<std::uint32_t> own() const;
  void forget(std::uint32_t handle);

  Dice dice_;
  const guard::Profile& profile_;
  const std::vector<std::uint32_t> nv_, persistent_;
  std::vector<const wire::CommandRow*> rows_;
  Pool pool_;
  std::vector<std::uint32_t> objects_, sequences_, sessions_;
  std::optional<std::uint32_t> to_flush_;  // the TPM is full
};

}  // namespace tpmspace::fuzz
