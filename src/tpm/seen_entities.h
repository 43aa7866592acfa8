// Facts about the keys and sessions in a TPM, learnt from successful commands.
//
// Idea: a public area is the second parameter of every command that makes or loads an object, and only the first
// parameter is ever encrypted. So the type is readable, and also whether a private part exists: the size of
// LoadExternal's first parameter is never encrypted. A saved context is recognised at its next load. For unknown
// entities (a persistent object, an old context) the caller asks the TPM and calls a `know` function.
// Threads: a value. Limits: as many handles as the TPM has; kMaxContexts contexts, the oldest are forgotten first.
// Source: TPM 2.0 library, Part 3 (CreatePrimary, CreateLoaded, Load, LoadExternal, StartAuthSession); Part 2, 12.2.4.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "wire/command.h"

namespace tpmspace::tpm {

class SeenEntities {
 public:
  static constexpr std::size_t kMaxContexts = 16'384;

  struct Key {
    std::optional<std::uint16_t> type;   // TPMI_ALG_PUBLIC
    std::optional<bool> is_public_only;  // no private part
  };

  // Whether `learn` needs the command.
  [[nodiscard]] static bool concerns(const wire::CommandRow& row);
  // Precondition: the response is the TPM's to this command, and reports success.
  void learn(const wire::Command& command, wire::ByteView response);

  [[nodiscard]] Key key(std::uint32_t handle) const;
  void know_type(std::uint32_t handle, std::uint16_t type) { keys_[handle].type = type; }
  void know_public_only(std::uint32_t handle, bool it_is) { keys_[handle].is_public_only = it_is; }
  // Whether the start of the session was seen and the session is unbound. False for an unknown session.
  [[nodiscard]] bool is_unbound(std::uint32_t session) const;

 private:
  using Digest = std::size_t;
  void learn_effect(const wire::Command& command, wire::ByteView response, std::optional<std::uint32_t> created);
  void learn_created(const wire::Command& command, std::uint32_t handle);
  void forget(std::uint32_t handle);
  void remember(wire::ByteView context, const Key& key);

  std::unordered_map<std::uint32_t, Key> keys_;
  std::unordered_set<std::uint32_t> unbound_;  // sessions' numbers
  std::unordered_map<Digest, Key> contexts_;
  std::deque<Digest> oldest_first_;
};

}  // namespace tpmspace::tpm
