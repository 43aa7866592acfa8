// One client's socket and its dialogue.
//
// Idea: `Dialogue` decides; the connection moves bytes and never waits. The dialogue's requests go to the `Host`, with
// the connection, which carries the client's identity. Arrived bytes are read at once and handled in the connection's
// turn, so that a flood of one owner waits behind all other owners. While output cannot be sent, the dialogue stops
// reading. A hangup ends a connection at once; a client that only stopped sending (shutdown) still gets its response.
// Threads: belongs to the event loop. The host destroys a connection after `over`, not from within `over`. Errors: any
// error of a socket ends its connection.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <system_error>

#include "access/access_control.h"
#include "base/fd.h"
#include "daemon/turns.h"
#include "explain/learning.h"
#include "host/tpm_thread.h"
#include "loop/event_loop.h"
#include "proto/dialogue.h"

namespace tpmspace::daemon {

class Connection final : private proto::Dialogue::Manager {
 public:
  class Host {
   public:
    Host() = default;
    Host(const Host&) = delete;
    Host& operator=(const Host&) = delete;
    virtual ~Host() = default;

    [[nodiscard]] virtual std::optional<wire::Rc> submit(Connection& from, wire::Command command,
                                                         std::uint8_t locality) = 0;
    [[nodiscard]] virtual std::optional<proto::Reply> handle(Connection& from, const proto::Request& request) = 0;
    virtual void answered_early(Connection& from, wire::Rc code) = 0;
    // `from` will be closed, for the reason `why`.
    virtual void cut_off(Connection& from, const std::string& why) = 0;
    // The connection is over: no further calls follow, and the host can destroy the connection after this callback.
    virtual void over(Connection& from) = 0;
  };

  // `refusal`: above a limit, see Dialogue.
  // `turns` outlives the connection.
  Connection(loop::EventLoop& loop, Turns& turns, Host& host, base::Fd socket, host::ClientId id,
             access::ClientIdentity identity, std::optional<wire::Rc> refusal, const wire::CommandTable& table,
             std::size_t max_command);

  [[nodiscard]] host::ClientId id() const { return id_; }
  [[nodiscard]] access::ClientIdentity& identity() { return identity_; }
  [[nodiscard]] const access::ClientIdentity& identity() const { return identity_; }
  // Null: no learning on this connection.
  [[nodiscard]] std::unique_ptr<explain::Learning>& learning() { return learning_; }
  [[nodiscard]] bool in_flight() const { return dialogue_.in_flight(); }
  [[nodiscard]] std::uint64_t commands_taken() const { return dialogue_.commands_taken(); }
  [[nodiscard]] std::chrono::steady_clock::time_point since() const { return since_; }

  // The following commands go to another TPM, or the TPM was replaced.
  void speak_to(const wire::CommandTable& table, std::size_t max_command) { dialogue_.speak_to(table, max_command); }

  // Starts reading from the client; or returns the error.
  [[nodiscard]] std::error_code start() { return watch_.start(); }
  // The connection's turn: handles frames within limits::kFramesPerTurn.
  void turn();
  // The response to the command in flight.
  void deliver(wire::ByteView response);
  // The reply for which the client waits.
  void reply(const proto::Reply& what);
  // From now on the connection only awaits the response to the command in flight.
  void stop_reading();

 private:
  std::optional<wire::Rc> submit(wire::Command command, std::uint8_t locality) override {
    return host_.submit(*this, std::move(command), locality);
  }
  std::optional<proto::Reply> handle(const proto::Request& request) override { return host_.handle(*this, request); }
  void answered_early(wire::Rc code) override { host_.answered_early(*this, code); }
  void cut_off(const std::string& why) override { host_.cut_off(*this, why); }

  void on_events(std::uint32_t events);
  [[nodiscard]] bool read();
  [[nodiscard]] bool flush();
  void handle();
  // Sends the output. Frames that arrived meanwhile are handled in the next turn.
  void send_output();
  void ask_for_turn();
  void end();
  void update_watch();

  Turns& turns_;
  Host& host_;
  const host::ClientId id_;
  access::ClientIdentity identity_;
  std::unique_ptr<explain::Learning> learning_;
  const std::chrono::steady_clock::time_point since_ = std::chrono::steady_clock::now();
  base::Fd socket_;
  proto::Dialogue dialogue_;
  bool over_ = false;
  bool has_asked_ = false;  // asked for a turn
  loop::Watch watch_;
};

}  // namespace tpmspace::daemon
