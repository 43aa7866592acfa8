// How a World judges what a client hears. The one list of permitted differences is here: `permitted`.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "space/admission.h"
#include "wire/response.h"
#include "world.h"

namespace tpmspace::simulation {
namespace {

using speech::Heard;
using wire::Rc;

constexpr Rc kExclusive = 0x121;

// What only the transport, the chip's state or somebody's limits decide; nothing was done.
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

// What the manager may say on the TPM's behalf (TPM-RULES 32). Anything else with our layer is an inner trouble of ours
// that got out.
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

std::uint32_t property_value(const Heard& heard) {
  wire::Reader in(heard.parameters);
  static_cast<void>(in.take(13));  // moreData, capability, count, property
  return in.u32().value_or(0);
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
  const auto answer = connection.own_tpm->transact(command, 0);
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

  const bool after = reset_came_after_command(account);
  if (!after) reset_private_tpms(account);
  std::string trouble;
  if (blurred_) {
    connection.client->learn(pending.said, {*heard, *heard});
  } else if (const auto why = permitted(connection, pending, *heard, moment)) {
    trace(fmt::format("  permitted: {}", *why));
  } else if (const auto mates = flush_owner_mates_session(connection, pending.said, *heard)) {
    trouble = *mates;
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
//   - SESSION_HANDLES from our layer: the chip's active sessions are used up (as the bank sees it), or the space's;
//   - OBJECT_MEMORY from our layer: the space holds as many objects as it may;
//   - SESSION_MEMORY from our layer: the command names more sessions than the chip can hold loaded;
//   - EXCLUSIVE: another client's command ended the exclusive audit (TPM-RULES 9);
//   - DISABLED: a list of handles asked for under an audit session, which could not be rewritten (TPM-RULES 8);
//   - CANCELED: the client cancelled;
//   - a fault was injected that the engine may pass on.
// And two where it is: a FlushContext meets a reset that nobody had noticed; what should go is gone. And one of a
// session that was taken meanwhile. After a lost answer (`blurred_`) nothing is compared any more.
std::optional<std::string> World::permitted(Connection& connection, const Pending& pending, const Heard& heard,
                                            const Moment& moment) const {
  const bool ours = wire::layer_of(heard.code) != 0;
  const Rc code = wire::without_layer(heard.code);
  if (moment.step.account->tpm_was_reset && heard.ok() && pending.said.verb == Verb::kFlush)
    return "what was to be flushed is gone by a reset";
  if (heard.ok() && pending.said.verb == Verb::kFlush && wire::is_session(pending.said.handle[0]) &&
      moment.step.account->tpm.empty() && connection.taken.erase(wire::number_of(pending.said.handle[0])) != 0)
    return "a session that was taken is let go";
  if (heard.ok()) return std::nullopt;
  if ((pending.cancelled || pending.abandoned) && ours && code == wire::rc::kCanceled) return "cancelled";
  if (ours && code == wire::rc::kSessionHandles && pending.said.verb == Verb::kStartSession) {
    if (connection.sessions.size() >= connection.limits.sessions) return "the space has no session left";
    if (!bank_admits(connection)) return "the bank does not admit it";
    if (connection.limits.terms.exhaustion != space::Exhaustion::kRefuse) return "it has waited in vain";
    return std::nullopt;
  }
  if (ours && code == wire::rc::kObjectMemory && makes_object(pending.said.verb)) {
    if (connection.own_tpm->loaded_objects().size() >= connection.limits.objects) return "the space is full";
    if (config_.engine.max_bytes < engine::Config{}.max_bytes) return "no memory for one more context";
  }
  if (pending.said.audit && code == kExclusive) return "somebody else ended the exclusive audit";
  if (ours && code == wire::rc::kDisabled && pending.said.verb == Verb::kListHandles && pending.said.audit)
    return "a list that could not be rewritten";
  if (ours && code == wire::rc::kSessionMemory && names_too_many_sessions(pending.said)) return "four sessions";
  if (moment.faults != 0 && is_passing_trouble(heard.code)) return "a fault was passed on";
  return std::nullopt;
}

// From what the world knows, not from the engine's books.
bool World::bank_admits(const Connection& connection) const {
  space::Bank bank(chip_.active_sessions);
  for (const auto& one : connections_) {
    const auto held = static_cast<std::uint32_t>(one.sessions.size());
    if (!one.open)
      bank.add_lost(held);
    else if (held > 0)
      bank.add_holder(held, one.limits.terms.claim);
  }
  return bank.admits(static_cast<std::uint32_t>(connection.sessions.size()), connection.limits.terms.claim);
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

// We refuse what names nothing before the TPM sees it. Where a command has several faults, the TPM might have named
// another one first; ours must be there all the same.
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
  // A session number beyond the chip's, in the handle or the authorization area.
  return wire::base_code(plain) == wire::rc::kValue;
}

std::string World::compare(Connection& connection, const Utterance& said, const Heard& through_engine) {
  std::array heard = {through_engine, ask_private(connection, said.bytes[1])};
  ++tally_.compared;
  if (through_engine.ok()) ++tally_.succeeded[static_cast<std::size_t>(said.verb)];
  const bool ours = wire::layer_of(heard[0].code) != 0;
  if (ours && !heard[1].ok() && wire::without_layer(heard[0].code) != heard[1].code)
    return claim_is_true(connection, said, heard[0].code)
               ? ""
               : fmt::format("{}: we say {:#x}, a private TPM {:#x}", said.text, heard[0].code, heard[1].code);
  heard[0].code = wire::without_layer(heard[0].code);
  // Others may have ended an exclusive audit (TPM-RULES 9): that is not compared here.
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

// An abandoned command was done, and what it made is given back at once; a session that it put away is there again,
// since nobody has the context.
void World::give_back(Connection& connection, const Utterance& said, const Heard& heard) {
  if (heard.ok() && said.verb == Verb::kContextSave && wire::is_session(said.handle[0])) {
    const auto known = connection.sessions.find(wire::number_of(said.handle[0]));
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
  const auto known = connection.sessions.find(wire::number_of(heard.handle));
  if (said.verb == Verb::kContextLoad || known == connection.sessions.end()) return;
  static_cast<void>(connection.own_tpm->transact(speech::flush_context(known->second.own), 0));
}

std::string World::compare_lists(const Connection& connection, const Utterance& said,
                                 const std::array<Heard, kSides>& heard) const {
  if (!heard[0].ok() || !heard[1].ok()) return {};
  if (said.verb == Verb::kProperty) {
    const bool loaded = said.handle[0] == 0x203;  // HR_LOADED: the usable sessions of the space
    if (loaded && property_value(heard[0]) != property_value(heard[1]))
      return said.text + ": other numbers of sessions";
    const std::uint32_t left =
        connection.limits.objects - static_cast<std::uint32_t>(connection.own_tpm->loaded_objects().size());
    if (said.handle[0] == 0x207 && property_value(heard[0]) != left) return said.text + ": other numbers of free slots";
    return {};
  }
  // Under an audit session a list cannot be rewritten: the chip's own goes out, until the guard refuses it.
  if (said.verb != Verb::kListHandles || said.audit) return {};
  const auto shared = listed_handles(heard[0]);
  const auto own = listed_handles(heard[1]);
  if (!wire::is_session(said.handle[0])) return shared == own ? "" : said.text + ": lists differ";
  // Pages of session lists begin elsewhere, because the numbers differ: whole lists only.
  if (wire::number_of(said.handle[0]) != 0 || heard[0].parameters[0] != 0 || heard[1].parameters[0] != 0) return {};
  const bool saved = wire::kind_of(said.handle[0]) == wire::HandleKind::kPolicySession;
  std::set<std::uint32_t> expected;
  for (const auto& other : connections_) {
    const bool shown = saved ? other.owner == connection.owner : &other == &connection;
    if (!shown) continue;
    for (const auto& [number, known] : other.sessions)
      if ((known.saved_at != 0) == saved) expected.insert(saved ? 0x02000000 | number : known.shared);
  }
  return expected == std::set<std::uint32_t>(shared.begin(), shared.end()) ? "" : said.text + ": session lists differ";
}

// While the command waited, somebody may have been given the very same octets as a new context.
void World::take_newest_twin(Utterance& said) const {
  for (const auto& blob : pool_->blobs) {
    if (said.blob_changed || blob.context[0] != said.blob->context[0] || blob.serial == said.blob->serial) continue;
    said.blob = blob;
    said.bytes[1] = speech::context_load(blob.context[1]);
    return;
  }
}

// A session blob is the owner's: it loads through any of the owner's connections, once, and through nobody else's.
std::string World::load_foreign_session(Connection& connection, const Pending& pending, const Heard& heard) {
  constexpr Rc kUnknown = wire::from_manager(wire::rc::in_parameter(wire::rc::kHandle, 1));
  const Utterance& said = pending.said;
  const Blob& blob = *said.blob;
  Connection* saver = find(blob.client);
  // It would stand under the handle of one that was taken, and the client may not know.
  if (heard.code == kUnknown && connection.taken.count(wire::number_of(blob.about.handle[0])) != 0) return {};
  if (said.blob_changed) {
    if (heard.ok()) return said.text + ": a changed session context was loaded";
    return {};
  }
  if (saver == nullptr || saver->owner != connection.owner)
    return heard.code == kUnknown ? "" : fmt::format("{}: another owner's session: {:#x}", said.text, heard.code);
  if (saver == &connection) {
    // The manager says 1CB for whatever a TPM may find wrong with a session's blob.
    if (heard.code == kUnknown) {
      const Heard own = ask_private(connection, said.bytes[1]);
      return own.ok() ? said.text + ": a good session context was refused" : "";
    }
    return compare(connection, said, heard);
  }
  const auto here = connection.own_tpm->adopt_session(*saver->own_tpm, blob.context[1]);
  if (!here) return heard.code == kUnknown ? "" : fmt::format("{}: a stale context: {:#x}", said.text, heard.code);
  const std::uint32_t number = wire::number_of(blob.about.handle[0]);
  saver->sessions.erase(number);
  if (saver->client) saver->client->lose_session(blob.about.handle[0]);
  Utterance moved = said;
  moved.bytes[1] = speech::context_load(*here);
  return compare(connection, moved, heard);
}

// FlushContext of a session that another connection of the owner saved is allowed, too: files outlive connections.
std::optional<std::string> World::flush_owner_mates_session(Connection& connection, const Utterance& said,
                                                            const Heard& heard) {
  if (said.verb != Verb::kFlush || !wire::is_session(said.handle[0])) return std::nullopt;
  const std::uint32_t number = wire::number_of(said.handle[0]);
  for (auto& mate : connections_) {
    const auto known = mate.sessions.find(number);
    if (&mate == &connection || mate.owner != connection.owner || known == mate.sessions.end()) continue;
    if (known->second.saved_at == 0) continue;
    if (!heard.ok()) return fmt::format("{}: the owner's saved session: {:#x}", said.text, heard.code);
    static_cast<void>(mate.own_tpm->transact(speech::flush_context(known->second.own), 0));
    mate.client->lose_session(said.handle[0]);
    mate.sessions.erase(known);
    return "";
  }
  return std::nullopt;
}

void World::note_sessions(Connection& connection, const Utterance& said, const std::array<Heard, kSides>& heard) {
  if (!heard[0].ok()) return;
  if (wire::is_session(heard[0].handle)) {
    connection.sessions[wire::number_of(heard[0].handle)] = Known{heard[0].handle, heard[1].handle, 0};
    connection.taken.erase(wire::number_of(heard[0].handle));  // its client had been told
  }
  if (said.verb != Verb::kContextSave || !wire::is_session(said.handle[0])) return;
  const auto known = connection.sessions.find(wire::number_of(said.handle[0]));
  if (known != connection.sessions.end()) known->second.saved_at = next_save_++;
}

void World::reset_private_tpms(const observe::Account& account) {
  if (!account.tpm_was_reset) return;
  trace("the engine noticed a reset");
  ++tally_.resets;
  reset_unnoticed_ = false;
  for (const auto& use : account.tpm) {
    if (use.code != wire::cc::kStartup || use.rc != wire::rc::kSuccess) continue;
    witness_->power_cycle();
    static_cast<void>(witness_->transact(speech::startup(false), 0));
  }
  for (auto& connection : connections_) {
    connection.own_tpm->catch_up();
    connection.client->forget_volatile();
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
