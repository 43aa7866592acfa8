// One connection to the manager: TPM commands and responses, and control messages beside them.
//
// Idea: the same object serves a program that blocks (one system call to send, one to receive) and one that has an
// event loop (poll `fd`, then `receive` with timeout 0). Whatever arrived in part stays in here, and the next call goes
// on from there. Control replies come in the order of their requests, before or after a TPM response: replies that
// nobody waits for (`post_cancel`) are skipped when they come, and responses that come while a control reply is awaited
// are kept for `receive`. Hello is said by itself before the first control message.
// Threads: one at a time. No signals: a broken connection is an Error, never SIGPIPE; EINTR is gone on from.
// Units: milliseconds; a negative timeout waits for ever, 0 does not wait.
// Sizes: a response has up to proto::kMaxFrameSize octets; at most kMaxKept of them are kept for `receive`.
// Errors: client::Error. After kClosed and kProtocol the connection is of no use: every later call fails likewise.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "base/fd.h"
#include "client/error.h"
#include "proto/control.h"
#include "proto/frame.h"
#include "wire/bytes.h"

namespace tpmspace::client {

// The bare socket, connected. Waits at most until the kernel has taken it into the manager's backlog.
[[nodiscard]] tl::expected<base::Fd, Error> connect_socket(const std::string& path);

// What a manager answers, and closes, when it has as many connections as it may: to whatever came first.
inline constexpr wire::Rc kNoPlace = wire::from_manager(wire::rc::kMemory);
// `name`: the socket's, for the sentence.
[[nodiscard]] Error no_place(const std::string& name);

class Connection {
 public:
  static constexpr std::size_t kMaxKept = 16;

  [[nodiscard]] static tl::expected<Connection, Error> open(const std::string& path);
  // A descriptor that is connected already and stays the caller's. Other processes may have it, too: between
  // `begin_turn` and `end_turn` only one uses it.
  [[nodiscard]] static tl::expected<Connection, Error> share(int fd);
  // A socket that is connected already; `name` is for error sentences.
  [[nodiscard]] static Connection adopt(base::Fd socket, std::string name);

  // For poll: readable means that `receive` may find something. Not to be read or written by the caller.
  [[nodiscard]] int fd() const { return socket_.get(); }

  // Sends one TPM frame whole. Precondition: a header whose size is frame.size() and whose tag is not kControlTag.
  [[nodiscard]] tl::expected<void, Error> send(wire::ByteView frame);
  // How many.
  [[nodiscard]] std::uint64_t sent() const { return sent_; }
  // The next frame takes the token along: who knows it may join this connection from then on.
  void let_join(const proto::Token& token) { to_share_ = token; }
  // The next TPM response; nullopt: not within the timeout (what came of it is kept).
  [[nodiscard]] tl::expected<std::optional<wire::Bytes>, Error> receive(int timeout_ms);

  // Each waits for its reply; kTimeout leaves the connection usable, the late reply is skipped.
  [[nodiscard]] tl::expected<proto::HelloReply, Error> hello(int timeout_ms);
  [[nodiscard]] tl::expected<void, Error> cancel(int timeout_ms);
  [[nodiscard]] tl::expected<void, Error> set_locality(std::uint8_t locality, int timeout_ms);
  [[nodiscard]] tl::expected<proto::Status, Error> status(int timeout_ms);
  [[nodiscard]] tl::expected<proto::Sessions, Error> sessions(int timeout_ms);
  // The sessions it concerned. The reply comes after the TPM's current command.
  [[nodiscard]] tl::expected<std::vector<proto::SessionEntry>, Error> order(const proto::SessionOrder& what,
                                                                            int timeout_ms);

  // From now on this connection may do no more than that profile allows, too; it can never be undone.
  [[nodiscard]] tl::expected<void, Error> narrow(const std::string& profile, int timeout_ms);
  // For administrators. The outcome says what was done, or why it was not.
  [[nodiscard]] tl::expected<proto::Outcome, Error> reload(int timeout_ms);
  [[nodiscard]] tl::expected<std::vector<proto::ListenerEntry>, Error> listeners(int timeout_ms);
  [[nodiscard]] tl::expected<proto::Outcome, Error> change_listener(const proto::ListenerOrder& what, int timeout_ms);
  // The TPM that the connection's commands go to, by its name in the manager's configuration; before the first of them.
  [[nodiscard]] tl::expected<void, Error> use_chip(const std::string& name, int timeout_ms);
  // This connection's space begins with what that of the connection has which shared the token, as far as its first
  // `sent` frames made it (docs/fork.md). Before the first frame; after a refusal the connection is of no use.
  [[nodiscard]] tl::expected<void, Error> join(const proto::Token& token, std::uint64_t sent, int timeout_ms);
  // From now on the manager learns what the connection's commands need, and gives an empty text; asked again, the
  // profile of that name that allows those so far, as the configuration says it.
  [[nodiscard]] tl::expected<std::string, Error> learn(const std::string& name, int timeout_ms);

