#include "host/sleep_watch.h"

#include <fcntl.h>
#include <systemd/sd-bus.h>

#include <cstring>
#include <utility>

namespace tpmspace::host {
namespace {

constexpr const char* kService = "org.freedesktop.login1";
constexpr const char* kPath = "/org/freedesktop/login1";
constexpr const char* kInterface = "org.freedesktop.login1.Manager";

}  // namespace

void SleepWatch::Unref::operator()(sd_bus* bus) const {
  sd_bus_close_unref(bus);
}
void SleepWatch::Unref::operator()(sd_bus_slot* slot) const {
  sd_bus_slot_unref(slot);
}

SleepWatch::SleepWatch(loop::EventLoop& loop, log::Log& log, Callbacks callbacks)
    : log_(log), callbacks_(std::move(callbacks)) {
  sd_bus* bus = nullptr;
  if (const int result = sd_bus_open_system(&bus); result < 0) {
    log_.debug("there is no system bus ({}), so tpmspaced is not told when the machine sleeps", std::strerror(-result));
    return;
  }
  bus_.reset(bus);
  const auto on_signal = [](sd_bus_message* message, void* data, sd_bus_error*) {
    auto& self = *static_cast<SleepWatch*>(data);
    int begins = 0;
    if (sd_bus_message_read_basic(message, 'b', &begins) < 0) return 0;
    if (begins != 0) {
      self.callbacks_.falls_asleep();
    } else {
      self.callbacks_.wakes_up();
      self.ask_for_lock();
    }
    return 0;
  };
  sd_bus_slot* slot = nullptr;
  if (sd_bus_match_signal_async(bus, &slot, kService, kPath, kInterface, "PrepareForSleep", on_signal, nullptr, this) >=
      0)
    signal_.reset(slot);
  notice_end_of_bus();
  loop.attach(bus);
  ask_for_lock();
}

SleepWatch::~SleepWatch() = default;

// Without the bus no signal releases the lock, so the machine must not wait for us.
void SleepWatch::notice_end_of_bus() {
  const auto on_end = [](sd_bus_message*, void* data, sd_bus_error*) {
    auto& self = *static_cast<SleepWatch*>(data);
    self.lock_.reset();
    self.log_.notice("the system bus is gone, so until its restart tpmspaced is not told when the machine sleeps");
    return 0;
  };
  constexpr const char* kLocal = "org.freedesktop.DBus.Local";
  sd_bus_slot* slot = nullptr;
  if (sd_bus_match_signal(bus_.get(), &slot, kLocal, "/org/freedesktop/DBus/Local", kLocal, "Disconnected", on_end,
                          this) >= 0)
    end_.reset(slot);
}

void SleepWatch::ask_for_lock() {
  const auto on_reply = [](sd_bus_message* message, void* data, sd_bus_error*) {
    auto& self = *static_cast<SleepWatch*>(data);
    int fd = -1;  // owned by the message
    if (const sd_bus_error* error = sd_bus_message_get_error(message))
      self.log_.debug("the machine does not wait for tpmspaced before it sleeps: {}",
                      error->message != nullptr ? error->message : error->name);
    else if (sd_bus_message_read_basic(message, 'h', &fd) >= 0)
      self.lock_ = base::Fd(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
    return 0;
  };
  sd_bus_slot* slot = nullptr;
  const int result = sd_bus_call_method_async(bus_.get(), &slot, kService, kPath, kInterface, "Inhibit", on_reply, this,
                                              "ssss", "sleep", "tpmspaced", "save the contents of the TPM", "delay");
  if (result >= 0) asked_.reset(slot);
}

}  // namespace tpmspace::host
