// Session numbers: how the manager frees one when the chip has none left, by parking a policy session, and how the
// parked session is rebuilt.
//
// Idea: a rebuildable session (books/policy_log.h) costs the TPM nothing while parked: only its log is kept. A session
// is parked only if a number is wanted and none is free, because the rebuilt session has new nonces and the client may
// notice (space/stale_nonces.h). The order of parking: first the sessions of owners with more than their fair share;
// then sessions unused for `kGrace`; then sessions of a client unlikely to notice (a step is done, and no parameters
// are to be decrypted); then the longest idle. Sessions with a queued command come last. No command waits for longer
// than `kGrace` to spare another session, and an owner with less than its fair share does not wait to spare the session
// of an owner with more.
// A parked session is rebuilt at its next use, under any number, or under its own number if an HMAC covers the number
// (docs/tpm-behaviour.md 7). Its policy must then be the same as before, and no PCR of a PolicyPCR may have changed,
// since the chip would have noticed the change.
//
// Threads: with the manager. Units: nanoseconds of the manager's clock.
// Errors: response codes without a layer; a `Status` may also start over, or say that the rebuilt policy would differ,
// so that the session cannot be rebuilt.
// Limits: Quota's for parked sessions; a session is spared for a next step for at most `kGrace`.
// Source: docs/tpm-behaviour.md 23, 24, 28, 31.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <vector>

#include "books/books.h"
#include "books/chip.h"
#include "space/residency.h"
#include "space/status.h"
#include "space/tpm_port.h"

namespace tpmspace::space {

class Parking {
 public:
  Parking(Books& books, const Chip& chip, const Quota& quota, TpmPort& port, Recovery& recovery, Residency& residency)
      : books_(books), chip_(chip), quota_(quota), port_(port), recovery_(recovery), residency_(residency) {}

  // The rule for bytes of parked sessions: some bytes are kept for sessions that are still in the TPM.
  [[nodiscard]] static ShareRule rule(const Quota& quota, const Chip& chip);

  // --- Numbers
  // When a number (any, or the given one) is available to a command of `asker` that came at `since`, without any client
  // noticing, except clients of owners above their fair share; now or in the past: at once. Nullopt: unknown.
  [[nodiscard]] std::optional<std::uint64_t> number_at(std::uint64_t since, OwnerId asker) const;
  [[nodiscard]] std::uint64_t number_at(std::uint64_t since, OwnerId asker, std::uint32_t number) const;
  // Whether any session could leave for a number.
  [[nodiscard]] bool can_free_a_number() const;
  // Frees a number for the space, even if a client notices. SESSION_HANDLES: none is left. FAILURE: the TPM cannot be
  // asked.
  wire::Rc free_a_number(SpaceId space);
  // Parks one more session, whose number the space may be given, or any. False: none is left.
  bool make_way(SpaceId space);
  bool make_way() { return park_one(std::nullopt); }
  [[nodiscard]] std::optional<std::uint32_t> lowest_free_number(const std::set<std::uint32_t>& of_others = {}) const;
  [[nodiscard]] std::size_t active() const { return books_.sessions.size() + books_.unwanted_sessions.size(); }

  // --- Room in the books
  // Whether this owner may have one more rebuildable session.
  [[nodiscard]] bool has_room_for(OwnerId owner) const;
  // Whether this step fits into the log of the session.
  [[nodiscard]] bool has_room_for(const Session& session, const wire::Command& step) const;

  // --- Out and in
  // For a booked session that can be rebuilt.
  wire::Rc park(std::uint32_t number);
  // Whether `bring_back` could get that number, as far as the books tell.
  [[nodiscard]] bool can_have_number(std::uint32_t number) const;
  // Rebuilds the session that is parked under `key`. `own_number`: the TPM must use the number that the client knows;
  // REFERENCE_H0 if impossible. PCR_CHANGED as the chip would answer.
  Status bring_back(const ParkedKey& key, std::uint8_t locality, bool own_number);

 private:
  static constexpr std::uint64_t kGrace = 250'000'000;

  // Numbers, in the order of parking.
  [[nodiscard]] std::vector<std::uint32_t> sessions_to_park() const;
  bool park_one(std::optional<SpaceId> welcome_in);
  Status free_number(std::uint32_t number);
  tl::expected<wire::TpmHandle, Status> start_again(const Session& parked);
  Status repeat_steps(Session& parked, wire::TpmHandle handle, std::uint8_t locality);
  Status repeat(const PolicyStep& step, wire::TpmHandle handle, std::uint8_t locality);
  Status compare(Session& parked, wire::TpmHandle handle);
  bool pcr_has_changed(Session& parked);
  void lose(std::uint32_t number);

  Books& books_;
  const Chip& chip_;
  const Quota& quota_;
  TpmPort& port_;
  Recovery& recovery_;
  Residency& residency_;
};

}  // namespace tpmspace::space
