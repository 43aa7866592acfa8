// The manager's own words to the TPM: save, load, flush, and finding out what it did. Every command it sends is put on
// the account with its cause.
//
// Threads: with the manager. Errors: a TPM's response code, or kFailure when there was no (believable) answer; then
// `cost().tpm_lost` or `cost().distrusted` says which.
// Source: TPM 2.0 library, Part 3, 9.3, 28.2-28.4, 29.1, 30.2.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

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
// A list of the TPM is read in at most so many pages, whatever a TPM says of there being more.
inline constexpr int kMaxPages = 64;

// What one step cost, for the account.
struct Cost {
  std::vector<wire::TpmUse> tpm;
  std::vector<wire::Reclaimed> reclaimed;
  std::vector<wire::Reclaimed> let_go;  // of those that were left behind
  std::uint32_t evictions = 0;
  std::uint32_t parks = 0, rebuilds = 0;  // of policy sessions
  // Nanoseconds of TPM time that flushed what these owners had left behind: part of `tpm`, for them to pay.
  std::vector<std::pair<OwnerId, std::uint64_t>> owed;
  LockoutNews lockout;
  wire::Restarted restarted = wire::Restarted::kNo;
  std::uint32_t lost_objects = 0, lost_sessions = 0;  // that clients had, and the TPM has no more
  bool tpm_lost = false;                              // the back end is gone
  bool unpowered = false;   // one of our own commands was told INITIALIZE, and the TPM was not started since
  bool distrusted = false;  // an answer was no TPM response, or there was none: the books must be compared
};

// TPMA_OBJECT in a TPMT_PUBLIC (or the template of a CreateLoaded), TPMA_NV in a TPMS_NV_PUBLIC. Nullopt: too short.
[[nodiscard]] std::optional<std::uint32_t> attributes_in(wire::ByteView area, bool nv);
// The TPM does not know the entity that it was asked about: its authorization will not be looked at.
[[nodiscard]] bool says_it_is_not_there(wire::Rc code);
// What the answer to a GetCapability says of it, if anything: the parameters of a success.
void learn_lockout(LockoutNews& news, wire::ByteView capability_data);
// A page of a capability that is a list of 32-bit words: handles, or the attributes of commands.
struct CapabilityPage {
  std::vector<std::uint32_t> words;
  bool more = false;
};
// The parameters of an answer to GetCapability. Nullopt: they are no such page, or it has more words than `most`.
[[nodiscard]] std::optional<CapabilityPage> read_page(wire::ByteView parameters, std::uint32_t capability,
                                                      std::uint32_t most);

class TpmPort {
 public:
  using Clock = std::function<std::uint64_t()>;  // nanoseconds, monotonic
  template <typename T>
  using Result = tl::expected<T, wire::Rc>;

  TpmPort(wire::Tpm& tpm, const wire::CommandTable& table, Clock clock);

  // Octets of a TPMS_CONTEXT. `cause`: kSave or kRefresh.
  Result<wire::Bytes> context_save(std::uint32_t handle, wire::Cause cause);
  Result<wire::TpmHandle> context_load(wire::ByteView context, wire::Cause cause);
  // kSuccess, or the TPM's code. `cause`: kFlush, or kClient when a client's own FlushContext asked for it.
  wire::Rc flush(std::uint32_t handle, wire::Cause cause);
  // Likewise, of what that owner left behind, and pays for; 0: nobody is known to have left it.
  wire::Rc flush_left_behind(std::uint32_t handle, wire::Cause cause, OwnerId by);

  // An HMAC session of our own that nobody uses (TPM-RULES 24).
  Result<wire::TpmHandle> start_filler();

  // --- Policy sessions that leave and come back. `cause`: kPark or kRebuild.
  // `start`: a client's StartAuthSession without sessions.
  Result<wire::TpmHandle> start_again(wire::ByteView start);
  // `key`: of a PolicySigned.
  wire::Rc policy_step(const PolicyStep& step, wire::TpmHandle key, wire::TpmHandle session, std::uint8_t locality);
  Result<wire::Bytes> policy_digest(std::uint32_t session, wire::Cause cause);
  Result<std::uint32_t> pcr_counter(wire::Cause cause);
  // A PolicyPCR without PCRs: PCR_CHANGED if they have changed since the session's last one. It spoils the policy.
  wire::Rc policy_of_no_pcr(std::uint32_t session);

  // The Name of an object or NV index; empty for a sequence.
  Result<wire::Bytes> name_of(std::uint32_t handle);

  // TPMA_OBJECT of an object, TPMA_NV of an NV index.
  Result<std::uint32_t> attributes_of(std::uint32_t handle);
  // How the chip counts wrong authorizations, onto the account.
  wire::Rc read_lockout();

  wire::Rc startup_clear();
  struct Clocks {
    std::uint32_t reset_count = 0, restart_count = 0;
  };
  Result<Clocks> read_clock();
  // One page, of at most so many words.
  Result<CapabilityPage> capability(std::uint32_t capability, std::uint32_t first, std::uint32_t most);
  // All handles of the range that `first` begins, over as many pages as it takes (bounded).
  Result<std::vector<std::uint32_t>> handles(std::uint32_t first);

  // A client's own command, through `tpm` (which may watch it more closely than ours).
  Result<wire::Response> forward(wire::Tpm& tpm, wire::ByteView command, const wire::CommandRow& row,
                                 bool with_sessions, std::uint8_t locality);

  [[nodiscard]] std::uint64_t now() const { return clock_(); }
  [[nodiscard]] Cost& cost() { return cost_; }
  [[nodiscard]] Cost take_cost();

 private:
  Result<wire::Response> send(wire::Tpm& tpm, wire::ByteView command, const wire::CommandRow& row, bool with_sessions,
                              std::uint8_t locality, wire::Cause cause);
  // One of our own commands, without sessions. An unasked CANCELED is sent again once.
  Result<wire::Response> own(wire::CommandCode code, wire::ByteView body, wire::Cause cause, std::uint8_t locality = 0);

  wire::Tpm& tpm_;
  const wire::CommandTable& table_;
  Clock clock_;
  Cost cost_;
};

}  // namespace tpmspace::space
