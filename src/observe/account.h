// An account: the cost of one engine step, as a value, for queue, metrics, audit and trace. No I/O.
// Units: TPM commands; nanoseconds of the engine's clock.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/invariant.h"
#include "wire/rc.h"
#include "wire/tpm_use.h"

namespace tpmspace::observe {

using wire::Cause;
using wire::kCauses;
using wire::Reclaimed;
using wire::Taker;
using wire::TpmUse;

// What a space holds at one time: transient objects and sequences, active sessions.
struct Held {
  std::uint32_t objects = 0, sessions = 0;
};

// space::Holder
struct Saver {
  std::uint64_t owner = 0, user = 0, connection = 0;
};

struct Account {
  std::uint64_t owner = 0;        // 0: idle work without an owner
  std::uint64_t connection = 0;   // 0: idle work without an owner
  std::uint32_t client_code = 0;  // the client's command; 0: idle work
  std::uint32_t rc = 0;           // the response code for the client
  std::vector<TpmUse> tpm;        // in the order of sending
  std::uint32_t evictions = 0;    // of objects and sessions, to make room
  std::uint32_t parks = 0;        // policy sessions that left the TPM to free their numbers
  std::uint32_t rebuilds = 0;     // policy sessions that came back
  // Reclaimed sessions and dropped objects: another client waited or had no room, a pool was full, or an administrator
  // ordered it.
  std::vector<Reclaimed> reclaimed;
  std::vector<Reclaimed> let_go;        // left behind by disconnected clients, and over the limit
  std::optional<std::uint64_t> waited;  // nanoseconds of this StartAuthSession's wait for a session
  std::optional<Held> held;             // by the client's space, after its command
  bool auth_failed = false;             // a wrong authorization cost its owner, or the chip, a try
  bool stopped_for_lockout = false;     // rc is LOCKOUT because the owner has no try left
  bool stopped_by_own_share =
      false;  // with stopped_for_lockout: the owner's own share is used up; false: the share of all unprivileged owners
  std::uint32_t lockout_interval = 0;  // with stopped_for_lockout: seconds without a failure until one try comes back
  bool kept_from_pin = false;     // rc is NV_AUTHORIZATION because the command tried a PIN that is not for its space
  std::optional<Saver> saved_by;  // rc is HANDLE because this other holder saved the session of the ContextLoad
  // A start-up of the TPM noticed in this step; and the number of clients' entities found lost.
  wire::Restarted restarted = wire::Restarted::kNo;
  std::uint32_t lost_objects = 0, lost_sessions = 0;
  bool tpm_lost = false;          // the back end is gone
  base::BrokenInvariants broken;  // bugs of tpmspace whose effects were contained

  [[nodiscard]] std::uint64_t tpm_nanoseconds() const {
    std::uint64_t sum = 0;
    for (const auto& use : tpm) sum += use.nanoseconds;
    return sum;
  }
};

// Whether the client's command was kept from the TPM because it is known to crash, hang or disable a TPM
// (tpm/known_crashes.h). The test is exact: no TPM uses layer 11, and no row of that table is answered FAILURE (no
// response) or CANCELED (never sent).
[[nodiscard]] inline bool is_known_crash(const Account& account) {
  const auto last = std::find_if(account.tpm.rbegin(), account.tpm.rend(),
                                 [](const TpmUse& use) { return use.cause == Cause::kClient; });
  if (last == account.tpm.rend()) return false;
  const wire::Rc code = last->rc;
  return wire::layer_of(code) == wire::layer_of(wire::kManagerLayer) && code == account.rc &&
         code != wire::from_manager(wire::rc::kFailure) && code != wire::from_manager(wire::rc::kCanceled);
}

}  // namespace tpmspace::observe
