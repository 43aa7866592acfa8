// How many wrong authorizations an owner has left, so that no owner can lock the TPM for the others.
//
// Idea: the chip counts wrong authorizations of protected entities, takes one off in each recovery time, and locks when
// the count is too high. This class counts the same, for each owner and in all, and stops owners before the chip does.
// Unprivileged owners never use the last quarter of the chip's tries (at least one), whichever owner failed before. Of
// the other tries, an owner has at most a quarter of the chip's (at least one), and never more than would then remain:
// the next owner finds some, until none is left. A privileged owner is never stopped here; its failures count in all. A
// failure that costs other tries than the chip's (the PIN of an NV index) is counted beside: an owner may make as many
// of these, and is stopped in the same way. A count is never below the chip's: each failure starts a new recovery time,
// as in the reference code (other chips recover no later), and the chip's counter is adopted whenever read. When the
// chip takes one off, exactly one failure is forgotten: of the owner whose last failure is longest ago. So a few owners
// never get more than their shares, however long they continue, and an owner without failures always has tries. The
// caller knows which entities are protected, which owner failed, and the chip's parameters (docs/tpm-behaviour.md 33,
// 34). One command fails at most once.
//
// Threads: a value. Units: nanoseconds of a clock that never goes back; tries.
// Limits: kMaxOwners with failures of each kind at a time. A further owner that could cost the chip a try is treated as
// an owner without tries; of failures counted beside, the oldest are forgotten.
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

  // Why an unprivileged owner may not send a command that would count on failure.
  enum class Shortage : std::uint8_t {
    kNone,  // the owner may
    kOwn,   // the owner's share is used up
    kAll,   // the common sum of all unprivileged owners is used up
  };
  [[nodiscard]] Shortage shortage(Owner owner, Time now) const;
  // Whether the owner may try. False: LOCKOUT from layer 11.
  [[nodiscard]] bool may_try(Owner owner, Time now) const;
  // The time until the owner may try, if no owner fails meanwhile; 0: now. UINT64_MAX: never (the chip has too few
  // tries to share).
  [[nodiscard]] Time wait(Owner owner, Time now) const;

  // The chip counted a failure.
  void failed(Owner owner, Time now);
  // The same failure counts for another owner's share as well, because the client may be that owner. The chip counted
  // once.
  void also_failed(Owner owner, Time now);
  void privileged_failed(Time now);
  // For a failure outside of the chip's count, at the cost of a try of another kind.
  void failed_beside(Owner owner, Time now);
  // TPM_PT_LOCKOUT_COUNTER was read: adopts failures of other programs, or a faster recovery. Zero forgives all
  // failures that the chip had counted.
  void counter_read(std::uint32_t counter, Time now);
  // An administrator has reset the counter: all owners begin anew.
  void forgive(Time now);
  // DictionaryAttackParameters. Failures stay.
  void chip_changed(const Chip& chip, Time now);

  // Units: tries.
  [[nodiscard]] std::uint32_t share() const { return quarter(); }    // the most for one unprivileged owner
  [[nodiscard]] std::uint32_t reserve() const { return quarter(); }  // never used by unprivileged owners
  [[nodiscard]] std::uint32_t failures(Owner owner, Time now) const;
  [[nodiscard]] std::uint32_t failures_beside(Owner owner, Time now) const;
  [[nodiscard]] std::uint32_t failures(Time now) const;
  [[nodiscard]] std::size_t owners() const { return owners_.size(); }

 private:
  struct Count {
    std::uint32_t failures = 0;
    Time last = 0;  // the time of the newest failure
    void add(Time now);
  };
  using Counts = std::map<Owner, Count>;

  [[nodiscard]] std::uint32_t quarter() const;  // of the chip's tries, at least one
  // The failures that time has taken off since `since`.
  [[nodiscard]] std::uint64_t recovered(Time since, Time now) const;
  [[nodiscard]] std::uint32_t aged_beside(const Count& count, Time now) const;
  [[nodiscard]] bool has_place(Owner owner, Time now) const;
  [[nodiscard]] bool has_place_beside(Owner owner, Time now) const;
  void forget(Time now);  // drops failures that no longer count for owners
  void settle(Time now);  // the same, and updates the chip's count; a recovery time begins

  Chip chip_;
  std::uint32_t all_ = 0;  // the chip's count
  Time since_ = 0;         // the latest possible start of the chip's recovery time
  // The failures by owner, and the time since when no owner failed. A read of the chip's count does not prolong owners'
  // waits.
  Time forgetting_ = 0;
  Counts owners_;
  Count others_;   // of privileged owners, other programs, and owners without a place in the table
  Counts beside_;  // each with a recovery time of its own
};

}  // namespace tpmspace::engine
