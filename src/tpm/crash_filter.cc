#include "tpm/crash_filter.h"

#include <algorithm>
#include <array>
#include <utility>

#include "tpm/algorithm_ids.h"
#include "wire/handle.h"
#include "wire/response.h"

namespace tpmspace::tpm {
namespace {

using wire::ByteView;
using wire::Reader;
using wire::Writer;
namespace cc = wire::cc;

constexpr std::uint32_t kNull = 0x40000007;
// More than any TPM accepts: the TPM itself refuses a command that is too long.
constexpr std::size_t kAnySize = 65'536;

bool may_crash(const wire::CommandRow& command) {
  return std::any_of(known_crashes().begin(), known_crashes().end(),
                     [&](const KnownCrash& row) { return is_about(row, command); });
}

bool is_success(const wire::Tpm::Answer& answer) {
  if (!answer) return false;
  const auto header = wire::read_header(*answer);
  return header && header->code == wire::rc::kSuccess;
}

// Whether the code is about a handle or a parameter, not a warning about the TPM's state.
bool is_format_one(const wire::Bytes& answer) {
  constexpr wire::Rc kFormatOne = 0x80;
  const auto header = wire::read_header(answer);
  return header && (header->code & kFormatOne) != 0;
}

wire::Bytes plain(wire::CommandCode code, ByteView rest) {
  const auto size = static_cast<std::uint32_t>(wire::kHeaderSize + rest.size());
  return Writer().u16(wire::kTagNoSessions).u32(size).u32(code).raw(rest).take();
}

}  // namespace

wire::Tpm::Answer CrashFilter::transact(ByteView bytes, std::uint8_t locality) {
  const auto header = wire::read_header(bytes);
  const auto* row = header ? wire::CommandTable::builtin().find(header->code) : nullptr;
  const bool suspect = row != nullptr && may_crash(*row);
  if (row == nullptr || (!suspect && !SeenEntities::concerns(*row))) return inner_->transact(bytes, locality);
  // The TPM cannot parse a command that the parser refuses.
  const auto command = wire::Command::parse(wire::to_bytes(bytes), wire::CommandTable::builtin(), kAnySize);
  if (!command) return inner_->transact(bytes, locality);
  if (suspect) {
    no_word_.reset();
    const auto refusal = refusal_of(*command);
    if (no_word_) return *std::exchange(no_word_, std::nullopt);
    if (refusal) return wire::manager_error(*refusal);
  }
  Answer answer = inner_->transact(bytes, locality);
  if (is_success(answer)) seen_.learn(*command, *answer);
  return answer;
}

std::optional<wire::Rc> CrashFilter::refusal_of(const wire::Command& command) {
  for (const KnownCrash& row : known_crashes())
    if (is_about(row, command.row()) && row.recognised(command, *this) && is_for_this_tpm(row)) return row.answer;
  return std::nullopt;
}

std::optional<std::uint16_t> CrashFilter::type_of(std::uint32_t handle) {
  // Other programs may have put another object in a persistent place unnoticed: a refusal must be certain.
  if (const auto known = seen_.key(handle).type; known && (*known != kAlgKeyedHash || !wire::is_persistent(handle)))
    return known;
  const auto answer = inner_->transact(plain(cc::kReadPublic, Writer().u32(handle).bytes()), 0);
  if (!is_success(answer)) return std::nullopt;
  const auto area = Reader(ByteView(*answer).subspan(wire::kHeaderSize)).tpm2b();
  const auto type = area ? Reader(*area).u16() : std::nullopt;
  if (type) seen_.know_type(handle, *type);
  return type;
}

// No session can be bound to a public-only object (Part 3, 11.1). A session that was bound is flushed at once.
bool CrashFilter::is_public_only(std::uint32_t handle) {
  if (const auto known = seen_.key(handle).is_public_only) return *known;
  const auto answer = inner_->transact(
      plain(cc::kStartAuthSession,
            Writer().u32(kNull).u32(handle).tpm2b(wire::Bytes(16)).u16(0).u8(0).u16(kAlgNull).u16(kAlgSha256).bytes()),
      0);
  if (!is_success(answer)) {
    const bool is_about_key = answer && is_format_one(*answer);
    if (!is_about_key) no_word_ = answer;  // no room for a session: the manager makes room and sends the command again
    return is_about_key;
  }
  const auto session = Reader(ByteView(*answer).subspan(wire::kHeaderSize)).u32().value_or(0);
  (void)inner_->transact(plain(cc::kFlushContext, Writer().u32(session).bytes()), 0);
  seen_.know_public_only(handle, false);
  return false;
}

bool CrashFilter::is_for_this_tpm(const KnownCrash& row) {
  if (row.only.empty()) return true;
  if (!firmware_) firmware_ = ask_firmware();
  return firmware_ && std::find(row.only.begin(), row.only.end(), *firmware_) != row.only.end();
}

// GetCapability(TPM_PROPERTIES) of the manufacturer up to the first word of the firmware's version: Part 2, 6.13.
std::optional<Firmware> CrashFilter::ask_firmware() {
  constexpr std::uint32_t kProperties = 6, kMaker = 0x105, kFirmware = 0x10B;
  const wire::Bytes question = Writer().u32(kProperties).u32(kMaker).u32(kFirmware - kMaker + 1).take();
  const auto answer = inner_->transact(plain(cc::kGetCapability, question), 0);
  if (!is_success(answer)) return std::nullopt;
  Reader in(ByteView(*answer).subspan(wire::kHeaderSize));
  Firmware out;
  (void)in.take(1 + 4);  // moreData, capability
  for (auto count = in.u32().value_or(0); count > 0; --count) {
    const auto property = in.u32();
    const auto value = in.u32();
    if (!property || !value) return std::nullopt;
    if (*property == kFirmware) out.version = *value;
    if (*property != kMaker) continue;
    for (unsigned shift = 32; shift != 0;)
      if (const auto letter = static_cast<char>(*value >> (shift -= 8) & 0xFF); letter > ' ') out.maker += letter;
  }
  return out;
}

}  // namespace tpmspace::tpm
