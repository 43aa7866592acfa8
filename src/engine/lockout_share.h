// How many wrong authorizations an owner has left, so that none can lock the TPM for the others.
//
// Idea: the chip counts wrong authorizations of what it protects, takes one off each recovery time, and locks when they
// are too many. We count the same, for each owner and for all, and stop owners before the chip does. The last quarter
// of the chip's tries (at least one) no unprivileged owner ever touches, whoever made the failures before. Of the
// others an owner has at most a quarter of the chip's (at least one), and never more than would then still be there:
// whoever comes next finds some, until there is none left. A privileged owner is never stopped here; his failures count
// for all. What spends something else than the chip's tries (the PIN of an NV index) is counted beside: as many of
// those an owner may make, and is stopped alike. A count is never below the chip's own: each failure begins a new
// recovery time, as it does in the reference code (other chips recover no later), and the chip's counter is taken over
// whenever somebody has read it. When the chip takes one off, one failure is forgotten and no more: of whoever has not
// failed for the longest. So a few owners never have more than their shares, however long they go on, and there is
// always something left for who has not failed. Who is protected, whose failure it is and what the chip's parameters
// are, the caller knows (TPM-RULES 33, 34): one command fails at most once.
//
// Threads: a value. Units: nanoseconds of a clock that never goes back; tries.
// Limits: kMaxOwners with failures of each kind at a time. One more who would cost the chip a try is answered as if he
// had none left; of those counted beside the oldest is forgotten.
// Source: TPM 2.0 library, Part 1, 19.8 (dictionary attack protection).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

namespace tpmspace::engine {

class LockoutShare {
 public:
  using Owner = std::uint64_t;
  using Time = std::uint64_t;

  static constexpr std::size_t kMaxOwners = 4096;

  struct Chip {
    std::uint32_t tries = 3;            // TPM_PT_MAX_AUTH_FAIL
    Time recovery = 1'000'000'000'000;  // TPM_PT_LOCKOUT_INTERVAL; 0: the chip's protection is off
    bool operator==(const Chip&) const = default;
  };

  explicit LockoutShare(const Chip& chip) : chip_(chip) {}

  // Why an unprivileged owner may not send what would count if it failed.
  enum class Shortage : std::uint8_t {
    kNone,  // it may
    kOwn,   // its share is used up
    kAll,   // what all unprivileged owners have together is
  };
  [[nodiscard]] Shortage shortage(Owner owner, Time now) const;
  // Whether it may. False: LOCKOUT from our layer.
  [[nodiscard]] bool may_try(Owner owner, Time now) const;
  // How long until it may, if nobody fails meanwhile; 0: now. UINT64_MAX: never (the chip has too few tries to share).
  [[nodiscard]] Time wait(Owner owner, Time now) const;

  // The chip counted a failure.
  void failed(Owner owner, Time now);
  // It counts for another owner's share as well, because the client may be that one. The chip counted it once.
  void also_failed(Owner owner, Time now);
  void privileged_failed(Time now);
  // The chip did not count it, but it cost somebody a try.
  void failed_beside(Owner owner, Time now);
  // TPM_PT_LOCKOUT_COUNTER was read: what others did to it, or that it recovered faster. Zero forgives all that the
  // chip had counted.
  void counter_read(std::uint32_t counter, Time now);
  // An administrator has set the counter back: everybody begins anew.
  void forgive(Time now);
  // DictionaryAttackParameters. Failures stay.
  void chip_changed(const Chip& chip, Time now);

  // Units: tries.
  [[nodiscard]] std::uint32_t share() const { return quarter(); }    // of one unprivileged owner, at most
  [[nodiscard]] std::uint32_t reserve() const { return quarter(); }  // that unprivileged owners never touch
  [[nodiscard]] std::uint32_t failures(Owner owner, Time now) const;
  [[nodiscard]] std::uint32_t failures_beside(Owner owner, Time now) const;
  [[nodiscard]] std::uint32_t failures(Time now) const;
  [[nodiscard]] std::size_t owners() const { return owners_.size(); }

 private:
  struct Count {
    std::uint32_t failures = 0;
    Time last = 0;  // was the newest of them
    void add(Time now);
  };
  using Counts = std::map<Owner, Count>;

  [[nodiscard]] std::uint32_t quarter() const;  // of the chip's tries, at least one
  // Those that time has taken off since then.
  [[nodiscard]] std::uint64_t recovered(Time since, Time now) const;
  [[nodiscard]] std::uint32_t aged_beside(const Count& count, Time now) const;
  [[nodiscard]] bool has_place(Owner owner, Time now) const;
  [[nodiscard]] bool has_place_beside(Owner owner, Time now) const;
  void forget(Time now);  // what owners need not answer for any more
  void settle(Time now);  // the same, also of the chip's count; and a recovery time begins

  Chip chip_;
  std::uint32_t all_ = 0;  // the chip's count
  Time since_ = 0;         // its recovery time began, at the latest
  // Whose they are, and since when nobody failed. Reading the chip's count does not make owners wait longer.
  Time forgetting_ = 0;
  Counts owners_;
  Count others_;   // of the privileged, of other programs, of who found no place
  Counts beside_;  // each with a recovery time of its own
};

}  // namespace tpmspace::engine
