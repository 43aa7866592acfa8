// The event loop: sd-event behind handles that clean up after themselves.
//
// An epoll of our own watches the descriptors and is one source of sd-event. Reason: sd-event asks the kernel for all
// ready descriptors before each single callback, so a thousand descriptors ready at once would cost a million looks.
// Idea: a handle (`Watch`, `Timer`, `Deferred`) owns its event source; destroying the handle ends the callbacks. A
// callback must not destroy its own handle: put the handle aside and let a `Deferred` destroy it.
// Threads: one thread makes, runs and destroys all handles and the loop.
// Errors: the kernel limits how many descriptors a user watches (fs.epoll.max_user_watches), so `Watch::start` can fail
// at any time and returns the error. Making another source fails only without memory or descriptors at the start:
// fatal, reported by `std::system_error`, which does not leave the room (program.cc catches it).
// Source: sd-event(3), epoll(7).
#pragma once

#include <sys/epoll.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <system_error>
#include <vector>

struct sd_bus;
struct sd_event;
struct sd_event_source;

namespace tpmspace::loop {

namespace detail {
struct Unref {
  void operator()(sd_event* loop) const;
  void operator()(sd_event_source* source) const;
};
using Source = std::unique_ptr<sd_event_source, Unref>;
}  // namespace detail

// A descriptor watched for EPOLLIN, EPOLLOUT; EPOLLHUP and EPOLLERR are always reported.
class Watch {
 public:
  using Callback = std::function<void(std::uint32_t events)>;
  Watch();
  Watch(Watch&& other) noexcept;
  Watch& operator=(Watch&& other) noexcept;
  ~Watch();
  void set_events(std::uint32_t events);
  // Ends the callbacks; the descriptor can be closed. Allowed within the callback.
  void stop();
  // Starts the callbacks. If the kernel refuses, `start` can be called again.
  [[nodiscard]] std::error_code start();

 private:
  friend class EventLoop;
  struct State;
  class Poll;
  std::unique_ptr<State> state_;  // on the heap: Poll points at it
};

// Fires once each time it is armed.
class Timer {
 public:
  using Callback = std::function<void()>;
  void arm(std::chrono::milliseconds from_now);
  void disarm();
  [[nodiscard]] bool armed() const { return state_ && state_->armed; }

 private:
  friend class EventLoop;
  struct State {
    Callback callback;
    bool armed = false;
  };
  std::unique_ptr<State> state_;
  detail::Source source_;
};

// Runs its callback once, in the loop's next round, for each `ask`. Even if the callback always asks again, all other
// work has its turn in between.
class Deferred {
 public:
  using Callback = std::function<void()>;
  void ask();

 private:
  friend class EventLoop;
  struct State {
    sd_event* loop = nullptr;
    Callback callback;
    // A new source each time: sd-event sorts by age, and an enabled source keeps the age of its creation.
    detail::Source source = nullptr;
    bool asked = false;
  };
  std::unique_ptr<State> state_;
};

class EventLoop {
 public:
  EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;
  ~EventLoop();

  // The loop must outlive the watch. The watch is not started.
  [[nodiscard]] Watch idle_watch(int fd, std::uint32_t events, Watch::Callback callback);
  // The watch is started. For the start of the daemon.
  [[nodiscard]] Watch watch(int fd, std::uint32_t events, Watch::Callback callback);
  [[nodiscard]] Timer timer(Timer::Callback callback);
  [[nodiscard]] Deferred deferred(Deferred::Callback callback);
  // Stays for the loop's whole life. Precondition: the signal is blocked in every thread.
  void on_signal(int number, std::function<void()> callback);

  // The loop serves the bus. The bus must end before the loop.
  void attach(sd_bus* bus);

  // Runs until `stop`; returns the code given to `stop`.
  [[nodiscard]] int run();
  void stop(int code);

 private:
  std::unique_ptr<sd_event, detail::Unref> loop_;
  std::unique_ptr<Watch::Poll> poll_;
  detail::Source poll_source_;
  struct SignalHandler {
    std::unique_ptr<std::function<void()>> callback;
    detail::Source source;
  };
  std::vector<SignalHandler> signals_;
};

}  // namespace tpmspace::loop
