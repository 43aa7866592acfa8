#include "space/parking.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "books/session_hmac.h"
#include "space/reclaim.h"

namespace tpmspace::space {

using wire::Cause;
using wire::Rc;
namespace cc = wire::cc;
namespace rc = wire::rc;

namespace {

// Whether the client may notice a rebuild: the first step of a policy, and parameters encrypted for the session, can
// depend on the session's nonce.
bool may_be_noticed(const Session& session) {
  return session.log.steps.empty() || session.log.decrypts;
}

// The PolicyPCR of a trial session does not check the PCR counter.
bool depends_on_pcrs(const Session& session) {
  return session.kind == SessionKind::kPolicy && session.log.has(cc::kPolicyPCR);
}

// Includes codes for an entity that was just made and is unknown to the TPM: another program flushed the entity.
bool says_nothing_of_the_step(Rc code) {
  const bool unknown = code >= rc::kReferenceH0 && code < rc::kReferenceH0 + 2;
  return Residency::is_for_another_try(code) || code == rc::kFailure || code == rc::kInitialize || unknown;
}

using ByOwner = std::map<OwnerId, std::uint32_t>;

ByOwner rebuildable_by_owner(const Books& books) {
  ByOwner out;
  for (const auto& [number, session] : books.sessions) out[session.owner] += session.can_be_made_again() ? 1U : 0U;
  return out;
}

// Fair shares of the chip's sessions: equal for all owners with a session, and for the owner that asks.
class Shares {
 public:
  Shares(ByOwner owners, OwnerId asker, std::uint32_t sessions) : owners_(std::move(owners)), sessions_(sessions) {
    asker_has_room_ = (std::uint64_t{owners_[asker]} + 1) * owners_.size() <= sessions_;
  }
  // The asker stays within its share, and the holder of the session is above its own.
  [[nodiscard]] bool gives_way(const Session& session) const {
    return asker_has_room_ && std::uint64_t{owners_.at(session.owner)} * owners_.size() > sessions_;
  }

