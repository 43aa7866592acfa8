// Room for one more object's context, and whose idle objects are dropped for it.
//
// Idea: who may hold how much says books/shared_room.h. Where a space finds no room although another owner holds more
// than its payer, the owner that holds the most gives some back, if that is more than a minimum: of its objects those
// that were idle for longest, and for longer than their space's lease. Their contexts are dropped, and their handles
// answer REFERENCE_Hx until the client has been told, or flushes them. Nothing is taken from administrators, from an
// owner within its minimum, or for a space whose terms are not to take anything from anybody.
// Threads: with the manager. Units: bytes; nanoseconds of the manager's clock.
// Limits: at most `kMostDropped` objects for one command; it looks at no others, whoever has how many.
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

  // What is loaded and has no context yet will have one: room is kept for as many as the chip has slots.
  [[nodiscard]] static ShareRule rule(const Quota& quota, const Chip& chip);

  // There is room for the longest context in the space; objects of others may be gone. False: there is none.
  bool make(SpaceId space);
  // The client used that handle and is refused. If its object was taken, the handle is free from now on.
  void tell(SpaceId space, std::uint32_t handle) { books_.spaces.at(space).taken_objects.erase(handle); }

 private:
  [[nodiscard]] std::optional<ObjectKey> object_to_drop(SpaceId space) const;
  void drop(const ObjectKey& object, SpaceId for_whom);

  Books& books_;
  const Chip& chip_;
  TpmPort& port_;
  Residency& residency_;
};

}  // namespace tpmspace::space
