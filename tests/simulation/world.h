// Many clients, one engine, one TPM, and for each client a private TPM with endless room to compare with.
//
// Idea: a client of the engine must get the responses of its own TPM. So every command runs twice: through the engine,
// and on the client's private model; codes, handles and digests must agree, but for the few documented differences
// (`permitted` in world_judge.cc). All private models share one ChipState, as the clients really share one chip's
// hierarchies, PCRs and persistent objects. After every step the invariants of the engine (books, TPM and clients
// agree) are checked from three sides: the engine's own books, the subject TPM's contents, and the private models'
// contents. The subject TPM is the model (with faults, and any limits) or libtpms. Threads: one. Time: virtual. Errors:
// a step returns "" or a sentence about what went wrong; then the world is over.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "model_tpm.h"
#include "reference_client.h"
#include "tpm/embedded.h"

namespace tpmspace::simulation {

struct WorldConfig {
  Weights weights;
  ModelTpm::Limits limits;                     // of the subject, if it is a model
  FaultRates faults;                           // likewise
  bool embedded = false;                       // the subject is libtpms
  std::uint32_t sessions_for_us = UINT32_MAX;  // of the subject's active ones, at most
  std::uint64_t seed = 1;                      // of the faults
  std::uint32_t owners = 3;
  std::size_t connections = 6;  // at most
  space::SpaceLimits space;
  std::uint32_t keep_free_objects = 0, keep_free_sessions = 0;
  engine::Config engine;
  bool power_cycles = false;
  bool restarts = false;  // Shutdown(STATE) behind the engine's back, then Startup(CLEAR)
  // The TPM is reset, restarted or suspended now and then, and another program starts it up. The engine is not told.
  bool started_up_by_others = false;
  bool changing_limits = false;
  bool busy = false;     // the engine never comes to idle work
  bool restless = true;  // clients come and go; otherwise they stay, and so do their sessions
  bool book_round_trips = true;
  // Of each three owners one has the chip's persistent handles, the others a window of their own each.
  bool windows = false;
  // The first owner's spaces are in both, the second one's in the second; the others are outside. No id: none.
  std::array<space::Pool, 2> pools = {};
  // Owners share wrong tries, and guess, but for the last two: these never say a wrong authorization, and the very last
  // owner administers, so that it is never stopped.
  bool guessing = false;
};

// The next event in the world. Any numbers are valid.
struct WorldStep {
  std::uint16_t action = 0;
  std::uint16_t who = 0;
  Step step;
};

class World {
 public:
  explicit World(const WorldConfig& config);
  ~World();

  [[nodiscard]] std::string step(const WorldStep& step);
  // All clients leave; the TPM must be as empty as before.
  [[nodiscard]] std::string finish();

  // Counts of tried cases, so that a test can see that it tested them.
  struct Tally {
    std::array<std::uint64_t, kVerbs> succeeded{};  // client commands, by verb
    std::uint64_t client_commands = 0;
    std::uint64_t compared = 0;                               // with a private TPM
    std::array<std::uint64_t, wire::kCauses> tpm_commands{};  // by cause
    std::uint64_t resets = 0;
    std::uint64_t faults = 0;
    std::uint64_t taken = 0;  // sessions, because a client waited
    std::uint64_t parks = 0, rebuilds = 0;
    std::uint64_t through_windows = 0;  // EvictControl
    std::uint64_t beyond_pools = 0;     // commands of owners with room of their own
    std::uint64_t taken_for_pools = 0;  // abandoned sessions
    std::uint64_t guesses = 0, stopped = 0;
    // Start-ups by others; entities that they took from clients, and entities that clients still have since these had
    // been saved.
    std::uint64_t start_ups = 0, lost = 0, kept = 0;

    Tally& operator+=(const Tally& other);
  };
  [[nodiscard]] Tally tally() const;

 private:
  // A session of a client: in the TPM, parked, or in a file of its client.
  struct Known {
    std::uint32_t shared = 0, own = 0;  // handles, through the engine and on the private TPM
    std::uint64_t saved_at = 0;         // order of the client's ContextSave; 0: usable
    std::uint64_t used_at = 0;          // order of commands about it
    // Of the last one: not used before, and not used after, for all that the world sees of the engine's clock.
    engine::Time used_from = 0, used_until = 0;
    bool renumbered = false;       // the TPM may know it by another number than its client
    bool asked_authority = false;  // by a PolicySecret; it is taken last
    // From here on for what the engine may do with it, as the world sees it (tpm-behaviour 22, 28, 30).
    bool policy = false;  // a policy session that was started without a secret
    bool trial = false;   // likewise, and it authorizes nothing
    bool bound = false, bound_to_object = false;
    bool repeatable = true;      // and so is its policy; until that is set back
    std::uint32_t steps = 0;     // of its policy
    std::uint64_t nonce_at = 0;  // parks there had been when its client got its newest nonce
    bool nonce_lost = false;     // with an unwanted answer
    // The state that its PolicyPCRs saw, if there was any: the chip's counter, and the PCRs.
    std::optional<std::uint32_t> pcr_counter;
    std::map<std::uint32_t, wire::Bytes> pcrs;
    std::uint64_t pcrs_at = 0;  // parks there had been then

