// The last refused command of each user: `tpmspace whoami` uses it to explain why the previous program failed.
//
// Idea: a program of tpm2-tools has its own connection, which has ended when its user asks. So the last refusal is kept
// for the user: an owner and a part of the owner.
// Threads: belongs to the event loop; times are passed in.
// Limits: kOwners owners, of which the owner refused longest ago makes room; kUsers users of one owner, likewise; each
// entry for kKept. Costs: logarithmic in the number of owners.
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

// A command refused with our layer.
struct Refusal {
  std::chrono::steady_clock::time_point at = {};
  std::string command = {};  // "TPM2_Clear", or kOrder; empty: the command could not be parsed
  wire::Rc code = 0;
  std::string reason = {};  // a sentence without its full stop
};

// The explanation, for a user, of a response code of our layer. Source: docs/transparency.md.
[[nodiscard]] std::string_view reason_of(wire::Rc code);
// For a command that was kept away from the TPM: observe::is_known_crash.
inline constexpr std::string_view kKnownCrash =
    "the command is known to crash, hang or disable TPMs, so the TPM never saw it: docs/known-crashes.md";
// For a command with the response LOCKOUT. `interval`: seconds.
[[nodiscard]] std::string sentence_of_lockout(bool by_own_share, std::uint32_t interval);
// In place of a command's name: the refused request was for tpmspaced itself.
inline constexpr std::string_view kOrder = "a request to tpmspaced";
inline constexpr std::string_view kKeptFromPin =
    "the profile does not list this PIN Fail index under nv.pin, as one whose authorization it may try";

class LastRefusals {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::size_t kOwners = 256, kUsers = 16;
  static constexpr std::chrono::minutes kKept{60};

  void note(const space::Holder& who, Refusal refusal);
  // Null: no refusal is known.
  [[nodiscard]] const Refusal* of(const space::Holder& who, Clock::time_point now) const;

 private:
  struct OfUser {
    std::uint64_t user = 0;
    Refusal refusal = {};
  };
  struct OfOwner {
    std::vector<OfUser> users = {};  // the user refused most recently is the last
    std::list<space::OwnerId>::iterator place = {};
  };
  std::map<space::OwnerId, OfOwner> owners_;
  std::list<space::OwnerId> order_;  // the owner refused most recently is the last
};

}  // namespace tpmspace::explain
