// What is known of the keys and sessions in a TPM, learnt from the commands that succeed.
//
// Idea: a public area is the second parameter of every command that makes or loads an object, and only the first one is
// ever encrypted; so its type can be read, and whether there is a private part: of LoadExternal's first parameter the
// size is never encrypted. A saved context is recognised when it is loaded again. What is not known (a persistent
// object, a context of former times) somebody else has to ask for, and then `know`.
// Threads: a value. Limits: as many handles as the TPM has; kMaxContexts contexts, the oldest is forgotten first.
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
    std::optional<bool> is_public_only;  // it has no private part
  };

  // Whether `learn` has to see that command.
  [[nodiscard]] static bool concerns(const wire::CommandRow& row);
  // Precondition: the response is the TPM's to that command, and says success.
  void learn(const wire::Command& command, wire::ByteView response);

  [[nodiscard]] Key key(std::uint32_t handle) const;
  void know_type(std::uint32_t handle, std::uint16_t type) { keys_[handle].type = type; }
  void know_public_only(std::uint32_t handle, bool it_is) { keys_[handle].is_public_only = it_is; }
  // It was seen to begin, and is bound to nothing. Of any other session that is not known.
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
