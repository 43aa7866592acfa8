// One connection to the manager: TPM commands and responses, and control messages.
//
// Idea: the same object serves a program that blocks (one system call to send, one to receive) and a program with an
// event loop (poll `fd`, then `receive` with timeout 0). The object keeps partial data, and the next call continues.
// Control replies come in the order of their requests, before or after a TPM response. Replies without a waiting caller
// (`post_cancel`) are skipped on arrival, and responses that arrive before an awaited control reply are kept for
// `receive`. Hello is sent automatically before the first control message.
// Threads: one at a time. No signals: a broken connection is an Error, never SIGPIPE; after EINTR the call continues.
// Units: milliseconds; a negative timeout waits for ever, 0 does not wait.
// Limits: a response has at most proto::kMaxFrameSize bytes; at most kMaxKept responses are kept for `receive`.
// Errors: client::Error. After kClosed and kProtocol the connection is unusable: every later call fails in the same
// way.
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

// The bare connected socket. Waits at most until the kernel has put the connection into the manager's backlog.
[[nodiscard]] tl::expected<base::Fd, Error> connect_socket(const std::string& path);

// The response code of a full manager for the first frame, before the close.
inline constexpr wire::Rc kNoPlace = wire::from_manager(wire::rc::kMemory);
// `name`: the socket's, for the error sentence.
[[nodiscard]] Error no_place(const std::string& name);

class Connection {
 public:
  static constexpr std::size_t kMaxKept = 16;

  [[nodiscard]] static tl::expected<Connection, Error> open(const std::string& path);
  // A connected descriptor, kept by the caller. Other processes may have the descriptor, too: between `begin_turn` and
  // `end_turn` only one process uses it.
  [[nodiscard]] static tl::expected<Connection, Error> share(int fd);
  // A connected socket; `name` is for error sentences.
  [[nodiscard]] static Connection adopt(base::Fd socket, std::string name);

  // For poll: when readable, `receive` may find data. The caller must not read from or write to the descriptor.
  [[nodiscard]] int fd() const { return socket_.get(); }

  // Sends one TPM frame whole. Precondition: a header whose size is frame.size() and whose tag is not kControlTag.
  [[nodiscard]] tl::expected<void, Error> send(wire::ByteView frame);
  // The number of sent frames.
  [[nodiscard]] std::uint64_t sent() const { return sent_; }
  // The next frame carries the token: from then on, a process with the token may join this connection.
  void let_join(const proto::Token& token) { to_share_ = token; }
  // The next TPM response; nullopt: timeout (partial data is kept).
  [[nodiscard]] tl::expected<std::optional<wire::Bytes>, Error> receive(int timeout_ms);

  // Each call waits for its reply; after kTimeout the connection stays usable, and the late reply is skipped.
  [[nodiscard]] tl::expected<proto::HelloReply, Error> hello(int timeout_ms);
  [[nodiscard]] tl::expected<void, Error> cancel(int timeout_ms);
  [[nodiscard]] tl::expected<void, Error> set_locality(std::uint8_t locality, int timeout_ms);
  [[nodiscard]] tl::expected<proto::Status, Error> status(int timeout_ms);
  [[nodiscard]] tl::expected<proto::Sessions, Error> sessions(int timeout_ms);
  // Returns the affected sessions. The reply comes after the TPM's current command.
  [[nodiscard]] tl::expected<std::vector<proto::SessionEntry>, Error> order(const proto::SessionOrder& what,
                                                                            int timeout_ms);

