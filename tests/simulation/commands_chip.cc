// Commands about the whole chip: power, hierarchies, capabilities, clock, random numbers.
// Source: TPM 2.0 library, Part 3, 9, 10, 16.1, 24, 29.1, 30.2. tpm-behaviour 11, 16.
#include <algorithm>
#include <utility>

#include "codes.h"
#include "model_state.h"

namespace tpmspace::simulation::commands {
namespace {

using wire::Bytes;
using wire::Rc;

constexpr std::uint16_t kClearType = 0;
constexpr std::uint16_t kStateType = 1;
// Initializing a PCR counts as a change of it, for PCRs that count at all (tpm-behaviour 23).
constexpr std::uint32_t kCountedPcrs = 20;

void power_on_hierarchies(ChipState& chip) {
  chip.platform.enabled = chip.owner.enabled = chip.endorsement.enabled = chip.platform_nv_enabled = true;
}

void tpm_reset(ModelState& tpm) {
  ChipState& chip = *tpm.chip;
  ++chip.total_resets;
  ++chip.reset_count;
  chip.restart_count = 0;
  chip.clear_count = 0;
  chip.object_contexts = 0;
  ++chip.null.seed;
  ++chip.null.proof;
  chip.pcr_counter = kCountedPcrs;
  chip.pcrs = {};
  power_on_hierarchies(chip);
}

// Restart (Startup(CLEAR) after Shutdown(STATE)) and Resume (Startup(STATE)).
void tpm_restart(ModelState& tpm, bool resume) {
  ChipState& chip = *tpm.chip;
  SavedState& saved = *tpm.saved_state;
  tpm.sessions = saved.sessions;
  tpm.sessions.forget_loaded();
  tpm.objects.clear();
  chip.pcr_counter = saved.pcr_counter + (resume ? kCountedPcrs - kSavedPcrs : kCountedPcrs);
  chip.clear_count = saved.clear_count + (resume ? 0 : 1);
  chip.restart_count = saved.restart_count + 1;
  chip.object_contexts = saved.object_contexts;
  ++chip.restarts;
  chip.platform.enabled = true;
  if (resume) {
    chip.owner.enabled = saved.owner.enabled;
    chip.endorsement.enabled = saved.endorsement.enabled;
    chip.pcrs = {};
    std::copy_n(saved.pcrs.begin(), kSavedPcrs, chip.pcrs.begin());
    return;
  }
  chip.pcrs = {};
  power_on_hierarchies(chip);
}

// Cutting the power before a failure is recorded gains nothing.
void start_counting_tries(ModelState& tpm) {
  TryCount& tries = tpm.chip->tries;
  tries.since = tpm.clock.now();
  if (tries.recovery == 0 || tries.failed >= tries.max) return;
  if (tries.protected_used) ++tries.failed;
  tries.protected_used = false;
}

void flush_persistent(ChipState& chip, wire::Hierarchy hierarchy) {
  for (auto& [number, shelf] : chip.shelves)
    std::erase_if(shelf, [&](const auto& entry) { return entry.second.hierarchy == hierarchy; });
}

void empty(ChipState& chip, wire::Hierarchy hierarchy) {
  ++chip.of(hierarchy).proof;
  ++chip.of(hierarchy).epoch;
  flush_persistent(chip, hierarchy);
}

}  // namespace

Rc startup(Call& call) {
  const std::uint16_t type = call.in.u16();
  if (type != kClearType && type != kStateType) call.in.fail(wire::rc::kValue);
  if (const Rc code = call.in.end(); code != 0) return code;
  ModelState& tpm = call.tpm;
  TryCount& tries = tpm.chip->tries;
  tries.protected_used = std::exchange(tries.marked, false);
  if (type == kStateType && !tpm.saved_state) return wire::rc::in_parameter(wire::rc::kValue, 1);
  if (tpm.saved_state)
    tpm_restart(tpm, type == kStateType);
  else
    tpm_reset(tpm);
  start_counting_tries(tpm);
  tpm.saved_state.reset();
  tpm.chip->running = true;
  tpm.exclusive_audit_session = 0;
  if (tpm.seen_resets == tpm.chip->total_resets) tpm.seen_restarts = tpm.chip->restarts;
  return wire::rc::kSuccess;
}

Rc shutdown(Call& call) {
  const std::uint16_t type = call.in.u16();
  if (type != kClearType && type != kStateType) call.in.fail(wire::rc::kValue);
  if (const Rc code = call.in.end(); code != 0) return code;
  ChipState& chip = *call.tpm.chip;
  call.tpm.saved_state.reset();
  chip.tries.protected_used = chip.tries.marked = false;
  if (type == kStateType)
    call.tpm.saved_state = SavedState{call.tpm.sessions, chip.owner,         chip.endorsement, chip.pcrs,
                                      chip.pcr_counter,  chip.restart_count, chip.clear_count, chip.object_contexts};
  return wire::rc::kSuccess;
}

Rc self_test(Call& call) {
  static_cast<void>(call.in.u8());
  return call.in.end();
}

Rc get_test_result(Call& call) {
  if (const Rc code = call.in.end(); code != 0) return code;
  call.out.u16(0).u32(0);
  return wire::rc::kSuccess;
}

Rc get_random(Call& call) {
  constexpr std::uint16_t kMost = 64;
  const std::uint16_t count = call.in.u16();
  if (const Rc code = call.in.end(); code != 0) return code;
  call.out.tpm2b(call.tpm.random_bytes(std::min(count, kMost)));
  return wire::rc::kSuccess;
}

Rc read_clock(Call& call) {
  if (const Rc code = call.in.end(); code != 0) return code;
  const std::uint64_t milliseconds = call.tpm.clock.now() / 1'000'000;
  const ChipState& chip = *call.tpm.chip;
  call.out.u64(milliseconds).u64(milliseconds).u32(chip.reset_count).u32(chip.restart_count).u8(1);
  return wire::rc::kSuccess;
}

Rc clear(Call& call) {
  if (const Rc code = call.in.end(); code != 0) return code;
  ChipState& chip = *call.tpm.chip;
  ++chip.owner.seed;
  empty(chip, wire::Hierarchy::kOwner);
  empty(chip, wire::Hierarchy::kEndorsement);
  chip.owner.enabled = chip.endorsement.enabled = true;
  chip.reset_count = chip.restart_count = 0;
  chip.clear_count = 0;
  ++chip.pcr_counter;
  call.tpm.begin_tries_anew();
  call.clear_orderly();
  return wire::rc::kSuccess;
}

Rc dictionary_attack_lock_reset(Call& call) {
  if (const Rc code = call.in.end(); code != 0) return code;
  call.tpm.chip->tries.failed = 0;
  return wire::rc::kSuccess;
}

Rc dictionary_attack_parameters(Call& call) {
  constexpr std::uint64_t kSecond = 1'000'000'000;
  const std::uint32_t tries = call.in.u32();
  call.in.next();
  const std::uint32_t recovery = call.in.u32();
  call.in.next();
  const std::uint32_t lockout_recovery = call.in.u32();
  if (const Rc code = call.in.end(); code != 0) return code;
  call.tpm.chip->tries.max = tries;
  call.tpm.chip->tries.recovery = recovery * kSecond;
  call.tpm.chip->tries.lockout_recovery = lockout_recovery * kSecond;
  return wire::rc::kSuccess;
}

Rc change_eps(Call& call) {
  if (const Rc code = call.in.end(); code != 0) return code;
  ++call.tpm.chip->endorsement.seed;
  empty(*call.tpm.chip, wire::Hierarchy::kEndorsement);
  call.tpm.chip->endorsement.enabled = true;
  call.clear_orderly();
  return wire::rc::kSuccess;
}

Rc change_pps(Call& call) {
  if (const Rc code = call.in.end(); code != 0) return code;
  ++call.tpm.chip->platform.seed;
  empty(*call.tpm.chip, wire::Hierarchy::kPlatform);
  call.clear_orderly();
  return wire::rc::kSuccess;
}

Rc hierarchy_control(Call& call) {
  const std::uint32_t target = call.in.u32();
  const bool known = target != kRhNull && call.tpm.chip->find(target) != nullptr;
  if (!known && target != kRhPlatformNv) call.in.fail(wire::rc::kValue);
  call.in.next();
  const std::uint8_t state = call.in.u8();
  if (state > 1) call.in.fail(wire::rc::kValue);
  if (const Rc code = call.in.end(); code != 0) return code;

  const std::uint32_t authority = call.handles[0];
  const bool platform_only = target == kRhPlatform || target == kRhPlatformNv;
  if (authority != kRhPlatform && (platform_only || authority != target)) return codes::kAuthType;
  HierarchyState* hierarchy = call.tpm.chip->find(target);
  bool& enabled = hierarchy != nullptr ? hierarchy->enabled : call.tpm.chip->platform_nv_enabled;
  const bool wanted = state == 1;
  // Only the platform can enable a disabled hierarchy; a disabled hierarchy could not have authorized anyway.
  if (!enabled && wanted && authority != kRhPlatform) return codes::kAuthType;
  if (enabled == wanted) return wire::rc::kSuccess;
  enabled = wanted;
  if (!wanted && hierarchy != nullptr) ++hierarchy->epoch;
  call.clear_orderly();
  return wire::rc::kSuccess;
}

}  // namespace tpmspace::simulation::commands
