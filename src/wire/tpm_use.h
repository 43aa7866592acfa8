// The parts of an account: one command sent to a TPM, with the cause; one reclaimed session. Values, no I/O.
// Units: nanoseconds of the sender's clock.
#pragma once

#include <cstddef>
#include <cstdint>

#include "wire/rc.h"

namespace tpmspace::wire {

enum class Cause : std::uint8_t {
  kClient,   // a client's own command (re-sent ones count again)
  kSave,     // ContextSave to make room
  kLoad,     // ContextLoad of an entity that a command needs
  kFlush,    // FlushContext to make room, after a save or of an unwanted entity
  kRefresh,  // ContextLoad and ContextSave of the oldest session, so that the context gap stays open
  kProbe,    // Startup, ReadClock, GetCapability: learning the TPM's state
  kReclaim,  // FlushContext of a session that is reclaimed for a waiting client
  kFiller,   // StartAuthSession and ContextSave of sessions that only keep numbers occupied
  kPark,     // queries before a policy session is parked, and its FlushContext
  kRebuild,  // StartAuthSession and the steps of a rebuilt policy session
};
inline constexpr std::size_t kCauses = 10;

// Why a session or an object was taken, and for which holder; 0: for none.
struct Taker {
  enum class Why : std::uint8_t {
    kLease,    // the session was idle for longer than its lease
    kShare,    // the owner has more than its fair share, and another owner waited for the tenure
    kOrder,    // an administrator's order
    kNotSame,  // the policy of a rebuilt session differs
    kLost,     // the TPM has lost the session
    kLeft,     // no space has the session, and its owner left more sessions behind than allowed
    kAllLeft,  // the same, and all owners together left more sessions behind than allowed
    kPool,     // no space has the session, the lease is over, and the pool was full for a space of the pool
    kRoom,     // an object: idle for longer than its lease, its owner holds the most, and another owner has no room
  };
  Why why = Why::kLost;
  std::uint64_t waiter = 0, user = 0;  // space::Holder
};

// A session or an object that was taken from a space.
struct Reclaimed {
  std::uint64_t owner = 0, user = 0;  // space::Holder
  std::uint64_t space = 0;            // 0: the connection was closed
  std::uint32_t handle = 0;
  Taker by = {};
};

// A noticed start-up of the TPM (Part 1, 12.2), by any program. Later values lose more.
enum class Restarted : std::uint8_t {
  kNo = 0,
  kKeptSaved = 1,    // TPM Restart or TPM Resume: loaded entities are gone, saved contexts load again
  kKeptNothing = 2,  // TPM Reset
};

struct TpmUse {
  std::uint32_t code = 0;  // command code
  Cause cause = Cause::kClient;
  Rc rc = 0;  // kFailure from layer 11 if no response came
  std::uint64_t nanoseconds = 0;
};

}  // namespace tpmspace::wire
