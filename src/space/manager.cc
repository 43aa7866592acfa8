#include "space/manager.h"

#include <algorithm>
#include <utility>

#include "base/invariant.h"
#include "books/session_hmac.h"
#include "space/capability_view.h"
#include "space/pools.h"
#include "space/view_commands.h"
#include "wire/rewrite.h"

namespace tpmspace::space {

using wire::Authorization;
using wire::Bytes;
using wire::ClientHandle;
using wire::Command;
using wire::Creates;
using wire::Effect;
using wire::Rc;
using wire::Response;
namespace cc = wire::cc;
namespace rc = wire::rc;

namespace {

// The most times that one command is sent to the TPM, however often the TPM asks for repairs in between.
constexpr int kMaxAttempts = 8;

bool creates_object(const Command& command) {
  const Creates creates = command.row().creates;
  return creates == Creates::kObject || creates == Creates::kSequence || creates == Creates::kByContext;
}

// Object slots that must be free in addition to those of the command's transient objects (docs/tpm-behaviour.md,
// "Object slots").
std::uint32_t free_slots_needed(const Command& command) {
  std::uint32_t needed = command.row().scratch_slots;
  if (creates_object(command)) ++needed;
  for (std::size_t i = 0; i < command.handle_count(); ++i)
    if (wire::is_persistent(command.handle(i).value)) ++needed;
  return needed;
}

// A response handle of another kind than the command creates makes the response invalid. (A ContextLoad only comes here
// for objects and sequences.)
bool creates_what_it_should(const Command& command, const Response& response, const Chip& chip) {
  if (command.row().effect == Effect::kContextSave) return read_context(response.parameters()).has_value();
  const auto handle = response.handle();
  if (!handle) return true;
  if (command.row().creates != Creates::kSession) return wire::is_transient(handle->value);
  return wire::is_session(handle->value) && wire::number_of(handle->value) < chip.session_numbers;
}

// The code for an entity that could not be loaded, as the client's own TPM would answer. Warnings for the manager's own
// commands are not passed on: after RETRY, the client would repeat a command that may never succeed
// (docs/tpm-behaviour.md 32).
Rc as_lack_of_room(Rc code, Rc no_room) {
  constexpr Rc kWarning = 0x900, kReference = 0x910, kLockout = 0x920, kLastWarning = 0x97F;
  const bool warning = code >= kWarning && code <= kLastWarning;
  return warning && (code < kReference || code >= kLockout) ? no_room : code;
}

bool says_reference_is_unknown(Rc code) {
  return (code >= rc::kReferenceH0 && code < rc::kReferenceH0 + 7) ||
         (code >= rc::kReferenceS0 && code < rc::kReferenceS0 + 7);
}

}  // namespace

Manager::Manager(wire::Tpm& tpm, const wire::CommandTable& table, const Chip& chip, const Quota& quota,
                 TpmPort::Clock clock)
    : chip_(chip),
      quota_(quota),
      port_(tpm, table, std::move(clock)),
      recovery_(books_, chip_, port_),
      residency_(books_, chip_, port_, recovery_),
      contexts_(books_, chip_, port_, residency_),
      context_room_(books_, chip_, port_, residency_),
      inheritance_(books_, chip_, port_),
      parking_(books_, chip_, quota_, port_, recovery_, residency_),
      session_book_(books_, chip_, quota_, port_, residency_, parking_),
      stale_nonces_(books_, port_),
      protection_(books_, chip_, port_, residency_) {
  books_.reset_count = chip.reset_count;
  books_.restart_count = chip.restart_count;
  books_.counters_read_at = port_.now();
  set_rules(books_, ContextRoom::rule(quota_, chip_), Parking::rule(quota_, chip_));
}

void Manager::restore(Books books) {
  books_ = std::move(books);
  set_rules(books_, ContextRoom::rule(quota_, chip_), Parking::rule(quota_, chip_));
  protection_.forget();
}

// --- spaces

SpaceId Manager::open(OwnerId owner, const SpaceLimits& limits) {
  return open_space(books_, owner, possible(limits));
}

void Manager::set_limits(SpaceId space, const SpaceLimits& limits) {
  if (!is_open(space)) return;
  SpaceLimits now = possible(limits);
  // Existing objects stay: a limit applies to new objects.
  const Space& here = space_of(books_, space);
  now.objects = std::max(now.objects, static_cast<std::uint32_t>(here.objects.size() + here.taken_objects.size()));
  space::set_limits(books_, space, now);
}

// A claim is at most the chip's number of sessions: the bank could not promise more.
SpaceLimits Manager::possible(SpaceLimits limits) const {
  limits.terms.claim = std::min(limits.terms.claim, chip_.active_sessions - chip_.kept_for_rebuilding());
  return limits;
}

Cost Manager::inherit(SpaceId space, SpaceId from, std::uint64_t known, Rc& result) {
  result = rc::kFailure;
  if (!is_open(space) || !is_open(from)) return settle();
  in_use_ = space;
  result = as_lack_of_room(inheritance_.copy(from, known, space), rc::kObjectMemory);
  return settle();
}

void Manager::close(SpaceId space) {
  if (!is_open(space)) return;
  leave_slots(books_, space);
  const auto before = session_book_.before(space);
  session_book_.leave(space);
  erase_space(books_, space);
  session_book_.settle_places(before, nullptr);
}

// The nonces that the client knows until the response is delivered.
void Manager::note_nonces(SpaceId space, const Command& command, Outcome& outcome) {
  for (const Authorization& authorization : command.authorizations()) {
    const Session* session = usable_session(books_, space, authorization.handle.value);
    if (session != nullptr) outcome.nonces.emplace_back(session->client, session->nonce);
  }
}

void Manager::undo(SpaceId space, const Outcome& outcome) {
  if (!is_open(space)) return;
  const auto before = session_book_.before(space);
  for (const auto& [client, nonce] : outcome.nonces) {
    Session* session = usable_session(books_, space, client.value);
    if (session == nullptr) continue;
    session->nonce = nonce;
    session->stale = true;
  }
  if (outcome.saved_session) undo_save(space, wire::number_of(*outcome.saved_session));
  if (outcome.loaded_session) {
    if (Session* session = usable_session(books_, space, *outcome.loaded_session)) {
      session->client_saved = true;
    } else if (auto parked = take_parked(books_, {space, wire::number_of(*outcome.loaded_session)})) {
      parked->client_saved = true;
      (void)add_parked(books_, std::move(*parked));
    }
  }
  if (!outcome.created) return;
  if (wire::is_session(outcome.created->value)) {
    if (const Session* session = usable_session(books_, space, outcome.created->value))
      session_book_.drop(wire::number_of(session->handle));
  } else if (space_of(books_, space).objects.count(outcome.created->value) != 0) {
    residency_.drop_object(space, *outcome.created);
  }
  session_book_.settle_places(before, nullptr);
}

// For a context that the client did not receive.
void Manager::undo_save(SpaceId space, std::uint32_t number) {
  const auto is_it = [&](const Session& session) {
    return session.client_saved && session.space == space && wire::number_of(session.client.value) == number;
  };
  for (auto& [at_tpm, session] : books_.sessions)
    if (is_it(session)) session.client_saved = false;
  std::optional<ContextDigest> file;
  for_each_file(books_, space_of(books_, space).owner, space, [&](const Session& one) {
    if (is_it(one) && one.last_use == books_.tick) file = one.client_copy;
  });
  if (!file) return;
  auto session = take_parked_file(books_, *file);
  if (!session) return;
  session->client_saved = false;
  (void)add_parked(books_, std::move(*session));
}

// --- one command

Outcome Manager::execute(SpaceId space, const Command& command, std::uint8_t locality, wire::Tpm& client_tpm,
                         const TriesLeft& tries_left) {
  Outcome outcome;
  if (!is_open(space)) {
    outcome.response = wire::manager_error(rc::kFailure);
    outcome.code = wire::from_manager(rc::kFailure);
    outcome.cost = settle();
    return outcome;
  }
  in_use_ = space;
  residency_.pin(++books_.tick);
  const auto before = session_book_.before(space);
  outcome.response = run(space, command, locality, client_tpm, tries_left, outcome);
  if (const auto header = wire::read_header(outcome.response)) outcome.code = header->code;
  outcome.failure = protection_.failure(space, command, outcome.code);
  if (outcome.code != rc::kSuccess) outcome.saved_by = contexts_.saver_of(space, command);
  if (outcome.code == rc::kSuccess && command.row().effect == Effect::kContextSave &&
      wire::is_session(command.handle(0).value))
    outcome.saved_session = command.handle(0).value;
  if (outcome.code == rc::kSuccess && command.row().effect == Effect::kContextLoad && !outcome.created)
    if (const auto handle = wire::Reader(wire::ByteView(outcome.response).subspan(wire::kHeaderSize)).u32())
      outcome.loaded_session = *handle;
  residency_.restore_free_places();
  outcome.cost = settle();
  if (outcome.cost.restarted == wire::Restarted::kNo)
    session_book_.settle_places(before,
                                outcome.created ? usable_session(books_, space, outcome.created->value) : nullptr);
  return outcome;
}

// Between two commands the books are correct again, whatever happened to the TPM meanwhile.
Cost Manager::settle() {
  if (port_.cost().unpowered) (void)recovery_.after_power_loss();
  if (port_.cost().distrusted) books_.in_doubt = true;
  if (books_.in_doubt) (void)recovery_.resynchronise();
  // Only the context shows which program a number belongs to now: without this check another program's session could be
  // flushed.
  if (books_.doubted_at != 0 && chip_.has_other_users())
    while (!port_.cost().tpm_lost && residency_.check_doubtful_session()) continue;
  protection_.read_if_due();
  contain_broken_invariants();
  if (port_.cost().restarted != wire::Restarted::kNo) books_.kept_places.clear();
  return port_.take_cost();
}

// Books that broke an invariant are made consistent before the next command.
void Manager::contain_broken_invariants() {
  const std::optional<SpaceId> space = std::exchange(in_use_, std::nullopt);
  const base::BrokenInvariants broken = base::take_broken_invariants();
  if (broken.count == 0) return;
  port_.cost().broken = broken;
  recovery_.after_broken_invariant(space);
  (void)base::take_broken_invariants();  // the repair saw the same again
}

// A disorderly end of a protected entity's use costs a try (Part 1, 19.8.6), perhaps the last.
Tries Manager::tries_after_reset(const TriesLeft& tries_left) {
  (void)port_.read_lockout();
  return tries_left(std::exchange(port_.cost().lockout, {}));
}

Bytes Manager::run(SpaceId space, const Command& command, std::uint8_t locality, wire::Tpm& client_tpm,
                   const TriesLeft& tries_left, Outcome& outcome) {
  if (space_of(books_, space).given_up) return wire::manager_error(rc::kSessionHandles);
  if (auto answer = answer_without_tpm(space, command)) return std::move(*answer);
  if (const auto refusal = within_limits(space, command)) return wire::manager_error(*refusal);

  if (books_.in_doubt) (void)recovery_.resynchronise();

  Bytes last;
  bool resynchronised = false;
  Tries tries = tries_left({});
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    if (port_.cost().restarted != wire::Restarted::kNo && space_of(books_, space).limits.shares_tries)
      tries = tries_after_reset(tries_left);
    if (const auto refusal = resolve(space, command)) return wire::manager_error(*refusal);
    if (books_.in_doubt && needs_loaded(command)) return wire::manager_error(rc::kFailure);
    if (const auto refusal = refusal_by_view(view_of(space), command)) return wire::manager_error(*refusal);
    if (const auto refusal = stale_nonces_.refusal(space, command)) return wire::manager_error(*refusal);
    const auto pin = protection_.tries_forbidden_pin(space, command);
    if (pin.value_or(false)) {
      outcome.kept_from_pin = true;
      return wire::manager_error(rc::kNvAuthorization);
    }
    if (tries == Tries::kNone && protection_.may_count(space, command)) {
      if (port_.cost().unpowered && recovery_.after_power_loss()) continue;  // the entity could not be examined
      outcome.stopped_for_lockout = true;
      return wire::manager_error(rc::kLockout);
    }
    Rc code = pin ? bring_back_sessions(space, command, locality) : as_lack_of_room(pin.error(), rc::kMemory);
    if (code == rc::kSuccess) {
      session_book_.make_room_in_pools(space, command);
      code = make_resident(space, command);
    }
    if (code == kGoneMeanwhile || code == Residency::kBooksWereWrong || implies_stale_books(code, resynchronised))
      continue;
    if (code == rc::kInitialize && recovery_.after_power_loss()) continue;
    if (code != rc::kSuccess) return wire::manager_error(code);
    // A session that was rebuilt under another number is stale now.
    if (const auto refusal = stale_nonces_.refusal(space, command)) return wire::manager_error(*refusal);
    const bool changes = parameters_at_tpm(view_of(space), command).has_value();
    const auto hmacs = stale_nonces_.check(space, command, changes);
    if (!hmacs) return wire::manager_error(as_lack_of_room(hmacs.error(), rc::kSessionMemory));

    // Clear sets the counters that show a reset to zero.
    const bool clears = command.row().effect == Effect::kClear;
    if (clears && chip_.can_be_suspended && recovery_.notice_start_up()) continue;

    protection_.about_to_send(command);
    const auto translated = translate(space, command, *hmacs);
    if (!translated) return wire::manager_error(rc::kFailure);
    auto response = port_.forward(client_tpm, *translated, command.row(), command.has_sessions(), locality);
    const bool not_begun =
        response && (says_reference_is_unknown(response->code()) || response->code() == rc::kInitialize);
    if (!not_begun) forget_copies_of_used_sequences(space, command);
    if (!response) return wire::manager_error(response.error());
    if (response->ok()) {
      if (!creates_what_it_should(command, *response, chip_)) {
        port_.cost().distrusted = true;
        return wire::manager_error(rc::kFailure);
      }
      stale_nonces_.answer(space, command, *hmacs, *response);
      note_seen(space, command);
      note_nonces(space, command, outcome);
      book(space, command, *response, outcome);
      // The new session's number must not be used in the space, or the handle belongs to another entity.
      if (command.row().has_response_handle() && !outcome.created)
        return wire::manager_error(command.row().creates == Creates::kSession ? rc::kSessionHandles : rc::kFailure);
      if (auto answer = capabilities_in_space(space, command, *response)) return std::move(*answer);
      return std::move(*response).take();
    }
    if (!repair(command, response->code(), resynchronised)) return std::move(*response).take();
    last = std::move(*response).take();
  }
  return last.empty() ? wire::manager_error(rc::kFailure) : last;
}

