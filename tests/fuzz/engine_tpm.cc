#include "engine_tpm.h"

#include "../support/tpm_commands.h"
#include "wire/command.h"
#include "wire/response.h"

namespace tpmspace::fuzz {

using wire::Writer;
namespace cc = wire::cc;

namespace {

Bytes whole(ByteView handle_and_parameters, bool with_sessions, bool has_handle) {
  Writer body;
  const std::size_t handle = has_handle ? 4 : 0;
  body.raw(handle_and_parameters.first(handle));
  const auto parameters = handle_and_parameters.subspan(handle);
  if (with_sessions) body.u32(static_cast<std::uint32_t>(parameters.size()));
  body.raw(parameters);
  if (with_sessions) body.u16(0).u8(1).u16(0);
  const auto size = static_cast<std::uint32_t>(wire::kHeaderSize + body.bytes().size());
  return Writer()
      .u16(with_sessions ? wire::kTagSessions : wire::kTagNoSessions)
      .u32(size)
      .u32(0)
      .raw(body.bytes())
      .take();
}

}  // namespace

PlayedTpm::PlayedTpm(Character character, const space::Chip& chip, simulation::VirtualClock& clock, Input& input)
    : character_(character), input_(input) {
  simulation::ModelTpm::Limits limits;
  limits.object_slots = chip.object_slots;
  limits.loaded_sessions = chip.loaded_sessions;
  limits.active_sessions = chip.active_sessions;
  limits.context_gap = chip.context_gap;
  model_ = std::make_unique<simulation::ModelTpm>(limits, clock);
  (void)model_->transact(support::startup_clear(), 0);
}

void PlayedTpm::tell_counters(space::Chip& chip) {
  const auto answer = model_->transact(support::command(cc::kReadClock, {}, {}, {}), 0);
  if (!answer) return;
  wire::Reader in(*answer);
  (void)in.take(wire::kHeaderSize + 16);  // time, clock
  chip.reset_count = in.u32().value_or(0);
  chip.restart_count = in.u32().value_or(0);
}

void PlayedTpm::power_cycle() {
  if (character_ != Character::kLiar) model_->power_cycle();
}

wire::Tpm::Answer PlayedTpm::transact(ByteView command, std::uint8_t locality) {
  ++transacts_;
  trace("  to the TPM", command);
  auto answer = play(command, locality);
  trace("  its answer", answer ? ByteView(*answer) : ByteView());
  return answer;
}

wire::Tpm::Answer PlayedTpm::play(ByteView command, std::uint8_t locality) {
  const bool has_model = character_ != Character::kLiar;
  if (has_model && (calm_ || honest())) return model_->transact(command, locality);
  if (!has_model) return lie(command);
  const std::uint8_t mood = input_.u8();
  if (mood < 0xC0) return model_->transact(command, locality);
  if (mood < 0xE0) return lie(command);
  auto answer = model_->transact(command, locality);  // executed, but the response is spoilt
  if (!answer || mood < 0xE8) return lie(command);
  if (mood < 0xF0) answer->resize(std::min<std::size_t>(answer->size(), input_.u8()));
  if (mood >= 0xF0 && !answer->empty()) (*answer)[input_.below(answer->size())] ^= input_.u8();
  return answer;
}

wire::Tpm::Answer PlayedTpm::lie(ByteView command) {
  constexpr std::uint16_t kCodes[] = {0x100, 0x101, 0x901, 0x902, 0x903, 0x904, 0x905, 0x906, 0x907,
                                      0x908, 0x909, 0x90A, 0x910, 0x911, 0x918, 0x919, 0x921, 0x922,
                                      0x923, 0x08E, 0x98E, 0x1CB, 0x1DF, 0x1C4, 0x143, 0x095, 0x18B};
  const std::uint8_t kind = input_.u8();
  if (kind < 0xA0) return plausible(command);
  if (kind < 0xD0) return wire::error_response(kCodes[kind % std::size(kCodes)]);
  if (kind < 0xD8) return wire::error_response(input_.u32());
  if (kind < 0xE8) {
    Bytes cut = plausible(command);
    cut.resize(std::min<std::size_t>(cut.size(), input_.u8()));
    return cut;
  }
  if (kind < 0xF4) return wire::to_bytes(input_.take(input_.u8()));
  if (kind < 0xF8) return tl::unexpected(Error{Error::Kind::kNoAnswer, "no answer"});
  if (kind < 0xFC) return tl::unexpected(Error{Error::Kind::kNotPossible, "not possible"});
  return tl::unexpected(Error{Error::Kind::kGone, "gone"});
}

std::uint32_t PlayedTpm::some_handle() {
  constexpr std::uint32_t kFirst[] = {0x80000000, 0x80000000, 0x02000000, 0x03000000, 0x81000000, 0x40000000};
  const std::uint8_t which = input_.u8();
  const std::uint32_t far = which >= 0xF0 ? 0x00FF0000U : 0U;
  return kFirst[which % std::size(kFirst)] + (which >> 3 & 7U) + far;
}

Bytes PlayedTpm::plausible(ByteView command) {
  const auto header = wire::read_header(command);
  const auto* row = header ? wire::CommandTable::builtin().find(header->code) : nullptr;
  if (row == nullptr) return wire::error_response(0x143);
  Writer out;
  if (row->has_response_handle()) {
    // A session where a session is made, mostly.
    const auto handle = some_handle();
    const bool wrong = row->creates == wire::Creates::kSession && !wire::is_session(handle);
    out.u32(wrong && (handle & 1) == 0 ? 0x02000000 | (handle & 0x3F) : handle);
  }
  out.raw(parameters_of(*row, command));
  return whole(out.bytes(), header->tag == wire::kTagSessions, row->has_response_handle());
}

Bytes PlayedTpm::parameters_of(const wire::CommandRow& row, ByteView command) {
  Writer out;
  if (row.code == cc::kContextSave) {
    const auto handle = wire::Reader(command.subspan(wire::kHeaderSize)).u32().value_or(0);
    const bool session = wire::is_session(handle);
    const auto step = input_.u8();
    saved_ += step < 0xF0 ? 1U : std::uint64_t{1} << (step & 0x0F);
    out.u64(saved_).u32(session ? handle : 0x80000000U + step % 3U).u32(step % 2 == 0 ? 0x40000001 : 0x40000007);
    return out.tpm2b(Bytes(step % 16U, 0xCC)).take();
  }
  if (row.code == cc::kGetCapability) {
    const std::uint8_t count = input_.u8() % 80;
    out.u8(input_.u8() & 1).u32(1).u32(count);
    for (unsigned i = 0; i < count; ++i) out.u32(some_handle());
    return out.take();
  }
  if (row.code == cc::kReadClock)  // time, clock, resetCount, restartCount, safe
    return out.u64(1).u64(1).u32(input_.u8() % 3).u32(input_.u8() % 3).u8(1).take();
  return wire::to_bytes(input_.take(input_.u8() % 32));
}

}  // namespace tpmspace::fuzz