    [[nodiscard]] bool can_be_made_again() const { return policy && repeatable; }
    void set_policy_back();
  };
  struct Pending {
    engine::Ticket ticket = 0;
    Utterance said;
    engine::Time said_at = 0;
    bool cancelled = false;
    bool leaving = false;    // will be abandoned as soon as it is at the TPM
    bool abandoned = false;  // its answer is not wanted any more; its effects must be undone
  };
  struct Connection {
    std::uint64_t id = 0;  // of the client, never reused
    engine::ConnectionId engine_id = 0;
    space::OwnerId owner;
    space::SpaceLimits limits;
    std::unique_ptr<ModelTpm> own_tpm;
    std::unique_ptr<ReferenceClient> client;
    std::map<std::uint32_t, Known> sessions;  // by number on the private TPM
    std::set<std::uint32_t> taken;            // numbers of sessions that were taken from it, until it lets go of them
    std::optional<Pending> pending;
    bool open = true;
  };
  // The reports of one engine step, while its reply is judged.
  struct Moment {
    engine::Step step;
    std::uint64_t faults = 0;  // injected meanwhile
  };

  void start_subject();
  void make_engine();
  [[nodiscard]] wire::Tpm& subject();

  [[nodiscard]] std::string act(const WorldStep& step);
  void open(std::uint16_t who);
  [[nodiscard]] std::string close(Connection& connection);
  [[nodiscard]] std::string submit(Connection& connection, const Step& step);
  [[nodiscard]] std::string cancel(Connection& connection);
  void abandon(Connection& connection);
  void abandon_what_is_served();
  [[nodiscard]] std::string take_away(const Moment& moment);
  [[nodiscard]] std::uint32_t ordinary_sessions() const;  // of all clients
  [[nodiscard]] std::size_t all_sessions() const;         // likewise, parked ones and files included
  [[nodiscard]] bool bank_admits(const Connection& connection) const;
  void change_limits(Connection& connection, const Step& step);
  [[nodiscard]] std::string turn();  // one engine step
  [[nodiscard]] std::string run_until_quiet();
  [[nodiscard]] std::string calm_down();
  [[nodiscard]] std::string round_trip_books();
  void power_cycle(bool orderly);
  void start_up_by_somebody(std::uint16_t how);
  void lose_what_is_not_saved();
  void lose_parked_sessions();
  [[nodiscard]] std::string flush_all(bool saved_too);

  [[nodiscard]] std::string judge(Connection& connection, const Moment& moment);
  [[nodiscard]] std::string compare(Connection& connection, const Utterance& said, const speech::Heard& heard);
  // The engine answered from what it remembers, since it has not noticed yet that it is gone.
  [[nodiscard]] bool is_of_the_past(const Utterance& said, const std::array<speech::Heard, kSides>& heard) const;
  [[nodiscard]] std::string compare_lists(const Connection& connection, const Utterance& said,
                                          const std::array<speech::Heard, kSides>& heard) const;
  [[nodiscard]] std::optional<std::string> permitted(Connection& connection, const Pending& pending,
                                                     const speech::Heard& heard, const Moment& moment) const;
  [[nodiscard]] std::optional<std::string> permitted_by_bank(const Connection& connection, const Pending& pending,
                                                             bool faults) const;
  [[nodiscard]] std::optional<std::string> permitted_by_parking(const Connection& connection, const Utterance& said,
                                                                wire::Rc code) const;
  [[nodiscard]] std::optional<std::string> permitted_by_window(const Connection& connection, const Utterance& said,
                                                               wire::Rc code) const;
  [[nodiscard]] bool permitted_by_tries(const Connection& connection, const Utterance& said) const;
  [[nodiscard]] bool is_outside_of_window(const Connection& connection, std::uint32_t persistent) const;
  [[nodiscard]] bool names_too_many_sessions(const Utterance& said) const;
  [[nodiscard]] std::vector<const Known*> sessions_named(const Connection& connection, const wire::Command& said) const;
  [[nodiscard]] bool becomes_ordinary(const Connection& connection, const wire::Command& said) const;
  [[nodiscard]] bool wants_ordinary_session(const Connection& connection, const Utterance& said) const;
  // The room left in its pools, as the world counts it.
  struct Room {
    std::size_t objects = SIZE_MAX, sessions = SIZE_MAX;
    bool bytes = true;  // for one more context, however large all are
    // Whether there will be a session for it once those are taken that nobody holds, and whose lease was over then: for
    // sure, and for all that the world knows.
    bool surely_made = true, perhaps_made = true;
  };
  [[nodiscard]] Room room_in_pools(const Connection& connection, engine::Time at) const;
  [[nodiscard]] bool knows_all_numbers(const Connection& connection) const;
  // It has left the TPM since its client got its nonce, for all that the world knows.
  [[nodiscard]] bool may_be_stale(const Known& session) const {
    return session.nonce_lost || (session.policy && session.nonce_at < tally_.parks);
  }
  [[nodiscard]] bool pcrs_have_changed(const Known& session) const;
  [[nodiscard]] bool claim_is_true(const Connection& connection, const Utterance& said, wire::Rc code) const;
  [[nodiscard]] std::string load_foreign_session(Connection& connection, const Pending& pending,
                                                 const speech::Heard& heard);
  [[nodiscard]] std::optional<std::string> flush_owners_file(Connection& connection, const Utterance& said,
                                                             const speech::Heard& heard);
  void give_back(Connection& connection, const Utterance& said, const speech::Heard& heard);
  void take_newest_twin(Utterance& said) const;
  void note_sessions(Connection& connection, const Utterance& said, const std::array<speech::Heard, kSides>& heard);
  void note_started(Connection& connection, Known& session, const wire::Command& command) const;
  [[nodiscard]] std::string note_tries(const Connection& connection, const Utterance& said, const speech::Heard& heard);
  [[nodiscard]] std::uint32_t tries_left_to_all() const;  // until only the last quarter is there
  void note_use(Connection& connection, const Pending& pending);
  void note_policies(Connection& connection, const wire::Command& command);
  void note_pcrs(Known& session, const wire::Command& command) const;
  void reset_private_tpms(const observe::Account& account);
  void enforce_abandoned_limits();
  void forget_dead_sessions();