// The TPM had the entities that the command names.
void Manager::note_seen(SpaceId space, const Command& command) {
  auto& objects = space_of(books_, space).objects;
  for (std::size_t i = 0; i < command.handle_count(); ++i)
    if (const auto it = objects.find(command.handle(i).value); it != objects.end()) it->second.seen_at = port_.now();
  for (Session* session : sessions_of(space, command)) session->seen_at = port_.now();
}

// Whether the command depends on what the books say about the TPM.
bool Manager::needs_loaded(const Command& command) const {
  if (command.row().has_response_handle()) return true;
  for (std::size_t i = 0; i < command.handle_count(); ++i)
    if (wire::is_transient(command.handle(i).value) || wire::is_session(command.handle(i).value)) return true;
  return std::any_of(command.authorizations().begin(), command.authorizations().end(),
                     [](const Authorization& authorization) { return !authorization.is_password(); });
}

// --- answered here

std::optional<Bytes> Manager::answer_without_tpm(SpaceId space, const Command& command) {
  if (auto answer = contexts_.answer(space, command)) return answer;
  const auto query = capability_query(command);
  if (query && asks_for_our_handles(*query) && !command.has_sessions()) return handle_list(*query, books_, space);
  return answer_for_parked(space, command);
}

// PolicyGetDigest and PolicyRestart need no rebuild of a parked session.
std::optional<Bytes> Manager::answer_for_parked(SpaceId space, const Command& command) {
  const bool restarts = command.code() == cc::kPolicyRestart;
  if ((!restarts && command.code() != cc::kPolicyGetDigest) || command.has_sessions()) return std::nullopt;
  if (!command.parameters().empty()) return std::nullopt;  // the TPM reports the error
  const ParkedKey key{space, wire::number_of(command.handle(0).value)};
  const Session* parked = parked_session(books_, space, command.handle(0).value);
  if (parked == nullptr || parked->client != command.handle(0)) return std::nullopt;
  if (restarts) {
    auto restarted = take_parked(books_, key);
    if (!TPMSPACE_HOLDS(restarted.has_value())) return wire::manager_error(rc::kFailure);
    restarted->log.clear();
    (void)add_parked(books_, std::move(*restarted));
    return wire::success_response({});
  }
  if (!parked->log.steps.empty() && parked->log.digest.empty())
    return std::nullopt;  // the TPM can tell after a rebuild
  const Bytes zero(digest_size(parked->log.hash));
  return wire::success_response(wire::Writer().tpm2b(parked->log.steps.empty() ? zero : parked->log.digest).bytes());
}

