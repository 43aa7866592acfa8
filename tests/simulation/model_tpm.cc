#include "model_tpm.h"

#include <algorithm>
#include <string>

#include "context_blob.h"
#include "digest.h"
#include "model_state.h"
#include "wire/response.h"

namespace tpmspace::simulation {
namespace {

using wire::Bytes;
using wire::ByteView;
using wire::Rc;

std::uint64_t nanoseconds_of(wire::CommandCode code) {
  constexpr std::uint64_t kMillisecond = 1'000'000;
  const auto* row = wire::CommandTable::builtin().find(code);
  if (row == nullptr) return kMillisecond;
  switch (row->duration) {
    case wire::DurationClass::kShort:
      return 3 * kMillisecond;
    case wire::DurationClass::kMedium:
      return 30 * kMillisecond;
    case wire::DurationClass::kLong:
      return 150 * kMillisecond;
    case wire::DurationClass::kKeygen:
      return 2000 * kMillisecond;
  }
  return kMillisecond;
}

// Header and handle area judged; the authorization and parameter areas are left.
Rc judge_header(const ModelTpm::Limits& limits, ByteView command, wire::Header& header) {
  const auto found = wire::read_header(command);
  if (command.size() >= 2) {
    const auto tag = wire::Reader(command).u16().value_or(0);
    if (tag != wire::kTagNoSessions && tag != wire::kTagSessions) return wire::rc::kValue;
  }
  if (!found) return wire::rc::kInsufficient;
  if (found->size != command.size() || found->size > limits.max_command) return wire::rc::kCommandSize;
  header = *found;
  return wire::rc::kSuccess;
}

Rc take_session_area(const ModelRow& row, bool with_sessions, wire::Reader& in, Call& call) {
  if (!with_sessions) return check_no_authorizations(row);
  constexpr std::uint32_t kSmallestArea = 9;
  const auto size = in.u32();
  if (!size) return wire::rc::kInsufficient;
  if (*size < kSmallestArea || *size > in.remaining()) return wire::rc::kSize;
  if (!sessions_allowed(row.code)) return wire::rc::kAuthContext;
  return take_authorizations(row, *in.take(*size), call);
}

Bytes build_response(Call& call, bool with_sessions) {
  wire::Writer body;
  if (call.response_handle) body.u32(*call.response_handle);
  const Bytes& parameters = call.out.bytes();
  if (with_sessions) body.u32(static_cast<std::uint32_t>(parameters.size()));
  body.raw(parameters);
  const Bytes sessions = finish_sessions(call);
  if (with_sessions) body.raw(sessions);
  wire::Writer out;
  out.u16(with_sessions ? wire::kTagSessions : wire::kTagNoSessions);
  out.u32(static_cast<std::uint32_t>(wire::kHeaderSize + body.bytes().size())).u32(wire::rc::kSuccess);
  return out.raw(body.bytes()).take();
}

Rc run(const ModelRow& row, bool with_sessions, Call& call, wire::Reader& in) {
  if (const Rc code = take_handles(row, in, call); code != 0) return code;
  if (const Rc code = resolve_handles(call); code != 0) return code;
  if (const Rc code = take_session_area(row, with_sessions, in, call); code != 0) return code;
  call.in = Parameters(in.rest());
  return row.handler(call);
}

}  // namespace

void ModelState::catch_up() {
  if (seen_resets != chip->total_resets) {
    objects.clear();
    sessions.forget_all();
    exclusive_audit_session = 0;
  } else if (seen_restarts != chip->restarts && limits.all_saved) {
    if (seen_clears != chip->clear_count) objects.remove_if([](const Object& object) { return object.st_clear; });
    exclusive_audit_session = 0;
  } else if (seen_restarts != chip->restarts) {
    objects.clear();
    sessions.forget_loaded();
    exclusive_audit_session = 0;
  }
  seen_resets = chip->total_resets;
  seen_restarts = chip->restarts;
  seen_clears = chip->clear_count;
  objects.remove_if([this](const Object& object) { return object.epoch != chip->of(object.hierarchy).epoch; });
}

void ModelState::begin_tries_anew() {
  constexpr std::uint64_t kSecond = 1'000'000'000;
  chip->tries.failed = 0;
  chip->tries.max = limits.max_tries;
  chip->tries.recovery = chip->tries.lockout_recovery = limits.recovery_seconds * kSecond;
}

Bytes ModelState::random_bytes(std::size_t count) {
  Bytes out;
  while (out.size() < count) {
    random = random * 6364136223846793005ULL + 1442695040888963407ULL;
    out.push_back(static_cast<std::uint8_t>(random >> 56));
  }
  return out;
}

Bytes Parameters::tpm2b() {
  const auto size = in_.u16();
  if (!size) {
    fail(wire::rc::kInsufficient);
    return {};
  }
  const auto body = in_.take(*size);
  if (!body) fail(wire::rc::kInsufficient);
  return wire::to_bytes(body.value_or(ByteView{}));
}

ModelTpm::ModelTpm(const Limits& limits, VirtualClock& clock, const std::shared_ptr<ChipState>& chip)
    : clock_(clock), state_(std::make_unique<ModelState>(limits, clock, chip ? chip : std::make_shared<ChipState>())) {
  if (!chip) state_->begin_tries_anew();
  state_->seen_resets = state_->chip->total_resets;
  state_->seen_restarts = state_->chip->restarts;
  state_->seen_clears = state_->chip->clear_count;
}

ModelTpm::~ModelTpm() = default;

wire::Tpm::Answer ModelTpm::transact(ByteView command, std::uint8_t locality) {
  ++transacts_;
  if (gone_) return tl::unexpected(Error{Error::Kind::kGone, "the model TPM was taken away"});
  const Fault fault = faults_.next(command);
  if (fault.kind == Fault::Kind::kNone) return execute(command, locality);
  return spoil(fault, command, locality);
}

wire::Tpm::Answer ModelTpm::spoil(const Fault& fault, ByteView command, std::uint8_t locality) {
  const auto garbage = [this] {
    Bytes out(faults_.draw(40));
    for (auto& octet : out) octet = static_cast<std::uint8_t>(faults_.draw(256));
    return out;
  };
  switch (fault.kind) {
    case Fault::Kind::kNone:
      break;
    case Fault::Kind::kAnswer:
      clock_.advance(1'000'000);
      return wire::error_response(fault.code);
    case Fault::Kind::kGarbage:
      return garbage();
    case Fault::Kind::kDoneThenLost:
      static_cast<void>(execute(command, locality));
      return garbage();
    case Fault::Kind::kTruncated: {
      Bytes answer = execute(command, locality);
      answer.resize(faults_.draw(answer.size()));
      return answer;
    }
    case Fault::Kind::kPowerLoss:
      power_cycle();
      break;
    case Fault::Kind::kGone:
      gone_ = true;
      return tl::unexpected(Error{Error::Kind::kGone, "the model TPM was taken away"});
  }
  return execute(command, locality);
}

Bytes ModelTpm::execute(ByteView command, std::uint8_t locality) {
  wire::Header header;
  if (const Rc code = judge_header(state_->limits, command, header); code != 0) return wire::error_response(code);
  clock_.advance(nanoseconds_of(header.code));
  const ModelRow* row = find_row(header.code);
  if (row == nullptr) return wire::error_response(wire::rc::kCommandCode);
  if (state_->chip->running == (header.code == wire::cc::kStartup)) return wire::error_response(wire::rc::kInitialize);

  state_->catch_up();
  state_->chip->tries.recover(clock_.now());
  const bool with_sessions = header.tag == wire::kTagSessions;
  wire::Reader in(command.subspan(wire::kHeaderSize));
  Call call{*state_, header.code, locality, {}, {}, {}, Parameters({}), std::nullopt, {}};
  const Rc code = run(*row, with_sessions, call, in);
  Bytes response = code == wire::rc::kSuccess ? build_response(call, with_sessions) : wire::error_response(code);
  state_->objects.remove_if([](const Object& object) { return object.leaves_after_command; });
  state_->catch_up();
  return response;
}

void ModelTpm::power_cycle() {
  state_->chip->running = false;
  state_->objects.clear();
}

void ModelTpm::catch_up() {
  state_->catch_up();
}

std::vector<std::uint32_t> ModelTpm::loaded_objects() const {
  std::vector<std::uint32_t> out;
  for (const auto& [handle, unused] : state_->objects.loaded()) out.push_back(handle);
  return out;
}

std::vector<std::uint32_t> ModelTpm::loaded_sessions() const {
  std::vector<std::uint32_t> out;
  for (std::uint32_t number = 0; number < state_->sessions.limit(); ++number)
    if (state_->sessions.is_loaded(number)) out.push_back(session_handle(number, state_->sessions.get(number)));
  return out;
}

std::vector<std::uint32_t> ModelTpm::saved_session_numbers() const {
  std::vector<std::uint32_t> out;
  for (std::uint32_t number = 0; number < state_->sessions.limit(); ++number)
    if (state_->sessions.is_saved(number)) out.push_back(number);
  return out;
}

bool ModelTpm::is_active(std::uint32_t session_number) const {
  return state_->sessions.is_active(session_number);
}

bool ModelTpm::is_saved(std::uint32_t session_number) const {
  return state_->sessions.is_saved(session_number);
}

bool ModelTpm::is_protected(std::uint32_t object) const {
  const Object* loaded = state_->objects.find(object);
  const auto stored = state_->persistent().find(object);
  if (loaded == nullptr && stored != state_->persistent().end()) loaded = &stored->second;
  return loaded != nullptr && loaded->is_protected();
}

void ModelTpm::move_object(std::uint32_t from, std::uint32_t to) {
  state_->objects.move(from, to);
}

const ChipState& ModelTpm::chip() const {
  return *state_->chip;
}

std::optional<Bytes> ModelTpm::adopt_session(ModelTpm& from, ByteView context) {
  from.state_->catch_up();
  state_->catch_up();
  auto opened = open_context(*from.state_->chip, context, from.state_->sessions.limit());
  if (!opened || !wire::is_session(opened->saved_handle)) return std::nullopt;
  const std::uint32_t number = wire::number_of(opened->saved_handle);
  auto session = Session::parse(opened->content);
  if (!session || !from.state_->sessions.is_current(number, opened->sequence)) return std::nullopt;
  const auto here = state_->sessions.adopt(*session);
  if (!here) return std::nullopt;
  from.state_->sessions.flush(number);
  opened->saved_handle = session_handle(here->first, *session);
  opened->sequence = here->second;
  return seal_context(*state_->chip, *opened, state_->limits.context_padding);
}

}  // namespace tpmspace::simulation
