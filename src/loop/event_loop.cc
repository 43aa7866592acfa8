#include "loop/event_loop.h"

#include <sys/epoll.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include <array>
#include <cerrno>
#include <ctime>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "base/fd.h"

namespace tpmspace::loop {
namespace {

int must(int result, const char* what) {
  if (result < 0) throw std::system_error(-result, std::generic_category(), what);
  return result;
}

detail::Source own(sd_event_source* source) {
  return detail::Source(source);
}

}  // namespace

void detail::Unref::operator()(sd_event* loop) const {
  sd_event_unref(loop);
}
void detail::Unref::operator()(sd_event_source* source) const {
  sd_event_source_disable_unref(source);
}

// --- descriptors

struct Watch::State {
  Poll& poll;
  std::uint64_t id = 0;  // never reused: a batch may still name a destroyed watch
  int fd = -1;
  std::uint32_t events = 0;
  bool on = false;
  Callback callback;

  ~State();
};

// The started watches, by id.
class Watch::Poll {
 public:
  Poll() : epoll_(must(::epoll_create1(EPOLL_CLOEXEC), -1, "epoll_create1")) {}

  [[nodiscard]] int fd() const { return epoll_.get(); }

  std::error_code add(State& state) {
    state.id = ++last_id_;
    if (const auto error = change(EPOLL_CTL_ADD, state)) return error;
    watched_.emplace(state.id, &state);
    state.on = true;
    return {};
  }
  void remove(State& state) {
    if (!state.on) return;
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, state.fd, nullptr);
    watched_.erase(state.id);
    state.on = false;
  }
  // Takes no kernel resource beyond the watch's own, so the call does not fail.
  void set_events(const State& state) { (void)change(EPOLL_CTL_MOD, state); }

  // Handles some of the ready descriptors; the loop's next round handles the rest.
  void dispatch() {
    std::array<epoll_event, kBatch> ready{};
    const int count = ::epoll_wait(epoll_.get(), ready.data(), kBatch, 0);
    for (int i = 0; i < count; ++i) {
      const epoll_event& one = ready.at(static_cast<std::size_t>(i));
      const std::uint64_t watch = one.data.u64;  // the kernel's record is packed: no reference to it
      const std::uint32_t events = one.events;
      const auto found = watched_.find(watch);
      if (found != watched_.end()) found->second->callback(events);
    }
  }

 private:
  static constexpr int kBatch = 64;

  static int must(int result, int failure, const char* what) {
    if (result == failure) throw std::system_error(errno, std::generic_category(), what);
    return result;
  }
  std::error_code change(int operation, const State& state) {
    epoll_event event{};
    event.events = state.events;
    event.data.u64 = state.id;
    if (::epoll_ctl(epoll_.get(), operation, state.fd, &event) == 0) return {};
    return {errno, std::generic_category()};
  }

  base::Fd epoll_;
  std::unordered_map<std::uint64_t, State*> watched_;
  std::uint64_t last_id_ = 0;
};

Watch::State::~State() {
  poll.remove(*this);
}
Watch::Watch() = default;
Watch::Watch(Watch&& other) noexcept = default;
Watch& Watch::operator=(Watch&& other) noexcept = default;
Watch::~Watch() = default;

void Watch::set_events(std::uint32_t events) {
  if (events == state_->events) return;
  state_->events = events;
  if (state_->on) state_->poll.set_events(*state_);
}

void Watch::stop() {
  state_->poll.remove(*state_);
}

std::error_code Watch::start() {
  return state_->on ? std::error_code() : state_->poll.add(*state_);
}

void Timer::arm(std::chrono::milliseconds from_now) {
  const auto microseconds = std::chrono::microseconds(from_now).count();
  must(sd_event_source_set_time_relative(source_.get(), static_cast<std::uint64_t>(microseconds)), "timer");
  must(sd_event_source_set_enabled(source_.get(), SD_EVENT_ONESHOT), "timer");
  state_->armed = true;
}

