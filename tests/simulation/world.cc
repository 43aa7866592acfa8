#include "world.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include "books/books.h"
#include "tpm/bring_up.h"
#include "wire/response.h"

namespace tpmspace::simulation {
namespace {

using speech::Heard;
using wire::Rc;

constexpr int kLongestCalm = 20'000;  // engine steps until it must have come to rest
constexpr std::size_t kMostTpmCommandsAStep = 400;

// Asks again where a TPM says "later", as the transport's own decorator does (tpm/retry.h), in virtual time.
class Patient final : public wire::Tpm {
 public:
  // `meanwhile`: events elsewhere while a command is at the TPM.
  Patient(wire::Tpm& inner, VirtualClock& clock, std::function<void()> meanwhile)
      : inner_(inner), clock_(clock), meanwhile_(std::move(meanwhile)) {}

  Answer transact(wire::ByteView command, std::uint8_t locality) override {
    constexpr int kTries = 12;
    constexpr std::uint64_t kPause = 10'000'000;
    meanwhile_();
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
  std::function<void()> meanwhile_;
};

// Where the window is on the chip; the next one is next to it.
std::uint32_t base_of(std::uint32_t window) {
  constexpr std::uint32_t kFirst = 0x81200000;
  return kFirst + (window - 1) * space::View::kWindow;
}

std::unique_ptr<tpm::EmbeddedTpm> open_embedded() {
  auto opened = tpm::EmbeddedTpm::open("");
  if (opened) return std::move(*opened);
  fmt::print(stderr, "libtpms: {}\n", opened.error());
  std::abort();
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
  patient_ = std::make_unique<Patient>(subject(), clock_, [this] { abandon_what_is_served(); });
  const auto facts = tpm::bring_up(*patient_, tpm::Kind::kEmbedded);
  if (!facts) {
    fmt::print(stderr, "bring_up: {}\n", facts.error());
    std::abort();
  }
  chip_.object_slots = facts->object_slots;
  chip_.loaded_sessions = facts->loaded_sessions;
  chip_.active_sessions = std::min(facts->active_sessions, config_.sessions_for_us);
  chip_.session_numbers = facts->active_max;
  chip_.context_gap = facts->context_gap;
  chip_.max_command = facts->max_command;
  chip_.max_response = facts->max_response;
  chip_.reset_count = facts->reset_count;
  chip_.restart_count = facts->restart_count;
  chip_.max_auth_fail = facts->max_auth_fail;
  chip_.lockout_interval = facts->lockout_interval;
  chip_.lockout_counter = facts->lockout_counter;
  chip_.keep_free_objects = config_.keep_free_objects;
  chip_.keep_free_sessions = config_.keep_free_sessions;
  chip_.can_be_suspended = config_.started_up_by_others;
  if (embedded_ && config_.guessing) {
    // In real time nothing recovers while a world lasts; in virtual time it must not either.
    constexpr std::uint32_t kTries = 16, kVeryLong = 100'000'000;
    static_cast<void>(patient_->transact(speech::dictionary_attack_parameters(kTries, kVeryLong), 0));
    chip_.max_auth_fail = kTries;
    chip_.lockout_interval = kVeryLong;
  }
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
  taken += other.taken;
  parks += other.parks;
  rebuilds += other.rebuilds;
  through_windows += other.through_windows;
  beyond_pools += other.beyond_pools;
  taken_for_pools += other.taken_for_pools;
  guesses += other.guesses;
  start_ups += other.start_ups;
  lost += other.lost;
  kept += other.kept;
  stopped += other.stopped;
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

// --- the clients

bool World::administers(space::OwnerId owner) const {
  return config_.guessing && owner.value == config_.owners;
}

bool World::is_careful(space::OwnerId owner) const {
  return config_.guessing && owner.value + 1 >= config_.owners;
}

std::uint32_t World::window_of(space::OwnerId owner) const {
  return config_.windows ? static_cast<std::uint32_t>(owner.value % 3) : 0;
}

space::SpaceLimits World::limits_of(space::OwnerId owner) const {
  space::SpaceLimits out = config_.space;
  for (std::size_t i = 0; i < config_.pools.size(); ++i)
    if (owner.value <= i + 1) out.pools[i] = config_.pools[i];
  out.shares_tries = config_.guessing && !administers(owner);
  if (!config_.windows) return out;
  const auto all = wire::Numbers::all();
  space::View view{.commands = all, .persistent = all, .nv = all, .pcrs = all};
  if (const std::uint32_t window = window_of(owner); window != 0)
    view.persistent_base = base_of(window);
  else
    view.persistent = all - wire::Numbers{{base_of(1), base_of(1) + 2 * space::View::kWindow - 1}};
  out.view = std::make_shared<const space::View>(std::move(view));
  return out;
}

Weights World::weights_of(space::OwnerId owner) const {
  Weights out = config_.weights;
  out.protects = config_.guessing;
  out.more_persistent = config_.windows;
  if (!is_careful(owner)) return out;
  out.careful = true;
  out.wild = false;
  if (administers(owner)) out.lock_resets = 12;
  return out;
}

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

void World::Known::set_policy_back() {
  repeatable = true;
  asked_authority = false;
  steps = 0;
  pcr_counter.reset();
  pcrs.clear();
}

const World::Known* World::usable(const Connection& connection, std::uint32_t shared_handle) {
  for (const auto& [own, known] : connection.sessions)
    if (known.saved_at == 0 && wire::number_of(known.shared) == wire::number_of(shared_handle)) return &known;
  return nullptr;
}
World::Known* World::usable(Connection& connection, std::uint32_t shared_handle) {
  return const_cast<Known*>(usable(std::as_const(connection), shared_handle));
}

// A session handle as the private TPM knows it; another client's handle becomes an unused handle there.
std::uint32_t World::to_private(Connection& connection, std::uint32_t shared_handle) const {
  const std::uint32_t number = wire::number_of(shared_handle);
  if (number >= chip_.session_numbers) return shared_handle;
  const std::uint32_t type = shared_handle & 0xFF000000U;
  if (const Known* known = usable(connection, number)) return type | wire::number_of(known->own);
  for (const auto& [own, known] : connection.sessions)
    if (wire::number_of(known.shared) == number) return type | own;
  std::uint32_t unused = ModelTpm::Limits::endless().active_sessions - 1;
  while (unused > 0 && connection.own_tpm->is_active(unused)) --unused;
  return type | unused;
}

// --- events

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
  if (action < 180) return config_.busy && engine_->snapshot().queued == 0 ? "" : turn();
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
  if (action < 195) return config_.busy ? "" : run_until_quiet();
  if (action < 197 && config_.book_round_trips) return round_trip_books();
  if (action == 198 && config_.changing_limits) change_limits(chosen, step.step);
  if (action == 199 && config_.started_up_by_others) start_up_by_somebody(step.who);
  if (action == 199 && config_.power_cycles) power_cycle(config_.restarts && step.who % 2 == 0);
  return {};
}

void World::open(std::uint16_t who) {
  Connection& connection = connections_.emplace_back();
  connection.id = next_client_++;
  connection.owner = space::OwnerId{1 + who / 7U % config_.owners};
  connection.limits = limits_of(connection.owner);
  connection.engine_id = engine_->open(connection.owner, connection.limits);
  auto own = ModelTpm::Limits::endless();
  own.shelf = window_of(connection.owner);
  own.all_saved = config_.started_up_by_others;
  connection.own_tpm = std::make_unique<ModelTpm>(own, clock_, private_chip_);
  connection.client = std::make_unique<ReferenceClient>(connection.id, pool_, weights_of(connection.owner));
  connection.client->set_session_map(
      [this, &connection](std::uint32_t handle) { return to_private(connection, handle); });
  trace(fmt::format("client {} of owner {} comes", connection.id, connection.owner.value));
}

std::string World::close(Connection& connection) {
  trace(fmt::format("client {} leaves", connection.id));
  engine_->close(connection.engine_id);
  connection.open = false;
  connection.pending.reset();
  // Its blobs stay for its owner; all other entities go.
  std::erase_if(connection.sessions, [&](const auto& entry) {
    const std::uint32_t own = wire::number_of(entry.second.own);
    if (connection.own_tpm->is_saved(own)) return false;
    static_cast<void>(connection.own_tpm->transact(speech::flush_context(entry.second.own), 0));
    return true;
  });
  enforce_abandoned_limits();
  return {};
}

// Each owner's oldest go first; then, with more than half of the chip's in all, the oldest of the owner that left the
// most behind. Those that can be made again hold nothing of the chip's; so many of them that theirs would matter no
// world has.
void World::enforce_abandoned_limits() {
  struct Left {
    std::uint64_t saved_at = 0;
    Connection* connection = nullptr;
    std::uint32_t number = 0;
  };
  std::map<space::OwnerId, std::vector<Left>> of_owner;
  std::size_t all = 0;
  for (auto& connection : connections_) {
    if (connection.open) continue;
    for (const auto& [number, known] : connection.sessions) {
      if (known.can_be_made_again()) continue;
      of_owner[connection.owner].push_back({known.saved_at, &connection, number});
      ++all;
    }
  }
  const auto older = [](const Left& a, const Left& b) { return a.saved_at < b.saved_at; };
  const auto flush_oldest = [&](std::vector<Left>& left) {
    const auto oldest = std::min_element(left.begin(), left.end(), older);
    auto& sessions = oldest->connection->sessions;
    static_cast<void>(oldest->connection->own_tpm->transact(speech::flush_context(sessions.at(oldest->number).own), 0));
    sessions.erase(oldest->number);
    left.erase(oldest);
    --all;
  };
  for (auto& [owner, left] : of_owner)
    while (left.size() > config_.engine.client_saved_sessions_per_owner) flush_oldest(left);
  while (all > chip_.active_sessions / 2) {
    std::vector<Left>* most = nullptr;
    for (auto& [owner, left] : of_owner) {
      if (left.empty() || (most != nullptr && left.size() < most->size())) continue;
      if (most == nullptr || left.size() > most->size() ||
          std::min_element(left.begin(), left.end(), older)->saved_at <
              std::min_element(most->begin(), most->end(), older)->saved_at)
        most = &left;
    }
    flush_oldest(*most);
  }
}

std::string World::submit(Connection& connection, const Step& step) {
  connection.client->set_foreign_sessions(sessions_of_others(connection));
  connection.client->forget_sessions_unless([&](const Entity& entity) {
    const auto known = connection.sessions.find(wire::number_of(entity.handle[1]));
    return known != connection.sessions.end() &&
           wire::number_of(known->second.shared) == wire::number_of(entity.handle[0]);
  });
  Pending pending;
  pending.said = connection.client->say(step);
  // A Clear after a Restart ends the saved contexts of stClear objects, which a private TPM has loaded.
  if (pending.said.verb == Verb::kClear && private_chip_->clear_count != 0) return {};
  pending.said_at = clock_.now();
  trace(fmt::format("client {} says {}", connection.id, pending.said.text));
  auto command = wire::Command::parse(pending.said.bytes[0], table_, chip_.max_command);
  ++tally_.client_commands;
  if (!command) {
    // The listener answers this; the private TPM must have found something wrong as well.
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

// A session that the engine took is gone for the private TPM too, whether the client knows it or not. Where no client's
// session is taken only those go that cannot come back (what a PolicyPCR saw is not so any more), or that a fault met.
// For who is answered in the same step only those go that nobody holds any more, and whose lease is over.
std::string World::take_away(const Moment& moment) {
  const observe::Account& account = *moment.step.account;
  const bool faults = moment.faults != 0;
  const bool nobody_takes = config_.space.terms.exhaustion != space::Exhaustion::kReclaim;
  for (const auto& taken : account.reclaimed) {
    trace(fmt::format("{:#x} of {} is taken", taken.handle, taken.space));
    // Of several by that handle (files may be) it is as among others: those that an authority was asked for go last,
    // and what was used longest ago goes first.
    Connection* from = nullptr;
    const Known* session = nullptr;
    for (auto& connection : connections_) {
      const bool here = connection.open && connection.engine_id == taken.space;
      if (!here && (taken.space != 0 || connection.open)) continue;
      if (connection.owner.value != taken.owner) continue;
      for (const auto& [own, known] : connection.sessions) {
        if (known.shared != taken.handle) continue;
        const bool cannot_come_back = known.can_be_made_again() && known.saved_at == 0 && pcrs_have_changed(known);
        if (!cannot_come_back && !faults && (nobody_takes || known.can_be_made_again())) continue;
        const auto rank = [](const Known& one) { return std::pair(one.asked_authority, one.used_at); };
        if (session != nullptr && rank(*session) < rank(known)) continue;
        from = &connection;
        session = &known;
      }
    }
    if (session == nullptr) return blurred_ ? "" : "a session was taken for nothing";
    if (moment.step.reply && !faults && !session->can_be_made_again()) {
      if (from->open) return "a session was taken from who has it, for a place in a pool";
      if (clock_.now() < session->used_from + from->limits.terms.lease)
        return "a session was taken from a pool before its lease was over";
      ++tally_.taken_for_pools;
    }
    if (session->saved_at == 0) from->taken.insert(wire::number_of(taken.handle));
    static_cast<void>(from->own_tpm->transact(speech::flush_context(session->own), 0));
    ++tally_.taken;
  }
  if (!account.reclaimed.empty()) forget_dead_sessions();
  return {};
}

bool World::pcrs_have_changed(const Known& session) const {
  return std::any_of(session.pcrs.begin(), session.pcrs.end(),
                     [this](const auto& seen) { return private_chip_->pcrs[seen.first] != seen.second; });
}

// An answer without a waiter: the daemon has answered at the deadline, or its client is gone.
void World::abandon(Connection& connection) {
  if (!connection.pending || connection.pending->cancelled) return;
  connection.pending->leaving = true;
}

// With the client's own command at the TPM: a command that still waits would only be withdrawn.
void World::abandon_what_is_served() {
  if (!engine_) return;
  const auto running = engine_->gate().running();
  if (!running || running->ticket == 0) return;
  for (auto* connection : live()) {
    if (!connection->pending || !connection->pending->leaving || connection->pending->ticket != running->ticket)
      continue;
    const auto parsed = wire::read_header(connection->pending->said.bytes[0]);
    if (!parsed || parsed->code != running->code) continue;
    trace(fmt::format("client {} abandons", connection->id));
    connection->pending->abandoned = engine_->gate().abandon(running->ticket);
  }
}

void World::change_limits(Connection& connection, const Step& step) {
  const auto held = static_cast<std::uint32_t>(connection.own_tpm->loaded_objects().size());
  connection.limits.objects = 1 + step.a % 12U;
  connection.limits.sessions = 1 + step.b % 8U;
  engine_->set_limits(connection.engine_id, connection.limits);
  // Entities held already stay.
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

// Firmware or the kernel does it: a Reset without or after Shutdown, a Restart, a Resume.
void World::start_up_by_somebody(std::uint16_t how) {
  const unsigned kind = how / 3U % 4;
  const bool saves_state = kind >= 2, resumes = kind == 3;
  trace(std::array{"power is lost; somebody starts the TPM up", "shut down, and somebody starts the TPM up",
                   "somebody restarts the TPM", "the TPM is suspended, and somebody resumes it"}[kind]);
  if (model_) model_->faults().pause(true);
  if (saves_state) lose_what_is_not_saved();
  const auto start_up = [&](wire::Tpm& tpm, const auto& power_cycle) {
    if (kind != 0) static_cast<void>(tpm.transact(speech::shutdown(saves_state), 0));
    power_cycle();
    static_cast<void>(tpm.transact(speech::startup(resumes), 0));
  };
  start_up(subject(), [&] {
    if (model_) model_->power_cycle();
    if (embedded_ && !embedded_->power_cycle()) std::abort();
  });
  start_up(*witness_, [&] { witness_->power_cycle(); });
  if (model_) model_->faults().pause(finishing_);
  forget_dead_sessions();
  for (const auto& connection : connections_)
    tally_.kept += connection.own_tpm->loaded_objects().size() + connection.sessions.size();
  ++tally_.start_ups;
  reset_unnoticed_ = ghosts_ = true;
}

// Entities in the TPM and nowhere else, by the books.
void World::lose_what_is_not_saved() {
  const auto books = space::decode(engine_->save_books());
  const auto lose = [&](Connection& connection, std::uint32_t own) {
    const auto flush = speech::flush_context(own);
    const auto heard = speech::hear(flush, *connection.own_tpm->transact(flush, 0));
    tally_.lost += heard && heard->ok() ? 1U : 0U;
  };
  for (const auto& [id, space] : books->spaces) {
    Connection* connection = by_engine_id(id.value);
    if (connection == nullptr) continue;
    for (const auto& [handle, object] : space.objects)
      if (object.context.empty()) lose(*connection, handle);
  }
  for (const auto& [number, session] : books->sessions) {
    Connection* connection = by_engine_id(session.space.value);
    Known* known = connection == nullptr ? nullptr : usable(*connection, session.client.value);
    if (known == nullptr || !session.loaded()) continue;
    if (known->can_be_made_again() && (known->trial || (known->pcrs.empty() && !known->pcr_counter)))
      known->renumbered = known->nonce_lost = true;
    else
      lose(*connection, known->own);
  }
}

// Of a session that was put away as a log nobody knows whether it was before a reset.
void World::lose_parked_sessions() {
  const auto books = space::decode(engine_->save_books());
  for (auto& connection : connections_) {
    if (!connection.open) continue;
    for (const auto& session : connection.sessions) {
      const auto& known = session.second;
      const bool there = std::any_of(books->sessions.begin(), books->sessions.end(), [&](const auto& entry) {
        return entry.second.space.value == connection.engine_id && entry.second.client.value == known.shared;
      });
      if (!there && known.policy) static_cast<void>(connection.own_tpm->transact(speech::flush_context(known.own), 0));
    }
  }
}

std::string World::turn() {
  const std::uint64_t faults_before = faults();
  Moment moment;
  moment.step = engine_->step(clock_.now());
  moment.faults = faults() - faults_before;
  came_to_rest_ = moment.step.idle;
  if (moment.step.idle) {
    if (auto trouble = check_nobody_waits_for_a_pool(); !trouble.empty()) return trouble;
    if (moment.step.reply) return "an idle step answered somebody";
    if (moment.step.wake && *moment.step.wake > clock_.now()) clock_.advance(*moment.step.wake - clock_.now());
    return {};
  }
  if (!moment.step.account)  // a StartAuthSession went into the queue
    return moment.step.reply ? "somebody was answered without an account" : "";
  tally_.parks += moment.step.account->parks;
  tally_.rebuilds += moment.step.account->rebuilds;
  if (auto trouble = take_away(moment); !trouble.empty()) return trouble;
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
  if (!model_) {
    std::string trouble = calm_down();
    if (!reset_unnoticed_) ghosts_ = false;
    return trouble;
  }
  model_->faults().pause(true);
  std::string trouble = calm_down();
  if (!reset_unnoticed_) ghosts_ = false;
  if (trouble.empty()) trouble = check_against_subject();
  if (trouble.empty()) trouble = check_nothing_is_left_behind();
  model_->faults().pause(finishing_);
  return trouble;
}

// Once the engine has come to rest, only clients' entities are in the TPM.
std::string World::check_nothing_is_left_behind() {
  if (reset_unnoticed_ || model_->gone()) return {};
  const std::size_t active = model_->loaded_sessions().size() + model_->saved_session_numbers().size();
  const auto booked = engine_->snapshot().sessions;
  return active == booked ? "" : fmt::format("at rest {} sessions are in the TPM, {} in the books", active, booked);
}

std::string World::calm_down() {
  for (int i = 0; i < kLongestCalm; ++i) {
    const auto before = clock_.now();
    if (auto trouble = turn(); !trouble.empty()) return trouble;
    const bool still = clock_.now() == before || (model_ && model_->gone());
    if (came_to_rest_ && still) return {};
  }
  return "the engine does not come to rest";
}

std::string World::round_trip_books() {
  for (auto* connection : live())
    if (connection->pending && connection->pending->cancelled) return {};
  trace("the books go into a new engine");
  const wire::Bytes books = engine_->save_books();
  if (config_.guessing) {
    chip_.lockout_counter = counter_of_chip().value_or(chip_.lockout_counter);
    tries_are_nobodys_ = true;
  }
  make_engine();
  if (!engine_->restore_books(books)) return "the engine does not take its own books";
  if (engine_->save_books() != books) return "restored books are not what was saved";
  for (auto* connection : live()) {
    if (!connection->pending) continue;
    auto command = wire::Command::parse(connection->pending->said.bytes[0], table_, chip_.max_command);
    connection->pending->ticket = engine_->submit(connection->engine_id, std::move(*command), 0, clock_.now());
  }
  return {};
}

// As tpmspaced asks it at its start. A TPM without power says nothing.
std::optional<std::uint32_t> World::counter_of_chip() {
  constexpr std::uint32_t kLockoutCounter = 0x20E;
  const auto question = speech::get_capability(6, kLockoutCounter, 1);
  if (model_) model_->faults().pause(true);
  const auto heard = speech::hear(question, *patient_->transact(question, 0));
  if (model_) model_->faults().pause(finishing_);
  return heard && heard->ok() ? std::optional(speech::property_value(*heard)) : std::nullopt;
}

// Libtpms' own, which cannot be inspected.
std::string World::check_counter_of_chip() {
  if (!embedded_ || !config_.guessing) return {};
  const std::uint32_t count = counter_of_chip().value_or(0);
  return count <= chip_.max_auth_fail - chip_.max_auth_fail / 4 ? "" : fmt::format("{} tries are used up", count);
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
  if (auto trouble = check_counter_of_chip(); !trouble.empty()) return trouble;
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

// --- invariants after every step

std::string World::check_invariants() {
  if (const auto wrong = engine_->check()) return "the books: " + *wrong;
  const auto snapshot = engine_->snapshot();
  std::size_t waiting = 0, objects = 0, sessions = 0, open = 0;
  for (auto& connection : connections_) {
    sessions += connection.sessions.size();
    if (!connection.open) continue;
    ++open;
    waiting += connection.pending ? 1U : 0U;  // one that is cancelled waits for its answer
    objects += connection.own_tpm->loaded_objects().size();
  }
  if (snapshot.connections != open) return "connections are miscounted";
  if (snapshot.queued != waiting) return "waiting commands are miscounted";
  if (snapshot.bytes > config_.engine.max_bytes) return "more bytes than allowed";
  if (blurred_ || ghosts_) return {};  // until the engine has had the time to ask: see run_until_quiet
  if (snapshot.objects != objects)
    return fmt::format("{} objects in the books, {} in private TPMs", snapshot.objects, objects);
  if (snapshot.sessions + snapshot.sessions_parked != sessions)
    return fmt::format("{} sessions in the books and {} parked, {} in private TPMs", snapshot.sessions,
                       snapshot.sessions_parked, sessions);
  if (auto trouble = check_windows(); !trouble.empty()) return trouble;
  if (auto trouble = check_tries(); !trouble.empty()) return trouble;
  return check_against_subject();
}

// The private TPMs' persistent objects are on the chip in their windows, and no other object is there.
std::string World::check_windows() const {
  if (!model_) return {};
  const auto& shelves = model_->chip().shelves;
  const auto chip = shelves.find(0);
  std::vector<std::uint32_t> there, expected;
  if (chip != shelves.end())
    for (const auto& [handle, object] : chip->second) there.push_back(handle);
  for (const auto& [window, shelf] : private_chip_->shelves)
    for (const auto& [handle, object] : shelf)
      expected.push_back(window == 0 ? handle : handle - space::View::kFirstPersistent + base_of(window));
  std::sort(expected.begin(), expected.end());
  return there == expected ? ""
                           : fmt::format("persistent are {:#x}, and should be {:#x}", fmt::join(there, " "),
                                         fmt::join(expected, " "));
}

std::uint32_t World::tries_left_to_all() const {
  const auto& tries = model_->chip().tries;
  const std::uint32_t used_up = tries.failed + std::max(1U, tries.max / 4);
  return tries.max - std::min(tries.max, used_up);
}

// A client that does not administer never has the chip's last tries (docs/lockout.md). A disorderly end may.
std::string World::check_tries() const {
  if (!model_ || !config_.guessing || config_.power_cycles) return {};
  const auto& tries = model_->chip().tries;
  const std::uint32_t last = std::max(1U, tries.max / 4);
  return tries.failed + last <= tries.max ? "" : fmt::format("{} of {} tries are used up", tries.failed, tries.max);
}

// At rest: a client beyond a pool has been told so.
std::string World::check_nobody_waits_for_a_pool() {
  if (config_.pools[0].id.value == 0) return {};
  for (const auto& waiting : engine_->sessions().waiting) {
    const Connection* connection = by_engine_id(waiting.connection);
    if (connection == nullptr || !connection->pending || connection->pending->cancelled) continue;
    const Room room = room_in_pools(*connection, clock_.now());
    if (!room.perhaps_made && wants_ordinary_session(*connection, connection->pending->said))
      return fmt::format("client {} waits for its neighbours in a pool", connection->id);
  }
  return {};
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
