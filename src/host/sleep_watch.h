// Reports when the machine is about to sleep and when it is awake again: systemd-logind's signal PrepareForSleep.
//
// Idea: while we hold a delay lock of logind, the machine delays its sleep until we release the lock, at most for
// logind's InhibitDelayMaxSec (5 s). Without a system bus or logind, no callback is ever called.
// Threads: belongs to the event loop. Errors: lines of the log; callers need not act on errors.
// Source: org.freedesktop.login1(5), "Inhibit" and "PrepareForSleep"; sd-bus(3).
#pragma once

#include <functional>
#include <memory>

#include "base/fd.h"
#include "log/log.h"
#include "loop/event_loop.h"

struct sd_bus;
struct sd_bus_slot;

namespace tpmspace::host {

class SleepWatch {
 public:
  struct Callbacks {
    // The machine wants to sleep, and waits until `may_sleep` is called.
    std::function<void()> falls_asleep;
    std::function<void()> wakes_up;
  };
  SleepWatch(loop::EventLoop& loop, log::Log& log, Callbacks callbacks);
  SleepWatch(const SleepWatch&) = delete;
  SleepWatch& operator=(const SleepWatch&) = delete;
  ~SleepWatch();

  void may_sleep() { lock_.reset(); }

 private:
  struct Unref {
    void operator()(sd_bus* bus) const;
    void operator()(sd_bus_slot* slot) const;
  };

  void ask_for_lock();
  void notice_end_of_bus();

  log::Log& log_;
  const Callbacks callbacks_;
  base::Fd lock_;
  // In this order: the slots end first.
  std::unique_ptr<sd_bus, Unref> bus_;
  std::unique_ptr<sd_bus_slot, Unref> signal_;
  std::unique_ptr<sd_bus_slot, Unref> end_;
  std::unique_ptr<sd_bus_slot, Unref> asked_;
};

}  // namespace tpmspace::host
