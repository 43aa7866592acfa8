// Numbers: where one more comes from when the chip has none left, and how a policy session that has left the TPM for it
// comes back.
//
// Idea: a session that can be made again (books/policy_log.h) costs the TPM nothing while it is parked: its log is
// here. It leaves only when a number is wanted and none is free, since it comes back with new nonces, and its client
// may notice (space/stale_nonces.h). So whoever has more of them than his fair share loses his own first; then those
// that were not used for `kGrace`; then those that are likely not to notice (with a step done, and no parameters to be
// decrypted); then the idlest. Nobody waits for longer than `kGrace` so that another one is spared.
// It comes back when it is used, under any number; under its own if the number is covered by an HMAC (TPM-RULES 7).
// Then its policy must be what it was, and no PCR of a PolicyPCR may have changed since: the chip would have noticed.
//
// Threads: with the manager. Units: nanoseconds of the manager's clock.
// Errors: response codes without a layer; kNotTheSame.
// Limits: Quota's of parked sessions; the time that one is spared for its next step is `kGrace`.
// Source: DESIGN, "Sessions"; TPM-RULES 23, 24, 28, 31.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <vector>

#include "books/books.h"
#include "books/chip.h"
#include "space/residency.h"
#include "space/tpm_port.h"

namespace tpmspace::space {

class Parking {
 public:
  // Its policy would not be the same: it cannot come back. No TPM says this.
  static constexpr wire::Rc kNotTheSame = 0xFFFFFFFE;

  Parking(Books& books, const Chip& chip, const Quota& quota, TpmPort& port, Recovery& recovery, Residency& residency)
      : books_(books), chip_(chip), quota_(quota), port_(port), recovery_(recovery), residency_(residency) {}

  // The rule for bytes of parked sessions: some are kept for those that are still in the TPM.
  [[nodiscard]] static ShareRule rule(const Quota& quota, const Chip& chip);

  // --- Numbers
  // When a number, or that number, can be had for somebody who asked at `since`, so that nobody notices; now or in the
  // past: at once. Nullopt: nobody knows.
  [[nodiscard]] std::optional<std::uint64_t> number_at(std::uint64_t since) const;
  [[nodiscard]] std::uint64_t number_at(std::uint64_t since, std::uint32_t number) const;
  // One is free for the space, whoever notices: SESSION_HANDLES if there is none.
  // FAILURE: the TPM cannot be asked.
  wire::Rc free_a_number(SpaceId space);
  // One more leaves the TPM, of those whose number the space may be given; or of any. False: there is none.
  bool make_way(SpaceId space);
  bool make_way() { return park_one(std::nullopt); }
  [[nodiscard]] std::optional<std::uint32_t> lowest_free_number(const std::set<std::uint32_t>& of_others = {}) const;
  [[nodiscard]] std::size_t active() const { return books_.sessions.size() + books_.unwanted_sessions.size(); }

  // --- Room in the books
  // Whether this owner may have one more session that can be made again.
  [[nodiscard]] bool has_room_for(OwnerId owner) const;
  // Whether this step may be added to the log of the session.
  [[nodiscard]] bool has_room_for(const Session& session, const wire::Command& step) const;

  // --- Out and in
  // Precondition: that number is booked, and can be made again.
  wire::Rc park(std::uint32_t number);
  // Whether `bring_back` could have that number, as far as the books know.
  [[nodiscard]] bool can_have_number(std::uint32_t number) const;
  // Precondition: it is parked there. `own_number`: the TPM must know it by the number that the client knows;
  // REFERENCE_H0 if it cannot. PCR_CHANGED as the chip would say it.
  wire::Rc bring_back(const ParkedKey& key, std::uint8_t locality, bool own_number);

 private:
  static constexpr std::uint64_t kGrace = 250'000'000;

  // Numbers, in the order in which they should leave.
  [[nodiscard]] std::vector<std::uint32_t> sessions_to_park() const;
  bool park_one(std::optional<SpaceId> welcome_in);
  wire::Rc free_number(std::uint32_t number);
  tl::expected<wire::TpmHandle, wire::Rc> start_again(const Session& parked);
  wire::Rc repeat_steps(Session& parked, wire::TpmHandle handle, std::uint8_t locality);
  wire::Rc repeat(const PolicyStep& step, wire::TpmHandle handle, std::uint8_t locality);
  wire::Rc compare(Session& parked, wire::TpmHandle handle);
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
