#include "space/tpm_port.h"

#include <utility>

#include "books/context.h"
#include "wire/command.h"

namespace tpmspace::space {

using wire::ByteView;
using wire::Cause;
using wire::Rc;
using wire::Reader;
using wire::Response;
using wire::Writer;
namespace cc = wire::cc;
namespace rc = wire::rc;

namespace {

constexpr std::uint32_t kLockoutCounter = 0x20E, kMaxAuthFail = 0x20F, kLockoutInterval = 0x210;  // TPM_PT
constexpr std::uint32_t kPage = 64;

// Saved sessions are requested as 0x03nnnnnn and listed as 0x02nnnnnn (docs/tpm-behaviour.md 11).
bool is_of_range(std::uint32_t handle, std::uint32_t first) {
  if (wire::is_session(first)) return wire::is_session(handle);
  return wire::kind_of(handle) == wire::kind_of(first);
}

// A well-formed response to a command of the manager without the required content.
constexpr Rc kNonsense = rc::kFailure;

}  // namespace

std::optional<std::uint32_t> attributes_in(ByteView area, bool nv) {
  Reader in(area);  // TPMT_PUBLIC: type, nameAlg; TPMS_NV_PUBLIC: nvIndex, nameAlg
  if (!in.take(nv ? 6 : 4)) return std::nullopt;
  return in.u32();
}

bool says_it_is_not_there(Rc code) {
  return wire::base_code(code) == rc::kHandle || code == rc::kReferenceH0;
}

void learn_lockout(LockoutNews& news, ByteView capability_data) {
  Reader in(capability_data);
  const auto more = in.u8();
  const auto capability = in.u32();
  const auto count = in.u32();
  if (!more || capability != kCapTpmProperties || !count) return;
  for (std::uint32_t i = 0; i < *count; ++i) {
    const auto property = in.u32();
    const auto value = in.u32();
    if (!property || !value) return;
    if (*property == kLockoutCounter) news.lockout_counter = *value;
    if (*property == kMaxAuthFail) news.max_auth_fail = *value;
    if (*property == kLockoutInterval) news.lockout_interval = *value;
  }
}

std::optional<CapabilityPage> read_page(ByteView parameters, std::uint32_t capability, std::uint32_t most) {
  Reader in(parameters);
  const auto more = in.u8();
  const auto echoed = in.u32();
  const auto count = in.u32();
  if (!more || echoed != capability || !count || *count > most) return std::nullopt;
  CapabilityPage out;
  out.more = *more != 0;
  for (std::uint32_t i = 0; i < *count; ++i) {
    const auto word = in.u32();
    if (!word) return std::nullopt;
    out.words.push_back(*word);
  }
  return out;
}

TpmPort::TpmPort(wire::Tpm& tpm, const wire::CommandTable& table, Clock clock)
    : tpm_(tpm), table_(table), clock_(std::move(clock)) {}

Cost TpmPort::take_cost() {
  return std::exchange(cost_, Cost{});
}

TpmPort::Result<Response> TpmPort::send(wire::Tpm& tpm, ByteView command, const wire::CommandRow& row,
                                        bool with_sessions, std::uint8_t locality, Cause cause) {
  const std::uint64_t start = clock_();
  auto answer = tpm.transact(command, locality);
  const std::uint64_t spent = clock_() - start;
  std::optional<Response> response;
  if (answer) response = Response::parse(std::move(*answer), row, with_sessions);
  const Rc code = response ? response->code() : wire::from_manager(rc::kFailure);
  cost_.tpm.push_back(wire::TpmUse{row.code, cause, code, spent});
  if (response) return std::move(*response);
  if (!answer && answer.error().kind == wire::Tpm::Error::Kind::kNotPossible) return tl::unexpected(rc::kLocality);
  if (!answer && answer.error().kind == wire::Tpm::Error::Kind::kGone) cost_.tpm_lost = true;
  cost_.distrusted = true;
  return tl::unexpected(rc::kFailure);
}

TpmPort::Result<Response> TpmPort::forward(wire::Tpm& tpm, ByteView command, const wire::CommandRow& row,
                                           bool with_sessions, std::uint8_t locality) {
  return send(tpm, command, row, with_sessions, locality, Cause::kClient);
}

TpmPort::Result<Response> TpmPort::own(wire::CommandCode code, ByteView body, Cause cause, std::uint8_t locality) {
  // A chip without the command keeps the specification's row: the chip refuses the command itself.
  const wire::CommandRow* row = table_.find(code);
  if (row == nullptr) row = wire::CommandTable::builtin().find(code);
  const auto command = Writer()
                           .u16(wire::kTagNoSessions)
                           .u32(static_cast<std::uint32_t>(wire::kHeaderSize + body.size()))
                           .u32(code)
                           .raw(body)
                           .take();
  auto response = send(tpm_, command, *row, false, locality, cause);
  if (response && response->code() == rc::kCanceled) response = send(tpm_, command, *row, false, locality, cause);
  if (response && response->code() == rc::kInitialize && code != cc::kStartup) cost_.unpowered = true;
  if (response && !response->ok()) return tl::unexpected(response->code());
  return response;
}

TpmPort::Result<wire::Bytes> TpmPort::context_save(std::uint32_t handle, Cause cause) {
  auto response = own(cc::kContextSave, Writer().u32(handle).take(), cause);
  if (!response) return tl::unexpected(response.error());
  if (!read_context(response->parameters())) {
    cost_.distrusted = true;
    return tl::unexpected(kNonsense);
  }
  return wire::to_bytes(response->parameters());
}

TpmPort::Result<wire::TpmHandle> TpmPort::context_load(ByteView context, Cause cause) {
  auto response = own(cc::kContextLoad, context, cause);
  if (!response) return tl::unexpected(response.error());
  return *response->handle();
}

Rc TpmPort::flush(std::uint32_t handle, Cause cause) {
  auto response = own(cc::kFlushContext, Writer().u32(handle).take(), cause);
  return response ? rc::kSuccess : response.error();
}

Rc TpmPort::flush_left_behind(std::uint32_t handle, Cause cause, OwnerId by) {
  const std::size_t before = cost_.tpm.size();
  const Rc code = flush(handle, cause);
  std::uint64_t spent = 0;
  for (std::size_t i = before; i < cost_.tpm.size(); ++i) spent += cost_.tpm[i].nanoseconds;
  if (by.value != 0 && cause != Cause::kClient) cost_.owed.emplace_back(by, spent);
  return code;
}

TpmPort::Result<wire::TpmHandle> TpmPort::start_filler() {
  constexpr std::uint32_t kNull = 0x40000007;  // TPM_RH_NULL
  constexpr std::uint16_t kNoncesize = 16, kAlgNull = 0x0010, kSha256 = 0x000B;
  const auto body = Writer()
                        .u32(kNull)
                        .u32(kNull)
                        .tpm2b(wire::Bytes(kNoncesize))
                        .tpm2b({})
                        .u8(0)  // TPM_SE_HMAC
                        .u16(kAlgNull)
                        .u16(kSha256)
                        .take();
  auto response = own(cc::kStartAuthSession, body, Cause::kFiller);
  if (!response) return tl::unexpected(response.error());
  return *response->handle();
}

TpmPort::Result<wire::TpmHandle> TpmPort::start_again(ByteView start) {
  auto response = own(cc::kStartAuthSession, start.subspan(wire::kHeaderSize), Cause::kRebuild);
  if (!response) return tl::unexpected(response.error());
  if (wire::is_session(response->handle()->value)) return *response->handle();
  cost_.distrusted = true;
  return tl::unexpected(kNonsense);
}

Rc TpmPort::policy_step(const PolicyStep& step, wire::TpmHandle key, wire::TpmHandle session, std::uint8_t locality) {
  Writer body;
  if (step.code == cc::kPolicySigned) body.u32(key.value);
  auto response = own(step.code, body.u32(session.value).raw(step.parameters).bytes(), Cause::kRebuild, locality);
  return response ? rc::kSuccess : response.error();
}

TpmPort::Result<wire::Bytes> TpmPort::policy_digest(std::uint32_t session, Cause cause) {
  auto response = own(cc::kPolicyGetDigest, Writer().u32(session).take(), cause);
  if (!response) return tl::unexpected(response.error());
  const auto digest = Reader(response->parameters()).tpm2b();
  if (!digest) return tl::unexpected(kNonsense);
  return wire::to_bytes(*digest);
}

TpmPort::Result<std::uint32_t> TpmPort::pcr_counter(Cause cause) {
  auto response = own(cc::kPCRRead, Writer().u32(0).take(), cause);  // of no PCRs
  if (!response) return tl::unexpected(response.error());
  const auto counter = Reader(response->parameters()).u32();
  if (!counter) return tl::unexpected(kNonsense);
  return *counter;
}

Rc TpmPort::policy_of_no_pcr(std::uint32_t session) {
  auto response = own(cc::kPolicyPCR, Writer().u32(session).tpm2b({}).u32(0).take(), Cause::kPark);
  return response ? rc::kSuccess : response.error();
}

TpmPort::Result<wire::Bytes> TpmPort::name_of(std::uint32_t handle) {
  const bool nv = wire::kind_of(handle) == wire::HandleKind::kNvIndex;
  auto response = own(nv ? cc::kNVReadPublic : cc::kReadPublic, Writer().u32(handle).take(), Cause::kProbe);
  if (!response && response.error() == rc::kSequence) return wire::Bytes();
  if (!response) return tl::unexpected(response.error());
  Reader in(response->parameters());  // the public area, then the Name
  const auto area = in.tpm2b();
  const auto name = in.tpm2b();
  if (!area || !name) return tl::unexpected(kNonsense);
  return wire::to_bytes(*name);
}

TpmPort::Result<std::uint32_t> TpmPort::attributes_of(std::uint32_t handle) {
  const bool nv = wire::is_nv(handle);
  auto response = own(nv ? cc::kNVReadPublic : cc::kReadPublic, Writer().u32(handle).take(), Cause::kProbe);
  if (!response) return tl::unexpected(response.error());
  const auto area = Reader(response->parameters()).tpm2b();
  const auto attributes = area ? attributes_in(*area, nv) : std::nullopt;
  if (!attributes) return tl::unexpected(kNonsense);
  return *attributes;
}

Rc TpmPort::read_lockout() {
  constexpr std::uint32_t kThree = kLockoutInterval - kLockoutCounter + 1;
  auto response =
      own(cc::kGetCapability, Writer().u32(kCapTpmProperties).u32(kLockoutCounter).u32(kThree).take(), Cause::kProbe);
  if (!response) return response.error();
  learn_lockout(cost_.lockout, response->parameters());
  return rc::kSuccess;
}

Rc TpmPort::startup_clear() {
  constexpr std::uint16_t kClear = 0;  // TPM_SU_CLEAR
  auto response = own(cc::kStartup, Writer().u16(kClear).take(), Cause::kProbe);
  return response ? rc::kSuccess : response.error();
}

TpmPort::Result<TpmPort::Clocks> TpmPort::read_clock() {
  auto response = own(cc::kReadClock, {}, Cause::kProbe);
  if (!response) return tl::unexpected(response.error());
  // TPMS_TIME_INFO: time(8), then TPMS_CLOCK_INFO: clock(8) resetCount(4) restartCount(4) safe(1).
  Reader in(response->parameters());
  if (!in.take(16)) return tl::unexpected(kNonsense);
  const auto reset = in.u32();
  const auto restart = in.u32();
  if (!reset || !restart) return tl::unexpected(kNonsense);
  return Clocks{*reset, *restart};
}

TpmPort::Result<CapabilityPage> TpmPort::capability(std::uint32_t capability, std::uint32_t first, std::uint32_t most) {
  auto response = own(cc::kGetCapability, Writer().u32(capability).u32(first).u32(most).take(), Cause::kProbe);
  if (!response) return tl::unexpected(response.error());
  auto page = read_page(response->parameters(), capability, most);
  if (!page) return tl::unexpected(kNonsense);
  return std::move(*page);
}

TpmPort::Result<std::vector<std::uint32_t>> TpmPort::handles(std::uint32_t first) {
  std::vector<std::uint32_t> out;
  for (int pages = 0; pages < kMaxPages; ++pages) {
    const auto page = capability(kCapHandles, first, kPage);
    if (!page) return tl::unexpected(page.error());
    for (const std::uint32_t handle : page->words) {
      if (!is_of_range(handle, first)) return tl::unexpected(kNonsense);
      out.push_back(handle);
    }
    if (!page->more || page->words.empty()) return out;
    // The list of saved sessions shows 0x02nnnnnn, but the next page is requested with the range's own type.
    first = (first & 0xFF000000) | (wire::number_of(out.back()) + 1);
  }
  return tl::unexpected(kNonsense);
}

}  // namespace tpmspace::space
