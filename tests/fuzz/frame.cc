// proto::FrameReader gives the same frames however the stream is cut, and never holds more than its limits.
//
// Input: which limits, two bytes that say how to cut, the stream.

#include "proto/frame.h"

#include <vector>

#include "fuzz.h"

namespace tpmspace::fuzz {
namespace {

using proto::Arrival;
using proto::FrameReader;

struct Limits {
  std::size_t frame = 0, control = 0;
};
constexpr Limits kLimits[] = {{4096, proto::kMaxControlSize}, {64, 32}, {10, 10}, {1 << 20, proto::kMaxReplySize}};

// An arrival as bytes, so that two can be compared.
struct Flatten {
  Bytes operator()(const proto::TpmFrame& one) const { return wire::Writer().u8(0).raw(one.bytes).take(); }
  Bytes operator()(const proto::ControlFrame& one) const {
    return wire::Writer().u8(1).u32(one.type).raw(one.body).take();
  }
  Bytes operator()(const proto::BadSize& one) const {
    return wire::Writer().u8(2).u32(one.size).u8(one.control ? 1 : 0).u32(one.type).take();
  }
  Bytes operator()(const proto::TooLarge& one) const {
    return wire::Writer().u8(3).u32(one.size).u8(one.control ? 1 : 0).u32(one.type).take();
  }
};

struct Outcome {
  std::vector<Bytes> arrivals;
  bool mid_frame = false;
  bool operator==(const Outcome&) const = default;
};

void drain(FrameReader& reader, const Limits& limits, Outcome& out) {
  while (auto arrival = reader.next()) {
    if (const auto* frame = std::get_if<proto::TpmFrame>(&*arrival))
      require(frame->bytes.size() <= std::min(limits.frame, proto::kMaxFrameSize), "a frame is within its limit");
    if (const auto* frame = std::get_if<proto::ControlFrame>(&*arrival))
      require(frame->body.size() + proto::kFrameHeaderSize <= limits.control, "a control frame is within its limit");
    const bool ended = std::holds_alternative<proto::TooLarge>(*arrival);
    out.arrivals.push_back(std::visit(Flatten(), *arrival));
    if (!ended) continue;
    require(!reader.next() && reader.buffered() == 0, "after TooLarge there is nothing");
  }
}

template <typename NextCut>
Outcome read(ByteView stream, const Limits& limits, NextCut next_cut) {
  FrameReader reader(limits.frame, limits.control);
  Outcome out;
  while (!stream.empty()) {
    const std::size_t n = std::min<std::size_t>(next_cut(), stream.size());
    reader.feed(stream.first(n));
    stream = stream.subspan(n);
    drain(reader, limits, out);
    // All complete frames are out, so the held bytes are an incomplete frame.
    require(reader.buffered() < std::max({limits.control, limits.frame, proto::kFrameHeaderSize}) ||
                reader.buffered() < proto::kFrameHeaderSize,
            "no more is held than one unfinished frame");
  }
  out.mid_frame = reader.mid_frame();
  return out;
}

}  // namespace
}  // namespace tpmspace::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tpmspace::fuzz;
  Input input({data, size});
  const Limits& limits = kLimits[input.below(std::size(kLimits))];
  std::uint32_t state = input.u16() | 1U;
  const auto stream = input.rest();
  const auto whole = read(stream, limits, [&] { return stream.size(); });
  const auto bytes = read(stream, limits, [] { return std::size_t{1}; });
  const auto pieces = read(stream, limits, [&] {
    state = state * 1664525U + 1013904223U;
    return std::size_t{1} + (state >> 16) % 37;
  });
  require(whole == bytes && whole == pieces, "the cuts do not matter");
  return 0;
}
