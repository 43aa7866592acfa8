// GetCapability. Source: TPM 2.0 library, Part 3, 30.2; Part 2, 6.12 and 6.13. tpm-behaviour 2, 11.
#include <algorithm>

#include "model_state.h"

namespace tpmspace::simulation::commands {
namespace {

using wire::Rc;

constexpr std::uint32_t kCapHandles = 1;
constexpr std::uint32_t kCapCommands = 2;
constexpr std::uint32_t kCapTpmProperties = 6;
constexpr std::uint32_t kMostHandles = 254;
constexpr std::uint32_t kMostProperties = 127;
constexpr std::uint32_t kMostCommands = 256;
constexpr std::uint32_t kPropertyGroup = 0x100;

// From `first` on, at most `count`; `more` if some were left out.
struct Page {
  std::vector<std::uint32_t> values;
  bool more = false;
};

Page page_of(const std::vector<std::uint32_t>& all, std::uint32_t first, std::uint32_t count) {
  Page page;
  for (const auto value : all) {
    if (value < first) continue;
    if (page.values.size() == count) {
      page.more = true;
      break;
    }
    page.values.push_back(value);
  }
  return page;
}

std::vector<std::uint32_t> transient_handles(const ModelState& tpm) {
  std::vector<std::uint32_t> out;
  for (const auto& [handle, unused] : tpm.objects.loaded()) out.push_back(handle);
  return out;
}

std::vector<std::uint32_t> persistent_handles(const ModelState& tpm) {
  std::vector<std::uint32_t> out;
  for (const auto& [handle, unused] : tpm.persistent()) out.push_back(handle);
  return out;
}

Page session_page(const ModelState& tpm, std::uint32_t first, std::uint32_t count, bool loaded) {
  std::vector<std::uint32_t> numbers;
  for (std::uint32_t number = 0; number < tpm.sessions.limit(); ++number)
    if (loaded ? tpm.sessions.is_loaded(number) : tpm.sessions.is_saved(number)) numbers.push_back(number);
  Page page = page_of(numbers, wire::number_of(first), count);
  // Loaded sessions with their true type, saved sessions always as HMAC sessions.
  for (auto& value : page.values) value = loaded ? session_handle(value, tpm.sessions.get(value)) : 0x02000000 | value;
  return page;
}

std::vector<std::uint32_t> pcr_handles() {
  std::vector<std::uint32_t> out;
  for (std::uint32_t pcr = 0; pcr < kPcrs; ++pcr) out.push_back(pcr);
  return out;
}

std::optional<Page> handle_page(const ModelState& tpm, std::uint32_t first, std::uint32_t count) {
  count = std::min(count, kMostHandles);
  switch (wire::kind_of(first)) {
    case wire::HandleKind::kTransient:
      return page_of(transient_handles(tpm), first, count);
    case wire::HandleKind::kPersistent:
      return page_of(persistent_handles(tpm), first, count);
    case wire::HandleKind::kHmacSession:
      return session_page(tpm, first, count, true);
    case wire::HandleKind::kPolicySession:
      return session_page(tpm, first, count, false);
    case wire::HandleKind::kNvIndex:
      return Page{};
    case wire::HandleKind::kPcr:
      return page_of(pcr_handles(), first, count);
    case wire::HandleKind::kPermanent:
      return page_of(
          {kRhOwner, kRhNull, wire::kPasswordSession, kRhLockout, kRhEndorsement, kRhPlatform, kRhPlatformNv}, first,
          count);
    default:
      return std::nullopt;
  }
}

struct Property {
  std::uint32_t tag = 0;
  std::uint32_t value = 0;
};

std::uint32_t startup_clear(const ChipState& chip) {
  return (chip.platform.enabled ? 1U : 0U) | (chip.owner.enabled ? 2U : 0U) | (chip.endorsement.enabled ? 4U : 0U) |
         (chip.platform_nv_enabled ? 8U : 0U);
}

std::vector<Property> properties(const ModelState& tpm) {
  const auto persistent = static_cast<std::uint32_t>(tpm.persistent().size());
  constexpr std::uint64_t kSecond = 1'000'000'000;
  const TryCount& tries = tpm.chip->tries;
  return {
      {0x10E, std::min(tpm.limits.object_slots, 0xFFFFU)},                    // HR_TRANSIENT_MIN
      {0x110, tpm.limits.loaded_sessions},                                    // HR_LOADED_MIN
      {0x111, tpm.limits.active_sessions},                                    // ACTIVE_SESSIONS_MAX
      {0x114, tpm.limits.context_gap},                                        // CONTEXT_GAP_MAX
      {0x11E, tpm.limits.max_command},                                        // MAX_COMMAND_SIZE
      {0x11F, tpm.limits.max_response},                                       // MAX_RESPONSE_SIZE
      {0x201, startup_clear(*tpm.chip)},                                      // STARTUP_CLEAR
      {0x202, 0},                                                             // HR_NV_INDEX
      {0x203, tpm.sessions.loaded_count()},                                   // HR_LOADED
      {0x204, tpm.sessions.free_slots()},                                     // HR_LOADED_AVAIL
      {0x205, tpm.sessions.active_count()},                                   // HR_ACTIVE
      {0x206, tpm.sessions.limit() - tpm.sessions.active_count()},            // HR_ACTIVE_AVAIL
      {0x207, tpm.objects.free_slots()},                                      // HR_TRANSIENT_AVAIL
      {0x208, persistent},                                                    // HR_PERSISTENT
      {0x20E, tries.failed},                                                  // LOCKOUT_COUNTER
      {0x20F, tries.max},                                                     // MAX_AUTH_FAIL
      {0x210, static_cast<std::uint32_t>(tries.recovery / kSecond)},          // LOCKOUT_INTERVAL
      {0x211, static_cast<std::uint32_t>(tries.lockout_recovery / kSecond)},  // LOCKOUT_RECOVERY
  };
}

// Stays within the group of 256 that `first` is in.
void put_properties(Call& call, std::uint32_t first, std::uint32_t count) {
  first = std::max(first, kPropertyGroup);
  const std::uint32_t end = (first / kPropertyGroup + 1) * kPropertyGroup;
  std::vector<Property> listed;
  bool more = false;
  for (const auto& property : properties(call.tpm)) {
    if (property.tag < first || property.tag >= end) continue;
    if (listed.size() == std::min(count, kMostProperties)) {
      more = true;
      break;
    }
    listed.push_back(property);
  }
  call.out.u8(more ? 1 : 0).u32(kCapTpmProperties).u32(static_cast<std::uint32_t>(listed.size()));
  for (const auto& property : listed) call.out.u32(property.tag).u32(property.value);
}

std::uint32_t attributes_of(const ModelRow& row) {
  const auto* known = wire::CommandTable::builtin().find(row.code);
  const auto bit = [](bool value, unsigned at) { return value ? 1U << at : 0U; };
  return row.code | bit(known->nv, 22) | bit(known->extensive, 23) | bit(known->flushes_handle >= 0, 24) |
         static_cast<std::uint32_t>(row.handles.size()) << 25 | bit(known->has_response_handle(), 28);
}

Page command_page(std::uint32_t first, std::uint32_t count) {
  Page page;
  for (const auto& row : all_rows()) {
    if (row.code < first) continue;
    if (page.values.size() == std::min(count, kMostCommands)) {
      page.more = true;
      break;
    }
    page.values.push_back(attributes_of(row));
  }
  return page;
}

void put_page(Call& call, std::uint32_t capability, const Page& page) {
  call.out.u8(page.more ? 1 : 0).u32(capability).u32(static_cast<std::uint32_t>(page.values.size()));
  for (const auto value : page.values) call.out.u32(value);
}

}  // namespace

Rc get_capability(Call& call) {
  const std::uint32_t capability = call.in.u32();
  call.in.next();
  const std::uint32_t property = call.in.u32();
  call.in.next();
  const std::uint32_t count = call.in.u32();
  if (const Rc code = call.in.end(); code != 0) return code;
  switch (capability) {
    case kCapHandles: {
      const auto page = handle_page(call.tpm, property, count);
      if (!page) return wire::rc::in_parameter(wire::rc::kHandle, 2);
      put_page(call, capability, *page);
      return wire::rc::kSuccess;
    }
    case kCapCommands:
      put_page(call, capability, command_page(property, count));
      return wire::rc::kSuccess;
    case kCapTpmProperties:
      put_properties(call, property, count);
      return wire::rc::kSuccess;
    default:
      return wire::rc::in_parameter(wire::rc::kValue, 1);
  }
}

}  // namespace tpmspace::simulation::commands
