#include "tpm/latency.h"

#include <algorithm>
#include <optional>

#include "wire/command.h"
#include "wire/command_table.h"
#include "wire/handle.h"
#include "wire/response.h"

namespace tpmspace::tpm {
namespace {

using Duration = Timer::Duration;
using namespace std::chrono_literals;
namespace cc = wire::cc;

// TPM_ALG_ID (Part 2, 6.3): distinguishes slow keys from fast keys.
constexpr std::uint16_t kAlgRsa = 0x0001, kAlgEcc = 0x0023;
constexpr std::uint16_t kAlgEcdsa = 0x0018, kAlgEcSchnorr = 0x001C;  // ECDSA, ECDAA, SM2, ECSCHNORR are consecutive

// The figures that differ between the two chips.
struct Figures {
  Duration rsa_keygen, rsa_private, ecc_private, rsa_public;
};
constexpr Figures kSlb9670 = {2196ms, 163ms, 69ms, 8900us};
constexpr Figures kSt33ktpm2x = {1944ms, 91ms, 25ms, 6500us};

// Published for one chip or a range over several; used for both.
constexpr Duration kContextLoadObject = 33ms;  // 30..37
constexpr Duration kFlush = 3200us;
constexpr Duration kSaltedSession = 85ms;
constexpr Duration kPcrExtend = 6400us;
constexpr Duration kQuote = 700ms;   // 600..810
constexpr Duration kVerify = 200ms;  // 100..635, the low end because most verify RSA, a public-key operation
// No figures are published: estimates.
constexpr Duration kContextSaveObject = 30ms;
constexpr Duration kContextSession = 12ms;   // saving or loading a session
constexpr Duration kEccKeygen = 150ms;       // one multiplication, a random number and the object's protection
constexpr Duration kSymmetricKeygen = 40ms;  // a random number and the object's protection
constexpr Duration kLoad = 35ms;             // as ContextLoad: decrypt, check integrity
constexpr Duration kPlainSession = 12ms;     // unsalted: two random numbers

// For unknown commands: by duration class. All estimates.
Duration estimate(wire::DurationClass duration) {
  switch (duration) {
    case wire::DurationClass::kShort:
      return 4ms;
    case wire::DurationClass::kMedium:
      return 20ms;
    case wire::DurationClass::kLong:
      return 200ms;
    case wire::DurationClass::kKeygen:
      return 2s;
  }
  return 4ms;
}

// The readable part of a command: its handles and parameters. A decrypt session hides the *contents* of the first
// parameter but not its size, so the second parameter is readable all the same.
struct Clear {
  std::uint32_t first_handle = 0;
  wire::Reader parameters;
};

std::optional<Clear> read_clear(wire::ByteView command, const wire::CommandRow& row) {
  wire::Reader reader(command);
  const auto tag = reader.u16();
  if (!tag || !reader.take(8)) return std::nullopt;
  Clear clear{0, wire::Reader({})};
  for (std::size_t i = 0; i < row.handles; ++i) {
    const auto handle = reader.u32();
    if (!handle) return std::nullopt;
    if (i == 0) clear.first_handle = *handle;
  }
  if (*tag == wire::kTagSessions) {
    const auto size = reader.u32();
    if (!size || !reader.take(*size)) return std::nullopt;
  }
  clear.parameters = reader;
  return clear;
}

// inSensitive, then inPublic, which begins with the key's type.
Duration keygen(const Figures& chip, wire::Reader parameters) {
  if (!parameters.tpm2b() || !parameters.u16()) return chip.rsa_keygen;
  const auto type = parameters.u16();
  if (!type || *type == kAlgRsa) return chip.rsa_keygen;
  return *type == kAlgEcc ? kEccKeygen : kSymmetricKeygen;
}

// digest, then inScheme. NULL means the key's own scheme, which is unknown here: RSA is assumed, the slower one.
Duration signing(const Figures& chip, wire::Reader parameters) {
  if (!parameters.tpm2b()) return chip.rsa_private;
  const auto scheme = parameters.u16();
  const bool ecc = scheme && *scheme >= kAlgEcdsa && *scheme <= kAlgEcSchnorr;
  return ecc ? chip.ecc_private : chip.rsa_private;
}

// context: sequence, then savedHandle, which tells the kind.
Duration context_load(wire::Reader parameters) {
  if (!parameters.u64()) return kContextSession;
  return wire::is_session(parameters.u32().value_or(0)) ? kContextSession : kContextLoadObject;
}

// nonceCaller, then encryptedSalt.
Duration session_start(wire::Reader parameters) {
  if (!parameters.tpm2b()) return kPlainSession;
  const auto salt = parameters.tpm2b();
  return salt && !salt->empty() ? kSaltedSession : kPlainSession;
}

Duration figure(const Figures& chip, const wire::CommandRow& row, const Clear& clear) {
  switch (row.code) {
    case cc::kCreatePrimary:
    case cc::kCreate:
    case cc::kCreateLoaded:
      return keygen(chip, clear.parameters);
    case cc::kSign:
      return signing(chip, clear.parameters);
    case cc::kRSADecrypt:
    case cc::kActivateCredential:
      return chip.rsa_private;
    case cc::kECDHZGen:
    case cc::kECDHKeyGen:
      return chip.ecc_private;
    case cc::kRSAEncrypt:
      return chip.rsa_public;
    case cc::kQuote:
    case cc::kCertify:
    case cc::kCertifyCreation:
    case cc::kGetTime:
      return kQuote;
    case cc::kVerifySignature:
      return kVerify;
    case cc::kLoad:
      return kLoad;
    case cc::kContextLoad:
      return context_load(clear.parameters);
    case cc::kContextSave:
      return wire::is_session(clear.first_handle) ? kContextSession : kContextSaveObject;
    case cc::kFlushContext:
      return kFlush;
    case cc::kStartAuthSession:
      return session_start(clear.parameters);
    case cc::kPCRExtend:
      return kPcrExtend;
    default:
      return estimate(row.duration);
  }
}

}  // namespace

Duration latency_of(ChipModel model, wire::ByteView command) {
  const auto header = wire::read_header(command);
  const wire::CommandRow* row = header ? wire::CommandTable::builtin().find(header->code) : nullptr;
  if (row == nullptr) return estimate(wire::DurationClass::kShort);
  const auto clear = read_clear(command, *row);
  if (!clear) return estimate(wire::DurationClass::kShort);
  return figure(model == ChipModel::kSlb9670 ? kSlb9670 : kSt33ktpm2x, *row, *clear);
}

// Enters `phase` unless this command has been canceled.
bool SlowTpm::enter(Phase phase) {
  const std::lock_guard lock(mutex_);
  if (phase == Phase::kBefore) canceled_ = hung_up_;
  if (phase == Phase::kBefore) timer_->clear();
  if (canceled_) return false;
  phase_ = phase;
  return true;
}

wire::Tpm::Answer SlowTpm::transact(wire::ByteView command, std::uint8_t locality) {
  const Timer::Time began = timer_->now();
  const Duration full = latency_of(model_, command);
  Answer answer = wire::error_response(wire::rc::kCanceled);
  if (enter(Phase::kBefore)) {
    (void)timer_->wait_until(began + std::max(Duration::zero(), full - own_time_[full]));
    // Decided under the lock, not by the end of the wait: a cancel just afterwards must still find an untouched TPM.
    if (enter(Phase::kInside)) answer = pass_on(command, locality, full, began);
  }
  const std::lock_guard lock(mutex_);
  phase_ = Phase::kIdle;
  if (hung_up_) return tl::unexpected(Error{Error::Kind::kGone, "this process closed the connection to the TPM"});
  return answer;
}

wire::Tpm::Answer SlowTpm::pass_on(wire::ByteView command, std::uint8_t locality, Duration full, Timer::Time began) {
  const Timer::Time passed_on = timer_->now();
  Answer answer = inner_->transact(command, locality);
  const auto took = std::chrono::duration_cast<Duration>(timer_->now() - passed_on);
  Duration& own = own_time_[full];
  // Fast to rise, slow to fall: an expectation that is too long is corrected by waiting afterwards; an expectation that
  // is too short cannot be corrected.
  own = std::max(took, own - (own - took) / 8);
  // The command is done: a cancel can no longer undo the command, only spare the client the rest of the wait.
  if (answer && enter(Phase::kAfter)) (void)timer_->wait_until(began + full);
  return answer;
}

void SlowTpm::cancel() {
  const std::lock_guard lock(mutex_);
  canceled_ = true;  // the next command clears the flag if no command is running
  timer_->wake();
  if (phase_ == Phase::kInside) inner_->cancel();
}

void SlowTpm::hang_up() {
  const std::lock_guard lock(mutex_);
  hung_up_ = true;
  canceled_ = true;
  timer_->wake();
  inner_->hang_up();
}

}  // namespace tpmspace::tpm