// --- resolve

// The different sessions in the handle area and the authorization area, as far as the space has them.
std::vector<Session*> Manager::sessions_of(SpaceId space, const Command& command) {
  std::vector<Session*> out;
  const auto add = [&](std::uint32_t handle) {
    if (!wire::is_session(handle)) return;
    Session* session = known_session(books_, space, handle);
    if (session != nullptr && std::find(out.begin(), out.end(), session) == out.end()) out.push_back(session);
  };
  for (std::size_t i = 0; i < command.handle_count(); ++i) add(command.handle(i).value);
  for (const auto& authorization : command.authorizations()) add(authorization.handle.value);
  return out;
}

// A handle without an entity in this space is refused before the TPM, in the TPM's order of checks: handles, then
// sessions.
Manager::Refusal Manager::resolve(SpaceId space, const Command& command) {
  const auto& objects = space_of(books_, space).objects;
  for (unsigned i = 0; i < command.handle_count(); ++i) {
    const std::uint32_t handle = command.handle(i).value;
    if (wire::is_transient(handle) && objects.count(handle) == 0) {
      context_room_.tell(space, handle);
      return rc::kReferenceH0 + i;
    }
    if (wire::is_persistent(handle) && !persistent_at_tpm(view_of(space), ClientHandle{handle}))
      return rc::in_handle(rc::kHandle, i + 1);
    if (!wire::is_session(handle)) continue;
    if (wire::number_of(handle) >= chip_.session_numbers) return rc::in_handle(rc::kValue, i + 1);
    if (known_session(books_, space, handle) != nullptr) continue;
    session_book_.tell(space, handle);
    return rc::kReferenceH0 + i;
  }
  for (unsigned i = 0; i < command.authorizations().size(); ++i) {
    const Authorization& authorization = command.authorizations()[i];
    if (authorization.is_password()) continue;
    if (wire::number_of(authorization.handle.value) >= chip_.session_numbers) return rc::in_session(rc::kValue, i + 1);
    if (known_session(books_, space, authorization.handle.value) != nullptr) continue;
    session_book_.tell(space, authorization.handle.value);
    return rc::kReferenceS0 + i;
  }
  // PolicySecret can name four sessions (docs/tpm-behaviour.md 19): no order of loading helps.
  if (sessions_of(space, command).size() > chip_.loaded_sessions) return rc::kSessionMemory;
  return std::nullopt;
}

