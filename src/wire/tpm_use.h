// What an account is made of: one command that was sent to a TPM, and why; one session that was taken. Values, no I/O.
// Units: nanoseconds of the clock that the sender was given.
#pragma once

#include <cstddef>
#include <cstdint>

#include "wire/rc.h"

namespace tpmspace::wire {

enum class Cause : std::uint8_t {
  kClient,   // a client's own command (re-sent ones count again)
  kSave,     // ContextSave to make room
  kLoad,     // ContextLoad to bring back what a command needs
  kFlush,    // FlushContext to make room, after a save or of what nobody needs any more
  kRefresh,  // ContextLoad and ContextSave of the oldest session, so that the context gap stays open
  kProbe,    // Startup, ReadClock, GetCapability: finding out what the TPM did
  kReclaim,  // FlushContext of a session that is taken because somebody waits for one
  kFiller,   // StartAuthSession and ContextSave of sessions that only keep numbers occupied
  kPark,     // what must be known of a policy session before it leaves, and its FlushContext
  kRebuild,  // StartAuthSession and the steps of a policy session that comes back
};
inline constexpr std::size_t kCauses = 10;

// Why a session or an object was taken, and who wants one; 0: nobody does.
struct Taker {
  enum class Why : std::uint8_t {
    kLease,    // it was idle for longer than its lease
    kShare,    // its owner has more than the fair share, and somebody waited for the tenure
    kOrder,    // an administrator said so
    kNotSame,  // a policy session that was made again is another one than it was
    kLost,     // the TPM does not know it any more
    kLeft,     // nobody has it any more, and its owner left more behind than he may
    kAllLeft,  // likewise, and all owners together left more behind than they may
    kPool,     // likewise, its lease is over, and its pool was full for one who is in it, too
    kRoom,     // an object: it was idle for longer than its lease, its owner holds the most, and another has no room
  };
  Why why = Why::kLost;
  std::uint64_t waiter = 0, user = 0;  // space::Holder
};

// A session or an object that was taken from somebody.
struct Reclaimed {
  std::uint64_t owner = 0, user = 0;  // space::Holder
  std::uint64_t space = 0;            // 0: its connection was gone
  std::uint32_t handle = 0;
  Taker by = {};
};

// What was noticed of a start-up of the TPM (Part 1, 12.2), whoever did it. Later ones take more.
enum class Restarted : std::uint8_t {
  kNo = 0,
  kKeptSaved = 1,    // TPM Restart or TPM Resume: what was loaded is gone, saved contexts load again
  kKeptNothing = 2,  // TPM Reset
};

struct TpmUse {
  std::uint32_t code = 0;  // command code
  Cause cause = Cause::kClient;
  Rc rc = 0;  // kFailure from our layer when there was no answer
  std::uint64_t nanoseconds = 0;
};

}  // namespace tpmspace::wire
