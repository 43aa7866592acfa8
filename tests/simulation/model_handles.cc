// The handle area: which handles a command takes, and whether they are there.
// Source: TPM 2.0 library, Part 2, 9; Part 4, 9.4.3.1 (EntityGetLoadStatus). docs/tpm-behaviour.md, "Error responses of
// libtpms".
#include "codes.h"
#include "model_state.h"

namespace tpmspace::simulation {
namespace {

constexpr std::uint32_t kLastPcr = 0x00000017;
constexpr std::uint32_t kFirstAuth = 0x40000010;
constexpr std::uint32_t kLastAuth = 0x4000010F;

class Ranges {
 public:
  explicit Ranges(const ModelTpm::Limits& limits) : limits_(limits) {}

  [[nodiscard]] bool object(std::uint32_t h) const {
    return wire::is_persistent(h) || (wire::is_transient(h) && h - wire::kFirstTransient < limits_.object_slots);
  }
  [[nodiscard]] bool session(std::uint32_t h) const {
    return wire::is_session(h) && wire::number_of(h) < limits_.active_sessions;
  }
  [[nodiscard]] bool policy_session(std::uint32_t h) const {
    return session(h) && wire::kind_of(h) == wire::HandleKind::kPolicySession;
  }
  [[nodiscard]] static bool pcr(std::uint32_t h) { return h <= kLastPcr; }
  [[nodiscard]] static bool hierarchy(std::uint32_t h) {
    return h == kRhOwner || h == kRhEndorsement || h == kRhPlatform;
  }
  [[nodiscard]] bool entity(std::uint32_t h) const {
    return object(h) || pcr(h) || hierarchy(h) || h == kRhLockout || (h >= kFirstAuth && h <= kLastAuth) ||
           wire::kind_of(h) == wire::HandleKind::kNvIndex;
  }

 private:
  const ModelTpm::Limits& limits_;
};

bool accepts(const ModelTpm::Limits& limits, HandleType type, std::uint32_t h) {
  const Ranges is(limits);
  switch (type) {
    case HandleType::kObject:
      return is.object(h);
    case HandleType::kObjectOrNull:
      return is.object(h) || h == kRhNull;
    case HandleType::kEntity:
      return is.entity(h);
    case HandleType::kEntityOrNull:
      return is.entity(h) || h == kRhNull;
    case HandleType::kHierarchyOrNull:
      return Ranges::hierarchy(h) || h == kRhNull;
    case HandleType::kParent:
      return is.object(h) || Ranges::hierarchy(h) || h == kRhNull;
    case HandleType::kProvision:
      return h == kRhOwner || h == kRhPlatform;
    case HandleType::kEnables:
      return Ranges::hierarchy(h);
    case HandleType::kClear:
      return h == kRhLockout || h == kRhPlatform;
    case HandleType::kNvIndex:
      return wire::is_nv(h);
    case HandleType::kLockout:
      return h == kRhLockout;
    case HandleType::kPlatform:
      return h == kRhPlatform;
    case HandleType::kPcrOrNull:
      return Ranges::pcr(h) || h == kRhNull;
    case HandleType::kPolicySession:
      return is.policy_session(h);
    case HandleType::kContext:
      return is.session(h) || (wire::is_transient(h) && is.object(h));
  }
  return false;
}

// A persistent object is copied into a slot for the time of the command: that is why it needs one.
wire::Rc copy_persistent(Call& call, std::uint32_t& handle) {
  ChipState& chip = *call.tpm.chip;
  const bool range_enabled = handle >= kFirstPlatformPersistent ? chip.platform.enabled : chip.owner.enabled;
  if (!range_enabled) return wire::rc::kHandle;
  if (call.tpm.objects.full()) return wire::rc::kObjectMemory;
  const Shelf& stored = call.tpm.persistent();
  const auto found = stored.find(handle);
  if (found == stored.end()) return wire::rc::kHandle;
  Object copy = found->second;
  if (copy.hierarchy == wire::Hierarchy::kEndorsement && !chip.endorsement.enabled &&
      call.code != wire::cc::kEvictControl)
    return wire::rc::kHandle;
  copy.leaves_after_command = true;
  copy.epoch = chip.of(copy.hierarchy).epoch;
  auto& objects = call.tpm.objects;
  handle = call.tpm.limits.copies_at_the_top ? objects.add_at_the_top(std::move(copy)) : objects.add(std::move(copy));
  return wire::rc::kSuccess;
}

wire::Rc resolve_session(const Call& call, std::uint32_t handle) {
  const std::uint32_t number = wire::number_of(handle);
  if (!call.tpm.sessions.is_loaded(number)) return wire::rc::kReferenceH0;
  const bool says_policy = wire::kind_of(handle) == wire::HandleKind::kPolicySession;
  return call.tpm.sessions.get(number).is_policy() == says_policy ? wire::rc::kSuccess : wire::rc::kHandle;
}

wire::Rc resolve_permanent(const Call& call, std::uint32_t handle) {
  if (const HierarchyState* hierarchy = call.tpm.chip->find(handle))
    return hierarchy->enabled ? wire::rc::kSuccess : wire::rc::kHierarchy;
  return handle == kRhLockout ? wire::rc::kSuccess : wire::rc::kValue;
}

wire::Rc resolve(Call& call, std::uint32_t& handle) {
  switch (wire::kind_of(handle)) {
    case wire::HandleKind::kTransient:
      return call.tpm.objects.find(handle) != nullptr ? wire::rc::kSuccess : wire::rc::kReferenceH0;
    case wire::HandleKind::kPersistent:
      return copy_persistent(call, handle);
    case wire::HandleKind::kHmacSession:
    case wire::HandleKind::kPolicySession:
      return resolve_session(call, handle);
    case wire::HandleKind::kPermanent:
      return resolve_permanent(call, handle);
    case wire::HandleKind::kPcr:
      return wire::rc::kSuccess;
    default:
      return wire::rc::kHandle;  // no NV index is ever defined in the model
  }
}

}  // namespace

wire::Rc take_handles(const ModelRow& row, wire::Reader& in, Call& call) {
  for (std::size_t i = 0; i < row.handles.size(); ++i) {
    const auto handle = in.u32();
    if (!handle) return codes::at_handle(wire::rc::kInsufficient, i);
    if (!accepts(call.tpm.limits, row.handles[i], *handle)) return codes::at_handle(wire::rc::kValue, i);
    call.stated_handles.push_back(*handle);
  }
  return wire::rc::kSuccess;
}

wire::Rc resolve_handles(Call& call) {
  call.handles = call.stated_handles;
  for (std::size_t i = 0; i < call.handles.size(); ++i) {
    const wire::Rc code = resolve(call, call.handles[i]);
    if (code == wire::rc::kReferenceH0) return code + static_cast<wire::Rc>(i);
    if (code != wire::rc::kSuccess) return codes::at_handle(code, i);
  }
  return wire::rc::kSuccess;
}

wire::Bytes name_of(Call& call, std::size_t index) {
  const std::uint32_t handle = call.handles[index];
  if (wire::is_transient(handle)) {
    const Object& object = call.object(index);
    return object.is_sequence() ? wire::Bytes{} : object.area.name();
  }
  return wire::Writer().u32(handle).take();
}

}  // namespace tpmspace::simulation