Manager::Refusal Manager::within_limits(SpaceId id, const Command& command) {
  const Space& space = space_of(books_, id);
  if (creates_object(command)) {
    if (space.objects.size() + space.taken_objects.size() >= space.limits.objects) return rc::kObjectMemory;
    const RoomInPools pools = room_in_pools(books_, chip_, id);
    if (pools.objects == 0 || pools.bytes < chip_.max_response) return rc::kObjectMemory;
    if (!context_room_.make(id)) return rc::kObjectMemory;
  }
  if (stale_nonces_.refusal(id, command) || session_book_.want(id, command) == SessionBook::Want::kNothing)
    return std::nullopt;
  if (session_book_.admission(id, command) != SessionBook::Admission::kNow) return rc::kSessionHandles;
  return std::nullopt;
}

// A command that will be refused wants no session.
Manager::Wish Manager::wish_of(SpaceId space, const Command& command) {
  using Want = SessionBook::Want;
  if (stale_nonces_.refusal(space, command)) return {};
  if (const Want want = session_book_.want(space, command); want != Want::kNothing) return {want, std::nullopt};
  if (!stale_nonces_.numbers_are_covered(space, command)) return {};
  for (std::size_t i = 0; i < command.handle_count(); ++i) {
    if (!wire::is_session(command.handle(i).value)) continue;
    const Session* session = known_session(books_, space, command.handle(i).value);
    if (session == nullptr || !session->can_be_made_again()) continue;
    const bool here = usable_session(books_, space, command.handle(i).value) != nullptr;
    if (!here || session->handle != session->client.value)
      return {Want::kNumber, wire::number_of(session->client.value)};
  }
  return {};
}

