#include "space/manager.h"

#include <algorithm>
#include <utility>

#include "base/invariant.h"
#include "books/session_hmac.h"
#include "space/capability_view.h"
#include "space/pools.h"

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

// A response handle of another kind than the command creates makes the response invalid. (A ContextLoad only comes here
// for objects and sequences.)
bool creates_what_it_should(const Command& command, const Response& response, const Chip& chip) {
  if (command.row().effect == Effect::kContextSave) return read_context(response.parameters()).has_value();
  const auto handle = response.handle();
  if (!handle) return true;
  if (command.row().creates != Creates::kSession) return wire::is_transient(handle->value);
  return wire::is_session(handle->value) && wire::number_of(handle->value) < chip.session_numbers;
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
  result = as_lack_of_room(inheritance_.copy(from, known, space), rc::kObjectMemory).code();
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
  Request request{space, command, locality, client_tpm, tries_left, outcome};
  outcome.response = run(request);
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

Bytes Manager::run(Request& request) {
  if (space_of(books_, request.space).given_up) return wire::manager_error(rc::kSessionHandles);
  if (auto answer = answer_without_tpm(request.space, request.command)) return std::move(*answer);
  if (const auto refusal = within_limits(request.space, request.command)) return wire::manager_error(*refusal);
  if (books_.in_doubt) (void)recovery_.resynchronise();

  request.tries = request.tries_left({});
  for (int attempts = 0; attempts < kMaxAttempts; ++attempts)
    if (auto answer = attempt(request)) return std::move(*answer);
  return request.last.empty() ? wire::manager_error(rc::kFailure) : std::move(request.last);
}

// Nullopt: the books were corrected, or the TPM was repaired: another attempt.
std::optional<Bytes> Manager::attempt(Request& request) {
  const bool restarted = port_.cost().restarted != wire::Restarted::kNo;
  if (restarted && space_of(books_, request.space).limits.shares_tries)
    request.tries = tries_after_reset(request.tries_left);

  const Plan plan = make_plan(books_, chip_, request.space, request.command);
  if (plan.refusal) return refuse(plan);
  StaleNonces::Hmacs hmacs{};
  Status status = protect(request, plan);
  if (status.ok()) status = load(request, plan);
  if (status.ok()) status = check_nonces(plan, hmacs);
  // Clear sets the counters that show a reset to zero.
  const bool clears = request.command.row().effect == Effect::kClear;
  if (status.ok() && clears && chip_.can_be_suspended && recovery_.notice_start_up()) status = Status::start_over();
  if (status.starts_over()) return std::nullopt;
  return status.ok() ? send(request, plan, hmacs) : std::optional(wire::manager_error(status.code()));
}

Bytes Manager::refuse(const Plan& plan) {
  if (const auto handle = plan.refusal->unknown) {
    if (wire::is_transient(*handle))
      context_room_.tell(plan.space, *handle);
    else
      session_book_.tell(plan.space, *handle);
  }
  return wire::manager_error(plan.refusal->code);
}

// Keeps commands from the TPM that could cost a try.
Status Manager::protect(Request& request, const Plan& plan) {
  const auto pin = protection_.tries_forbidden_pin(plan.space, *plan.command);
  if (pin.value_or(false)) {
    request.outcome.kept_from_pin = true;
    return rc::kNvAuthorization;
  }
  if (request.tries == Tries::kNone && protection_.may_count(plan.space, *plan.command)) {
    // The entity could not be examined.
    if (port_.cost().unpowered && recovery_.after_power_loss()) return Status::start_over();
    request.outcome.stopped_for_lockout = true;
    return rc::kLockout;
  }
  return pin ? Status() : after_failure(request, as_lack_of_room(pin.error(), rc::kMemory));
}

// Afterwards the TPM has all that the command needs.
Status Manager::load(Request& request, const Plan& plan) {
  Status status = bring_back_sessions(plan, request.locality);
  if (status.ok()) {
    session_book_.make_room_in_pools(plan.space, *plan.command);
    status = make_resident(plan);
  }
  return after_failure(request, status);
}

// A failure of the manager's own commands may mean that the books are wrong, or that the TPM lost power.
Status Manager::after_failure(Request& request, const Status& status) {
  if (status.ok() || status.starts_over()) return status;
  if (implies_stale_books(status.code(), request.resynchronised)) return Status::start_over();
  if (status.is(rc::kInitialize) && recovery_.after_power_loss()) return Status::start_over();
  return status;
}

Status Manager::check_nonces(const Plan& plan, StaleNonces::Hmacs& hmacs) {
  // A session that was rebuilt under another number is stale now.
  if (const auto refusal = refusal_by_nonces(books_, plan.space, *plan.command)) return *refusal;
  const auto checked = stale_nonces_.check(plan.space, *plan.command, plan.parameters.has_value());
  if (!checked) return as_lack_of_room(checked.error(), rc::kSessionMemory);
  hmacs = *checked;
  return {};
}

std::optional<Bytes> Manager::send(Request& request, const Plan& plan, const StaleNonces::Hmacs& hmacs) {
  const Command& command = request.command;
  protection_.about_to_send(command);
  const auto translated = translate(plan, hmacs);
  if (!translated) return wire::manager_error(rc::kFailure);
  auto response =
      port_.forward(request.client_tpm, *translated, command.row(), command.has_sessions(), request.locality);
  const bool not_begun =
      response && (says_reference_is_unknown(response->code()) || response->code() == rc::kInitialize);
  if (!not_begun) forget_copies_of_used_sequences(plan);
  if (!response) return wire::manager_error(response.error());
  if (response->ok()) {
    stale_nonces_.answer(plan.space, command, hmacs, *response);
    return finish(request, plan, *response);
  }
  const bool again = repair(command, response->code(), request.resynchronised);
  request.last = std::move(*response).take();
  return again ? std::nullopt : std::optional(std::move(request.last));
}

// Books a success, and makes the client's response of the TPM's.
Bytes Manager::finish(Request& request, const Plan& plan, Response& response) {
  const Command& command = request.command;
  if (!creates_what_it_should(command, response, chip_)) {
    port_.cost().distrusted = true;
    return wire::manager_error(rc::kFailure);
  }
  note_seen(plan);
  note_nonces(plan, request.outcome);
  book(plan, response, request.outcome);
  // The new session's number must not be used in the space, or the handle belongs to another entity.
  if (command.row().has_response_handle() && !request.outcome.created)
    return wire::manager_error(plan.starts_session ? rc::kSessionHandles : rc::kFailure);
  if (auto answer = capabilities_in_space(plan, response)) return std::move(*answer);
  return std::move(response).take();
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

// --- limits

std::optional<Rc> Manager::within_limits(SpaceId id, const Command& command) {
  const Space& space = space_of(books_, id);
  if (creates_object(command)) {
    if (space.objects.size() + space.taken_objects.size() >= space.limits.objects) return rc::kObjectMemory;
    const RoomInPools pools = room_in_pools(books_, chip_, id);
    if (pools.objects == 0 || pools.bytes < chip_.max_response) return rc::kObjectMemory;
    if (!context_room_.make(id)) return rc::kObjectMemory;
  }
  if (refusal_by_nonces(books_, id, command) || session_book_.want(id, command) == SessionBook::Want::kNothing)
    return std::nullopt;
  if (session_book_.admission(id, command) != SessionBook::Admission::kNow) return rc::kSessionHandles;
  return std::nullopt;
}

// A command that will be refused wants no session.
Manager::Wish Manager::wish_of(SpaceId space, const Command& command) {
  using Want = SessionBook::Want;
  if (refusal_by_nonces(books_, space, command)) return {};
  if (const Want want = session_book_.want(space, command); want != Want::kNothing) return {want, std::nullopt};
  if (!numbers_are_covered(books_, space, command)) return {};
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
