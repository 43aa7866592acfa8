// The protocol of one client's connection, without any I/O: bytes in, bytes out, and requests to the manager.
//
// Idea: one TPM command is in flight; one frame is read ahead. A control frame is answered at once. A TPM frame (or a
// frame of a bad size, answered like a TPM frame, or Sync) waits its turn, and meanwhile no input is read. Nor is input
// read while a reply is to come later (an order to sessions takes the TPM, a reload takes the disk). While output waits
// to be sent, no input is read or handled: so a client that does not read costs one response, one control reply, one
// held frame and the bytes of one read. A bad command is answered here, with our layer; the TPM never sees the command.
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
    // Handles the request, which comes at a right time (proto/message_table.h, Stage). Returns the reply, or nullopt:
    // later, `reply` will be called with the reply, or for Join `answer` with SUCCESS or an error, as a TPM's response.
    // After Cancel the response to the command in flight still comes: CANCELED, or the result if it was too late.
    // Before the reply to UseChip, `speak_to` was called.
    [[nodiscard]] virtual std::optional<Reply> handle(const Request& request) = 0;
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
  // The reply for which the client waits.
  void reply(const Reply& what);

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
  void take(Arrival arrival);
  void take_command(wire::Bytes bytes);
  void take_bad_size(std::uint32_t type, bool control);
  void take_control(const ControlFrame& frame);
  // The code for a request that the manager does not see.
  [[nodiscard]] std::optional<wire::Rc> fault_of(const Request& request) const;
  // nullopt: later.
  [[nodiscard]] std::optional<Reply> reply_to(const Request& request);
  // The request was granted.
  void note(const Request& request);
  void answer_with(wire::Rc code);
  void refuse_everything(const Arrival& arrival);
  void put(wire::ByteView data) { output_.insert(output_.end(), data.begin(), data.end()); }

  // Constant.
  Manager& manager_;
  const wire::CommandTable* table_;
  std::size_t max_command_;
  std::optional<wire::Rc> refusal_;

  FrameReader reader_;
  std::optional<Arrival> held_;
  bool drained_ = true;  // the reader has no complete frame
  bool in_flight_ = false;
  std::uint64_t commands_taken_ = 0;
  std::uint64_t answered_here_ = 0;
  bool belongs_ = false;  // its space and its TPM are settled: a command was taken, or the connection joined another
                          // connection
  bool joining_ = false;  // a join is in flight
  bool shared_ = false;
  bool replying_ = false;  // replies come in order: no frame is handled until the reply is present
  bool hello_said_ = false;
  bool ended_ = false;  // by the client
  bool over_ = false;   // by us
  std::uint8_t locality_;
  wire::Bytes output_;
  std::size_t sent_ = 0;  // of output_
};

}  // namespace tpmspace::proto