// --- sessions that have left the TPM

// The command's sessions in the TPM stay there meanwhile.
Rc Manager::bring_back_sessions(SpaceId space, const Command& command, std::uint8_t locality) {
  for (Session* session : sessions_of(space, command)) session->last_use = books_.tick;
  const bool covered = stale_nonces_.numbers_are_covered(space, command);
  for (unsigned i = 0; i < command.handle_count(); ++i) {
    if (!wire::is_session(command.handle(i).value)) continue;
    const Rc code = bring_back(space, command.handle(i).value, locality, covered ? std::optional(i) : std::nullopt);
    if (code != rc::kSuccess) return code;
  }
  for (const Authorization& authorization : command.authorizations()) {
    if (authorization.is_password()) continue;
    const Rc code = bring_back(space, authorization.handle.value, locality, std::nullopt);
    if (code != rc::kSuccess) return code;
  }
  return rc::kSuccess;
}

// `covered`: the index of the handle in the command, if an HMAC covers the number that the client knows.
Rc Manager::bring_back(SpaceId space, std::uint32_t handle, std::uint8_t locality, std::optional<unsigned> covered) {
  const auto its_number_is_taken = [&] { return wire::from_manager(rc::kReferenceH0 + *covered); };
  if (const Session* session = usable_session(books_, space, handle)) {
    if (!covered || session->handle == session->client.value) return rc::kSuccess;
    if (!session->can_be_made_again() || !parking_.can_have_number(wire::number_of(handle)))
      return its_number_is_taken();
    const Rc code = parking_.park(wire::number_of(session->handle));
    if (code != rc::kSuccess) return as_lack_of_room(code, rc::kSessionHandles);
  }
  const ParkedKey key{space, wire::number_of(handle)};
  if (books_.parked.count(key) == 0) return kGoneMeanwhile;
  const Rc code = parking_.bring_back(key, locality, covered.has_value());
  if (code == Parking::kNotTheSame) {
    session_book_.take_parked_one(key, {wire::Taker::Why::kNotSame});
    return kGoneMeanwhile;
  }
  if (code == rc::kPcrChanged || code == rc::kLocality) return wire::from_manager(code);
  if (code == rc::kReferenceH0 && covered) return its_number_is_taken();
  return as_lack_of_room(code, rc::kSessionHandles);
}

