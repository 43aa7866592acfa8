// The protocol of one client's connection, without any I/O: bytes in, bytes out, and requests to the manager.
//
// Idea: one TPM command is in flight; one frame is read ahead. A control frame is answered at once. A TPM frame (or a
// frame of a bad size, answered like a TPM frame, or Sync) waits its turn, and meanwhile no input is read. Nor is input
// read during an order to sessions (which takes the TPM) or a reload of the configuration. While output waits to be
// sent, no input is read or handled: so a client that does not read costs one response, one control reply, one held
// frame and the bytes of one read. A bad command is answered here, with our layer; the TPM never sees the command.
// Threads: belongs to the event loop; the table must outlive the dialogue.
// Errors: none; every byte stream is a valid input.
// Source: proto/frame.h, proto/control.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "proto/control.h"
#include "proto/frame.h"
#include "wire/bytes.h"
#include "wire/command.h"
#include "wire/rc.h"

namespace tpmspace::proto {

// The initial state of a dialogue.
struct Beginning {
  std::uint8_t locality = 0;
  // For a connection above a limit: the first frame is answered with this code, and the dialogue ends.
  std::optional<wire::Rc> refusal = std::nullopt;
};

class Dialogue {
 public:
  // The requests of a dialogue to the daemon.
  class Manager {
   public:
    Manager() = default;
    Manager(const Manager&) = delete;
    Manager& operator=(const Manager&) = delete;
    virtual ~Manager() = default;

    // Takes the command; `answer` will be called with the response. Or returns the response code (layer included).
    [[nodiscard]] virtual std::optional<wire::Rc> submit(wire::Command command, std::uint8_t locality) = 0;
    // The command in flight is no longer wanted; its response still is (CANCELED, or the result if it was too late).
    virtual void cancel() = 0;
    // Whether the following commands may have the locality.
    [[nodiscard]] virtual bool may_have_locality(std::uint8_t locality) = 0;
    // Limits the connection to the profile's rights as well from now on. Or returns a code (our layer included).
    [[nodiscard]] virtual std::optional<wire::Rc> narrow(const std::string& profile) = 0;
    [[nodiscard]] virtual proto::HelloReply hello() = 0;
    // Nullopt: `status_done` will be called with the status.
    [[nodiscard]] virtual std::optional<proto::Status> status() = 0;
    // `sessions_done` will be called. Or the request is refused with a code (our layer included).
    [[nodiscard]] virtual std::optional<wire::Rc> ask_for_sessions() = 0;
    // Takes the order; `order_done` will be called with the reply. Or refuses it with a code (our layer included).
    [[nodiscard]] virtual std::optional<wire::Rc> order(const proto::SessionOrder& what) = 0;
    // The configuration will be reloaded, then `reload_done` is called. Or returns a code (our layer included).
    [[nodiscard]] virtual std::optional<wire::Rc> reload() = 0;
    // The listeners; adds or removes a listener. Or returns a code (our layer included).
    [[nodiscard]] virtual tl::expected<std::vector<proto::ListenerEntry>, wire::Rc> listeners() = 0;
    [[nodiscard]] virtual tl::expected<proto::Outcome, wire::Rc> change_listener(const proto::ListenerOrder& what) = 0;
    // Starts learning from the commands and returns an empty text; or returns the profile of that name learned so far,
    // as text. Or returns a code (our layer included).
    [[nodiscard]] virtual tl::expected<std::string, wire::Rc> learn(const std::string& name) = 0;
    // From now on the commands go to the named TPM; `speak_to` was called. Or returns a code (our layer included).
    [[nodiscard]] virtual std::optional<wire::Rc> use_chip(const std::string& name) = 0;
    // A page of the clients after that connection; the report on a client. Or returns a code (our layer included).
    [[nodiscard]] virtual tl::expected<proto::Clients, wire::Rc> clients(std::uint64_t after) = 0;
    [[nodiscard]] virtual tl::expected<proto::WhoReport, wire::Rc> who(const proto::WhoQuestion& what) = 0;
    // From now on a client that knows the token may join. Or returns a code (our layer included).
    [[nodiscard]] virtual std::optional<wire::Rc> share(const proto::Token& token) = 0;
    // The space will begin with the contents of another connection's space; `answer` will be called with SUCCESS or an
    // error, as a TPM's response. Or returns a code (our layer included).
    [[nodiscard]] virtual std::optional<wire::Rc> join(const proto::Join& what) = 0;
    // A command was answered by the dialogue, without the manager.
    virtual void answered_early(wire::Rc code) = 0;
    // The dialogue ends early, against the client's wish; `why` follows "because it".
    virtual void cut_off(const std::string& why) = 0;
  };

