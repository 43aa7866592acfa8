#include "faults.h"

#include <array>

#include "wire/command.h"
#include "wire/command_table.h"
#include "wire/handle.h"

namespace tpmspace::simulation {
namespace {

using wire::ByteView;
using wire::Rc;

bool needs_object_slot(const wire::CommandRow& row, ByteView command) {
  if (row.creates == wire::Creates::kObject || row.creates == wire::Creates::kSequence || row.scratch_slots > 0)
    return true;
  wire::Reader in(command.subspan(wire::kHeaderSize));
  if (row.effect == wire::Effect::kContextLoad) return in.u64() && wire::is_transient(in.u32().value_or(0));
  for (unsigned i = 0; i < row.handles; ++i)
    if (wire::is_persistent(in.u32().value_or(0))) return true;
  return false;
}

bool needs_session_slot(const wire::CommandRow& row, ByteView command) {
  if (row.creates == wire::Creates::kSession) return true;
  if (row.effect != wire::Effect::kContextLoad) return false;
  wire::Reader in(command.subspan(wire::kHeaderSize));
  return in.u64() && wire::is_session(in.u32().value_or(0));
}

bool saves_session(const wire::CommandRow& row, ByteView command) {
  wire::Reader in(command.subspan(wire::kHeaderSize));
  return row.effect == wire::Effect::kContextSave && wire::is_session(in.u32().value_or(0));
}

}  // namespace

Fault FaultPlan::choose(ByteView command) {
  const auto header = wire::read_header(command);
  const auto* row = header ? wire::CommandTable::builtin().find(header->code) : nullptr;
  if (row == nullptr || row->effect == wire::Effect::kPower) return {};
  if (hit(rates_.power_loss)) return {Fault::Kind::kPowerLoss};
  if (hit(rates_.gone)) return {Fault::Kind::kGone};
  if (hit(rates_.garbage)) {
    constexpr std::array kinds = {Fault::Kind::kGarbage, Fault::Kind::kDoneThenLost, Fault::Kind::kTruncated};
    return {kinds[draw(kinds.size())]};
  }
  constexpr std::array<Rc, 3> later = {wire::rc::kRetry, wire::rc::kTesting, wire::rc::kYielded};
  if (hit(rates_.retry)) return {Fault::Kind::kAnswer, later[draw(later.size())]};
  if (hit(rates_.cancelled)) return {Fault::Kind::kAnswer, wire::rc::kCanceled};
  if (needs_object_slot(*row, command) && hit(rates_.object_memory))
    return {Fault::Kind::kAnswer, wire::rc::kObjectMemory};
  const bool session_slot = needs_session_slot(*row, command);
  if (session_slot && hit(rates_.session_memory)) return {Fault::Kind::kAnswer, wire::rc::kSessionMemory};
  if ((session_slot || saves_session(*row, command)) && hit(rates_.context_gap))
    return {Fault::Kind::kAnswer, wire::rc::kContextGap};
  return {};
}

Fault FaultPlan::next(ByteView command) {
  if (paused_) return {};
  if (!script_.empty()) {
    const Fault fault = script_.front();
    script_.pop_front();
    return fault;
  }
  if (!rates_.any()) return {};
  const Fault fault = burst_ < burst_limit_ ? choose(command) : Fault{};
  burst_ = fault.kind == Fault::Kind::kNone ? 0 : burst_ + 1;
  if (fault.kind != Fault::Kind::kNone) ++injected_;
  return fault;
}

}  // namespace tpmspace::simulation