// --- make room and load

Rc Manager::make_resident(SpaceId space, const Command& command) {
  std::vector<ClientHandle> objects;
  for (std::size_t i = 0; i < command.handle_count(); ++i) {
    const ClientHandle handle = command.handle(i);
    if (!wire::is_transient(handle.value)) continue;
    // A question about another object of the command may have shown that the TPM lost this one.
    if (!touch_object(books_, space, handle, port_.now())) return kGoneMeanwhile;
    objects.push_back(handle);
  }
  std::vector<std::uint32_t> sessions;  // numbers: making room may end some sessions
  for (Session* session : sessions_of(space, command)) {
    session->last_use = books_.tick;
    session->used_at = port_.now();
    sessions.push_back(wire::number_of(session->handle));
  }

  for (const ClientHandle handle : objects) {
    const Rc code = residency_.load_object(space, handle);
    if (code == rc::kSuccess) continue;
    return is_dead_context(code) ? drop_unloadable_object(space, handle) : as_lack_of_room(code, rc::kObjectMemory);
  }
  for (const std::uint32_t number : sessions) {
    if (books_.sessions.count(number) == 0) return kGoneMeanwhile;
    const Rc code = residency_.load_session(number);
    if (code == rc::kSuccess) continue;
    if (is_dead_context(code)) return drop_unloadable_session(number);
    return as_lack_of_room(code, rc::kSessionMemory);
  }
  // If even an emptied TPM has too little room, the TPM itself must say so.
  const Rc code = as_lack_of_room(residency_.make_object_room(free_slots_needed(command)), rc::kObjectMemory);
  if (code != rc::kSuccess && code != rc::kObjectMemory) return code;
  if (command.row().creates != Creates::kSession) return rc::kSuccess;
  if (const Rc no_number = session_book_.clear_the_way(space); no_number != rc::kSuccess)
    return as_lack_of_room(no_number, rc::kSessionHandles);
  return as_lack_of_room(residency_.make_session_room(1), rc::kSessionMemory);
}

