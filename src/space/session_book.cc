#include "space/session_book.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "space/protection.h"
#include "space/reclaim.h"

namespace tpmspace::space {

using wire::Command;
using wire::PolicyEffect;
using wire::Rc;
namespace cc = wire::cc;
namespace rc = wire::rc;

namespace {

// A longer nonce is not credible: the client's nonce then counts as unknown.
wire::Bytes nonce_of(wire::ByteView sent) {
  return sent.size() > kMaxNonce ? wire::Bytes() : wire::to_bytes(sent);
}

// The session type of a StartAuthSession that the TPM accepted (Part 3, 11.1): nonceCaller, encryptedSalt, sessionType.
SessionKind kind_of_started(const Command& command) {
  wire::Reader in(command.parameters());
  if (!in.tpm2b() || !in.tpm2b()) return SessionKind::kHmac;
  const auto type = in.u8();
  if (type == static_cast<std::uint8_t>(SessionKind::kPolicy)) return SessionKind::kPolicy;
  if (type == static_cast<std::uint8_t>(SessionKind::kTrial)) return SessionKind::kTrial;
  return SessionKind::kHmac;
}

// Whether success means that an authority outside the TPM was asked for this policy.
bool asks_authority(const Command& command) {
  return command.code() == cc::kPolicySigned || command.code() == cc::kPolicySecret ||
         command.code() == cc::kPolicyTicket;
}

}  // namespace

// --- one more

// Unwanted sessions count as free: they are flushed before any command waits. The same holds for rebuildable sessions.
Bank SessionBook::bank_without(std::size_t left_behind) const {
  Bank out(chip_.active_sessions - chip_.kept_for_rebuilding());
  for (const auto& [space, count] : ordinary_sessions_by_space(books_)) {
    const Space* holder = find_space(books_, space);
    if (space.value == 0)
      out.add_lost(count - std::min(count, static_cast<std::uint32_t>(left_behind)));
    else if (TPMSPACE_HOLDS(holder != nullptr))
      out.add_holder(count, holder->limits.terms.claim);
    else
      out.add_lost(count);
  }
  for (const auto& [number, session] : books_.sessions)
    if (session.reserved) out.add_lost(1);
  out.add_lost(static_cast<std::uint32_t>(books_.kept_places.size()));
  return out;
}

namespace {

bool is_step(const Command& command) {
  const PolicyEffect effect = command.row().policy;
  return effect != PolicyEffect::kNone && effect != PolicyEffect::kRestart;
}

}  // namespace

SessionBook::Want SessionBook::want(SpaceId id, const Command& command) const {
  if (command.row().creates == wire::Creates::kSession) {
    const bool number = log_of_start(command).can_be_made_again() && parking_.has_room_for(space_of(books_, id).owner);
    return number ? Want::kNumber : Want::kOrdinary;
  }
  if (const auto handle = policy_session_of(command); handle && is_step(command)) {
    const Session* session = known_session(books_, id, handle->value);
    if (session != nullptr && session->can_be_made_again() &&
        !(session->log.can_repeat(command, chip_.uncounted_pcrs) && parking_.has_room_for(*session, command)))
      return Want::kOrdinary;
  }
  return Want::kNothing;  // a policy session cannot audit (Part 1, 17.7)
}

SessionBook::Admission SessionBook::admission(SpaceId id, const Command& command) const {
  const Space& space = space_of(books_, id);
  if (space.given_up) return Admission::kNever;
  const bool starts = command.row().creates == wire::Creates::kSession;
  if (starts && sessions_of_space(books_, id) >= space.limits.sessions) return Admission::kNever;
  if (want(id, command) == Want::kNumber) return parking_.can_free_a_number() ? Admission::kNow : Admission::kNotNow;
  const auto going = left_behind_to_take(books_, id, port_.now());
  if (!going) return Admission::kNever;
  const auto by_space = ordinary_sessions_by_space(books_);
  const auto found = by_space.find(id);
  const std::uint32_t held = found == by_space.end() ? 0 : found->second;
  Bank bank = bank_without(going->size());
  bank.find(books_.kept_places.of(space.owner));
  return bank.admits(held, space.limits.terms.claim) ? Admission::kNow : Admission::kNotNow;
}

void SessionBook::make_room_in_pools(SpaceId id, const Command& command) {
  if (want(id, command) != Want::kOrdinary) return;
  const auto going = left_behind_to_take(books_, id, port_.now());
  if (!going) return;
  const Holder holder = holder_of(books_, id);
  for (const std::uint32_t number : *going)
    take(number, {wire::Taker::Why::kPool, holder.owner.value, holder.part.user});
}

Status SessionBook::clear_the_way(SpaceId id) {
  Space& space = space_of(books_, id);
  if (const Rc code = parking_.free_a_number(id); code != rc::kSuccess) return code;
  // 3N + 1 commands if N numbers are in the way (docs/tpm-behaviour.md 24). Numbers that the TPM skips belong to other
  // programs.
  std::set<std::uint32_t> of_others;
  for (int fillers = 0; fillers < kMaxFillers; ++fillers) {
    const auto next = parking_.lowest_free_number(of_others);
    if (!next || !is_taken_in(books_, id, *next)) return rc::kSuccess;
    if (parking_.active() + 1 >= chip_.active_sessions) {
      // The last free number is in the way. If it is a tombstone whose client was told, the number may be used.
      const auto stone = space.tombstones.find(*next);
      const bool told = stone != space.tombstones.end() && stone->second.told;
      if (told) space.tombstones.erase(stone);
      if (told || !parking_.make_way(id)) return rc::kSuccess;
    }
    const auto filler = residency_.add_filler();
    if (!filler) return filler.error();
    if (*filler != *next) of_others.insert(*next);
    // A number that the client may have serves as well: the filler is flushed, and the number is the lowest free one
    // again.
    if (*filler != *next && !is_taken_in(books_, id, *filler)) {
      (void)residency_.flush_unwanted_session_of(*filler, wire::Cause::kFiller);
      return rc::kSuccess;
    }
  }
  return rc::kSuccess;  // the client gets another number for the session (book_started)
}

std::optional<wire::ClientHandle> SessionBook::client_handle(SpaceId id, std::uint32_t handle) const {
  if (!is_taken_in(books_, id, wire::number_of(handle))) return wire::ClientHandle{handle};
  for (std::uint32_t number = 0; number < chip_.session_numbers; ++number)
    if (!is_taken_in(books_, id, number)) return wire::ClientHandle{(handle & 0xFF000000) | number};
  return std::nullopt;
}

std::optional<wire::ClientHandle> SessionBook::book_started(SpaceId id, const Command& command,
                                                            const wire::Response& response) {
  if (!TPMSPACE_HOLDS(response.handle().has_value())) return std::nullopt;
  const std::uint32_t handle = response.handle()->value;
  const std::uint32_t number = wire::number_of(handle);
  const Space& space = space_of(books_, id);
  const auto client = client_handle(id, handle);
  if (!client) return std::nullopt;
  std::erase_if(books_.unwanted_sessions, [&](const auto& u) { return wire::number_of(u.handle) == number; });
  Session session;
  session.handle = handle;
  session.client = *client;
  session.kind = kind_of_started(command);
  session.owner = space.owner;
  session.part = space.limits.part;
  session.space = id;
  session.last_use = books_.tick;
  session.started_at = session.used_at = session.seen_at = port_.now();
  session.lease = space.limits.terms.lease;
  session.tenure = space.limits.terms.tenure;
  session.bound_to_what_counts = binds_to_what_counts(books_, id, command);
  session.log = log_of_start(command);
  if (session.can_be_made_again() && !parking_.has_room_for(space.owner)) session.log.give_up(Rebuildable::kFull);
  if (!command.first_response_parameter_encrypted())
    if (const auto nonce = wire::Reader(response.parameters()).tpm2b()) session.nonce = nonce_of(*nonce);
  // A session whose handle has another type than requested cannot be rebuilt.
  const bool policy = wire::kind_of(handle) == wire::HandleKind::kPolicySession;
  if (!policy || session.nonce.empty())
    session.log.give_up(session.log.rebuildable == Rebuildable::kNotPolicy ? Rebuildable::kNotPolicy
                                                                           : Rebuildable::kSecret);
  books_.sessions.insert_or_assign(number, std::move(session));
  return client;
}

// --- policies and nonces

void SessionBook::book_policy(SpaceId id, const Command& command) {
  const auto handle = policy_session_of(command);
  Session* session = handle ? usable_session(books_, id, handle->value) : nullptr;
  if (session == nullptr) return;
  if (command.row().policy == PolicyEffect::kRestart) {
    session->log.clear();
    session->asked_authority = false;
    return;
  }
  if (asks_authority(command)) session->asked_authority = true;
  if (command.code() == cc::kPolicyPassword || command.code() == cc::kPolicyAuthValue) session->log.auth_value = true;
  if (command.code() == cc::kPolicyPassword) session->log.password = true;
  if (command.code() == cc::kPolicyAuthValue) session->log.password = false;
  if (session->can_be_made_again()) log_step(*session, id, command);
}

void SessionBook::log_step(Session& session, SpaceId id, const Command& command) {
  PolicyLog& log = session.log;
  if (!log.can_repeat(command, chip_.uncounted_pcrs)) {
    log.rebuildable = Rebuildable::kStep;
    return;
  }
  const auto key = key_of(id, command);
  if (!key) {
    log.rebuildable = Rebuildable::kStep;
    return;
  }
  if (!parking_.has_room_for(session, command)) {
    log.rebuildable = Rebuildable::kFull;
    return;
  }
  wire::TpmHandle at_tpm{command.handle(0).value};
  if (wire::is_persistent(at_tpm.value)) {
    const auto persistent = persistent_at_tpm(space_of(books_, id).limits.view.get(), command.handle(0));
    if (!TPMSPACE_HOLDS(persistent.has_value())) {
      log.rebuildable = Rebuildable::kStep;
      return;
    }
    at_tpm = *persistent;
  }
  log.steps.push_back(step_of(command, *key, at_tpm));
}

// The saved context of a PolicySigned's transient key, since the client may flush the key. Empty: none.
std::optional<wire::Bytes> SessionBook::key_of(SpaceId id, const Command& step) {
  if (step.handle_count() < 2 || !wire::is_transient(step.handle(0).value)) return wire::Bytes();
  const wire::ClientHandle key = step.handle(0);
  Object* object = find_object(books_, id, key);
  const Slot* slot = slot_of(books_, id, key);
  if (object == nullptr) return std::nullopt;
  if (object->context.empty()) {
    if (slot == nullptr) return std::nullopt;
    auto context = port_.context_save(slot->tpm.value, wire::Cause::kSave);
    if (!context) return std::nullopt;
    (void)set_context(books_, id, key, std::move(*context));
    object->seen_at = port_.now();
  }
  return object->context;
}

void SessionBook::book_uses(SpaceId id, const Command& command, const wire::Response& response) {
  for (std::size_t i = 0; i < command.authorizations().size() && i < response.authorizations().size(); ++i) {
    const wire::Authorization& authorization = command.authorizations()[i];
    if (authorization.is_password()) continue;
    Session* session = usable_session(books_, id, authorization.handle.value);
    if (session == nullptr) continue;
    if (!authorization.continues()) {
      books_.sessions.erase(wire::number_of(session->handle));
      continue;
    }
    const wire::ResponseAuthorization& answer = response.authorizations()[i];
    session->nonce = nonce_of(response.bytes().subspan(answer.nonce_at, answer.nonce_size));
    session->stale = false;
    session->asked_authority = false;
    session->log.clear();
  }
}

// --- places that stay an owner's

namespace {

std::uint32_t ordinary_of(const Books& books, OwnerId owner) {
  return static_cast<std::uint32_t>(std::count_if(books.sessions.begin(), books.sessions.end(), [&](const auto& entry) {
    return entry.second.owner == owner && entry.second.is_ordinary();
  }));
}

}  // namespace

SessionBook::Before SessionBook::before(SpaceId id) const {
  Before out;
  out.owner = space_of(books_, id).owner;
  out.ordinary = ordinary_of(books_, out.owner);
  for (const auto& [number, session] : books_.sessions)
    if (session.space == id && session.served_at != 0 && session.is_ordinary())
      out.waited.push_back({number, session.started_at, session.served_at, session.tenure});
  return out;
}

void SessionBook::settle_places(const Before& before, Session* created) {
  for (std::uint32_t now = ordinary_of(books_, before.owner); now > before.ordinary; --now)
    if (const auto served_at = books_.kept_places.use(before.owner); served_at && created != nullptr)
      created->served_at = *served_at;
  for (const Before::Waited& one : before.waited) {
    const auto found = books_.sessions.find(one.number);
    if (found != books_.sessions.end() && found->second.started_at == one.started_at) continue;
    const std::uint64_t until = port_.now() + std::min(one.tenure, KeptPlaces::kLongest);
    if (!books_.kept_places.keep({before.owner, until, one.served_at}, chip_.active_sessions / 4)) continue;
    // No place is kept that could prevent other spaces from finishing.
    if (!bank().is_safe()) (void)books_.kept_places.release(before.owner);
  }
}

// --- one less

void SessionBook::leave(SpaceId space) {
  std::vector<std::uint32_t> ended;
  for (auto& [number, session] : books_.sessions) {
    if (session.space != space) continue;
    if (session.client_saved) {
      const auto& pools = space_of(books_, space).limits.pools;
      std::transform(pools.begin(), pools.end(), session.left_pools.begin(), [](const Pool& pool) { return pool.id; });
      session.space = SpaceId{};
    } else {
      ended.push_back(number);
    }
  }
  for (const auto number : ended) drop(number);
  drop_parked_of(books_, space);
  abandon_parked_files(books_, space);
  enforce_abandoned_limits();
  enforce_parked_limit(space_of(books_, space).owner);
}

void SessionBook::note_let_go(const Session& session, wire::Taker::Why why) {
  port_.cost().let_go.push_back(taken(session, {why}));
}

// At most a fixed number for each owner, and in all at most half of the chip's sessions: beyond that, the owner with
// the most loses the oldest. Rebuildable sessions do not count.
void SessionBook::enforce_abandoned_limits() {
  using ByUse = std::set<std::pair<std::uint64_t, std::uint32_t>>;  // last use, number
  std::map<OwnerId, ByUse> abandoned;
  std::size_t all = 0;
  for (const auto& [number, session] : books_.sessions) {
    if (session.space.value != 0 || session.can_be_made_again()) continue;
    abandoned[session.owner].emplace(session.last_use, number);
    ++all;
  }
  const auto drop_oldest = [&](ByUse& of_owner, wire::Taker::Why why) {
    const std::uint32_t number = of_owner.begin()->second;
    if (const Session* session = find_session(books_, number)) note_let_go(*session, why);
    drop(number);
    of_owner.erase(of_owner.begin());
    --all;
  };
  for (auto& [owner, sessions] : abandoned)
    while (sessions.size() > quota_.abandoned_sessions_per_owner) drop_oldest(sessions, wire::Taker::Why::kLeft);
  while (all > chip_.active_sessions / 2) {
    const auto most = std::max_element(abandoned.begin(), abandoned.end(), [](const auto& one, const auto& other) {
      if (one.second.size() != other.second.size()) return one.second.size() < other.second.size();
      return !one.second.empty() && one.second.begin()->first > other.second.begin()->first;
    });
    if (!TPMSPACE_HOLDS(most != abandoned.end() && !most->second.empty())) return;
    drop_oldest(most->second, wire::Taker::Why::kAllLeft);
  }
}

// Files of parked sessions that may never be loaded again.
void SessionBook::enforce_parked_limit(OwnerId owner) {
  std::vector<ContextDigest> abandoned;  // longest idle first
  for_each_file(books_, owner, SpaceId{}, [&](const Session& file) { abandoned.push_back(file.client_copy); });
  for (std::size_t i = 0; i + quota_.abandoned_parked_per_owner < abandoned.size(); ++i)
    if (const auto file = take_parked_file(books_, abandoned[i])) note_let_go(*file, wire::Taker::Why::kLeft);
}

// The number gets no other meaning in the space until the client knows.
void SessionBook::record_taken(const Session& session, const wire::Taker& by) {
  port_.cost().reclaimed.push_back(taken(session, by));
  add_tombstone(books_, session);
}

void SessionBook::take(std::uint32_t number, const wire::Taker& by) {
  const Session* found = find_session(books_, number);
  if (!TPMSPACE_HOLDS(found != nullptr)) return;
  const Session session = *found;
  residency_.flush_session(number, wire::Cause::kReclaim);
  record_taken(session, by);
}

void SessionBook::take_parked_one(const ParkedKey& key, const wire::Taker& by) {
  const auto session = take_parked(books_, key);
  if (TPMSPACE_HOLDS(session.has_value())) record_taken(*session, by);
}

void SessionBook::take_parked_file_of(const ContextDigest& copy, const wire::Taker& by) {
  const auto session = take_parked_file(books_, copy);
  if (TPMSPACE_HOLDS(session.has_value())) record_taken(*session, by);
}

// --- reserved sessions

// All other clients must manage with the remaining slots.
Rc SessionBook::reserve(std::uint32_t number) {
  const auto it = books_.sessions.find(number);
  if (it == books_.sessions.end() || it->second.client_saved || it->second.space.value == 0) return rc::kReferenceH0;
  if (it->second.reserved) return rc::kSuccess;
  std::uint32_t reserved = 0;
  for (const auto& [other, session] : books_.sessions) reserved += session.reserved ? 1U : 0U;
  if (reserved + 1 >= chip_.loaded_sessions) return rc::kSessionMemory;
  if (const Rc code = residency_.load_session(number); code != rc::kSuccess) return code;
  Session* session = find_session(books_, number);
  if (!TPMSPACE_HOLDS(session != nullptr && session->loaded())) return rc::kFailure;
  session->reserved = true;
  return rc::kSuccess;
}

void SessionBook::release(std::uint32_t number) {
  const auto it = books_.sessions.find(number);
  if (it != books_.sessions.end()) it->second.reserved = false;
}

// --- tombstones

void SessionBook::tell(SpaceId space, std::uint32_t handle) {
  auto& stones = space_of(books_, space).tombstones;
  if (const auto it = stones.find(wire::number_of(handle)); it != stones.end()) it->second.told = true;
}

}  // namespace tpmspace::space
