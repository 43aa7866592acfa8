// The manager's own TPM commands: save, load, flush, and queries. The account records each command with its cause.
//
// Threads: with the manager.
// Errors: the TPM's response code, or kFailure without a (credible) response; then `cost().tpm_lost` or
// `cost().distrusted` is set.
// Source: TPM 2.0 library, Part 3, 9.3, 28.2-28.4, 29.1, 30.2.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "base/invariant.h"
#include "books/chip.h"
#include "books/owner.h"
#include "books/policy_log.h"
#include "wire/command_table.h"
#include "wire/handle.h"
#include "wire/rc.h"
#include "wire/response.h"
#include "wire/tpm.h"
#include "wire/tpm_use.h"

namespace tpmspace::space {

// TPM_CAP (Part 2, 6.12).
inline constexpr std::uint32_t kCapHandles = 1, kCapCommands = 2, kCapPcrs = 5, kCapTpmProperties = 6;
// The most pages of one list, even if the TPM claims that more follow.
inline constexpr int kMaxPages = 64;

// What one step cost, for the account.
struct Cost {
  std::vector<wire::TpmUse> tpm;
  std::vector<wire::Reclaimed> reclaimed;
  std::vector<wire::Reclaimed> let_go;  // sessions without a space
  std::uint32_t evictions = 0;
  std::uint32_t parks = 0, rebuilds = 0;  // of policy sessions
  // Nanoseconds of TPM time, included in `tpm`, for flushing entities that these owners had left behind; charged to the
  // owners.
  std::vector<std::pair<OwnerId, std::uint64_t>> owed;
  LockoutNews lockout;
  wire::Restarted restarted = wire::Restarted::kNo;
  std::uint32_t lost_objects = 0, lost_sessions = 0;  // entities of clients that the TPM has lost
  bool tpm_lost = false;                              // the back end is gone
  bool unpowered = false;         // the TPM answered INITIALIZE to a command of the manager, and was not started since
  bool distrusted = false;        // a response was missing or invalid: the books must be compared
  base::BrokenInvariants broken;  // contained
};

// TPMA_OBJECT in a TPMT_PUBLIC (or the template of a CreateLoaded), TPMA_NV in a TPMS_NV_PUBLIC. Nullopt: too short.
[[nodiscard]] std::optional<std::uint32_t> attributes_in(wire::ByteView area, bool nv);
// Whether the code means a missing entity, whose authorization will not be checked.
[[nodiscard]] bool says_it_is_not_there(wire::Rc code);
// Takes values of the lockout counting from the parameters of a successful GetCapability, if there are any.
void learn_lockout(LockoutNews& news, wire::ByteView capability_data);
// A page of a capability that is a list of 32-bit words: handles, or the attributes of commands.
struct CapabilityPage {
  std::vector<std::uint32_t> words;
  bool more = false;
};
// Reads the parameters of a GetCapability response. Nullopt: not such a page, or more than `most` words.
[[nodiscard]] std::optional<CapabilityPage> read_page(wire::ByteView parameters, std::uint32_t capability,
                                                      std::uint32_t most);

class TpmPort {
 public:
  using Clock = std::function<std::uint64_t()>;  // nanoseconds, monotonic
  template <typename T>
  using Result = tl::expected<T, wire::Rc>;

  TpmPort(wire::Tpm& tpm, const wire::CommandTable& table, Clock clock);

  // The bytes of a TPMS_CONTEXT. `cause`: kSave or kRefresh.
  Result<wire::Bytes> context_save(std::uint32_t handle, wire::Cause cause);
  Result<wire::TpmHandle> context_load(wire::ByteView context, wire::Cause cause);
  // kSuccess, or the TPM's code. `cause`: kFlush, or kClient when a client's own FlushContext asked for it.
  wire::Rc flush(std::uint32_t handle, wire::Cause cause);
  // The same, for an entity that the owner `by` left behind and is charged for; 0: unknown owner.
  wire::Rc flush_left_behind(std::uint32_t handle, wire::Cause cause, OwnerId by);

  // Starts an HMAC session that no client uses (docs/tpm-behaviour.md 24).
  Result<wire::TpmHandle> start_filler();

  // --- Policy sessions that are parked and rebuilt. `cause`: kPark or kRebuild.
  // `start`: a client's StartAuthSession without sessions.
  Result<wire::TpmHandle> start_again(wire::ByteView start);
  // `key`: of a PolicySigned.
  wire::Rc policy_step(const PolicyStep& step, wire::TpmHandle key, wire::TpmHandle session, std::uint8_t locality);
  Result<wire::Bytes> policy_digest(std::uint32_t session, wire::Cause cause);
  Result<std::uint32_t> pcr_counter(wire::Cause cause);
  // A PolicyPCR without PCRs: PCR_CHANGED if a PCR has changed since the session's last PolicyPCR. The session's policy
  // is unusable afterwards.
  wire::Rc policy_of_no_pcr(std::uint32_t session);

  // The Name of an object or NV index; empty for a sequence.
  Result<wire::Bytes> name_of(std::uint32_t handle);

  // TPMA_OBJECT of an object, TPMA_NV of an NV index.
  Result<std::uint32_t> attributes_of(std::uint32_t handle);
  // Reads how the chip counts wrong authorizations into the account.
  wire::Rc read_lockout();

  wire::Rc startup_clear();
  struct Clocks {
    std::uint32_t reset_count = 0, restart_count = 0;
  };
  Result<Clocks> read_clock();
  // One page of at most `most` words.
  Result<CapabilityPage> capability(std::uint32_t capability, std::uint32_t first, std::uint32_t most);
  // All handles of the range that starts at `first`, in as many pages as needed (bounded).
  Result<std::vector<std::uint32_t>> handles(std::uint32_t first);

  // A client's own command, through `tpm` (which may watch the command more closely).
  Result<wire::Response> forward(wire::Tpm& tpm, wire::ByteView command, const wire::CommandRow& row,
                                 bool with_sessions, std::uint8_t locality);

  [[nodiscard]] std::uint64_t now() const { return clock_(); }
  [[nodiscard]] Cost& cost() { return cost_; }
  [[nodiscard]] Cost take_cost();

 private:
  Result<wire::Response> send(wire::Tpm& tpm, wire::ByteView command, const wire::CommandRow& row, bool with_sessions,
                              std::uint8_t locality, wire::Cause cause);
  // A command of the manager, without sessions. After an unrequested CANCELED, the command is sent once more.
  Result<wire::Response> own(wire::CommandCode code, wire::ByteView body, wire::Cause cause, std::uint8_t locality = 0);

  wire::Tpm& tpm_;
  const wire::CommandTable& table_;
  Clock clock_;
  Cost cost_;
};

}  // namespace tpmspace::space
