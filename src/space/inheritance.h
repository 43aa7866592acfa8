// Starts a space with a copy of another space's objects, as a forked process starts with a copy of its parent's memory.
//
// Idea: like fork(), this is a copy. Each space has its own handles, and a flush in one space does not affect the
// other. A loaded object does not change (docs/tpm-behaviour.md 14), so a copy of its saved context is a copy of the
// object. The copies are twins, and one slot of the TPM serves all of them (Residency::load_object).
// State changed by each use is not copied, because two processes would use one state in turns. So the new space gets no
// sequences and no sessions: only the parent knows the current nonces. In the new space the numbers of the parent's
// sessions become tombstones, because a wrong HMAC would cost a try. The handles of the parent's sequences are unusable
// for the same reason. The client knows the parent's state at the time of the fork, possibly long ago. Objects that the
// parent's later commands made are left out, so a handle reused by the parent cannot name a wrong object.
//
// Threads: with the manager.
// Limits: limits, pools and the owner's share of memory as for new objects; at most one ContextSave for each slot of
// the TPM.
// Errors: OBJECT_MEMORY, or the TPM's code for a ContextSave, without a layer; then nothing is copied.
#pragma once

#include <cstdint>
#include <set>
#include <vector>

#include "books/books.h"
#include "books/chip.h"
#include "space/tpm_port.h"

namespace tpmspace::space {

class Inheritance {
 public:
  Inheritance(Books& books, const Chip& chip, TpmPort& port) : books_(books), chip_(chip), port_(port) {}

  // `known`: how many commands the parent's client had sent. Both spaces are open, and `to` is new.
  wire::Rc copy(SpaceId from, std::uint64_t known, SpaceId to);

 private:
  [[nodiscard]] std::vector<wire::ClientHandle> known_objects(SpaceId from, std::uint64_t known) const;
  [[nodiscard]] std::set<std::uint32_t> handles_of_others(SpaceId from, std::uint64_t known) const;
  wire::Rc save(SpaceId from, const std::vector<wire::ClientHandle>& objects);
  [[nodiscard]] bool has_room(SpaceId to, std::size_t objects, std::size_t others, std::uint64_t bytes) const;
  void copy_object(SpaceId from, wire::ClientHandle handle, SpaceId to);
  void forbid_session_numbers(SpaceId from, SpaceId to);

  Books& books_;
  const Chip& chip_;
  TpmPort& port_;
};

}  // namespace tpmspace::space
