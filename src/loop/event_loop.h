// The event loop: sd-event behind handles that clean up after themselves.
//
// Descriptors are watched by an epoll of our own, which is one source of sd-event's: sd-event asks the kernel for
// everything that is ready before each single callback, so a thousand descriptors that are ready at once would cost a
// million looks.
// Idea: a handle (`Watch`, `Timer`, `Deferred`) owns its event source; destroying it ends the callbacks. A callback
// must not destroy its own handle: put what shall die aside and let a `Deferred` destroy it. Threads: one thread makes,
// runs and destroys everything here. Errors: the kernel limits how many descriptors a user watches
// (fs.epoll.max_user_watches), so `Watch::start` can fail at any time; that is a value. Making another source fails
// only without memory or descriptors at start; that is fatal and said by `std::system_error` which does not leave the
// room (program.cc catches it). Source: sd-event(3), epoll(7).
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

// A descriptor that is watched for EPOLLIN, EPOLLOUT; EPOLLHUP and EPOLLERR are always told.
class Watch {
 public:
  using Callback = std::function<void(std::uint32_t events)>;
  Watch();
  Watch(Watch&& other) noexcept;
  Watch& operator=(Watch&& other) noexcept;
  ~Watch();
  void set_events(std::uint32_t events);
  // No more callbacks; the descriptor can be closed. Also from within the callback.
  void stop();
  // From now on there are callbacks; or the kernel refuses, and it can be tried again.
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

// Runs its callback once, in the loop's next round, each time it is asked. Also one that always asks again lets
// everything else have its turn between.
class Deferred {
 public:
  using Callback = std::function<void()>;
  void ask();

 private:
  friend class EventLoop;
  struct State {
    sd_event* loop = nullptr;
    Callback callback;
    // A new one each time: sd-event goes by age, and one that is enabled again is as old as when it was made.
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

  // The loop must outlive it. Not started.
  [[nodiscard]] Watch idle_watch(int fd, std::uint32_t events, Watch::Callback callback);
  // Started. For the start of the daemon.
  [[nodiscard]] Watch watch(int fd, std::uint32_t events, Watch::Callback callback);
  [[nodiscard]] Timer timer(Timer::Callback callback);
  [[nodiscard]] Deferred deferred(Deferred::Callback callback);
  // For the loop's whole life. Precondition: the signal is blocked in every thread.
  void on_signal(int number, std::function<void()> callback);

  // The bus is served by the loop. It must end before the loop.
  void attach(sd_bus* bus);

  // Until `stop`; returns its code.
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