  // The clients behind that connection, in the order of their connections; none is left when the page is empty.
  [[nodiscard]] tl::expected<proto::Clients, Error> clients(std::uint64_t after, int timeout_ms);
  // Of this connection, or the newest one of a process.
  [[nodiscard]] tl::expected<proto::WhoReport, Error> who(const proto::WhoQuestion& what, int timeout_ms);

  // Asks for the command in flight to be given up, without waiting for the reply.
  [[nodiscard]] tl::expected<void, Error> post_cancel();

  // --- Of a descriptor that several processes have
  // No other process uses it until `end_turn`. It finds nothing that was meant for another process: where one ended
  // before its response came, this waits for the response, and drops it. kTimeout: another process has it all the time.
  [[nodiscard]] tl::expected<void, Error> begin_turn(int timeout_ms);
  void end_turn();

  // --- In a process that was forked after the connection was made
  // The process has not closed the descriptor, and does not use its number for something else.
  [[nodiscard]] bool is_still_there() const;
  // Its descriptor is closed, if it is still there.
  void disown();
  // Likewise, and `own` has the number from now on, so that who polls it finds the right one.
  void hand_number_to(Connection& own);

 private:
  using Clock = std::chrono::steady_clock;
  using Deadline = std::optional<Clock::time_point>;  // nullopt: never
  enum class Awaited : std::uint8_t { kNobody, kCaller };
  struct Due {
    std::uint32_t type = 0;  // of the request
    Awaited awaited = Awaited::kNobody;
  };

  Connection(base::Fd socket, std::string name);

  [[nodiscard]] static Deadline deadline_of(int timeout_ms);
  [[nodiscard]] Error closed() const;
  [[nodiscard]] Error timed_out(int timeout_ms) const;
  [[nodiscard]] Error not_our_protocol() const;
  [[nodiscard]] Error refused(const proto::Refusal& refusal) const;
  [[nodiscard]] Error hello_refused(const proto::Refusal& refusal) const;
  [[nodiscard]] tl::unexpected<Error> broken(Error error);

  [[nodiscard]] tl::expected<void, Error> write_all(wire::ByteView data);
  [[nodiscard]] Error turn_lost() const;
  // Drops all that arrives until the manager's answer to what this process sent.
  [[nodiscard]] tl::expected<void, Error> drop_what_is_anothers(const Deadline& deadline);
  [[nodiscard]] tl::expected<void, Error> drop(const proto::Arrival& arrival);
  // What is sent for the request, Hello before it if it was never said; the replies are due from then on.
  void put(wire::Writer& out, const proto::Request& request, Awaited awaited);
  // Sends Hello first if it was never said.
  [[nodiscard]] tl::expected<void, Error> post(const proto::Request& request, Awaited awaited);
  [[nodiscard]] tl::expected<proto::Reply, Error> call(const proto::Request& request, int timeout_ms);

  template <typename Wanted>
  [[nodiscard]] tl::expected<Wanted, Error> ask(const proto::Request& request, int timeout_ms);

  // Reads what is there, waiting for the first octet until the deadline. False: nothing came.
  [[nodiscard]] tl::expected<bool, Error> fill(const Deadline& deadline);
  // After a failed write: what the manager said before it closed is read, for it may say why.
  [[nodiscard]] Error last_words();
  // Sorts whole frames into responses_ and reply_.
  [[nodiscard]] tl::expected<void, Error> sort_arrivals();
  [[nodiscard]] tl::expected<void, Error> sort_reply(const proto::ControlFrame& frame);

  base::Fd socket_;
  std::string name_;
  proto::FrameReader reader_;
  std::deque<wire::Bytes> responses_;
  std::deque<Due> replies_due_;        // in the order of the requests
  std::optional<proto::Reply> reply_;  // of the request that the caller waits for
  std::optional<Error> broken_;
  std::optional<proto::Refusal> hello_refusal_;  // then every later refusal and the end have this reason
  bool said_hello_ = false;
  std::optional<proto::Token> to_share_;
  std::uint64_t sent_ = 0;
  // Of the socket: what a descriptor is that has its number (fstat).
  std::uint64_t device_ = 0, inode_ = 0;
  bool had_turn_ = false, in_turn_ = false;
  std::optional<std::uint64_t> awaited_mark_;  // all before the reply to that Sync is another process's
};

}  // namespace tpmspace::client
