// A World's judgement of a client's responses. The one list of permitted differences is here: `permitted`.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "books/policy_log.h"
#include "space/admission.h"
#include "wire/response.h"
#include "world.h"

namespace tpmspace::simulation {
namespace {

using speech::Heard;
using wire::Rc;

constexpr Rc kExclusive = 0x121;
constexpr const char* kBeyondPool = "a pool is full";
constexpr std::uint32_t kNull = 0x40000007;

// Of a TPMS_CONTEXT: sequence, savedHandle.
std::uint32_t saved_handle_of(wire::ByteView context) {
  wire::Reader in(context);
  static_cast<void>(in.u64());
  return in.u32().value_or(0);
}

// Refusals by the transport, the chip's state or limits alone; the command was not executed.
bool is_passing_trouble(Rc code) {
  switch (wire::without_layer(code)) {
    case wire::rc::kRetry:
    case wire::rc::kTesting:
    case wire::rc::kYielded:
    case wire::rc::kObjectMemory:
    case wire::rc::kSessionMemory:
    case wire::rc::kMemory:
    case wire::rc::kContextGap:
    case wire::rc::kCanceled:
      return true;
    default:
      return false;
  }
}

// The codes that the manager may give on the TPM's behalf (tpm-behaviour 32). Anything else with our layer is an inner
// trouble of ours that got out.
bool is_ours_to_say(Rc code) {
  switch (wire::base_code(code)) {
    case wire::rc::kValue:
    case wire::rc::kHandle:
    case wire::rc::kSize:
    case wire::rc::kInsufficient:
    case wire::rc::kFailure:
    case wire::rc::kDisabled:
    case wire::rc::kCommandCode:
    case wire::rc::kObjectMemory:
    case wire::rc::kSessionMemory:
    case wire::rc::kSessionHandles:
    case wire::rc::kCanceled:
    case wire::rc::kBadAuth:
    case wire::rc::kPcrChanged:
    case wire::rc::kAuthContext:
    case wire::rc::kLockout:
      return true;
    default:
      break;
  }
  const Rc plain = wire::without_layer(code);
  return plain >= wire::rc::kReferenceH0 && plain < wire::rc::kReferenceS0 + 7;
}

bool makes_object(Verb verb) {
  switch (verb) {
    case Verb::kCreatePrimary:
    case Verb::kCreateLoaded:
    case Verb::kLoad:
    case Verb::kLoadExternal:
    case Verb::kContextLoad:
    case Verb::kHashStart:
    case Verb::kHmacStart:
      return true;
    default:
      return false;
  }
}

std::vector<std::uint32_t> listed_handles(const Heard& heard) {
  wire::Reader in(heard.parameters);
  std::vector<std::uint32_t> out;
  static_cast<void>(in.u8());
  static_cast<void>(in.u32());
  const std::uint32_t count = in.u32().value_or(0);
  for (std::uint32_t i = 0; i < count; ++i) out.push_back(in.u32().value_or(0));
  return out;
}

// Where the client's own command stands in an account, against the TPM's Startup.
bool reset_came_after_command(const observe::Account& account) {
  std::size_t done = 0, started = 0;
  for (std::size_t i = 0; i < account.tpm.size(); ++i) {
    const auto& use = account.tpm[i];
    if (use.cause == wire::Cause::kClient && use.rc == 0) done = i + 1;
    if (use.code == wire::cc::kStartup) started = i + 1;
  }
  return done != 0 && done < started;
}

}  // namespace

Heard World::ask_private(Connection& connection, const wire::Bytes& command) {
  auto answer = connection.own_tpm->transact(command, 0);
  // The first use of something protected is answered "later", which the engine's TPM is spared.
  if (wire::read_header(*answer)->code == wire::rc::kRetry) answer = connection.own_tpm->transact(command, 0);
  return speech::hear(command, *answer).value_or(Heard{wire::rc::kFailure, 0, {}, {}});
}

std::string World::judge(Connection& connection, const Moment& moment) {
  Pending pending = std::move(*connection.pending);
  connection.pending.reset();
  const auto& account = *moment.step.account;
  const auto heard = speech::hear(pending.said.bytes[0], moment.step.reply->response);
  if (!heard) return fmt::format("{}: a malformed answer", pending.said.text);
  trace(fmt::format("client {} hears {:#x} {:#x} for {} ({} TPM commands)", connection.id, heard->code, heard->handle,
                    pending.said.text, account.tpm.size()));
  const unsigned layer = wire::layer_of(heard->code);
  if (layer != 0 && layer != 11) return fmt::format("{}: layer {} spoke", pending.said.text, layer);
  const bool fault_may_show = moment.faults != 0 && is_passing_trouble(heard->code);
  if (layer != 0 && !is_ours_to_say(heard->code) && !fault_may_show)
    return fmt::format("{}: the manager says {:#x}", pending.said.text, heard->code);
  if (account.rc != heard->code) return fmt::format("{}: the account says {:#x}", pending.said.text, account.rc);

  answered_without_tpm_ = account.tpm.empty();
  if (auto trouble = note_tries(connection, pending.said, *heard); !trouble.empty()) return trouble;
  if (heard->ok() || !account.tpm.empty()) note_use(connection, pending);
  const bool after = reset_came_after_command(account);
  if (!after) reset_private_tpms(account);
  std::string trouble;
  if (blurred_) {
    connection.client->learn(pending.said, {*heard, *heard});
  } else if (const auto why = permitted(connection, pending, *heard, moment)) {
    trace(fmt::format("  permitted: {}", *why));
    tally_.beyond_pools += *why == kBeyondPool ? 1U : 0U;
  } else if (const auto file = flush_owners_file(connection, pending.said, *heard)) {
    trouble = *file;
  } else if (pending.said.blob && pending.said.blob->about.kind == EntityKind::kSession) {
    take_newest_twin(pending.said);
    trouble = load_foreign_session(connection, pending, *heard);
  } else {
    trouble = compare(connection, pending.said, *heard);
  }
  if (pending.abandoned && !blurred_) give_back(connection, pending.said, *heard);
  if (after) reset_private_tpms(account);
  forget_dead_sessions();
  return trouble;
}

// The documented differences between the engine and a private TPM where the command is *not* carried out:
//   - SESSION_HANDLES from our layer: the chip's active sessions are used up (as the bank sees it), or the space's, or
//     the numbers that the space can tell apart; to a StartAuthSession, or to a step after which a policy session could
//     not be made again. To any command about sessions that can be made again: ordinary ones have all the places;
//   - PCR_CHANGED from our layer, to any command about a session: it left the TPM after its PolicyPCR, and the chip's
//     counter has moved since. (A private TPM says so only where the session authorizes, and to the next PolicyPCR.)
//   - REFERENCE_H from our layer: the session has left the TPM since its client got a nonce, and the command depends on
//     that nonce (PolicyAuthValue); or it has another number in the TPM than its client knows, and an HMAC covers that;
//   - OBJECT_MEMORY from our layer: the space holds as many objects as it may;
//   - SESSION_MEMORY from our layer: the command names more sessions than the chip can hold loaded;
//   - EXCLUSIVE: another client's command ended the exclusive audit (tpm-behaviour 9);
//   - DISABLED: a list of handles asked for under an audit session, which could not be rewritten (tpm-behaviour 8);
//   - OBJECT_MEMORY and SESSION_HANDLES from our layer: a set of spaces holds together what it may;
//   - HANDLE and AUTH_CONTEXT from our layer, where the space has a window of persistent handles: EvictControl's
//   parameter
//     is outside of it, or cannot be translated, since an HMAC covers it. AUTH_CONTEXT also for a list of persistent
//     handles under an audit session, some of which the space does not see;
//   - LOCKOUT from our layer: its owner has guessed wrongly, and a wrong authorization here would be counted;
//   - CANCELED: the client cancelled;
//   - a fault was injected that the engine may pass on.
//   - after somebody started the TPM up, until that is noticed: what is gone counts for the space's limits.
// And two where it is: a FlushContext meets a reset that nobody had noticed; what should go is gone. And one of a
// session that was taken meanwhile. Until a start-up by somebody is noticed, what the engine answers without the TPM
// (`is_of_the_past`). After a lost answer (`blurred_`) nothing is compared any more.
std::optional<std::string> World::permitted(Connection& connection, const Pending& pending, const Heard& heard,
                                            const Moment& moment) const {
  const bool ours = wire::layer_of(heard.code) != 0;
  const Rc code = wire::without_layer(heard.code);
  const bool restarted = moment.step.account->restarted != wire::Restarted::kNo && !config_.started_up_by_others;
  if (restarted && heard.ok() && pending.said.verb == Verb::kFlush) return "what was to be flushed is gone by a reset";
  if (heard.ok() && pending.said.verb == Verb::kFlush && wire::is_session(pending.said.handle[0]) &&
      moment.step.account->tpm.empty() && connection.taken.erase(wire::number_of(pending.said.handle[0])) != 0)
    return "a session that was taken is let go";
  if (heard.ok()) return std::nullopt;
  if (ghosts_ && ours && (code == wire::rc::kObjectMemory || code == wire::rc::kSessionHandles))
    return "what is gone counts, until that is noticed";
  if ((pending.cancelled || pending.abandoned) && ours && code == wire::rc::kCanceled) return "cancelled";
  if (ours && code == wire::rc::kSessionHandles)
    if (auto why = permitted_by_bank(connection, pending, moment.faults != 0)) return why;
  if (ours)
    if (auto why = permitted_by_parking(connection, pending.said, code)) return why;
  if (ours && code == wire::rc::kObjectMemory && makes_object(pending.said.verb)) {
    if (connection.own_tpm->loaded_objects().size() >= connection.limits.objects) return "the space is full";
    if (config_.engine.max_bytes < engine::Config{}.max_bytes) return "no memory for one more context";
    const Room room = room_in_pools(connection, pending.said_at);
    if (room.objects == 0 || !room.bytes) return kBeyondPool;
  }
  if (ours && code == wire::rc::kLockout && permitted_by_tries(connection, pending.said)) return "it has no tries left";
  if (ours)
    if (auto why = permitted_by_window(connection, pending.said, code)) return why;
  if (pending.said.audit && code == kExclusive) return "somebody else ended the exclusive audit";
  if (ours && code == wire::rc::kDisabled && pending.said.verb == Verb::kListHandles && pending.said.audit)
    return "a list that could not be rewritten";
  if (ours && code == wire::rc::kSessionMemory && names_too_many_sessions(pending.said)) return "four sessions";
  if (moment.faults != 0 && is_passing_trouble(heard.code)) return "a fault was passed on";
  return std::nullopt;
}

namespace {

template <typename Sessions>
std::uint32_t count_ordinary(const Sessions& sessions) {
  return static_cast<std::uint32_t>(std::count_if(sessions.begin(), sessions.end(),
                                                  [](const auto& entry) { return !entry.second.can_be_made_again(); }));
}

bool starts_what_can_be_made_again(const wire::Command& command) {
  wire::Reader in(command.parameters());
  const auto nonce = in.tpm2b(), salt = in.tpm2b();
  const bool policy = nonce && salt && in.u8().value_or(0) != static_cast<std::uint8_t>(speech::SessionKind::kHmac);
  return policy && command.handle(0).value == kNull && command.handle(1).value == kNull;
}

// The chip does not notice that PCR 16 has changed.
bool is_of_uncounted_pcr(const wire::Command& policy_pcr) {
  constexpr std::size_t kByteOf16 = 2;
  wire::Reader in(policy_pcr.parameters());  // pcrDigest; count, hash, sizeofSelect, bits
  if (!in.tpm2b() || in.u32().value_or(0) == 0 || !in.u16()) return false;
  const auto selected = in.take(in.u8().value_or(0));
  return selected && selected->size() > kByteOf16 && ((*selected)[kByteOf16] & 1) != 0;
}

// Whether the manager can do that step of a policy in the client's place. A trial session needs no authorization, but
// it would look at the PCRs again.
bool can_be_repeated(const wire::Command& step, bool trial) {
  if (step.code() == wire::cc::kPolicyAuthValue) return trial;
  if (step.code() == wire::cc::kPolicyPCR)
    return trial ? wire::Reader(step.parameters()).u16().value_or(0) != 0 : !is_of_uncounted_pcr(step);
  return step.code() != wire::cc::kPolicySecret;
}

bool is_policy_step(wire::CommandCode code) {
  switch (code) {
    case wire::cc::kPolicySecret:
    case wire::cc::kPolicyAuthValue:
    case wire::cc::kPolicyPassword:
    case wire::cc::kPolicyCommandCode:
    case wire::cc::kPolicyPCR:
    case wire::cc::kPolicyOR:
    case wire::cc::kPolicyNvWritten:
    case wire::cc::kPolicyLocality:
      return true;
    default:
      return false;
  }
}

bool is_covered_by_hmac(const wire::Command& command) {
  return std::any_of(command.authorizations().begin(), command.authorizations().end(), [](const auto& one) {
    const bool audits = (one.attributes & wire::session_attribute::kAudit) != 0;
    return !one.is_password() && (audits || one.hmac_size > 0);
  });
}

}  // namespace

// From what the world knows, not from the engine's books.
bool World::bank_admits(const Connection& connection) const {
  const std::uint32_t sessions = chip_.active_sessions - chip_.kept_for_rebuilding();
  space::Bank bank(sessions);
  for (const auto& one : connections_) {
    const std::uint32_t held = count_ordinary(one.sessions);
    if (!one.open)
      bank.add_lost(held);
    else if (held > 0)
      bank.add_holder(held, std::min(sessions, one.limits.terms.claim));
  }
  return bank.admits(count_ordinary(connection.sessions), std::min(sessions, connection.limits.terms.claim));
}

std::uint32_t World::ordinary_sessions() const {
  std::uint32_t out = 0;
  for (const auto& one : connections_) out += count_ordinary(one.sessions);
  return out;
}

std::size_t World::all_sessions() const {
  std::size_t out = 0;
  for (const auto& one : connections_) out += one.sessions.size();
  return out;
}

// Sessions that it may use or has in files, and sessions taken from it without its knowledge.
bool World::knows_all_numbers(const Connection& connection) const {
  std::set<std::uint32_t> numbers = connection.taken;
  for (const auto& [own, known] : connection.sessions) numbers.insert(wire::number_of(known.shared));
  return numbers.size() >= chip_.session_numbers;
}

std::vector<const World::Known*> World::sessions_named(const Connection& connection, const wire::Command& said) const {
  std::set<const Known*> out;
  const auto add = [&](std::uint32_t handle) {
    const Known* known = wire::is_session(handle) ? usable(connection, handle) : nullptr;
    if (known != nullptr) out.insert(known);
  };
  for (std::size_t i = 0; i < said.handle_count(); ++i) add(said.handle(i).value);
  for (const auto& one : said.authorizations())
    if (!one.is_password()) add(one.handle.value);
  return {out.begin(), out.end()};
}

// It asks for a step of a session that can be made again, and could not be after that step.
bool World::becomes_ordinary(const Connection& connection, const wire::Command& said) const {
  if (!is_policy_step(said.code())) return false;
  const Known* session = usable(connection, said.handle(said.handle_count() - 1).value);
  if (session == nullptr || !session->can_be_made_again()) return false;
  return !can_be_repeated(said, session->trial) || session->steps >= space::kMaxSteps;
}

bool World::wants_ordinary_session(const Connection& connection, const Utterance& said) const {
  const auto command = wire::Command::parse(said.bytes[0], table_, chip_.max_command);
  if (!command) return false;
  if (said.verb == Verb::kStartSession) return !starts_what_can_be_made_again(*command);
  return becomes_ordinary(connection, *command);
}

// Sessions that stay in the TPM count, also when their connections are gone. Of contexts it is only known that none is
// larger than a response.
World::Room World::room_in_pools(const Connection& connection, engine::Time at) const {
  Room room;
  const bool takes = connection.limits.terms.exhaustion == space::Exhaustion::kReclaim;
  for (const auto& pool : connection.limits.pools) {
    if (pool.id.value == 0) continue;
    std::size_t objects = 0, sessions = 0, surely_idle = 0, perhaps_idle = 0;
    for (const auto& other : connections_) {
      const auto& pools = other.limits.pools;
      if (std::none_of(pools.begin(), pools.end(), [&](const auto& one) { return one.id == pool.id; })) continue;
      sessions += count_ordinary(other.sessions);
      if (other.open) objects += other.own_tpm->loaded_objects().size();
      if (other.open || !takes) continue;
      for (const auto& [own, known] : other.sessions) {
        if (known.can_be_made_again()) continue;
        surely_idle += known.used_until + other.limits.terms.lease <= at ? 1U : 0U;
        perhaps_idle += known.used_from + other.limits.terms.lease <= at ? 1U : 0U;
      }
    }
    room.surely_made = room.surely_made && sessions - surely_idle < pool.sessions;
    room.perhaps_made = room.perhaps_made && sessions - perhaps_idle < pool.sessions;
    room.objects = std::min<std::size_t>(room.objects, pool.objects - std::min<std::size_t>(pool.objects, objects));
    room.sessions =
        std::min<std::size_t>(room.sessions, pool.sessions - std::min<std::size_t>(pool.sessions, sessions));
    room.bytes = room.bytes && (objects + 1) * chip_.max_response <= pool.bytes;
  }
  return room;
}

bool World::is_outside_of_window(const Connection& connection, std::uint32_t persistent) const {
  return window_of(connection.owner) != 0 && (persistent < space::View::kFirstPersistent ||
                                              persistent - space::View::kFirstPersistent >= space::View::kWindow);
}

std::optional<std::string> World::permitted_by_window(const Connection& connection, const Utterance& said,
                                                      Rc code) const {
  if (!config_.windows) return std::nullopt;
  const bool session_list = wire::is_persistent(said.handle[0]) && said.audit;
  if (said.verb == Verb::kListHandles && code == wire::rc::kAuthContext && session_list)
    return "a list under a session";
  if (said.persistent == 0 || window_of(connection.owner) == 0) return std::nullopt;
  const auto command = wire::Command::parse(said.bytes[0], table_, chip_.max_command);
  if (!command) return std::nullopt;
  if (code == wire::rc::in_parameter(wire::rc::kHandle, 1) && is_outside_of_window(connection, said.persistent))
    return "outside of its window";
  const auto named = sessions_named(connection, *command);
  const bool keyed = std::any_of(named.begin(), named.end(), [](const Known* session) { return session->bound; });
  if (code == wire::rc::kAuthContext && (said.audit || keyed)) return "an HMAC covers what would be translated";
  return std::nullopt;
}

// A client without wrong guesses is never stopped for others' guesses, unless the guesser is unknown: then all are,
// when they are used up. (That the chip forgot one meanwhile the engine may not know yet.) A session that is bound to
// an object may be bound to a protected one: what comes from a file the engine does not know then.
bool World::permitted_by_tries(const Connection& connection, const Utterance& said) const {
  const auto command = wire::Command::parse(said.bytes[1], wire::CommandTable::builtin(), chip_.max_command);
  const auto through_engine = wire::Command::parse(said.bytes[0], table_, chip_.max_command);
  if (!command || !through_engine || !connection.limits.shares_tries) return false;
  const bool used_up = tries_are_nobodys_ && (!model_ || tries_left_to_all() <= 1);
  if (!used_up && !guessed_.contains(connection.owner)) return false;
  const auto named = sessions_named(connection, *through_engine);
  if (std::any_of(named.begin(), named.end(), [](const Known* session) { return session->bound_to_object; }))
    return true;
  for (std::size_t i = 0; i < command->row().auth_handles; ++i) {
    const std::uint32_t handle = command->handle(i).value;
    if (handle == wire::kLockoutHandle || connection.own_tpm->is_protected(handle)) return true;
  }
  return false;
}

// SESSION_HANDLES.
std::optional<std::string> World::permitted_by_bank(const Connection& connection, const Pending& pending,
                                                    bool faults) const {
  const Utterance& said = pending.said;
  const auto& terms = connection.limits.terms;
  const bool waited =
      terms.exhaustion != space::Exhaustion::kRefuse && clock_.now() >= pending.said_at + terms.deadline;
  const auto command = wire::Command::parse(said.bytes[0], table_, chip_.max_command);
  if (!command) return std::nullopt;
  if (said.verb == Verb::kContextLoad)
    return knows_all_numbers(connection) ? std::optional("the space knows all numbers") : std::nullopt;
  const bool starts = said.verb == Verb::kStartSession;
  if (starts && connection.sessions.size() >= connection.limits.sessions) return "the space has no session left";
  if (starts && knows_all_numbers(connection)) return "the space knows all numbers";
  if (starts || becomes_ordinary(connection, *command)) {
    const bool number = starts && starts_what_can_be_made_again(*command);
    if (!number && !room_in_pools(connection, pending.said_at).surely_made) return kBeyondPool;
    if (number && ordinary_sessions() >= chip_.active_sessions) return "ordinary sessions have all numbers";
    if (!number && !bank_admits(connection)) return "the bank does not admit it";
    if (waited) return "it has waited in vain";
    if (faults) return "a fault met one that should have left";
  }
  const auto named = sessions_named(connection, *command);
  auto places = static_cast<std::uint32_t>(
      std::count_if(named.begin(), named.end(), [](const Known* session) { return session->can_be_made_again(); }));
  if (places == 0) return std::nullopt;
  if (faults) return "a fault met a session on its way back";
  if (is_covered_by_hmac(*command) && waited) return "it has waited in vain for its own number";
  if (starts) ++places;
  if (ordinary_sessions() + places > chip_.active_sessions) return "ordinary sessions have the places";
  return std::nullopt;
}

std::optional<std::string> World::permitted_by_parking(const Connection& connection, const Utterance& said,
                                                       Rc code) const {
  const auto command = wire::Command::parse(said.bytes[0], table_, chip_.max_command);
  if (!command) return std::nullopt;
  if (code == wire::rc::kPcrChanged) {
    for (const Known* session : sessions_named(connection, *command)) {
      const bool moved = session->pcr_counter && *session->pcr_counter != private_chip_->pcr_counter;
      if (moved && session->can_be_made_again() && session->pcrs_at < tally_.parks)
        return "a PCR has changed since the session left";
    }
  }
  if (code < wire::rc::kReferenceH0 || code - wire::rc::kReferenceH0 >= command->handle_count()) return std::nullopt;
  const std::uint32_t handle = command->handle(code - wire::rc::kReferenceH0).value;
  const Known* session = wire::is_session(handle) ? usable(connection, handle) : nullptr;
  if (session == nullptr || !(may_be_stale(*session) || session->renumbered)) return std::nullopt;
  if (command->code() == wire::cc::kPolicyAuthValue && !session->trial && may_be_stale(*session))
    return "its client does not know the session's nonce";
  if (is_covered_by_hmac(*command)) return "the session has another number now";
  return std::nullopt;
}

bool World::names_too_many_sessions(const Utterance& said) const {
  const auto parsed = wire::Command::parse(said.bytes[0], table_, chip_.max_command);
  if (!parsed) return false;
  std::set<std::uint32_t> numbers;
  for (std::size_t i = 0; i < parsed->handle_count(); ++i)
    if (wire::is_session(parsed->handle(i).value)) numbers.insert(wire::number_of(parsed->handle(i).value));
  for (const auto& one : parsed->authorizations())
    if (!one.is_password()) numbers.insert(wire::number_of(one.handle.value));
  return numbers.size() > chip_.loaded_sessions;
}

// We refuse an unknown handle before the TPM sees the command. Where a command has several faults, the TPM might have
// named another one first; ours must be there all the same.
bool World::claim_is_true(const Connection& connection, const Utterance& said, Rc code) const {
  const Rc plain = wire::without_layer(code);
  const auto parsed = wire::Command::parse(said.bytes[1], wire::CommandTable::builtin(), chip_.max_command);
  if (!parsed) return false;
  const auto session_missing = [&](std::uint32_t handle) {
    const std::uint32_t number = wire::number_of(handle);
    return !connection.own_tpm->is_active(number) || connection.own_tpm->is_saved(number);
  };
  if (plain >= wire::rc::kReferenceH0 && plain - wire::rc::kReferenceH0 < parsed->handle_count()) {
    const std::uint32_t handle = parsed->handle(plain - wire::rc::kReferenceH0).value;
    if (wire::is_session(handle)) return session_missing(handle);
    const auto loaded = connection.own_tpm->loaded_objects();
    return wire::is_transient(handle) && std::find(loaded.begin(), loaded.end(), handle) == loaded.end();
  }
  if (plain >= wire::rc::kReferenceS0 && plain - wire::rc::kReferenceS0 < parsed->authorizations().size())
    return session_missing(parsed->authorizations()[plain - wire::rc::kReferenceS0].handle.value);
  // A wrong HMAC is found before the TPM looks at the policy.
  if (wire::base_code(plain) == wire::rc::kBadAuth)
    return std::any_of(parsed->authorizations().begin(), parsed->authorizations().end(), [&](const auto& one) {
      const auto known = connection.sessions.find(wire::number_of(one.handle.value));
      return !one.is_password() && one.hmac_size > 0 && known != connection.sessions.end() &&
             may_be_stale(known->second);
    });
  if (wire::base_code(plain) == wire::rc::kHandle)
    for (std::size_t i = 0; i < parsed->handle_count(); ++i)
      if (plain == wire::rc::in_handle(wire::rc::kHandle, static_cast<unsigned>(i) + 1) &&
          wire::is_persistent(parsed->handle(i).value) && is_outside_of_window(connection, parsed->handle(i).value))
        return true;
  // A session number beyond the chip's, in the handle or the authorization area.
  return wire::base_code(plain) == wire::rc::kValue;
}

std::string World::compare(Connection& connection, const Utterance& said, const Heard& through_engine) {
  std::array heard = {through_engine, ask_private(connection, said.bytes[1])};
  ++tally_.compared;
  if (through_engine.ok()) ++tally_.succeeded[static_cast<std::size_t>(said.verb)];
  if (through_engine.ok() && said.persistent != 0 && window_of(connection.owner) != 0) ++tally_.through_windows;
  if (ghosts_ && is_of_the_past(said, heard)) {
    trace("  permitted: it is not noticed yet");
    return {};
  }
  // Handles are given out around what is not noticed to be gone.
  if (ghosts_ && heard[0].ok() && heard[1].ok() && wire::is_transient(heard[0].handle) &&
      heard[0].handle != heard[1].handle) {
    connection.own_tpm->move_object(heard[1].handle, heard[0].handle);
    heard[1].handle = heard[0].handle;
  }
  const bool ours = wire::layer_of(heard[0].code) != 0;
  if (ours && !heard[1].ok() && wire::without_layer(heard[0].code) != heard[1].code)
    return claim_is_true(connection, said, heard[0].code)
               ? ""
               : fmt::format("{}: we say {:#x}, a private TPM {:#x}", said.text, heard[0].code, heard[1].code);
  heard[0].code = wire::without_layer(heard[0].code);
  // Others may have ended an exclusive audit (tpm-behaviour 9): that is not compared here.
  for (auto& side : heard)
    for (auto& attributes : side.session_attributes) attributes = static_cast<std::uint8_t>(attributes & ~0x02);
  Likeness likeness;
  likeness.same_sessions = false;
  likeness.exact = !config_.embedded;
  likeness.compare_policy_digests = !config_.embedded;
  std::string trouble = compare_lists(connection, said, heard);
  if (trouble.empty() && said.verb != Verb::kProperty) trouble = difference(said, heard, likeness);
  if (!trouble.empty()) return trouble;
  connection.client->learn(said, heard);
  note_sessions(connection, said, heard);
  return {};
}

bool World::is_of_the_past(const Utterance& said, const std::array<Heard, kSides>& heard) const {
  if (said.verb == Verb::kListHandles || said.verb == Verb::kProperty) return true;
  return heard[0].ok() && !heard[1].ok() && (answered_without_tpm_ || said.verb == Verb::kFlush);
}

// An abandoned command was done, and what it made is given back at once; a session that it put away is there again,
// since no client has the context.
void World::give_back(Connection& connection, const Utterance& said, const Heard& heard) {
  const auto command = wire::Command::parse(said.bytes[0], table_, chip_.max_command);
  for (const auto& one : command->authorizations()) {
    Known* used = one.is_password() ? nullptr : usable(connection, one.handle.value);
    if (heard.ok() && used != nullptr) used->nonce_lost = true;
  }
  if (heard.ok() && said.verb == Verb::kContextSave && wire::is_session(said.handle[0])) {
    const auto known = connection.sessions.find(wire::number_of(said.handle[1]));
    if (known == connection.sessions.end()) return;
    static_cast<void>(connection.own_tpm->transact(speech::context_load(connection.client->unlearn_save(said)), 0));
    known->second.saved_at = 0;
    return;
  }
  if (!heard.ok() || heard.handle == 0) return;
  if (!wire::is_session(heard.handle)) {
    static_cast<void>(connection.own_tpm->transact(speech::flush_context(heard.handle), 0));
    return;
  }
  const Known* known = usable(connection, heard.handle);
  if (said.verb == Verb::kContextLoad || known == nullptr) return;
  static_cast<void>(connection.own_tpm->transact(speech::flush_context(known->own), 0));
}

std::string World::compare_lists(const Connection& connection, const Utterance& said,
                                 const std::array<Heard, kSides>& heard) const {
  if (!heard[0].ok() || !heard[1].ok()) return {};
  if (said.verb == Verb::kProperty) {
    const bool loaded = said.handle[0] == 0x203;  // HR_LOADED: the usable sessions of the space
    if (loaded && speech::property_value(heard[0]) != speech::property_value(heard[1]))
      return said.text + ": other numbers of sessions";
    const bool persistent = said.handle[0] == 0x208;  // HR_PERSISTENT: the objects that the space sees
    if (persistent && speech::property_value(heard[0]) != speech::property_value(heard[1]))
      return said.text + ": other numbers of persistent objects";
    const std::size_t left = std::min(connection.limits.objects - connection.own_tpm->loaded_objects().size(),
                                      room_in_pools(connection, clock_.now()).objects);
    if (said.handle[0] == 0x207 && speech::property_value(heard[0]) != left)
      return said.text + ": other numbers of free slots";
    return {};
  }
  // Under an audit session a list cannot be rewritten: the chip's own goes out, until the guard refuses it.
  if (said.verb != Verb::kListHandles || said.audit) return {};
  const auto shared = listed_handles(heard[0]);
  const auto own = listed_handles(heard[1]);
  if (!wire::is_session(said.handle[0]))
    return shared == own && heard[0].parameters[0] == heard[1].parameters[0] ? "" : said.text + ": lists differ";
  // Pages of session lists begin elsewhere, because the numbers differ: whole lists only.
  if (wire::number_of(said.handle[0]) != 0 || heard[0].parameters[0] != 0 || heard[1].parameters[0] != 0) return {};
  const bool saved = wire::kind_of(said.handle[0]) == wire::HandleKind::kPolicySession;
  std::set<std::uint32_t> expected;
  for (const auto& other : connections_) {
    const bool shown = saved ? other.owner == connection.owner : &other == &connection;
    if (!shown) continue;
    for (const auto& [number, known] : other.sessions)
      if ((known.saved_at != 0) == saved)
        expected.insert(saved ? 0x02000000 | wire::number_of(known.shared) : known.shared);
  }
  return expected == std::set<std::uint32_t>(shared.begin(), shared.end()) ? "" : said.text + ": session lists differ";
}

// While the command waited, another client may have been given the very same bytes as a new context.
void World::take_newest_twin(Utterance& said) const {
  for (const auto& blob : pool_->blobs) {
    if (said.blob_changed || blob.context[0] != said.blob->context[0] || blob.serial == said.blob->serial) continue;
    said.blob = blob;
    said.bytes[1] = speech::context_load(blob.context[1]);
    return;
  }
}

// A session blob is the owner's: it loads through any of the owner's connections, once, and through no other owner's.
std::string World::load_foreign_session(Connection& connection, const Pending& pending, const Heard& heard) {
  constexpr Rc kUnknown = wire::from_manager(wire::rc::in_parameter(wire::rc::kHandle, 1));
  const Utterance& said = pending.said;
  const Blob& blob = *said.blob;
  Connection* saver = find(blob.client);
  if (said.blob_changed) {
    if (heard.ok()) return said.text + ": a changed session context was loaded";
    return {};
  }
  if (saver == nullptr && ghosts_) return {};  // the saving client left nothing else
  if (saver == nullptr || saver->owner != connection.owner)
    return heard.code == kUnknown ? "" : fmt::format("{}: another owner's session: {:#x}", said.text, heard.code);
  if (saver == &connection) {
    // The manager answers 1CB for any fault that a TPM may find in a session's blob.
    if (heard.code == kUnknown) {
      const Heard own = ask_private(connection, said.bytes[1]);
      return own.ok() ? said.text + ": a good session context was refused" : "";
    }
    return compare(connection, said, heard);
  }
  const auto here = connection.own_tpm->adopt_session(*saver->own_tpm, blob.context[1]);
  if (!here && ghosts_) return {};
  if (!here) return heard.code == kUnknown ? "" : fmt::format("{}: a stale context: {:#x}", said.text, heard.code);
  auto left = saver->sessions.extract(wire::number_of(blob.about.handle[1]));
  if (left.empty()) return said.text + ": a session that nobody has was loaded";
  left.key() = wire::number_of(saved_handle_of(*here));
  left.mapped().own = saved_handle_of(*here);
  connection.sessions.insert(std::move(left));
  saver->client->lose_session(blob.about.handle[1], 1);
  Utterance moved = said;
  moved.bytes[1] = speech::context_load(*here);
  return compare(connection, moved, heard);
}

// FlushContext of a session that any connection of the owner saved is allowed, too: files outlive connections. If
// several saved sessions have the number, the one that this connection saved goes, or else all of them.
std::optional<std::string> World::flush_owners_file(Connection& connection, const Utterance& said, const Heard& heard) {
  if (said.verb != Verb::kFlush || !wire::is_session(said.handle[0])) return std::nullopt;
  if (usable(connection, said.handle[0]) != nullptr) return std::nullopt;
  std::vector<std::pair<Connection*, std::uint32_t>> meant;  // and the handle at its private TPM
  const auto add_those_of = [&](Connection& saver) {
    for (const auto& [own, known] : saver.sessions)
      if (known.saved_at != 0 && wire::number_of(known.shared) == wire::number_of(said.handle[0]))
        meant.emplace_back(&saver, known.own);
  };
  add_those_of(connection);
  if (meant.empty())
    for (auto& mate : connections_)
      if (mate.owner == connection.owner) add_those_of(mate);
  if (meant.empty()) return std::nullopt;
  if (!heard.ok()) return fmt::format("{}: the owner's saved session: {:#x}", said.text, heard.code);
  for (const auto& [saver, own] : meant) {
    static_cast<void>(saver->own_tpm->transact(speech::flush_context(own), 0));
    saver->client->lose_session(own, 1);
    saver->sessions.erase(wire::number_of(own));
  }
  return "";
}

// --- the world's knowledge of sessions

void World::note_sessions(Connection& connection, const Utterance& said, const std::array<Heard, kSides>& heard) {
  if (!heard[0].ok()) return;
  const auto command = wire::Command::parse(said.bytes[0], table_, chip_.max_command);
  note_policies(connection, *command);
  if (wire::is_session(heard[0].handle)) {
    Known& session = connection.sessions[wire::number_of(heard[1].handle)];
    if (said.verb == Verb::kStartSession) note_started(connection, session, *command);
    if (said.verb == Verb::kContextLoad && session.shared != heard[0].handle) session.renumbered = true;
    session.shared = heard[0].handle;
    session.own = heard[1].handle;
    session.saved_at = 0;
    session.used_until = clock_.now();
    connection.taken.erase(wire::number_of(heard[0].handle));  // its client had been told
  }
  if (said.verb != Verb::kContextSave || !wire::is_session(said.handle[0])) return;
  if (Known* known = usable(connection, said.handle[0])) known->saved_at = next_save_++;
}

void World::note_started(Connection& connection, Known& session, const wire::Command& command) const {
  session = Known{};
  // The chip may have had no other number to give than one that stands for something else here.
  const std::size_t others = connection.sessions.size() - 1 + connection.taken.size();
  constexpr std::size_t kMostInTheWay = 8;  // beyond them it is not tried
  session.renumbered =
      ghosts_ || others >= kMostInTheWay || (others > 0 && all_sessions() + others >= chip_.active_sessions);
  session.policy = starts_what_can_be_made_again(command);
  const std::uint32_t bind = command.handle(1).value;
  session.bound = bind != kNull;
  session.bound_to_object = wire::is_persistent(bind) || wire::is_transient(bind);
  wire::Reader in(command.parameters());
  static_cast<void>(in.tpm2b());
  static_cast<void>(in.tpm2b());
  session.trial = in.u8() == static_cast<std::uint8_t>(speech::SessionKind::kTrial);
  session.nonce_at = tally_.parks;
  session.used_at = next_use_ - 1;
}

std::string World::note_tries(const Connection& connection, const Utterance& said, const Heard& heard) {
  const bool sets_back = said.verb == Verb::kLockReset || said.verb == Verb::kClear;
  if (sets_back && heard.ok()) {
    guessed_.clear();
    tries_are_nobodys_ = false;
  }
  if (heard.code == wire::from_manager(wire::rc::kLockout)) ++tally_.stopped;
  if (!config_.guessing || wire::base_code(heard.code) != wire::rc::kAuthFail) return {};
  ++tally_.guesses;
  guessed_.insert(connection.owner);
  const auto& tries = model_ ? model_->chip().tries : TryCount{};
  if (model_ && connection.limits.shares_tries && tries.failed + std::max(1U, tries.max / 4) > tries.max)
    return fmt::format("{}: {} of {} tries are used up", said.text, tries.failed, tries.max);
  return is_careful(connection.owner) ? said.text + ": who never guesses has guessed" : "";
}

void World::note_use(Connection& connection, const Pending& pending) {
  const auto command = wire::Command::parse(pending.said.bytes[0], table_, chip_.max_command);
  for (const Known* named : sessions_named(connection, *command)) {
    Known& session = connection.sessions.at(wire::number_of(named->own));
    session.used_at = next_use_;
    session.used_from = pending.said_at;
    session.used_until = clock_.now();
  }
  ++next_use_;
}

// Success: the steps of policies, then the uses.
void World::note_policies(Connection& connection, const wire::Command& command) {
  Known* session =
      command.handle_count() == 0 ? nullptr : usable(connection, command.handle(command.handle_count() - 1).value);
  if (session != nullptr && command.code() == wire::cc::kPolicyRestart) session->set_policy_back();
  if (session != nullptr && command.code() == wire::cc::kPolicySecret) session->asked_authority = true;
  if (session != nullptr && is_policy_step(command.code())) {
    if (!can_be_repeated(command, session->trial) || ++session->steps > space::kMaxSteps) session->repeatable = false;
    if (command.code() == wire::cc::kPolicyPCR) note_pcrs(*session, command);
  }
  for (const auto& one : command.authorizations()) {
    if (one.is_password() || !one.continues()) continue;
    Known* used = usable(connection, one.handle.value);
    if (used == nullptr) continue;
    used->set_policy_back();
    used->nonce_at = tally_.parks;
    used->nonce_lost = false;
  }
}

void World::note_pcrs(Known& session, const wire::Command& command) const {
  if (session.pcrs.empty() && !session.pcr_counter) session.pcrs_at = tally_.parks;
  if (!session.trial) session.pcr_counter = private_chip_->pcr_counter;
  wire::Reader in(command.parameters());
  static_cast<void>(in.tpm2b());
  const auto count = in.u32().value_or(0);
  static_cast<void>(in.u16());
  const auto selected = count == 0 ? std::nullopt : in.take(in.u8().value_or(0));
  for (std::uint32_t pcr = 0; selected && pcr < kPcrs && pcr / 8 < selected->size(); ++pcr)
    if (((*selected)[pcr / 8] >> (pcr % 8) & 1) != 0) session.pcrs.emplace(pcr, private_chip_->pcrs[pcr]);
}

void World::reset_private_tpms(const observe::Account& account) {
  if (account.restarted == wire::Restarted::kNo) return;
  trace("the engine noticed a reset");
  ++tally_.resets;
  reset_unnoticed_ = false;
  if (config_.started_up_by_others && account.restarted == wire::Restarted::kKeptNothing) lose_parked_sessions();
  tries_are_nobodys_ = true;
  for (const auto& use : account.tpm) {
    if (use.code != wire::cc::kStartup || use.rc != wire::rc::kSuccess) continue;
    witness_->power_cycle();
    static_cast<void>(witness_->transact(speech::startup(false), 0));
  }
  for (auto& connection : connections_) {
    connection.own_tpm->catch_up();
    if (!config_.started_up_by_others) connection.client->forget_volatile();
  }
  forget_dead_sessions();
}

void World::forget_dead_sessions() {
  for (auto& connection : connections_) {
    connection.own_tpm->catch_up();
    std::erase_if(connection.sessions,
                  [&](const auto& entry) { return !connection.own_tpm->is_active(wire::number_of(entry.second.own)); });
  }
  std::erase_if(connections_, [](const Connection& c) { return !c.open && c.sessions.empty(); });
}

}  // namespace tpmspace::simulation