void Timer::disarm() {
  must(sd_event_source_set_enabled(source_.get(), SD_EVENT_OFF), "timer");
  state_->armed = false;
}

void Deferred::ask() {
  if (std::exchange(state_->asked, true)) return;
  sd_event_source* source = nullptr;
  const auto trampoline = [](sd_event_source*, void* data) {
    auto* state = static_cast<State*>(data);
    state->asked = false;
    state->callback();
    return 0;
  };
  must(sd_event_add_defer(state_->loop, &source, trampoline, state_.get()), "sd_event_add_defer");
  state_->source = own(source);
}

EventLoop::EventLoop() : poll_(std::make_unique<Watch::Poll>()) {
  sd_event* loop = nullptr;
  must(sd_event_new(&loop), "sd_event_new");
  loop_.reset(loop);
  sd_event_source* source = nullptr;
  const auto trampoline = [](sd_event_source*, int, std::uint32_t, void* data) {
    static_cast<Watch::Poll*>(data)->dispatch();
    return 0;
  };
  must(sd_event_add_io(loop, &source, poll_->fd(), EPOLLIN, trampoline, poll_.get()), "sd_event_add_io");
  poll_source_ = own(source);
}

EventLoop::~EventLoop() = default;

Watch EventLoop::idle_watch(int fd, std::uint32_t events, Watch::Callback callback) {
  Watch out;
  out.state_.reset(new Watch::State{.poll = *poll_, .fd = fd, .events = events, .callback = std::move(callback)});
  return out;
}

Watch EventLoop::watch(int fd, std::uint32_t events, Watch::Callback callback) {
  Watch out = idle_watch(fd, events, std::move(callback));
  if (const auto error = out.start()) throw std::system_error(error, "epoll_ctl");
  return out;
}

Timer EventLoop::timer(Timer::Callback callback) {
  Timer out;
  out.state_ = std::make_unique<Timer::State>();
  out.state_->callback = std::move(callback);
  sd_event_source* source = nullptr;
  const auto trampoline = [](sd_event_source*, std::uint64_t, void* data) {
    auto* state = static_cast<Timer::State*>(data);
    state->armed = false;
    state->callback();
    return 0;
  };
  must(sd_event_add_time_relative(loop_.get(), &source, CLOCK_MONOTONIC, 0, 1000, trampoline, out.state_.get()),
       "sd_event_add_time");
  out.source_ = own(source);
  out.disarm();
  return out;
}

Deferred EventLoop::deferred(Deferred::Callback callback) {
  Deferred out;
  out.state_ = std::make_unique<Deferred::State>();
  out.state_->loop = loop_.get();
  out.state_->callback = std::move(callback);
  return out;
}

void EventLoop::on_signal(int number, std::function<void()> callback) {
  SignalHandler handler;
  handler.callback = std::make_unique<std::function<void()>>(std::move(callback));
  sd_event_source* source = nullptr;
  const auto trampoline = [](sd_event_source*, const signalfd_siginfo*, void* data) {
    (*static_cast<std::function<void()>*>(data))();
    return 0;
  };
  must(sd_event_add_signal(loop_.get(), &source, number, trampoline, handler.callback.get()), "sd_event_add_signal");
  handler.source = own(source);
  // A signal is handled before clients.
  must(sd_event_source_set_priority(source, SD_EVENT_PRIORITY_IMPORTANT), "sd_event_add_signal");
  signals_.push_back(std::move(handler));
}

void EventLoop::attach(sd_bus* bus) {
  must(sd_bus_attach_event(bus, loop_.get(), SD_EVENT_PRIORITY_NORMAL), "sd_bus_attach_event");
}

int EventLoop::run() {
  return must(sd_event_loop(loop_.get()), "sd_event_loop");
}

void EventLoop::stop(int code) {
  sd_event_exit(loop_.get(), code);
}

}  // namespace tpmspace::loop
