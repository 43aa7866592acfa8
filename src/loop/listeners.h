// The listeners: sockets by which clients connect, each with its own mode, profile, locality and limit.
//
// Idea: the main listener exists from the beginning to the end; other listeners are configured, and a reload may change
// them, or are made at run time and end with the daemon. `add` checks early whether the path is available; `open` lets
// clients in. A removed listener accepts no clients, and its connected clients stay.
// A reload makes new listeners before old listeners go: a listener is identified by its path, so its socket gets new
// rights or a new name in place; a listener that cannot be changed stays unchanged.
// Threads: belongs to the event loop. Limits: limits::kListeners beside the main listener.
// Errors: one sentence with the failure, the reason and the remedy.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "guard/listener.h"
#include "log/log.h"
#include "loop/acceptor.h"
#include "loop/event_loop.h"
#include "loop/listening_socket.h"
#include "proto/listener_messages.h"

namespace tpmspace::loop {

class Listeners {
 public:
  using Count = std::shared_ptr<std::uint32_t>;  // connected clients of a listener; outlives the listener

  // A served connection's share in its listener's count.
  class Visit {
   public:
    explicit Visit(Count count) : count_(std::move(count)) { ++*count_; }
    Visit(Visit&&) = default;
    Visit& operator=(Visit&&) = delete;
    ~Visit() {
      if (count_) --*count_;
    }

   private:
    Count count_;
  };

  // The number of connected clients of a listener, and the limit.
  struct Occupancy {
    Count count = nullptr;
    std::uint32_t limit = 0;  // 0: none
    [[nodiscard]] bool has_room() const { return limit == 0 || *count < limit; }
  };
  using OnClient = std::function<void(base::Fd client, const guard::Entrance& entrance, const Occupancy& listener)>;

  // While `may_accept` returns false no client is accepted; call `on_room` when `may_accept` would return true again.
  Listeners(EventLoop& loop, log::Log& log, ListeningSocket main, OnClient on_client, std::function<bool()> may_accept);

  // Claims the listener's path; clients can connect as soon as all listeners are open.
  [[nodiscard]] tl::expected<void, std::string> add(const guard::Listener& listener, bool at_run_time);
  // False: no such listener, or the main listener.
  [[nodiscard]] bool remove(const std::string& name);
  // Replaces the configured listeners; unchanged listeners stay. Returns one sentence for each listener that could not
  // be made or changed; all other listeners are present.
  [[nodiscard]] std::vector<std::string> replace(const std::vector<guard::Listener>& configured);

  [[nodiscard]] tl::expected<void, std::string> open();
  // Accepts no more clients.
  void close();
  // A descriptor was closed, or there is room for new clients again.
  void on_room();

  [[nodiscard]] const std::string& main_path() const { return listeners_.front()->socket.path(); }
  // The main listener is the first.
  [[nodiscard]] std::vector<proto::ListenerEntry> list() const;

 private:
  struct Open {
    guard::Listener listener;
    bool at_run_time;
    ListeningSocket socket;
    Count connections = std::make_shared<std::uint32_t>(0);
    std::optional<Acceptor> acceptor = std::nullopt;
  };
  [[nodiscard]] tl::expected<void, std::string> let_in(Open& one);
  [[nodiscard]] Open* find(const std::string& name);
  // Searches only configured listeners.
  [[nodiscard]] Open* find_at(const std::string& path);
  [[nodiscard]] bool is_configured(const Open& one) const {
    return !one.at_run_time && &one != listeners_.front().get();
  }
  [[nodiscard]] bool is_taken_at_run_time(const std::string& name) const;
  [[nodiscard]] std::size_t count_at_run_time() const;
  [[nodiscard]] tl::expected<Open*, std::string> make(const guard::Listener& listener, bool at_run_time);
  // Changes the listener in place. On failure the listener stays unchanged.
  [[nodiscard]] tl::expected<void, std::string> change(Open& one, const guard::Listener& listener);

  EventLoop& loop_;
  log::Log& log_;
  OnClient on_client_;
  std::function<bool()> may_accept_;
  bool open_ = false;
  std::vector<std::unique_ptr<Open>> listeners_;
};

}  // namespace tpmspace::loop
