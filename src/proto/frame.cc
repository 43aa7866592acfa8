#include "proto/frame.h"

#include <algorithm>

namespace tpmspace::proto {

FrameReader::FrameReader(std::size_t max_frame, std::size_t max_control)
    : max_frame_(std::min(max_frame, kMaxFrameSize)), max_control_(max_control) {}

void FrameReader::feed(wire::ByteView data) {
  if (broken_) return;
  if (consumed_ != 0) {
    pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(consumed_));
    consumed_ = 0;
  }
  pending_.insert(pending_.end(), data.begin(), data.end());
  drop_fed();
}

std::optional<Arrival> FrameReader::next() {
  if (broken_) return std::nullopt;
  if (dropping_) {
    if (to_drop_ != 0) return std::nullopt;
    const BadSize done = *dropping_;
    dropping_.reset();
    return done;
  }
  wire::Reader reader(wire::ByteView(pending_).subspan(consumed_));
  const auto tag = reader.u16();
  const auto size = reader.u32();
  const auto code = reader.u32();
  if (!tag || !size || !code) return std::nullopt;

  const bool control = *tag == kControlTag;
  const std::size_t limit = control ? max_control_ : max_frame_;
  if (*size < kFrameHeaderSize) {
    consume(kFrameHeaderSize);
    return BadSize{*size, control, *code};
  }
  if (*size > std::max(limit, kMaxFrameSize)) {
    consume(buffered());
    broken_ = true;
    return TooLarge{*size, control, *code};
  }
  if (*size > limit) {
    dropping_ = BadSize{*size, control, *code};
    to_drop_ = *size;
    drop_fed();
    return next();
  }
  if (buffered() < *size) return std::nullopt;
  return cut(*tag, *size, *code);
}

Arrival FrameReader::cut(std::uint16_t tag, std::uint32_t size, std::uint32_t code) {
  const auto frame = wire::ByteView(pending_).subspan(consumed_, size);
  Arrival out = tag == kControlTag ? Arrival(ControlFrame{code, wire::to_bytes(frame.subspan(kFrameHeaderSize))})
                                   : Arrival(TpmFrame{wire::to_bytes(frame)});
  consume(size);
  return out;
}

void FrameReader::consume(std::size_t n) {
  consumed_ += n;
  if (consumed_ != pending_.size()) return;
  pending_.clear();
  consumed_ = 0;
}

void FrameReader::drop_fed() {
  const std::size_t n = std::min(to_drop_, buffered());
  consume(n);
  to_drop_ -= n;
}

wire::Bytes encode_control(std::uint32_t type, wire::ByteView body) {
  wire::Writer out;
  out.u16(kControlTag).u32(static_cast<std::uint32_t>(kFrameHeaderSize + body.size())).u32(type).raw(body);
  return out.take();
}

}  // namespace tpmspace::proto