  // `max_command`: the chip's command buffer.
  Dialogue(Manager& manager, const wire::CommandTable& table, std::size_t max_command, Beginning beginning = {});

  // The following commands are for a TPM with this table and buffer.
  void speak_to(const wire::CommandTable& table, std::size_t max_command);

  // Takes received bytes. Precondition: wants_input().
  void feed(wire::ByteView data);
  // No more input will arrive; frames under way are finished.
  void end_of_input() { ended_ = true; }
  // Stops handling frames: the response to the command in flight is the last.
  void drop_input();
  // Handles at most one frame. False: no work until the next input, output or response.
  [[nodiscard]] bool step();
  // The response to the command in flight, or to Join.
  void answer(wire::ByteView response);
  // The sessions affected by the order; or the code of its failure.
  void order_done(const tl::expected<std::vector<proto::SessionEntry>, wire::Rc>& sessions);

  void status_done(const proto::Status& status);
  // The list, or the code of its failure.
  void sessions_done(const tl::expected<proto::Sessions, wire::Rc>& sessions);
  // The configuration was reloaded, or the reload failed.
  void reload_done(const proto::Outcome& outcome);

  [[nodiscard]] bool in_flight() const { return in_flight_; }
  // The number of received TPM frames, refused frames included.
  [[nodiscard]] std::uint64_t commands_taken() const { return commands_taken_; }
  // The number of frames answered without a TPM.
  [[nodiscard]] std::uint64_t answered_here() const { return answered_here_; }
  // Received frames may be left to handle.
  [[nodiscard]] bool has_frames() const { return held_ || !drained_; }
  [[nodiscard]] bool wants_input() const;
  // The dialogue is over and all output is sent.
  [[nodiscard]] bool finished() const;

  // The output to send.
  [[nodiscard]] wire::ByteView output() const { return wire::ByteView(output_).subspan(sent_); }
  void sent(std::size_t octets);

 private:
  void take(proto::Arrival arrival);
  void take_command(wire::Bytes bytes);
  void take_bad_size(std::uint32_t type, bool control);
  void take_control(const proto::ControlFrame& frame);
  // nullopt: later.
  [[nodiscard]] std::optional<proto::Reply> reply_to(const proto::Request& request);
  void answer_with(wire::Rc code);
  [[nodiscard]] std::optional<proto::Reply> share(const proto::Token& token);
  [[nodiscard]] std::optional<proto::Reply> join(const proto::Join& what);
  [[nodiscard]] proto::Reply end_join(wire::Rc code);
  void refuse_everything(const proto::Arrival& arrival);
  void put(wire::ByteView data) { output_.insert(output_.end(), data.begin(), data.end()); }

  // Constant.
  Manager& manager_;
  const wire::CommandTable* table_;
  std::size_t max_command_;
  std::optional<wire::Rc> refusal_;

  proto::FrameReader reader_;
  std::optional<proto::Arrival> held_;
  bool drained_ = true;  // the reader has no complete frame
  bool in_flight_ = false;
  std::uint64_t commands_taken_ = 0;
  std::uint64_t answered_here_ = 0;
  bool belongs_ = false;  // its space and its TPM are settled: a command was taken, or the connection joined another
                          // connection
  bool joining_ = false;  // a join is in flight
  bool shared_ = false;
  bool ordering_ = false;  // replies come in order: no frame is handled until the order's reply is present
  bool hello_said_ = false;
  bool ended_ = false;  // by the client
  bool over_ = false;   // by us
  std::uint8_t locality_;
  wire::Bytes output_;
  std::size_t sent_ = 0;  // of output_
};

}  // namespace tpmspace::proto
