// The engine between clients that the input plays and a real TPM: libtpms itself, new for each input.
//
// Input: how much to keep free, and the context gap that the engine is told; then steps until it ends: see `Play::act`.
// Whatever happens, after each step of the engine the books are right, and libtpms lists as many loaded objects and
// sessions as they say; every command that was submitted gets exactly one response (unless its connection was closed).
// When all connections are closed libtpms is left as empty as it was.
// The model TPM of fuzz_engine is quicker and may lie; here it is about what a real one answers.

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "engine/engine.h"
#include "engine_commands.h"
#include "fuzz.h"
#include "tpm/bring_up.h"
#include "tpm/crash_filter.h"
#include "tpm/embedded.h"
#include "wire/response.h"

namespace tpmspace::fuzz {
namespace {

using engine::ConnectionId;
using engine::Engine;
using engine::Ticket;
using engine::Time;

// Each step may make a key: enough of them to fill the TPM several times.
constexpr std::size_t kMaxSteps = 150, kMaxConnections = 4;
constexpr std::uint32_t kObjects = 0x80000000, kLoadedSessions = 0x02000000, kSavedSessions = 0x03000000;

class TracedTpm final : public wire::Tpm {
 public:
  explicit TracedTpm(wire::Tpm& tpm) : tpm_(tpm) {}
  Answer transact(ByteView command, std::uint8_t locality) override {
    trace("  to the TPM", command);
    auto answer = tpm_.transact(command, locality);
    require(answer.has_value(), "libtpms answers");
    trace("  its answer", *answer);
    const auto header = wire::read_header(*answer);
    // Failure mode (EmbeddedTpm switches it off and on), or it is off already: from here on it holds nothing.
    if (header && (header->code == wire::rc::kFailure || header->code == wire::rc::kInitialize)) was_reset_ = true;
    return answer;
  }
  void power_cycle() { was_reset_ = true; }
  // Whether it was reset since it was asked last, or ever.
  bool take_reset() { return std::exchange(was_reset_, false); }

 private:
  wire::Tpm& tpm_;
  bool was_reset_ = false;
};

class Play {
 public:
  explicit Play(ByteView data) : input_(data) {
    auto opened = tpm::EmbeddedTpm::open("");
    require(opened.has_value(), "libtpms starts");
    embedded_ = opened->get();
    tpm_ = std::make_unique<tpm::CrashFilter>(std::move(*opened));
    const auto facts = tpm::bring_up(*tpm_, tpm::Kind::kEmbedded);
    require(facts.has_value(), "libtpms is brought up");
    chip_.object_slots = facts->object_slots;
    chip_.loaded_sessions = facts->loaded_sessions;
    // With few of them policy sessions leave and come back.
    chip_.active_sessions =
        input_.below(2) == 0 ? facts->active_sessions : 3U + static_cast<std::uint32_t>(input_.below(6));
    chip_.reset_count = facts->reset_count;
    chip_.restart_count = facts->restart_count;
    chip_.context_gap = input_.below(2) == 0 ? facts->context_gap : 255;
    if (input_.below(4) == 3) chip_.keep_free_objects = chip_.keep_free_sessions = 1;
    traced_ = std::make_unique<TracedTpm>(*tpm_);
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
    return std::make_unique<Engine>(*traced_, wire::CommandTable::builtin(), chip_, config, [this] { return now_; });
  }

  void act() {
    switch (input_.below(12)) {
      case 0:
        return open();
      case 1:
        return close();
      case 2:
        return disturb();
      case 3:
        now_ += Time{1'000'000} << input_.below(12);
        (void)step();
        return;
      case 4:
        return submit();
      default:
        submit();
        (void)step();
        return;
    }
  }

  void open() {
    if (connections_.size() >= kMaxConnections) return;
    connections_.push_back(engine_->open(space::OwnerId{1U + input_.below(2)}, {}));
  }

  void close() {
    if (connections_.empty()) return;
    const std::size_t at = input_.below(connections_.size());
    trace("closed", Writer().u64(connections_[at]).take());
    engine_->close(connections_[at]);
    waiting_.erase(connections_[at]);
    connections_.erase(connections_.begin() + static_cast<std::ptrdiff_t>(at));
  }

  // One that waits is withdrawn, and never answered.
  void abandon() {
    if (waiting_.empty()) return;
    const auto [connection, waiting] = *waiting_.begin();
    if (!engine_->gate().abandon(waiting.ticket)) return;  // its CANCELED is on its way
    (void)engine_->cancel(waiting.ticket);
    waiting_.erase(connection);
  }

  void disturb() {
    switch (input_.below(8)) {
      case 0:
      case 1:
        if (!waiting_.empty()) (void)engine_->cancel(waiting_.begin()->second.ticket);
        return;
      case 2:
        return abandon();
      case 3:
        trace("power lost", {});
        traced_->power_cycle();
        require(embedded_->power_cycle().has_value(), "libtpms comes back");
        return;
      default:
        return restart();
    }
  }

  // A new engine with the old one's books goes on.
  void restart() {
    if (!waiting_.empty()) return;
    const Bytes image = engine_->save_books();
    auto second = new_engine();
    require(second->restore_books(image), "good books are taken back");
    require(wire::same_bytes(second->save_books(), image), "books survive a round trip");
    trace("new engine, old books", {});
    engine_ = std::move(second);
  }

