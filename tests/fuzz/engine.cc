// The engine between clients and a TPM that the input both plays.
//
// Input: character of the TPM; object slots, session slots, active sessions, context gap, and how much to keep free;
// then steps until it ends: see `Play::act`. Whatever happens, after each step of the engine the books are right, every
// command that was submitted gets exactly one response (unless its connection was closed), and the TPM has been asked a
// bounded number of times. When all connections are closed an honest TPM is left as empty as it was.

#include "engine/engine.h"

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "engine_commands.h"
#include "engine_tpm.h"
#include "fuzz.h"
#include "wire/response.h"

namespace tpmspace::fuzz {
namespace {

namespace cc = wire::cc;
using engine::ConnectionId;
using engine::Engine;
using engine::Ticket;

constexpr std::size_t kMaxSteps = 600, kMaxConnections = 6;
// A client's command is sent at most 8 times; between two of them everything may be swapped, and lists of handles be
// read over 64 pages each.
constexpr std::uint64_t kMaxTransactsForOneStep = 2'000;

space::Chip chip_from(Input& input) {
  constexpr std::uint32_t kGaps[] = {65535, 255};
  space::Chip chip;
  chip.object_slots = static_cast<std::uint32_t>(3 + input.below(4));
  chip.loaded_sessions = static_cast<std::uint32_t>(3 + input.below(3));
  chip.active_sessions = static_cast<std::uint32_t>(chip.loaded_sessions + input.below(62));
  chip.session_numbers = chip.active_sessions;
  chip.context_gap = kGaps[input.below(std::size(kGaps))];
  if (input.below(4) == 3) chip.keep_free_objects = chip.keep_free_sessions = 1;
  return chip;
}

class Play {
 public:
  explicit Play(ByteView data)
      : input_(data), character_(static_cast<Character>(input_.below(3))), chip_(chip_from(input_)) {
    tpm_ = std::make_unique<PlayedTpm>(character_, chip_, clock_, input_);
    tpm_->tell_counters(chip_);
    engine_ = new_engine();
  }

  void run() {
    for (std::size_t i = 0; i < kMaxSteps && !input_.empty(); ++i) act();
    finish();
  }

 private:
  std::unique_ptr<Engine> new_engine() {
    engine::Config config;
    config.client_saved_sessions_per_owner = 3;
    config.max_bytes = 32 << 10;
    return std::make_unique<Engine>(*tpm_, wire::CommandTable::builtin(), chip_, config,
                                    [this] { return clock_.now(); });
  }

  void act() {
    switch (input_.below(11)) {
      case 0:
        return open();
      case 1:
      case 2:
      case 3:
      case 4:
        submit();
        return step();
      case 5:
      case 6:
        return step();
      case 7:
        return submit();
      case 8:
        return close();
      case 9:
        return disturb();
      default:
        return clock_.advance(std::uint64_t{1'000'000} << input_.below(16));
    }
  }

  void open() {
    if (connections_.size() >= kMaxConnections) return;
    space::SpaceLimits limits;
    const std::uint8_t what = input_.u8();
    limits.objects = 1 + (what >> 2) % 16U;
    limits.sessions = 1 + (what >> 4) % 8U;
    limits.shares_tries = what % 2U == 1;
    if (what >= 0xC0) {
      limits.pools[0] = {.id = {1}, .sessions = 4, .objects = 8, .bytes = 16 << 10};
      limits.view = std::make_shared<const space::View>(
          space::View{.commands = {{0x11F, 0x15F}}, .persistent = wire::Numbers::all(), .persistent_base = 0x81000001});
    }
    if (what >= 0xA0) limits.pins = std::make_shared<const wire::Numbers>(wire::Numbers{{0x01500000, 0x01500001}});
    const space::OwnerId owner{1U + what % 3U};
    const ConnectionId connection = engine_->open(owner, limits);
    if (what % 4U == 3) fork_into(connection, owner, what);
    connections_.push_back(connection);
    owners_[connection] = owner;
  }

  // It begins with the objects of another connection of its owner.
  void fork_into(ConnectionId connection, space::OwnerId owner, std::uint64_t known) {
    for (const ConnectionId parent : connections_) {
      if (owners_.at(parent) != owner) continue;
      codes_[connection] = 0;
      waiting_[connection] = engine_->inherit(connection, parent, known, clock_.now());
      require(tickets_.insert(waiting_[connection]).second, "a ticket is new");
      return;
    }
  }

  void close() {
    if (connections_.empty()) return;
    const std::size_t at = input_.below(connections_.size());
    trace("closed", Writer().u64(connections_[at]).take());
    engine_->close(connections_[at]);
    waiting_.erase(connections_[at]);
    connections_.erase(connections_.begin() + static_cast<std::ptrdiff_t>(at));
    check();
  }

  // One that waits is withdrawn, and never answered.
  void abandon() {
    if (waiting_.empty()) return;
    const auto [connection, ticket] = *waiting_.begin();
    if (!engine_->gate().abandon(ticket)) return;  // its CANCELED is on its way
    (void)engine_->cancel(ticket);
    waiting_.erase(connection);
  }