 private:
  ByOwner owners_;
  std::uint32_t sessions_;
  bool asker_has_room_;
};

}  // namespace

// --- numbers

std::optional<std::uint64_t> Parking::number_at(std::uint64_t since, OwnerId asker) const {
  if (active() < chip_.active_sessions || !books_.unwanted_sessions.empty()) return 0;
  const Shares shares(rebuildable_by_owner(books_), asker, chip_.active_sessions);
  std::optional<std::uint64_t> out;
  for (const auto& [number, session] : books_.sessions) {
    if (!session.can_be_made_again()) continue;
    const std::uint64_t at = shares.gives_way(session) ? 0 : std::min(session.used_at, since) + kGrace;
    out = std::min(out.value_or(at), at);
  }
  return out;
}

std::uint64_t Parking::number_at(std::uint64_t since, OwnerId asker, std::uint32_t number) const {
  const auto holder = books_.sessions.find(number);
  if (holder == books_.sessions.end() || !can_have_number(number)) return 0;
  const Shares shares(rebuildable_by_owner(books_), asker, chip_.active_sessions);
  return shares.gives_way(holder->second) ? 0 : std::min(holder->second.used_at, since) + kGrace;
}

bool Parking::can_free_a_number() const {
  return active() < chip_.active_sessions || !books_.unwanted_sessions.empty() ||
         std::any_of(books_.sessions.begin(), books_.sessions.end(),
                     [](const auto& entry) { return entry.second.can_be_made_again(); });
}

std::vector<std::uint32_t> Parking::sessions_to_park() const {
  const ByOwner by_owner = rebuildable_by_owner(books_);
  const std::uint64_t now = port_.now();
  using Rank = std::tuple<bool, bool, bool, bool, std::uint64_t>;
  std::vector<std::pair<Rank, std::uint32_t>> ranked;
  for (const auto& [number, session] : books_.sessions) {
    if (!session.can_be_made_again() || residency_.is_pinned(session)) continue;
    const auto held = by_owner.find(session.owner);
    if (!TPMSPACE_HOLDS(held != by_owner.end())) continue;
    const bool above_share = std::uint64_t{held->second} * by_owner.size() > chip_.active_sessions;
    const bool fresh = now < session.used_at + kGrace;
    ranked.emplace_back(Rank{session.awaited, !above_share, fresh, may_be_noticed(session), session.last_use}, number);
  }
  std::sort(ranked.begin(), ranked.end());
  std::vector<std::uint32_t> out;
  out.reserve(ranked.size());
  for (const auto& [rank, number] : ranked) out.push_back(number);
  return out;
}

// If a session cannot be parked now, the next is tried.
bool Parking::park_one(std::optional<SpaceId> welcome_in) {
  for (const std::uint32_t number : sessions_to_park()) {
    if (welcome_in && is_taken_in(books_, *welcome_in, number)) continue;
    const std::size_t before = active();
    if (books_.sessions.count(number) != 0) (void)park(number);
    if (active() < before) return true;
    if (port_.cost().tpm_lost || port_.cost().distrusted) return false;
  }
  return false;
}

bool Parking::make_way(SpaceId space) {
  return park_one(space);
}

Rc Parking::free_a_number(SpaceId space) {
  while (active() >= chip_.active_sessions) {
    if (residency_.flush_unwanted_session() || park_one(space) || park_one(std::nullopt)) continue;
    return port_.cost().tpm_lost || port_.cost().distrusted ? rc::kFailure : rc::kSessionHandles;
  }
  return rc::kSuccess;
}

std::optional<std::uint32_t> Parking::lowest_free_number(const std::set<std::uint32_t>& of_others) const {
  for (std::uint32_t number = 0; number < chip_.session_numbers; ++number) {
    if (of_others.count(number) != 0) continue;
    const bool unwanted =
        std::any_of(books_.unwanted_sessions.begin(), books_.unwanted_sessions.end(),
                    [&](const UnwantedSession& session) { return wire::number_of(session.handle) == number; });
    if (books_.sessions.count(number) == 0 && !unwanted) return number;
  }
  return std::nullopt;
}

bool Parking::can_have_number(std::uint32_t number) const {
  const auto holder = books_.sessions.find(number);
  return holder == books_.sessions.end() ||
         (holder->second.can_be_made_again() && !residency_.is_pinned(holder->second));
}

// Makes that number the next of the TPM: 3N + 1 commands if N lower numbers are free (docs/tpm-behaviour.md 24).
Status Parking::free_number(std::uint32_t wanted) {
  if (!can_have_number(wanted)) return rc::kReferenceH0;
  if (books_.sessions.count(wanted) != 0)
    if (const Rc code = park(wanted); code != rc::kSuccess) return code;
  const auto is_it = [&](const UnwantedSession& session) { return wire::number_of(session.handle) == wanted; };
  if (std::any_of(books_.unwanted_sessions.begin(), books_.unwanted_sessions.end(), is_it))
    if (const Rc code = residency_.flush_unwanted_session_of(wanted, Cause::kFlush); code != rc::kSuccess) return code;
  for (std::uint32_t fillers = 0; fillers < chip_.session_numbers; ++fillers) {
    const auto next = lowest_free_number();
    if (next == wanted) return rc::kSuccess;
    if (!next || *next > wanted) return rc::kReferenceH0;                // another program has the number
    if (active() + 1 >= chip_.active_sessions) return rc::kReferenceH0;  // other sessions have the remaining places
    const auto filler = residency_.add_filler();
    if (!filler) return filler.error();
    if (*filler >= wanted) return rc::kReferenceH0;  // another program has lower numbers, or this number
  }
  return rc::kReferenceH0;
}

// --- room in the books

ShareRule Parking::rule(const Quota& quota, const Chip& chip) {
  const std::uint64_t to_come = std::uint64_t{chip.active_sessions} * (sizeof(Session) + kMaxLogBytes);
  return ShareRule::of(quota.log_bytes - std::min(quota.log_bytes, to_come), sizeof(Session) + kMaxLogBytes);
}

bool Parking::has_room_for(OwnerId owner) const {
  const auto parked = books_.parked_by_owner.find(owner);
  const auto by_owner = rebuildable_by_owner(books_);
  const auto here = by_owner.find(owner);
  return (parked == books_.parked_by_owner.end() ? 0 : parked->second) + (here == by_owner.end() ? 0 : here->second) <
             quota_.parked_sessions_per_owner &&
         books_.parked_bytes.admits(Payer::of(owner, false), sizeof(Session));
}

bool Parking::has_room_for(const Session& session, const wire::Command& step) const {
  const bool slow = step.code() == cc::kPolicySigned;
  if (slow && session.log.count(step.code()) >= kMaxSlowSteps) return false;
  const bool keeps_key = slow && wire::is_transient(step.handle(0).value);
  const std::size_t size =
      session.log.size() + sizeof(PolicyStep) + step.parameters().size() + (keeps_key ? chip_.max_response : 0);
  if (session.log.steps.size() >= kMaxSteps || size > kMaxLogBytes) return false;
  return books_.parked_bytes.admits(Payer::of(session.owner, false), size);
}

// --- out

Rc Parking::park(std::uint32_t number) {
  wire::Bytes digest;
  std::uint32_t counter = 0;
  bool changed = false;
  const Session* present = find_session(books_, number);
  if (!TPMSPACE_HOLDS(present != nullptr && present->can_be_made_again())) return rc::kFailure;
  if (!present->log.steps.empty()) {
    const Rc loaded = residency_.load_session(number);
    const bool sure = !port_.cost().tpm_lost && !port_.cost().distrusted;
    if (sure && is_dead_context(loaded)) lose(number);  // another program flushed the session
    if (loaded != rc::kSuccess) return loaded;
    present = find_session(books_, number);
    if (!TPMSPACE_HOLDS(present != nullptr)) return rc::kFailure;
    const Session& session = *present;
    auto policy = port_.policy_digest(session.handle, Cause::kPark);
    if (!policy) return policy.error();
    digest = std::move(*policy);
    if (depends_on_pcrs(session)) {
      const auto now = port_.pcr_counter(Cause::kPark);
      if (!now) return now.error();
      counter = *now;
      // The session in the TPM knows the counter at its PolicyPCR, and reports whether the counter has moved since.
      const Rc code = port_.policy_of_no_pcr(session.handle);
      if (code != rc::kSuccess && code != rc::kPcrChanged) {
        // Without a response, the execution and so the session's policy are unknown.
        if (port_.cost().tpm_lost || port_.cost().distrusted) lose(number);
        return code;
      }
      changed = code == rc::kPcrChanged;
    }
  }
  auto node = books_.sessions.extract(number);
  if (!TPMSPACE_HOLDS(!node.empty())) return rc::kFailure;
  Session session = std::move(node.mapped());
  // The client that wants the number pays for this flush.
  books_.unwanted_sessions.push_back(UnwantedSession{session.handle, session.loaded(), session.sequence});
  session.context.clear();
  session.sequence = 0;
  session.awaited = false;
  session.log.digest = std::move(digest);
  session.log.pcr_counter = counter;
  session.log.pcr_changed = changed;
  (void)add_parked(books_, std::move(session));
  ++port_.cost().parks;
  return residency_.flush_unwanted_session_of(number, Cause::kPark);
}

// The session is gone; its client gets an error at the next use.
void Parking::lose(std::uint32_t number) {
  const auto it = books_.sessions.find(number);
  if (it == books_.sessions.end()) return;
  const Session session = it->second;
  port_.cost().reclaimed.push_back(taken(session, {wire::Taker::Why::kLost}));
  make_unwanted(books_, number);
  add_tombstone(books_, session);
}

// --- in

tl::expected<wire::TpmHandle, Status> Parking::start_again(const Session& parked) {
  const std::uint32_t kind = parked.client.value;
  const wire::Bytes start = parked.log.start;  // a reset of the TPM removes the session from the books
  constexpr int kAttempts = 4;
  Rc why = rc::kSessionMemory;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (const Rc code = residency_.make_session_room(1); code != rc::kSuccess) return tl::unexpected(Status(code));
    const auto started = port_.start_again(start);
    if (started) {
      const Status handed_out = residency_.hand_out(*started);  // unwanted until the policy is restored
      if (!handed_out.ok()) return tl::unexpected(handed_out);
      if (wire::kind_of(started->value) == wire::kind_of(kind)) return *started;
      port_.cost().distrusted = true;
      return tl::unexpected(Status(rc::kFailure));
    }
    why = started.error();
    const bool again = (why == rc::kContextGap && residency_.refresh_oldest() == rc::kSuccess) ||
                       (why == rc::kSessionMemory && residency_.evict_session() == rc::kSuccess) ||
                       (why == rc::kSessionHandles && (residency_.flush_unwanted_session() || park_one(std::nullopt)));
    if (!again) break;
  }
  return tl::unexpected(Status(why));
}