  void submit() {
    if (connections_.empty()) open();
    const ConnectionId connection = connections_[input_.below(connections_.size())];
    if (waiting_.count(connection) != 0) return;
    auto parsed = wire::Command::parse(commands_.some(), wire::CommandTable::builtin(), chip_.max_command);
    if (!parsed) return;
    trace("submitted", parsed->bytes());
    const auto code = parsed->code();
    waiting_[connection] = {engine_->submit(connection, std::move(*parsed), 0, now_), code};
  }

  // --- steps and their invariants

  bool step() {
    const auto done = engine_->step(now_);
    require(!done.idle || !done.reply, "who is idle has answered nobody");
    require(!done.idle || waiting_.size() == engine_->snapshot().waiting_for_session,
            "nobody waits for one who is idle, but for a session");
    require(!done.idle || waiting_.empty() || done.wake, "who waits for a session is thought of again");
    if (done.reply) take(*done.reply);
    const auto wrong = engine_->check();
    require(!wrong, wrong.value_or(""));
    compare();
    now_ += 1000;
    return done.idle;
  }

  void take(const engine::Reply& reply) {
    trace("answered", reply.response);
    const auto it = waiting_.find(reply.connection);
    require(it != waiting_.end() && it->second.ticket == reply.ticket, "a reply belongs to a command that waits");
    const auto code = it->second.code;
    waiting_.erase(it);
    const auto header = wire::read_header(reply.response);
    require(header && header->size == reply.response.size(), "a reply is a TPM response");
    if (header->code != 0) return;
    if (code == cc::kContextSave) commands_.learn(reply.response);
    if (code == cc::kCreate) commands_.learn(wrapped_key_of(reply.response));
  }

  // Create's outPrivate and outPublic, which Load takes.
  static Bytes wrapped_key_of(ByteView response) {
    wire::Reader in(response.subspan(wire::kHeaderSize + 4));
    std::size_t size = wire::kHeaderSize + 4;
    for (int i = 0; i < 2; ++i) {
      const auto length = in.u16().value_or(0);
      (void)in.take(length);
      size += 2U + length;
    }
    return wire::to_bytes(response.first(std::min(size, response.size())));
  }

  // libtpms' own list. The request ends an exclusive audit; no client here depends on one.
  std::size_t listed(std::uint32_t first) {
    const auto answer = tpm_->transact(get_capability(1, first, 64), 0);
    require(answer.has_value(), "libtpms answers");
    wire::Reader in(*answer);
    (void)in.take(wire::kHeaderSize + 5);
    return in.u32().value_or(0);
  }

  void compare() {
    // After a reset the books learn of it with the next command that meets it.
    if (traced_->take_reset()) reset_unnoticed_ = ever_reset_ = true;
    if (reset_unnoticed_) {
      const auto alive = tpm_->transact(get_random(), 0);
      require(alive.has_value(), "libtpms answers");
      if (wire::read_header(*alive)->code != 0) return;  // still off
      reset_unnoticed_ = false;
    }
    require(listed(kObjects) == engine_->snapshot().objects_loaded, "the books know each object in the TPM");
    require(listed(kLoadedSessions) == engine_->snapshot().sessions_loaded, "the books know each session in the TPM");
  }

  void finish() {
    // A client waits for a session for 30 s.
    for (std::size_t i = 0; i < 200 && !waiting_.empty(); ++i) {
      step();
      now_ += 1'000'000'000;
    }
    require(waiting_.empty(), "every command is answered");
    while (!connections_.empty()) {
      engine_->close(connections_.back());
      connections_.pop_back();
    }
    bool idle = false;
    for (std::size_t i = 0; i < 300 && !idle; ++i) {
      idle = step();
      now_ += 2'000'000'000;
    }
    require(idle, "the engine comes to rest");
    if (reset_unnoticed_) return;
    require(listed(kObjects) == 0, "no object of ours is left");
    require(listed(kLoadedSessions) == 0, "no session of ours is left loaded");
    // A session that was flushed after Shutdown(STATE) comes back with the restart: no engine can have flushed that.
    if (ever_reset_) return;
    require(listed(kSavedSessions) == engine_->snapshot().sessions, "the books know each saved session");
    (void)engine_->flush_all(true);
    require(listed(kSavedSessions) == 0, "after flush_all no session is left");
  }

  struct Waiting {
    Ticket ticket = 0;
    wire::CommandCode code = 0;
  };

  Input input_;
  Commands commands_{input_};
  tpm::EmbeddedTpm* embedded_ = nullptr;
  std::unique_ptr<tpm::CrashFilter> tpm_;
  std::unique_ptr<TracedTpm> traced_;
  space::Chip chip_;
  Time now_ = 1'000'000'000;
  std::unique_ptr<Engine> engine_;
  std::vector<ConnectionId> connections_;
  std::map<ConnectionId, Waiting> waiting_;
  bool reset_unnoticed_ = false, ever_reset_ = false;
};

}  // namespace
}  // namespace tpmspace::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tpmspace::fuzz::Play({data, size}).run();
  return 0;
}