  // Outside events for a command in the queue, for the TPM, and for the engine itself.
  void disturb() {
    switch (input_.below(5)) {
      case 0:
        if (!waiting_.empty()) (void)engine_->cancel(waiting_.begin()->second);
        return;
      case 1:
        return abandon();
      case 2:
        trace("power lost", {});
        power_was_lost_ = true;
        return tpm_->power_cycle();
      case 3:
        return restart();
      default:
        if (connections_.empty()) return;
        return engine_->set_limits(connections_[0], space::SpaceLimits{1U + input_.u8() % 8U, 1U + input_.u8() % 8U});
    }
  }

  // A new engine with the old one's books goes on.
  void restart() {
    if (!waiting_.empty()) return;
    const Bytes image = engine_->save_books();
    auto second = new_engine();
    // With a liar the engine may have met more slots than the chip was said to have; then it refuses, as it should.
    if (!second->restore_books(image)) return require(!tpm_->honest(), "good books are taken back");
    require(wire::same_bytes(second->save_books(), image), "books survive a round trip");
    trace("new engine, old books", {});
    engine_ = std::move(second);
    tickets_.clear();  // they are each engine's own
    check();
  }

  // --- commands

  void submit() {
    if (connections_.empty()) open();
    const ConnectionId connection = connections_[input_.below(connections_.size())];
    if (waiting_.count(connection) != 0) return;
    auto parsed = wire::Command::parse(commands_.some(), wire::CommandTable::builtin(), chip_.max_command);
    if (!parsed) return;
    codes_[connection] = parsed->code();
    trace("submitted", parsed->bytes());
    waiting_[connection] = engine_->submit(connection, std::move(*parsed), 0, clock_.now());
    require(tickets_.insert(waiting_[connection]).second, "a ticket is new");
  }

  // --- steps and their invariants

  void step() {
    const auto before = tpm_->transacts();
    const auto done = engine_->step(clock_.now());
    require(tpm_->transacts() - before <= kMaxTransactsForOneStep, "a step asks the TPM a bounded number of times");
    require(!done.idle || !done.reply, "who is idle has answered nobody");
    if (done.reply) take(*done.reply);
    check();
    clock_.advance(1000);
  }

  void take(const engine::Reply& reply) {
    trace("answered", reply.response);
    const auto it = waiting_.find(reply.connection);
    require(it != waiting_.end() && it->second == reply.ticket, "a reply belongs to a command that waits");
    waiting_.erase(it);
    const auto header = wire::read_header(reply.response);
    require(header && header->size == reply.response.size(), "a reply is a TPM response");
    require(header->tag == wire::kTagNoSessions || header->tag == wire::kTagSessions, "a reply has a TPM's tag");
    const auto code = codes_[reply.connection];
    if (header->code == 0 && (code == cc::kContextSave || code == cc::kCreate)) commands_.learn(reply.response);
  }

  void check() {
    const auto wrong = engine_->check();
    require(!wrong, wrong.value_or(""));
    require(engine_->snapshot().connections == connections_.size(), "the engine knows its connections");
  }

  void finish() {
    tpm_->calm_down();
    // A client waits for a session for 30 s.
    for (std::size_t i = 0; i < 200 && !waiting_.empty(); ++i) {
      step();
      clock_.advance(1'000'000'000);
    }
    require(waiting_.empty(), "every command is answered");
    while (!connections_.empty()) {
      engine_->close(connections_.back());
      connections_.pop_back();
    }
    check();
    bool idle = false;
    for (std::size_t i = 0; i < 300 && !idle; ++i) {
      idle = engine_->step(clock_.now()).idle;
      check();
      clock_.advance(2'000'000'000);
    }
    if (tpm_->honest()) {
      require(idle, "the engine comes to rest");
      require(tpm_->model().loaded_objects().empty(), "no object of ours is left");
      require(tpm_->model().loaded_sessions().empty(), "no session of ours is left loaded");
    }
    (void)engine_->flush_all(true);
    // A session that was flushed after Shutdown(STATE) comes back with the restart: no engine can have flushed that.
    if (tpm_->honest() && !power_was_lost_)
      require(tpm_->model().saved_session_numbers().empty(), "after flush_all no session is left");
  }

  Input input_;
  Commands commands_{input_};
  const Character character_;
  space::Chip chip_;
  simulation::VirtualClock clock_;
  std::unique_ptr<PlayedTpm> tpm_;
  std::unique_ptr<Engine> engine_;
  std::vector<ConnectionId> connections_;
  std::map<ConnectionId, space::OwnerId> owners_;
  std::map<ConnectionId, Ticket> waiting_;
  std::map<ConnectionId, wire::CommandCode> codes_;
  std::set<Ticket> tickets_;
  bool power_was_lost_ = false;
};

}  // namespace
}  // namespace tpmspace::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tpmspace::fuzz::Play({data, size}).run();
  return 0;
}