  [[nodiscard]] std::string check_invariants();
  [[nodiscard]] std::string check_against_subject();
  [[nodiscard]] std::string check_windows() const;
  [[nodiscard]] std::string check_tries() const;
  [[nodiscard]] std::string check_counter_of_chip();
  [[nodiscard]] std::optional<std::uint32_t> counter_of_chip();
  [[nodiscard]] std::string check_nobody_waits_for_a_pool();
  [[nodiscard]] std::string check_nothing_is_left_behind();
  [[nodiscard]] bool is_careful(space::OwnerId owner) const;
  [[nodiscard]] bool administers(space::OwnerId owner) const;
  [[nodiscard]] space::SpaceLimits limits_of(space::OwnerId owner) const;
  [[nodiscard]] Weights weights_of(space::OwnerId owner) const;
  [[nodiscard]] std::uint32_t window_of(space::OwnerId owner) const;  // the shelf of its private TPMs; 0: the chip's
  [[nodiscard]] Connection* find(std::uint64_t client_id);
  [[nodiscard]] Connection* by_engine_id(engine::ConnectionId id);
  [[nodiscard]] std::vector<Connection*> live();
  // The one that the client may use under that number, through the engine. Null: none.
  [[nodiscard]] static Known* usable(Connection& connection, std::uint32_t shared_handle);
  [[nodiscard]] static const Known* usable(const Connection& connection, std::uint32_t shared_handle);
  [[nodiscard]] std::uint32_t to_private(Connection& connection, std::uint32_t shared_handle) const;
  [[nodiscard]] std::vector<std::uint32_t> sessions_of_others(const Connection& connection) const;
  [[nodiscard]] speech::Heard ask_private(Connection& connection, const wire::Bytes& command);
  [[nodiscard]] std::uint64_t faults() const;
  void trace(const std::string& line) const;
  void trace_account(const observe::Account& account) const;

  const WorldConfig config_;
  VirtualClock clock_;
  std::unique_ptr<ModelTpm> model_;             // the subject, or null
  std::unique_ptr<tpm::EmbeddedTpm> embedded_;  // the subject, or null
  std::unique_ptr<wire::Tpm> patient_;          // what the engine gets: the subject, asked again where it says "later"
  space::Chip chip_;
  wire::CommandTable table_ = wire::CommandTable::builtin();
  std::unique_ptr<engine::Engine> engine_;
  std::shared_ptr<ChipState> private_chip_;
  std::unique_ptr<ModelTpm> witness_;  // shares the private chip, and belongs to no client
  std::shared_ptr<Pool> pool_;
  std::list<Connection> connections_;  // closed ones stay while they left saved sessions behind
  std::uint64_t next_client_ = 1;
  std::uint64_t next_save_ = 1;
  std::uint64_t next_use_ = 1;
  std::set<space::OwnerId> guessed_;  // wrongly, since the chip's count was set back
  // Since then the chip may have counted what no owner did, or the engine has forgotten whose failures they are.
  bool tries_are_nobodys_ = false;
  bool reset_unnoticed_ = false;
  // The engine may hold entities that are gone since another program started the TPM up; until it has noticed and has
  // looked after it.
  bool ghosts_ = false;
  bool answered_without_tpm_ = false;  // the command that is judged
  bool came_to_rest_ = false;
  bool finishing_ = false;  // no faults any more
  // After an answer was lost, its effects are unknown: only the invariants are checked from then on.
  bool blurred_ = false;
  Tally tally_;
};

}  // namespace tpmspace::simulation
