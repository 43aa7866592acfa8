// What one attempt of a client's command needs: worked out once from the books, before anything is moved.
//
// Idea: the manager makes a plan, and every step of the attempt reads the plan. If the TPM turns out to be different
// from the books, the manager corrects the books and makes a new plan.
// Threads: a value; pure functions of the books. The command outlives its plan.
// Errors: response codes without a layer.
// Limits: a command has few handles and authorizations; a plan looks at no other client's entities.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "books/books.h"
#include "books/chip.h"
#include "space/capability_view.h"
#include "space/stale_nonces.h"
#include "wire/command.h"

namespace tpmspace::space {

// Why a command must not reach the TPM.
struct Refusal {
  wire::Rc code = wire::rc::kSuccess;
  std::optional<std::uint32_t> unknown;  // the handle without an entity; the answer tells the client
};

struct Plan {
  SpaceId space;
  const wire::Command* command = nullptr;
  // Transient objects in the handle area that must be in the TPM, in order.
  std::vector<wire::ClientHandle> objects;
  // Handles of the different sessions in the handle area and the authorization area, which must be in the TPM.
  std::vector<std::uint32_t> sessions;
  std::uint32_t free_slots = 0;      // object slots that must be free beside those of `objects`
  bool starts_session = false;       // needs a slot and a number for a session
  bool numbers_are_covered = false;  // an HMAC covers the numbers by which the client knows its sessions
  std::optional<CapabilityQuery> query;
  std::optional<wire::Bytes> parameters;  // for the TPM in place of the client's; nullopt: unchanged
  std::optional<Refusal> refusal;
};

// Whether the command makes or loads an object or a sequence.
[[nodiscard]] bool creates_object(const wire::Command& command);

[[nodiscard]] Plan make_plan(const Books& books, const Chip& chip, SpaceId space, const wire::Command& command);

// Handles of the different sessions in a command, as the client knows them.
[[nodiscard]] std::vector<std::uint32_t> sessions_in(const wire::Command& command);

// What the manager moves for a plan, as far as the books tell. The TPM may have less room than the books show.
struct Swaps {
  std::uint32_t objects_in = 0, objects_out = 0;    // loaded, saved or flushed
  std::uint32_t sessions_in = 0, sessions_out = 0;  // loaded, saved or flushed
  std::uint32_t rebuilds = 0;                       // of parked sessions

  bool operator==(const Swaps&) const = default;
};
[[nodiscard]] Swaps estimate(const Books& books, const Chip& chip, const Plan& plan);

}  // namespace tpmspace::space
