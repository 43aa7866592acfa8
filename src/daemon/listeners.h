// The listeners: sockets by which clients come in, each with its own mode, profile, locality and limit.
//
// Idea: the main listener is there from the beginning to the end; the others are in the configuration, which a reload
// may change, or are made at run time and end with the daemon. `add` finds out early whether a place can be had; `open`
// lets clients in. A listener that is taken away lets nobody in any more, and who came by it stays.
// What a reload changes is made before what was there goes: a listener is known by its path, so its socket gets other
// rights or another name in its place; one that cannot be as it should stays as it was. Threads: belongs to the event
// loop. Limits: limits::kListeners beside the main one. Errors: one sentence: what, why, what to do.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "daemon/access_control.h"
#include "guard/listener.h"
#include "log/log.h"
#include "loop/acceptor.h"
#include "loop/event_loop.h"
#include "loop/listening_socket.h"
#include "proto/listener_messages.h"

namespace tpmspace::daemon {

class Listeners {
 public:
  using Count = std::shared_ptr<std::uint32_t>;  // of those who came by a listener; outlives it

  // What a connection that is served holds of its listener.
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

  // How many came by a listener and are there, and how many may be.
  struct Occupancy {
    Count count = nullptr;
    std::uint32_t limit = 0;  // 0: none
    [[nodiscard]] bool has_room() const { return limit == 0 || *count < limit; }
  };
  using OnClient = std::function<void(base::Fd client, const guard::Entrance& entrance, const Occupancy& listener)>;

  // While `may_accept` says no nobody comes in; `on_room` tells that it would say yes again.
  Listeners(loop::EventLoop& loop, log::Log& log, loop::ListeningSocket main, OnClient on_client,
            std::function<bool()> may_accept);

  // A place for it; clients come as soon as the others are let in.
  [[nodiscard]] tl::expected<void, std::string> add(const guard::Listener& listener, bool at_run_time);
  // False: there is no such listener, or it is the main one.
  [[nodiscard]] bool remove(const std::string& name);
  // Those of the configuration are these now; what is the same stays as it is. Those that could not be made or changed
  // are told, one sentence each; the others are there.
  [[nodiscard]] std::vector<std::string> replace(const std::vector<guard::Listener>& configured);

  [[nodiscard]] tl::expected<void, std::string> open();
  // Nobody comes in any more.
  void close();
  // A descriptor was given back, or there is room again for who comes.
  void on_room();

  [[nodiscard]] const std::string& main_path() const { return listeners_.front()->socket.path(); }
  // The main one is the first.
  [[nodiscard]] std::vector<proto::ListenerEntry> list() const;

 private:
  struct Open {
    guard::Listener listener;
    bool at_run_time;
    loop::ListeningSocket socket;
    Count connections = std::make_shared<std::uint32_t>(0);
    std::optional<loop::Acceptor> acceptor = std::nullopt;
  };
  [[nodiscard]] tl::expected<void, std::string> let_in(Open& one);
  [[nodiscard]] Open* find(const std::string& name);
  // Of the configuration.
  [[nodiscard]] Open* find_at(const std::string& path);
  [[nodiscard]] bool is_configured(const Open& one) const {
    return !one.at_run_time && &one != listeners_.front().get();
  }
  [[nodiscard]] bool is_taken_at_run_time(const std::string& name) const;
  [[nodiscard]] std::size_t count_at_run_time() const;
  [[nodiscard]] tl::expected<Open*, std::string> make(const guard::Listener& listener, bool at_run_time);
  // Where it is. If it fails it stays as it was.
  [[nodiscard]] tl::expected<void, std::string> change(Open& one, const guard::Listener& listener);

  loop::EventLoop& loop_;
  log::Log& log_;
  OnClient on_client_;
  std::function<bool()> may_accept_;
  bool open_ = false;
  std::vector<std::unique_ptr<Open>> listeners_;
};

}  // namespace tpmspace::daemon
