// Whose turn the next step is: a command of the fair queue, or another kind of work.
//
// Idea: while commands wait in the fair queue, other work gets every second step at most. The kinds of other work take
// turns, so none keeps another from its turn.
// Threads: with the engine. Limits: a step asks each kind once.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

namespace tpmspace::engine {

class Agenda {
 public:
  // Work that passes the fair queue.
  enum class Work : std::uint8_t {
    kOrders,        // of administrators, about sessions
    kSleep,         // saving all entities before the machine sleeps
    kSessionQueue,  // commands that wait for a session
    kNumberQueue,   // commands that wait for a number
    kBacklog,       // flushing, while many entities are unwanted
  };
  static constexpr unsigned kKinds = 5;

  // The first kind in turn that has work: `try_work(kind)` does the work and returns its step, or nullopt if there is
  // none. Nullopt: the turn is that of the fair queue, or no kind has work.
  template <typename TryWork>
  auto pass(bool commands_wait, TryWork try_work) -> decltype(try_work(Work{})) {
    if (commands_wait && std::exchange(passed_, false)) return std::nullopt;
    for (unsigned tried = 0; tried < kKinds; ++tried) {
      const auto kind = static_cast<Work>(next_);
      next_ = (next_ + 1) % kKinds;
      if (auto step = try_work(kind)) {
        passed_ = true;
        return step;
      }
    }
    return std::nullopt;
  }

 private:
  unsigned next_ = 0;    // the kind that is asked first
  bool passed_ = false;  // the last step passed the fair queue
};

}  // namespace tpmspace::engine
