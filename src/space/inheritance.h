// A space that begins with what another one has, as a process that was forked begins with what its parent has.
//
// Idea: like fork(), this is a copy. Each of the two spaces has its own handles, and what one of them does with an
// object (it flushes it, it ends) means nothing to the other. An object that is loaded does not change (TPM-RULES 14),
// so that a copy of its saved context is a copy of the object; the copies are twins, and one slot of the TPM serves
// them all (Residency::load_object).
// What changes with each use is not copied, since the two processes would use one state in turns. So the new space has
// no sequences, and no sessions: the nonces that its client knows are the parent's. The numbers of the parent's
// sessions stand for nothing in the new space, as those of sessions that were taken (tombstones): a wrong HMAC would
// cost a try. The handles of the parent's sequences stand for nothing there either, for the same reason. The client
// knows what the parent knew when it was forked, which may be long ago. What the parent's later commands made is left
// out; so a handle that the parent used again does not stand for another object than the client means.
//
// Threads: with the manager. Limits: the new space's limits, its pools and its owner's share of memory, as for objects
// that are made; at most one ContextSave for each slot of the TPM.
// Errors: OBJECT_MEMORY, or what the TPM says of a ContextSave, without a layer; nothing is copied then.
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

  // `known`: how many commands the parent's client had sent. Precondition: both are open, and `to` is new.
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
