// The last refused command of each user: why `tpmspace whoami` can say why the program before it failed.
//
// Idea: a program of tpm2-tools has a connection of its own, which has ended when its user asks. So the last refusal is
// kept for the user, that is an owner and a part of it.
// Threads: belongs to the event loop, which tells the time. Limits: kOwners owners, the one that was refused longest
// ago makes room; kUsers users of one owner, likewise; each for kKept. Costs: logarithmic in the number of owners.
#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "books/owner.h"
#include "wire/rc.h"

namespace tpmspace::explain {

// A command that was answered with our layer.
struct Refusal {
  std::chrono::steady_clock::time_point at = {};
  std::string command = {};  // "TPM2_Clear", or kOrder; empty: it could not be parsed
  wire::Rc code = 0;
  std::string reason = {};  // a sentence without its full stop
};

// What to tell a user whose command was answered with that code of our layer. Source: docs/transparency.md.
[[nodiscard]] std::string_view reason_of(wire::Rc code);
// Of a command that was kept away from the TPM: observe::is_known_crash.
inline constexpr std::string_view kKnownCrash =
    "the command is known to crash, hang or disable TPMs, so the TPM never saw it: docs/known-crashes.md";
// Of a command that was answered LOCKOUT. `interval`: seconds.
[[nodiscard]] std::string sentence_of_lockout(bool by_own_share, std::uint32_t interval);
// In place of a command's name: what was refused was said to tpmspaced itself.
inline constexpr std::string_view kOrder = "a request to tpmspaced";
inline constexpr std::string_view kKeptFromPin =
    "the profile does not list this PIN Fail index under nv.pin, as one whose authorization it may try";

class LastRefusals {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::size_t kOwners = 256, kUsers = 16;
  static constexpr std::chrono::minutes kKept{60};

  void note(const space::Holder& who, Refusal refusal);
  // Null: none is known.
  [[nodiscard]] const Refusal* of(const space::Holder& who, Clock::time_point now) const;

 private:
  struct OfUser {
    std::uint64_t user = 0;
    Refusal refusal = {};
  };
  struct OfOwner {
    std::vector<OfUser> users = {};  // the one that was refused last is the last
    std::list<space::OwnerId>::iterator place = {};
  };
  std::map<space::OwnerId, OfOwner> owners_;
  std::list<space::OwnerId> order_;  // the one that was refused last is the last
};

}  // namespace tpmspace::explain
