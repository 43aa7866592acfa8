// Makes room for one more object context, by dropping idle objects of another owner if necessary.
//
// Idea: books/shared_room.h defines how much each payer may hold. If a space finds no room although another owner holds
// more than the space's payer, the owner with the most gives room back, if above a minimum. The longest idle objects
// are dropped, if idle for longer than the space's lease. The dropped handles answer REFERENCE_Hx until the client has
// been told or flushes them. Nothing is taken from administrators, from an owner within its minimum, or for a space
// whose terms forbid to take from other owners.
// Threads: with the manager. Units: bytes; nanoseconds of the manager's clock.
// Limits: at most `kMostDropped` objects for one command; no other object is looked at, however many exist.
#pragma once

#include <optional>

#include "books/books.h"
#include "books/chip.h"
#include "space/residency.h"
#include "space/tpm_port.h"

namespace tpmspace::space {

class ContextRoom {
 public:
  static constexpr int kMostDropped = 64;

  ContextRoom(Books& books, const Chip& chip, TpmPort& port, Residency& residency)
      : books_(books), chip_(chip), port_(port), residency_(residency) {}

  // Loaded objects without a context will need room: room is kept for as many contexts as the chip has slots.
  [[nodiscard]] static ShareRule rule(const Quota& quota, const Chip& chip);

  // Makes room for the longest context in the space; objects of other owners may be dropped. False: no room.
  bool make(SpaceId space);
  // The client used the handle and got an error. If its object was dropped, the handle is free from now on.
  void tell(SpaceId space, std::uint32_t handle) { space_of(books_, space).taken_objects.erase(handle); }

 private:
  [[nodiscard]] std::optional<ObjectKey> object_to_drop(SpaceId space) const;
  void drop(const ObjectKey& object, SpaceId for_whom);

  Books& books_;
  const Chip& chip_;
  TpmPort& port_;
  Residency& residency_;
};

}  // namespace tpmspace::space