// The TPM does not accept the context any more: after a reset, or after another program emptied the hierarchy.
Rc Manager::drop_unloadable_object(SpaceId space, ClientHandle handle) {
  const Object* object = find_object(books_, space, handle);
  const std::uint64_t seen_at = object == nullptr ? 0 : object->seen_at;
  residency_.drop_object(space, handle);
  recovery_.note_dead_context(seen_at);
  return kGoneMeanwhile;
}

Rc Manager::drop_unloadable_session(std::uint32_t number) {
  const auto found = books_.sessions.find(number);
  const std::uint64_t seen_at = found == books_.sessions.end() ? 0 : found->second.seen_at;
  // First finds out the cause: after a reset the number may belong to another program.
  recovery_.note_dead_context(seen_at);
  residency_.drop_dead_session(number);
  return kGoneMeanwhile;
}

// Nullopt: a handle of the command is not in the TPM, so no bytes may be sent: the TPM would take the client's number
// for another client's entity.
std::optional<Bytes> Manager::translate(SpaceId space, const Command& command, const StaleNonces::Hmacs& without_hmac) {
  wire::Rewrite rewrite;
  rewrite.without_hmac = without_hmac;
  rewrite.parameters = parameters_at_tpm(view_of(space), command);
  bool complete = true;
  // The type byte stays the client's: the TPM reports a wrong type.
  const auto session_at_tpm = [&](std::uint32_t handle) -> std::optional<wire::TpmHandle> {
    if (!wire::is_session(handle)) return std::nullopt;
    const Session* session = usable_session(books_, space, handle);
    if (!TPMSPACE_HOLDS(session != nullptr)) {
      complete = false;
      return std::nullopt;
    }
    return wire::TpmHandle{(handle & 0xFF000000) | wire::number_of(session->handle)};
  };
  for (std::size_t i = 0; i < command.handle_count(); ++i) {
    const ClientHandle handle = command.handle(i);
    if (const Slot* slot = slot_of(books_, space, handle))
      rewrite.handles[i] = slot->tpm;
    else if (wire::is_transient(handle.value))
      complete = TPMSPACE_HOLDS(slot != nullptr);
    else if (wire::is_persistent(handle.value))
      rewrite.handles[i] = persistent_at_tpm(view_of(space), handle);
    else
      rewrite.handles[i] = session_at_tpm(handle.value);
  }
  for (std::size_t i = 0; i < command.authorizations().size(); ++i)
    rewrite.sessions[i] = session_at_tpm(command.authorizations()[i].handle.value);
  if (!complete) return std::nullopt;
  return wire::rewritten(command, rewrite);
}

