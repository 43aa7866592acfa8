// The native protocol: what goes over a tpmspace socket, in both directions.
//
// Idea: a frame is a TPM command or response exactly as on the wire; its header carries the size, so any program that
// writes a command and reads a response is a client. Messages to the manager itself are frames with a tag that no TPM
// uses. A control reply never splits a response.
// Threads: values; a `FrameReader` belongs to one connection.
// Sizes: octets. A header is 10 of them: tag(2) size(4) code(4), big-endian; the size counts the header. A frame has at
// most kMaxFrameSize, a control frame from a client kMaxControlSize, a control reply kMaxReplySize.
// Errors: a bad size is not an error of the connection: see `FrameReader`.
// Source: TPM 2.0 library, Part 1, 18 for the TPM's own frames.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <variant>

#include "wire/bytes.h"

namespace tpmspace::proto {

inline constexpr std::uint16_t kProtocolVersion = 1;
inline constexpr std::uint16_t kControlTag = 0x5350;  // "SP"
inline constexpr std::size_t kFrameHeaderSize = 10;
inline constexpr std::size_t kMaxControlSize = 4096;   // from a client; a reply may be larger (kMaxReplySize)
inline constexpr std::size_t kMaxReplySize = 1 << 20;  // of a control reply
inline constexpr std::size_t kMaxFrameSize = std::size_t{64} * 1024;  // beyond it a connection is answered and closed

// A received item.

// A complete TPM frame, header included. The tag is unchecked, except that kControlTag is excluded.
struct TpmFrame {
  wire::Bytes bytes;
};
// A complete control frame without its header.
struct ControlFrame {
  std::uint32_t type = 0;
  wire::Bytes body;
};
// A header with a size impossible for its kind of frame: below 10 (only these ten bytes were consumed), or above the
// limit up to 64 KiB (the whole body was dropped). Answer COMMAND_SIZE and go on: a TPM error response, or, for a
// control frame, `encode(Refusal{type, ...})` from control.h.
struct BadSize {
  std::uint32_t size = 0;  // as announced
  bool control = false;    // the tag was kControlTag
  std::uint32_t type = 0;  // the header's code
};
// Above 64 KiB (or above the limit for control frames, if that limit is larger): answer COMMAND_SIZE as for BadSize,
// then close. Reported as soon as the header is complete.
struct TooLarge {
  std::uint32_t size = 0;
  bool control = false;
  std::uint32_t type = 0;
};
using Arrival = std::variant<TpmFrame, ControlFrame, BadSize, TooLarge>;

// Cuts a stream of bytes into frames. Holds at most one frame within the limits and the bytes of the last `feed`: the
// body of an oversized frame is dropped as it arrives, and after TooLarge all bytes are dropped.
class FrameReader {
 public:
  // `max_frame`: the largest TPM frame, for a server the chip's command buffer; never more than kMaxFrameSize.
  // `max_control`: the largest control frame; a client hands in kMaxReplySize.
  explicit FrameReader(std::size_t max_frame, std::size_t max_control = kMaxControlSize);
  // The limit of the following frames.
  void set_max_frame(std::size_t max_frame) { max_frame_ = std::min(max_frame, kMaxFrameSize); }

  // For the memory bound to hold the caller feeds more only after `next` gave nullopt, or a bounded piece ahead.
  void feed(wire::ByteView data);
  // The next complete frame, in order; nullopt when more bytes are needed. After TooLarge always nullopt.
  [[nodiscard]] std::optional<Arrival> next();
  // Bytes held. Zero between frames.
  [[nodiscard]] std::size_t buffered() const { return pending_.size() - consumed_; }
  // Whether a frame has begun and is not complete (an oversized body that is being dropped counts).
  [[nodiscard]] bool mid_frame() const { return buffered() != 0 || to_drop_ != 0; }

 private:
  [[nodiscard]] Arrival cut(std::uint16_t tag, std::uint32_t size, std::uint32_t code);
  void consume(std::size_t n);
  void drop_fed();

  std::size_t max_frame_;
  std::size_t max_control_;
  wire::Bytes pending_;
  std::size_t consumed_ = 0;         // of pending_
  std::size_t to_drop_ = 0;          // remaining bytes of an oversized body
  std::optional<BadSize> dropping_;  // reported when to_drop_ is 0
  bool broken_ = false;              // TooLarge was reported
};

// A control frame as bytes. Precondition: kFrameHeaderSize + body.size() fits 32 bits.
[[nodiscard]] wire::Bytes encode_control(std::uint32_t type, wire::ByteView body);

}  // namespace tpmspace::proto
