#include "host/status_counters.h"

#include <algorithm>

#include "wire/handle.h"

namespace tpmspace::host {
namespace {

constexpr unsigned kManagerLayerNumber = wire::layer_of(wire::kManagerLayer);

std::uint64_t& by_cause(proto::Status& status, observe::Cause cause) {
  switch (cause) {
    case observe::Cause::kClient:
      return status.tpm_commands_client;
    case observe::Cause::kSave:
      return status.tpm_commands_save;
    case observe::Cause::kLoad:
      return status.tpm_commands_load;
    case observe::Cause::kFlush:
      return status.tpm_commands_flush;
    case observe::Cause::kRefresh:
      return status.tpm_commands_refresh;
    case observe::Cause::kProbe:
      return status.tpm_commands_probe;
    case observe::Cause::kReclaim:
      return status.tpm_commands_reclaim;
    case observe::Cause::kFiller:
      return status.tpm_commands_filler;
    case observe::Cause::kPark:
      return status.tpm_commands_park;
    case observe::Cause::kRebuild:
      return status.tpm_commands_rebuild;
  }
  return status.tpm_commands_probe;
}

// Moves of the manager itself, refreshes included.
void count_move(proto::Status& status, const observe::TpmUse& use) {
  if (use.cause == observe::Cause::kClient) return;
  if (use.code == wire::cc::kContextSave) ++status.swapping_saves;
  if (use.code == wire::cc::kContextLoad) ++status.swapping_loads;
  if (use.code == wire::cc::kFlushContext) ++status.swapping_flushes;
}

}  // namespace

void StatusCounters::add(const observe::Account& account, bool delivered) {
  if (delivered) count_answer(account.rc);
  for (const auto& use : account.tpm) {
    ++sums_.tpm_commands_total;
    ++by_cause(sums_, use.cause);
    count_move(sums_, use);
    sums_.tpm_commands_time += use.nanoseconds;
    auto& of_code = by_code_[use.code];
    of_code.code = use.code;
    ++of_code.count;
    of_code.nanoseconds += use.nanoseconds;
  }
  sums_.swapping_evictions += account.evictions;
  for (const auto& taken : account.reclaimed) sums_.sessions_reclaims += wire::is_session(taken.handle) ? 1U : 0U;
  sums_.sessions_parks += account.parks;
  sums_.sessions_rebuilds += account.rebuilds;
  if (account.waited) ++sums_.sessions_waits;
  if (account.auth_failed) ++sums_.lockout_failures;
  if (account.stopped_for_lockout) ++sums_.lockout_stopped;
  if (account.restarted != wire::Restarted::kNo) ++sums_.tpm_resets;
}

void StatusCounters::add_early_answer(wire::Rc code) {
  count_answer(code);
}

void StatusCounters::add_queue_length(std::uint64_t n) {
  sums_.queue_longest = std::max(sums_.queue_longest, n);
}

void StatusCounters::count_answer(wire::Rc code) {
  ++sums_.client_commands_answered;
  if (code != wire::rc::kSuccess) ++sums_.client_commands_failed;
  if (wire::layer_of(code) == kManagerLayerNumber) ++sums_.client_commands_by_manager;
}

void StatusCounters::fill(proto::Status& status) const {
  status.tpm_resets = sums_.tpm_resets;
  status.client_commands_answered = sums_.client_commands_answered;
  status.client_commands_by_manager = sums_.client_commands_by_manager;
  status.client_commands_failed = sums_.client_commands_failed;
  status.tpm_commands_total = sums_.tpm_commands_total;
  status.tpm_commands_client = sums_.tpm_commands_client;
  status.tpm_commands_save = sums_.tpm_commands_save;
  status.tpm_commands_load = sums_.tpm_commands_load;
  status.tpm_commands_flush = sums_.tpm_commands_flush;
  status.tpm_commands_refresh = sums_.tpm_commands_refresh;
  status.tpm_commands_probe = sums_.tpm_commands_probe;
  status.tpm_commands_reclaim = sums_.tpm_commands_reclaim;
  status.tpm_commands_filler = sums_.tpm_commands_filler;
  status.tpm_commands_park = sums_.tpm_commands_park;
  status.tpm_commands_rebuild = sums_.tpm_commands_rebuild;
  status.sessions_waits = sums_.sessions_waits;
  status.sessions_reclaims = sums_.sessions_reclaims;
  status.sessions_parks = sums_.sessions_parks;
  status.sessions_rebuilds = sums_.sessions_rebuilds;
  status.lockout_failures = sums_.lockout_failures;
  status.lockout_stopped = sums_.lockout_stopped;
  status.sessions_parked = snapshot_.sessions_parked;
  status.sessions_waiting = snapshot_.waiting_for_session;
  status.tpm_commands_time = sums_.tpm_commands_time;
  status.swapping_saves = sums_.swapping_saves;
  status.swapping_loads = sums_.swapping_loads;
  status.swapping_flushes = sums_.swapping_flushes;
  status.swapping_evictions = sums_.swapping_evictions;
  status.queue_longest = sums_.queue_longest;
  status.spaces_objects = snapshot_.objects;
  status.spaces_objects_loaded = snapshot_.objects_loaded;
  status.spaces_sessions = snapshot_.sessions;
  status.spaces_sessions_loaded = snapshot_.sessions_loaded;
  status.spaces_sessions_client_saved = snapshot_.sessions_client_saved;
  status.spaces_bytes = snapshot_.bytes;
  status.tpm_commands_by_code.clear();
  for (const auto& [code, use] : by_code_) status.tpm_commands_by_code.push_back(use);
}

}  // namespace tpmspace::host