// Makes the repair that the TPM's response code demands. True: send the command again.
bool Manager::repair(const Command& command, Rc code, bool& resynchronised) {
  switch (code) {
    case rc::kContextGap:
      return residency_.refresh_oldest() == rc::kSuccess;
    case rc::kObjectMemory:
    case rc::kObjectHandles:
      return residency_.evict_object() == rc::kSuccess || resynchronise_once(resynchronised);
    case rc::kSessionMemory:
      return residency_.evict_session() == rc::kSuccess || resynchronise_once(resynchronised);
    case rc::kMemory:
      return residency_.evict_object() == rc::kSuccess || residency_.evict_session() == rc::kSuccess ||
             resynchronise_once(resynchronised);
    case rc::kSessionHandles:
      return residency_.flush_unwanted_session() || parking_.make_way();
    case rc::kInitialize:
      return command.code() != cc::kStartup && recovery_.after_power_loss();
    default:
      break;
  }
  return implies_stale_books(code, resynchronised);
}

// Every handle was resolved, so the books are wrong if the TPM does not know a handle. The books may also be wrong if
// the TPM has no room although no entity of tpmspace is loaded. The books are compared once per command; a later
// response code goes to the client.
bool Manager::implies_stale_books(Rc code, bool& resynchronised) {
  return says_reference_is_unknown(code) && resynchronise_once(resynchronised);
}

bool Manager::resynchronise_once(bool& resynchronised) {
  if (resynchronised) return false;
  resynchronised = true;
  (void)recovery_.resynchronise();
  return true;
}

// --- idle work

std::optional<Cost> Manager::tidy() {
  if (!books_.in_doubt && !residency_.tidy()) return std::nullopt;
  return settle();
}

std::optional<Cost> Manager::put_away() {
  if (!residency_.put_away() && port_.cost().tpm.empty()) return std::nullopt;
  return settle();
}

std::optional<Cost> Manager::save_unused(const Residency::Unused& what) {
  if (!residency_.save_unused(what)) return std::nullopt;
  return settle();
}

void Manager::note_number(SpaceId space, const Outcome& outcome, std::uint64_t number) {
  if (!outcome.created) return;
  if (Object* object = find_object(books_, space, *outcome.created)) object->made_by = number;
}

void Manager::note_waited_for(SpaceId space, const Outcome& outcome) {
  if (!outcome.created) return;
  Session* session = usable_session(books_, space, outcome.created->value);
  if (session != nullptr && session->served_at == 0) session->served_at = port_.now();
}

void Manager::await(SpaceId space, const Command& command, bool awaited) {
  for (Session* session : sessions_of(space, command)) session->awaited = awaited;
}

Cost Manager::take_session(std::uint32_t number, const wire::Taker& by) {
  session_book_.take(number, by);
  return settle();
}

Cost Manager::take_parked_sessions(const std::vector<ParkedKey>& sessions, const std::vector<ContextDigest>& files) {
  const wire::Taker by{wire::Taker::Why::kOrder};
  for (const ParkedKey& key : sessions) session_book_.take_parked_one(key, by);
  for (const ContextDigest& copy : files) session_book_.take_parked_file_of(copy, by);
  return settle();
}

Cost Manager::reserve_session(std::uint32_t number, bool reserved, Rc& result) {
  result = rc::kSuccess;
  if (reserved)
    result = session_book_.reserve(number);
  else
    session_book_.release(number);
  return settle();
}

Cost Manager::flush_all(bool client_saved_too) {
  // Numbers that belong to other programs by now must not be flushed.
  if (chip_.has_other_users() || books_.in_doubt) (void)recovery_.resynchronise();
  for (auto& slot : books_.slots) slot.space = SpaceId{};
  erase_objects_if(books_, [](auto, auto, const auto&) { return true; });
  std::vector<std::uint32_t> ended;
  for (const auto& [number, session] : books_.sessions)
    if (client_saved_too || !session.client_saved) ended.push_back(number);
  for (const auto number : ended) session_book_.drop(number);
  forget_parked(books_);
  residency_.flush_unwanted_objects();
  while (!port_.cost().tpm_lost && residency_.flush_unwanted_session()) {
  }
  return port_.take_cost();
}

}  // namespace tpmspace::space
