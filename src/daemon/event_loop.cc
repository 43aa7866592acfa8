#include "daemon/event_loop.h"

#include <systemd/sd-event.h>

#include <ctime>
#include <system_error>
#include <utility>

namespace tpmspace::daemon {
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

void Watch::set_events(std::uint32_t events) {
  if (events == events_) return;
  must(sd_event_source_set_io_events(source_.get(), events), "sd_event_source_set_io_events");
  events_ = events;
}

void Watch::stop() {
  must(sd_event_source_set_enabled(source_.get(), SD_EVENT_OFF), "sd_event_source_set_enabled");
}

void Watch::start() {
  must(sd_event_source_set_enabled(source_.get(), SD_EVENT_ON), "sd_event_source_set_enabled");
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
  must(sd_event_source_set_enabled(source_.get(), SD_EVENT_ONESHOT), "deferred call");
}

EventLoop::EventLoop() {
  sd_event* loop = nullptr;
  must(sd_event_new(&loop), "sd_event_new");
  loop_.reset(loop);
}

Watch EventLoop::watch(int fd, std::uint32_t events, Watch::Callback callback) {
  Watch out;
  out.callback_ = std::make_unique<Watch::Callback>(std::move(callback));
  out.events_ = events;
  sd_event_source* source = nullptr;
  const auto trampoline = [](sd_event_source*, int, std::uint32_t happened, void* data) {
    (*static_cast<Watch::Callback*>(data))(happened);
    return 0;
  };
  must(sd_event_add_io(loop_.get(), &source, fd, events, trampoline, out.callback_.get()), "sd_event_add_io");
  out.source_ = own(source);
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
  out.callback_ = std::make_unique<Deferred::Callback>(std::move(callback));
  sd_event_source* source = nullptr;
  const auto trampoline = [](sd_event_source*, void* data) {
    (*static_cast<Deferred::Callback*>(data))();
    return 0;
  };
  must(sd_event_add_defer(loop_.get(), &source, trampoline, out.callback_.get()), "sd_event_add_defer");
  out.source_ = own(source);
  must(sd_event_source_set_enabled(source, SD_EVENT_OFF), "sd_event_add_defer");
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
  // A signal is looked at before clients are.
  must(sd_event_source_set_priority(source, SD_EVENT_PRIORITY_IMPORTANT), "sd_event_add_signal");
  signals_.push_back(std::move(handler));
}

int EventLoop::run() {
  return must(sd_event_loop(loop_.get()), "sd_event_loop");
}

void EventLoop::stop(int code) {
  sd_event_exit(loop_.get(), code);
}

}  // namespace tpmspace::daemon