Status Parking::bring_back(const ParkedKey& key, std::uint8_t locality, bool own_number) {
  // A log must not survive an unnoticed reset.
  if (chip_.can_be_suspended && recovery_.notice_start_up()) return Status::start_over();
  const auto is_parked = [&] { return books_.parked.count(key) != 0; };
  if (!TPMSPACE_HOLDS(is_parked())) return rc::kFailure;
  if (books_.parked[key].log.pcr_changed) return rc::kPcrChanged;
  const Status number = own_number ? free_number(key.number) : Status(free_a_number(key.space));
  if (!number.ok()) return number;
  if (!TPMSPACE_HOLDS(is_parked())) return rc::kFailure;
  Session& parked = books_.parked[key];
  const auto started = start_again(parked);
  if (!started) return started.error();
  if (own_number && wire::number_of(started->value) != key.number) return rc::kReferenceH0;
  if (const Status status = repeat_steps(parked, *started, locality); !status.ok()) return status;

  auto taken_out = take_parked(books_, key);
  if (!TPMSPACE_HOLDS(taken_out.has_value())) return rc::kFailure;
  Session session = std::move(*taken_out);
  std::erase_if(books_.unwanted_sessions,
                [&](const UnwantedSession& unwanted) { return unwanted.handle == started->value; });
  session.handle = started->value;
  session.stale = true;
  session.last_use = books_.tick;
  session.seen_at = port_.now();
  session.log.digest.clear();
  ++port_.cost().rebuilds;
  books_.sessions.insert_or_assign(wire::number_of(started->value), std::move(session));
  return rc::kSuccess;
}

