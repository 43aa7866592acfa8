// The faults of a transact, drawn from a seed.
//
// Idea: a plan is asked before every command that reaches the model. It can answer in the TPM's place, spoil an answer,
// take the power away, or break the back end. Probabilities are per mille; zero is the default, so a plan without
// numbers never interferes. `pause` and `burst_limit` let a test stop the weather, and keep it from being endless: a
// manager only repairs a bounded number of times. Threads: none. Source: docs/tpm-behaviour.md, "Response codes and
// reactions".
#pragma once

#include <cstdint>
#include <deque>
#include <random>

#include "wire/bytes.h"
#include "wire/rc.h"

namespace tpmspace::simulation {

struct Fault {
  enum class Kind : std::uint8_t {
    kNone,
    kAnswer,        // `code`, and nothing is done
    kGarbage,       // random bytes, and nothing is done
    kDoneThenLost,  // the command is done, its answer becomes garbage
    kTruncated,     // the command is done, its answer is cut short
    kPowerLoss,     // reset, then the command meets a TPM that wants Startup
    kGone,          // no answer any more, ever
  };
  Kind kind = Kind::kNone;
  wire::Rc code = 0;
};

// Per mille of commands.
struct FaultRates {
  unsigned retry = 0;           // RETRY, TESTING, YIELDED
  unsigned object_memory = 0;   // where a TPM could run out of slots
  unsigned session_memory = 0;  // likewise
  unsigned context_gap = 0;     // likewise
  unsigned cancelled = 0;
  unsigned garbage = 0;  // kGarbage, kDoneThenLost, kTruncated
  unsigned power_loss = 0;
  unsigned gone = 0;

  [[nodiscard]] bool any() const {
    return (retry | object_memory | session_memory | context_gap | cancelled | garbage | power_loss | gone) != 0;
  }
};

class FaultPlan {
 public:
  explicit FaultPlan(std::uint64_t seed = 1, const FaultRates& rates = {}) : random_(seed), rates_(rates) {}

  [[nodiscard]] Fault next(wire::ByteView command);
  // These come first, one for each command, before anything is drawn; kNone lets a command through.
  void script(std::deque<Fault> faults) { script_ = std::move(faults); }
  void pause(bool paused) { paused_ = paused; }
  // At most so many faults one after the other.
  void set_burst_limit(unsigned limit) { burst_limit_ = limit; }
  [[nodiscard]] std::uint64_t injected() const { return injected_; }
  [[nodiscard]] std::uint64_t draw(std::uint64_t below) { return random_() % below; }

 private:
  [[nodiscard]] bool hit(unsigned per_mille) { return per_mille != 0 && draw(1000) < per_mille; }
  [[nodiscard]] Fault choose(wire::ByteView command);

  std::mt19937_64 random_;
  FaultRates rates_;
  std::deque<Fault> script_;
  bool paused_ = false;
  unsigned burst_limit_ = 3;
  unsigned burst_ = 0;
  std::uint64_t injected_ = 0;
};

}  // namespace tpmspace::simulation
