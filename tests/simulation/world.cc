#include "world.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <set>

#include "tpm/bring_up.h"
#include "wire/response.h"

namespace tpmspace::simulation {
namespace {

using speech::Heard;
using wire::Rc;

constexpr int kLongestCalm = 20'000;  // engine steps until it must have come to rest
constexpr Rc kExclusive = 0x121;
constexpr std::size_t kMostTpmCommandsAStep = 400;

// Asks again where a TPM says "later", as the transport's own decorator does (tpm/retry.h), in virtual time.
class Patient final : public wire::Tpm {
 public:
  Patient(wire::Tpm& inner, VirtualClock& clock) : inner_(inner), clock_(clock) {}

  Answer transact(wire::ByteView command, std::uint8_t locality) override {
    constexpr int kTries = 12;
    constexpr std::uint64_t kPause = 10'000'000;
    for (int i = 1;; ++i) {
      auto answer = inner_.transact(command, locality);
      const auto header = answer ? wire::read_header(*answer) : std::nullopt;
      const bool later = header && header->size == wire::kHeaderSize &&
                         (header->code == wire::rc::kRetry || header->code == wire::rc::kTesting ||
                          header->code == wire::rc::kYielded);
      if (!later || i == kTries) return answer;
      clock_.advance(kPause);
    }
  }

