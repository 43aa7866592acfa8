// An account: what one step of the engine cost, as a value, for queue, metrics, audit and trace. No I/O.
// Units: TPM commands; nanoseconds of the clock that the engine was given.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "wire/rc.h"
#include "wire/tpm_use.h"

namespace tpmspace::observe {

using wire::Cause;
using wire::kCauses;
using wire::Reclaimed;
using wire::Taker;
using wire::TpmUse;

// What a space has at one time: transient objects and sequences, active sessions.
struct Held {
  std::uint32_t objects = 0, sessions = 0;
};

// space::Holder
struct Saver {
  std::uint64_t owner = 0, user = 0, connection = 0;
};

struct Account {
  std::uint64_t owner = 0;        // 0 for idle work that belongs to nobody
  std::uint64_t connection = 0;   // 0 likewise
  std::uint32_t client_code = 0;  // the client's command; 0: idle work
  std::uint32_t rc = 0;           // what the client was answered
  std::vector<TpmUse> tpm;        // in the order they were sent
  std::uint32_t evictions = 0;    // of objects and sessions, to make room
  std::uint32_t parks = 0;        // policy sessions that left the TPM because their numbers were needed
  std::uint32_t rebuilds = 0;     // and those that came back
  // Sessions and objects that were taken: somebody waited or had no room, a pool was full, or an administrator said so.
  std::vector<Reclaimed> reclaimed;
  std::vector<Reclaimed> let_go;        // that clients who are gone left behind, and there were too many
  std::optional<std::uint64_t> waited;  // nanoseconds that this StartAuthSession waited for a session
  std::optional<Held> held;             // by the client's space, after its command
  bool auth_failed = false;             // a wrong authorization cost its owner, or the chip, a try
  bool stopped_for_lockout = false;     // rc is LOCKOUT because the owner has none left
  bool stopped_by_own_share = false;    // if so: it is the owner's; else that of all who are unprivileged
  std::uint32_t lockout_interval = 0;   // if so: seconds without a failure, after which one try comes back
  bool kept_from_pin = false;           // rc is NV_AUTHORIZATION because it tried a PIN that is not for its space
  std::optional<Saver> saved_by;        // rc is HANDLE because this other one saved the session that it would load
  // A start-up of the TPM that was noticed in this step; and what clients had that is gone, then or otherwise.
  wire::Restarted restarted = wire::Restarted::kNo;
  std::uint32_t lost_objects = 0, lost_sessions = 0;
  bool tpm_lost = false;  // the back end is gone
  [[nodiscard]] std::uint64_t tpm_nanoseconds() const {
    std::uint64_t sum = 0;
    for (const auto& use : tpm) sum += use.nanoseconds;
    return sum;
  }
};

// The client's command was kept away from the TPM, because it is known to crash, hang or disable one
// (tpm/known_crashes.h): no TPM speaks with our layer, and no row of that table is answered FAILURE (no response) or
// CANCELED (never sent).
[[nodiscard]] inline bool is_known_crash(const Account& account) {
  if (account.tpm.empty() || account.tpm.back().cause != Cause::kClient) return false;
  const wire::Rc code = account.tpm.back().rc;
  return wire::layer_of(code) == wire::layer_of(wire::kManagerLayer) && code == account.rc &&
         code != wire::from_manager(wire::rc::kFailure) && code != wire::from_manager(wire::rc::kCanceled);
}

}  // namespace tpmspace::observe