  // Restricts this connection irrevocably to the rights that the profile also allows.
  [[nodiscard]] tl::expected<void, Error> narrow(const std::string& profile, int timeout_ms);
  // For administrators. The outcome tells the result, or the reason of a refusal.
  [[nodiscard]] tl::expected<proto::Outcome, Error> reload(int timeout_ms);
  [[nodiscard]] tl::expected<std::vector<proto::ListenerEntry>, Error> listeners(int timeout_ms);
  [[nodiscard]] tl::expected<proto::Outcome, Error> change_listener(const proto::ListenerOrder& what, int timeout_ms);
  // Chooses the TPM for this connection, by its name in the manager's configuration; before the first command.
  [[nodiscard]] tl::expected<void, Error> use_chip(const std::string& name, int timeout_ms);
  // This connection's space begins with the objects made by the first `sent` frames of the connection with the token
  // (docs/fork.md). Before the first frame; after a refusal the connection is unusable.
  [[nodiscard]] tl::expected<void, Error> join(const proto::Token& token, std::uint64_t sent, int timeout_ms);
  // The first call makes the manager record what the connection's commands need, and returns an empty text. A later
  // call returns a profile for the commands so far, with the name `name`, in the configuration's syntax.
  [[nodiscard]] tl::expected<std::string, Error> learn(const std::string& name, int timeout_ms);

  // The clients after connection `after`, in the order of their connections; an empty page is the last.
  [[nodiscard]] tl::expected<proto::Clients, Error> clients(std::uint64_t after, int timeout_ms);
  // The report on this connection, or on the newest connection of a process.
  [[nodiscard]] tl::expected<proto::WhoReport, Error> who(const proto::WhoQuestion& what, int timeout_ms);

  // Requests the end of the command in flight, without waiting for the reply.
  [[nodiscard]] tl::expected<void, Error> post_cancel();

  // --- For a descriptor that several processes have
  // No other process uses the descriptor until `end_turn`. Data for another process is dropped: if a process ended
  // before its response came, this call waits for the response. kTimeout: another process has the turn all the time.
  [[nodiscard]] tl::expected<void, Error> begin_turn(int timeout_ms);
  void end_turn();

  // --- In a process that was forked after the connection was made
  // Whether the process still has the descriptor open, and has not reused its number for another file.
  [[nodiscard]] bool is_still_there() const;
  // Closes the descriptor, if still open.
  void disown();
  // The same, and `own` takes over the number, so a poll of the number finds the right connection.
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
  // Drops all arrivals up to the manager's answer to the mark that this process sent.
  [[nodiscard]] tl::expected<void, Error> drop_what_is_anothers(const Deadline& deadline);
  [[nodiscard]] tl::expected<void, Error> drop(const proto::Arrival& arrival);
  // Writes the request, after Hello if not yet sent; the replies are due from then on.
  void put(wire::Writer& out, const proto::Request& request, Awaited awaited);
  // Sends Hello first if not yet sent.
  [[nodiscard]] tl::expected<void, Error> post(const proto::Request& request, Awaited awaited);
  [[nodiscard]] tl::expected<proto::Reply, Error> call(const proto::Request& request, int timeout_ms);

  template <typename Wanted>
  [[nodiscard]] tl::expected<Wanted, Error> ask(const proto::Request& request, int timeout_ms);

  // Reads available data; waits for the first byte until the deadline. False: no data came.
  [[nodiscard]] tl::expected<bool, Error> fill(const Deadline& deadline);
  // After a failed write: reads the manager's last frames, which may give the reason.
  [[nodiscard]] Error last_words();
  // Sorts whole frames into responses_ and reply_.
  [[nodiscard]] tl::expected<void, Error> sort_arrivals();
  [[nodiscard]] tl::expected<void, Error> sort_reply(const proto::ControlFrame& frame);

  base::Fd socket_;
  std::string name_;
  proto::FrameReader reader_;
  std::deque<wire::Bytes> responses_;
  std::deque<Due> replies_due_;        // in the order of the requests
  std::optional<proto::Reply> reply_;  // to the request of the waiting caller
  std::optional<Error> broken_;
  std::optional<proto::Refusal> hello_refusal_;  // if set, every later refusal and the end have this reason
  bool said_hello_ = false;
  std::optional<proto::Token> to_share_;
  std::uint64_t sent_ = 0;
  // Identity of the socket (fstat), to recognise a reused descriptor number.
  std::uint64_t device_ = 0, inode_ = 0;
  bool had_turn_ = false, in_turn_ = false;
  std::optional<std::uint64_t> awaited_mark_;  // arrivals before the reply to this Sync are for another process
};

}  // namespace tpmspace::client