 private:
  wire::Tpm& inner_;
  VirtualClock& clock_;
};

std::unique_ptr<tpm::EmbeddedTpm> open_embedded() {
  auto opened = tpm::EmbeddedTpm::open("");
  if (opened) return std::move(*opened);
  fmt::print(stderr, "libtpms: {}\n", opened.error());
  std::abort();
}

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

World::World(const WorldConfig& config)
    : config_([&] {
        WorldConfig out = config;
        out.weights.exclusive_reference = false;
        return out;
      }()),
      private_chip_(std::make_shared<ChipState>()),
      pool_(std::make_shared<Pool>()) {
  start_subject();
  make_engine();
  witness_ = std::make_unique<ModelTpm>(ModelTpm::Limits::endless(), clock_, private_chip_);
  static_cast<void>(witness_->transact(speech::startup(false), 0));
}

World::~World() = default;

wire::Tpm& World::subject() {
  if (config_.embedded) return *embedded_;
  return *model_;
}

void World::start_subject() {
  if (config_.embedded)
    embedded_ = open_embedded();
  else
    model_ = std::make_unique<ModelTpm>(config_.limits, clock_);
  patient_ = std::make_unique<Patient>(subject(), clock_);
  const auto facts = tpm::bring_up(*patient_, tpm::Kind::kEmbedded);
  if (!facts) {
    fmt::print(stderr, "bring_up: {}\n", facts.error());
    std::abort();
  }
  chip_.object_slots = facts->object_slots;
  chip_.loaded_sessions = facts->loaded_sessions;
  chip_.active_sessions = facts->active_sessions;
  chip_.session_numbers = facts->active_max;
  chip_.context_gap = facts->context_gap;
  chip_.max_command = facts->max_command;
  chip_.max_response = facts->max_response;
  chip_.reset_count = facts->reset_count;
  chip_.restart_count = facts->restart_count;
  chip_.keep_free_objects = config_.keep_free_objects;
  chip_.keep_free_sessions = config_.keep_free_sessions;
  std::vector<wire::CommandAttributes> attributes;
  for (const auto raw : facts->commands) attributes.push_back({raw});
  static_cast<void>(table_.adopt(attributes));
  if (model_) model_->set_faults(FaultPlan(config_.seed, config_.faults));
}

void World::make_engine() {
  engine_ = std::make_unique<engine::Engine>(*patient_, table_, chip_, config_.engine, [this] { return clock_.now(); });
}

std::uint64_t World::faults() const {
  return model_ ? model_->faults().injected() : 0;
}

std::uint64_t World::sent() const {
  return std::accumulate(tally_.tpm_commands.begin(), tally_.tpm_commands.end(), std::uint64_t{0});
}

World::Tally World::tally() const {
  Tally out = tally_;
  out.faults = faults();
  return out;
}

World::Tally& World::Tally::operator+=(const Tally& other) {
  for (std::size_t i = 0; i < succeeded.size(); ++i) succeeded[i] += other.succeeded[i];
  for (std::size_t i = 0; i < tpm_commands.size(); ++i) tpm_commands[i] += other.tpm_commands[i];
  client_commands += other.client_commands;
  compared += other.compared;
  resets += other.resets;
  faults += other.faults;
  return *this;
}

void World::trace(const std::string& line) const {
  static const bool wanted = std::getenv("TPMSPACE_WORLD_TRACE") != nullptr;
  if (wanted) fmt::print(stderr, "{}\n", line);
}

void World::trace_account(const observe::Account& account) const {
  std::string line;
  for (const auto& use : account.tpm) {
    const auto* row = wire::CommandTable::builtin().find(use.code);
    line += fmt::format(" {}={:#x}", row != nullptr ? row->name.substr(5) : "?", use.rc);
  }
  if (!line.empty()) trace("  TPM:" + line);
}

// --- who there is

World::Connection* World::find(std::uint64_t client_id) {
  for (auto& connection : connections_)
    if (connection.id == client_id) return &connection;
  return nullptr;
}

World::Connection* World::by_engine_id(engine::ConnectionId id) {
  for (auto& connection : connections_)
    if (connection.open && connection.engine_id == id) return &connection;
  return nullptr;
}

std::vector<World::Connection*> World::live() {
  std::vector<Connection*> out;
  for (auto& connection : connections_)
    if (connection.open) out.push_back(&connection);
  return out;
}

std::vector<std::uint32_t> World::sessions_of_others(const Connection& connection) const {
  std::vector<std::uint32_t> out;
  for (const auto& other : connections_)
    if (&other != &connection)
      for (const auto& [number, known] : other.sessions) out.push_back(known.shared);
  return out;
}

// A session handle as the private TPM knows it; what is not this client's own becomes one that nobody has there.
std::uint32_t World::to_private(Connection& connection, std::uint32_t shared_handle) const {
  const std::uint32_t number = wire::number_of(shared_handle);
  if (number >= chip_.session_numbers) return shared_handle;
  const std::uint32_t type = shared_handle & 0xFF000000U;
  const auto known = connection.sessions.find(number);
  if (known != connection.sessions.end()) return type | wire::number_of(known->second.own);
  std::uint32_t unused = chip_.session_numbers - 1;
  while (unused > 0 && connection.own_tpm->is_active(unused)) --unused;
  return type | unused;
}

// --- what happens

std::string World::step(const WorldStep& step) {
  std::string trouble = act(step);
  if (trouble.empty()) trouble = check_invariants();
  return trouble;
}

std::string World::act(const WorldStep& step) {
  auto clients = live();
  if (clients.empty()) {
    open(step.who);
    return {};
  }
  Connection& chosen = *clients[step.who % clients.size()];
  const unsigned action = step.action % 200;
  if (action < 130) {  // the usual: a command, answered at once
    if (chosen.pending) return turn();
    if (auto trouble = submit(chosen, step.step); !trouble.empty()) return trouble;
    for (int i = 0; chosen.open && chosen.pending && i < kLongestCalm; ++i)
      if (auto trouble = turn(); !trouble.empty()) return trouble;
    return chosen.open && chosen.pending ? "a command was never answered" : "";
  }
  if (action < 160) return chosen.pending ? turn() : submit(chosen, step.step);
  if (action < 180) return turn();
  if (action < 186) {
    if (clients.size() < config_.connections) open(step.who);
    return {};
  }
  if (action < 190) return config_.restless || step.who % 16 == 0 ? close(chosen) : "";
  if (action < 191) return cancel(chosen);
  if (action < 192) {
    abandon(chosen);
    return {};
  }
  if (action < 195) return run_until_quiet();
  if (action < 197 && config_.book_round_trips) return round_trip_books();
  if (action == 198 && config_.changing_limits) change_limits(chosen, step.step);
  if (action == 199 && config_.power_cycles) power_cycle(config_.restarts && step.who % 2 == 0);
  return {};
}

void World::open(std::uint16_t who) {
  Connection& connection = connections_.emplace_back();
  connection.id = next_client_++;
  connection.owner = space::OwnerId{1 + who / 7U % config_.owners};
  connection.limits = config_.space;
  connection.engine_id = engine_->open(connection.owner, connection.limits);
  connection.own_tpm = std::make_unique<ModelTpm>(ModelTpm::Limits::endless(), clock_, private_chip_);
  connection.client = std::make_unique<ReferenceClient>(connection.id, pool_, config_.weights);
  connection.client->set_session_map(
      [this, &connection](std::uint32_t handle) { return to_private(connection, handle); });
  trace(fmt::format("client {} of owner {} comes", connection.id, connection.owner.value));
}

std::string World::close(Connection& connection) {
  trace(fmt::format("client {} leaves", connection.id));
  engine_->close(connection.engine_id);
  connection.open = false;
  connection.pending.reset();
  // What it had put into blobs stays for its owner; all else goes.
  std::erase_if(connection.sessions, [&](const auto& entry) {
    const std::uint32_t own = wire::number_of(entry.second.own);
    if (connection.own_tpm->is_saved(own)) return false;
    static_cast<void>(connection.own_tpm->transact(speech::flush_context(entry.second.own), 0));
    return true;
  });
  enforce_abandoned_limit(connection.owner);
  return {};
}

void World::enforce_abandoned_limit(space::OwnerId owner) {
  const auto limit = config_.engine.client_saved_sessions_per_owner;
  std::map<std::uint64_t, std::pair<Connection*, std::uint32_t>> abandoned;  // by when they were saved
  for (auto& connection : connections_)
    if (!connection.open && connection.owner == owner)
      for (const auto& [number, known] : connection.sessions) abandoned[known.saved_at] = {&connection, number};
  while (abandoned.size() > limit) {
    const auto [connection, number] = abandoned.begin()->second;
    static_cast<void>(connection->own_tpm->transact(speech::flush_context(connection->sessions.at(number).own), 0));
    connection->sessions.erase(number);
    abandoned.erase(abandoned.begin());
  }
}

std::string World::submit(Connection& connection, const Step& step) {
  connection.client->set_foreign_sessions(sessions_of_others(connection));
  connection.client->forget_sessions_unless([&](const Entity& entity) {
    const auto known = connection.sessions.find(wire::number_of(entity.handle[0]));
    return known != connection.sessions.end() &&
           wire::number_of(known->second.own) == wire::number_of(entity.handle[1]);
  });
  Pending pending;
  pending.said = connection.client->say(step);
  trace(fmt::format("client {} says {}", connection.id, pending.said.text));
  auto command = wire::Command::parse(pending.said.bytes[0], table_, chip_.max_command);
  ++tally_.client_commands;
  if (!command) {
    // The door answers this; the private TPM must have found something wrong as well.
    const Heard own = ask_private(connection, pending.said.bytes[1]);
    if (own.ok()) return fmt::format("{}: the parser says {:#x}, a TPM does it", pending.said.text, command.error());
    return {};
  }
  pending.ticket = engine_->submit(connection.engine_id, std::move(*command), 0, clock_.now());
  connection.pending = std::move(pending);
  return {};
}

std::string World::cancel(Connection& connection) {
  if (!connection.pending || connection.pending->cancelled) return {};
  trace(fmt::format("client {} cancels", connection.id));
  connection.pending->cancelled = true;
  return engine_->cancel(connection.pending->ticket) ? "" : "a waiting command could not be cancelled";
}

// An answer nobody waits for any more: the daemon has answered at the deadline, or its client is gone.
void World::abandon(Connection& connection) {
  if (!connection.pending || connection.pending->cancelled) return;
  trace(fmt::format("client {} abandons", connection.id));
  connection.pending->abandoned = true;
  engine_->gate().abandon(connection.pending->ticket);
}

void World::change_limits(Connection& connection, const Step& step) {
  const auto held = static_cast<std::uint32_t>(connection.own_tpm->loaded_objects().size());
  connection.limits = space::SpaceLimits{1 + step.a % 12U, 1 + step.b % 8U};
  engine_->set_limits(connection.engine_id, connection.limits);
  // What is held already stays.
  connection.limits.objects = std::max(connection.limits.objects, held);
}

void World::power_cycle(bool orderly) {
  trace(orderly ? "the TPM is restarted" : "power is lost");
  // What the engine had put away survives a restart, a private TPM would have kept nothing of it: no more comparing.
  if (orderly) {
    blurred_ = true;
    if (model_) model_->faults().pause(true);
    static_cast<void>(subject().transact(speech::shutdown(true), 0));
    if (model_) model_->faults().pause(false);
  }
  if (model_) model_->power_cycle();
  if (embedded_ && !embedded_->power_cycle()) std::abort();
  reset_unnoticed_ = true;
}

std::string World::turn() {
  const std::uint64_t faults_before = faults();
  Moment moment;
  moment.step = engine_->step(clock_.now());
  moment.faults = faults() - faults_before;
  if (moment.step.idle) {
    if (moment.step.reply) return "an idle step answered somebody";
    if (moment.step.wake && *moment.step.wake > clock_.now()) clock_.advance(*moment.step.wake - clock_.now());
    return {};
  }
  if (!moment.step.account) return "a step did something and gave no account of it";
  if (moment.step.account->tpm.size() > kMostTpmCommandsAStep)
    return fmt::format("one step sent {} TPM commands", moment.step.account->tpm.size());
  for (const auto& use : moment.step.account->tpm) ++tally_.tpm_commands[static_cast<std::size_t>(use.cause)];
  trace_account(*moment.step.account);
  if (config_.faults.garbage + config_.faults.gone != 0 && moment.faults != 0) blurred_ = true;
  if (!moment.step.reply) {
    reset_private_tpms(*moment.step.account);
    return {};
  }
  Connection* connection = by_engine_id(moment.step.reply->connection);
  if (connection == nullptr) return "somebody who is not there was answered";
  if (!connection->pending || connection->pending->ticket != moment.step.reply->ticket)
    return "a command was answered that was not waiting";
  return judge(*connection, moment);
}

std::string World::run_until_quiet() {
  if (!model_) return calm_down();
  model_->faults().pause(true);
  std::string trouble = calm_down();
  if (trouble.empty()) trouble = check_against_subject();
  if (trouble.empty()) trouble = check_nothing_is_left_behind();
  model_->faults().pause(finishing_);
  return trouble;
}

// Once the engine has come to rest, only what somebody has is in the TPM.
std::string World::check_nothing_is_left_behind() {
  if (reset_unnoticed_ || model_->gone()) return {};
  const std::size_t active = model_->loaded_sessions().size() + model_->saved_session_numbers().size();
  const auto booked = engine_->snapshot().sessions;
  return active == booked ? "" : fmt::format("at rest {} sessions are in the TPM, {} in the books", active, booked);
}

std::string World::calm_down() {
  for (int i = 0; i < kLongestCalm; ++i) {
    const auto before = clock_.now();
    const std::uint64_t commands = sent();
    const auto waiting = engine_->snapshot().queued;
    if (auto trouble = turn(); !trouble.empty()) return trouble;
    const bool still = clock_.now() == before || (model_ && model_->gone());
    if (waiting == 0 && sent() == commands && still) return {};
  }
  return "the engine does not come to rest";
}

std::string World::round_trip_books() {
  for (auto* connection : live())
    if (connection->pending && connection->pending->cancelled) return {};
  trace("the books go into a new engine");
  const wire::Bytes books = engine_->save_books();
  make_engine();
  if (!engine_->restore_books(books)) return "the engine does not take its own books";
  if (engine_->save_books() != books) return "restored books are not what was saved";
  for (auto* connection : live()) {
    if (!connection->pending) continue;
    auto command = wire::Command::parse(connection->pending->said.bytes[0], table_, chip_.max_command);
    connection->pending->ticket = engine_->submit(connection->engine_id, std::move(*command), 0, clock_.now());
    if (connection->pending->abandoned) engine_->gate().abandon(connection->pending->ticket);
  }
  return {};
}

// As at shutdown: everything of ours leaves the TPM.
std::string World::flush_all(bool saved_too) {
  const auto account = engine_->flush_all(saved_too);
  trace_account(account);
  if (!model_ || reset_unnoticed_ || model_->gone()) return {};
  if (!model_->loaded_objects().empty()) return "all was flushed, and objects are still in the TPM";
  const std::size_t active = model_->loaded_sessions().size() + model_->saved_session_numbers().size();
  const std::size_t kept = saved_too ? 0 : engine_->snapshot().sessions_client_saved;
  return active == kept ? "" : fmt::format("all was flushed: {} sessions in the TPM, {} may stay", active, kept);
}

std::string World::finish() {
  finishing_ = true;
  if (model_) model_->faults().pause(true);
  if (auto trouble = run_until_quiet(); !trouble.empty()) return trouble;
  for (auto* connection : live())
    if (connection->pending) return "a command was never answered";
  if (config_.seed % 4 == 3) return flush_all(config_.seed % 8 == 3);
  for (auto* connection : live())
    if (auto trouble = close(*connection); !trouble.empty()) return trouble;
  if (auto trouble = run_until_quiet(); !trouble.empty()) return trouble;
  if (auto trouble = check_invariants(); !trouble.empty()) return trouble;
  const auto snapshot = engine_->snapshot();
  const bool gone = model_ && model_->gone();
  if (snapshot.connections != 0 || snapshot.objects != 0 || (snapshot.objects_loaded != 0 && !gone))
    return "the last client is gone, and objects are still booked";
  if (snapshot.sessions != snapshot.sessions_client_saved)
    return "the last client is gone, and its sessions are booked";
  if (!model_ || reset_unnoticed_ || gone) return {};
  if (!model_->loaded_objects().empty()) return "the last client is gone, and objects are still in the TPM";
  std::size_t active = model_->loaded_sessions().size() + model_->saved_session_numbers().size();
  if (active != snapshot.sessions)
    return fmt::format("the last client is gone: {} sessions in the TPM, {} in the books", active, snapshot.sessions);
  return {};
}

// --- judging an answer

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
//   - SESSION_HANDLES from our layer: the chip's active sessions are used up, or the space's;
//   - OBJECT_MEMORY from our layer: the space holds as many objects as it may;
//   - SESSION_MEMORY from our layer: the command names more sessions than the chip can hold loaded;
//   - EXCLUSIVE: another client's command ended the exclusive audit (TPM-RULES 9);
//   - DISABLED: a list of handles asked for under an audit session, which could not be rewritten (TPM-RULES 8);
//   - CANCELED: the client cancelled;
//   - a fault was injected that the engine may pass on.
// And one where it is: a FlushContext meets a reset that nobody had noticed; what should go is gone.
// After a lost answer (`blurred_`) nothing is compared any more.
std::optional<std::string> World::permitted(const Connection& connection, const Pending& pending, const Heard& heard,
                                            const Moment& moment) const {
  const bool ours = wire::layer_of(heard.code) != 0;
  const Rc code = wire::without_layer(heard.code);
  if (moment.step.account->tpm_was_reset && heard.ok() && pending.said.verb == Verb::kFlush)
    return "what was to be flushed is gone by a reset";
  if (heard.ok()) return std::nullopt;
  if (pending.cancelled && ours && code == wire::rc::kCanceled) return "cancelled";
  if (ours && code == wire::rc::kSessionHandles && pending.said.verb == Verb::kStartSession) {
    const auto snapshot = engine_->snapshot();
    if (snapshot.sessions >= chip_.active_sessions) return "the chip has no session left";
    if (connection.sessions.size() >= connection.limits.sessions) return "the space has no session left";
    return std::nullopt;
  }
  if (ours && code == wire::rc::kObjectMemory && makes_object(pending.said.verb)) {
    if (connection.own_tpm->loaded_objects().size() >= connection.limits.objects) return "the space is full";
    if (config_.engine.max_bytes < engine::Config{}.max_bytes) return "no memory for one more context";
  }
  if (pending.said.audit && code == kExclusive) return "somebody else ended the exclusive audit";
  if (ours && code == wire::rc::kDisabled && pending.said.verb == Verb::kListHandles && pending.said.audit)
    return "a list that could not be rewritten";
  if (ours && code == wire::rc::kSessionMemory && pending.said.verb == Verb::kPolicySecret) return "four sessions";
  if (moment.faults != 0 && is_passing_trouble(heard.code)) return "a fault was passed on";
  return std::nullopt;
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

// An abandoned command was done, and what it made is given back at once. (A session context is only handed over, no new
// session: that stays.)
void World::give_back(Connection& connection, const Utterance& said, const Heard& heard) {
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
  if (wire::is_session(heard[0].handle))
    connection.sessions[wire::number_of(heard[0].handle)] = Known{heard[0].handle, heard[1].handle, 0};
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

// --- what is true after every step

std::string World::check_invariants() {
  if (const auto wrong = engine_->check()) return "the books: " + *wrong;
  const auto snapshot = engine_->snapshot();
  std::size_t waiting = 0, objects = 0, sessions = 0, open = 0;
  for (auto& connection : connections_) {
    sessions += connection.sessions.size();
    if (!connection.open) continue;
    ++open;
    waiting += connection.pending && !connection.pending->cancelled ? 1U : 0U;
    objects += connection.own_tpm->loaded_objects().size();
  }
  if (snapshot.connections != open) return "connections are miscounted";
  if (snapshot.queued != waiting) return "waiting commands are miscounted";
  if (snapshot.bytes > config_.engine.max_bytes) return "more bytes than allowed";
  if (blurred_) return {};  // until the engine has had the time to ask: see run_until_quiet
  if (snapshot.objects != objects)
    return fmt::format("{} objects in the books, {} in private TPMs", snapshot.objects, objects);
  if (snapshot.sessions != sessions)
    return fmt::format("{} sessions in the books, {} in private TPMs", snapshot.sessions, sessions);
  return check_against_subject();
}

std::string World::check_against_subject() {
  if (!model_ || reset_unnoticed_ || model_->gone()) return {};
  if (!model_->chip().running) {
    reset_unnoticed_ = true;
    return {};
  }
  const auto snapshot = engine_->snapshot();
  const std::size_t objects = model_->loaded_objects().size();
  const std::size_t sessions = model_->loaded_sessions().size();
  if (snapshot.objects_loaded != objects)
    return fmt::format("{} objects are loaded, the books say {}", objects, snapshot.objects_loaded);
  if (snapshot.sessions_loaded != sessions)
    return fmt::format("{} sessions are loaded, the books say {}", sessions, snapshot.sessions_loaded);
  const std::size_t active = sessions + model_->saved_session_numbers().size();
  if (active < snapshot.sessions) return fmt::format("{} active sessions, the books say {}", active, snapshot.sessions);
  return {};
}

}  // namespace tpmspace::simulation