Status Parking::repeat_steps(Session& parked, wire::TpmHandle handle, std::uint8_t locality) {
  for (const PolicyStep& step : parked.log.steps) {
    const Status status = repeat(step, handle, locality);
    if (status.ok()) continue;
    if (says_nothing_of_the_step(status.code()) || port_.cost().tpm_lost || port_.cost().distrusted) return status;
    return pcr_has_changed(parked) ? Status(rc::kPcrChanged) : Status::not_the_same();
  }
  return compare(parked, handle);
}

Status Parking::repeat(const PolicyStep& step, wire::TpmHandle handle, std::uint8_t locality) {
  if (step.key_context.empty()) return port_.policy_step(step, wire::TpmHandle{step.key}, handle, locality);
  if (const Rc code = residency_.make_object_room(1); code != rc::kSuccess) return code;
  const auto key = port_.context_load(step.key_context, Cause::kRebuild);
  if (!key) return key.error();
  const Status handed_out = wire::is_transient(key->value) ? residency_.hand_out(*key) : Status(rc::kFailure);
  if (!handed_out.ok()) return handed_out;
  const Rc code = port_.policy_step(step, *key, handle, locality);
  residency_.flush_unwanted_objects();
  return code;
}

// Whether the policy is the same as before, and the PCRs of its PolicyPCR are unchanged.
Status Parking::compare(Session& parked, wire::TpmHandle handle) {
  if (parked.log.steps.empty()) return rc::kSuccess;
  if (depends_on_pcrs(parked)) {
    const auto counter = port_.pcr_counter(Cause::kRebuild);
    if (!counter) return counter.error();
    if (*counter != parked.log.pcr_counter) {
      parked.log.pcr_changed = true;
      return rc::kPcrChanged;
    }
  }
  const auto digest = port_.policy_digest(handle.value, Cause::kRebuild);
  if (!digest) return digest.error();
  const bool is_known = !parked.log.digest.empty();  // the session may have been lost before the digest was read
  return !is_known || *digest == parked.log.digest ? Status() : Status::not_the_same();
}

// Asks the TPM, and stores the answer.
bool Parking::pcr_has_changed(Session& parked) {
  if (!depends_on_pcrs(parked)) return false;
  const auto counter = port_.pcr_counter(Cause::kRebuild);
  if (!counter || *counter == parked.log.pcr_counter) return false;
  parked.log.pcr_changed = true;
  return true;
}

}  // namespace tpmspace::space
