// FrameReader: a table of streams, each fed in every way that could matter.
#include "proto/frame.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>

namespace tpmspace::proto {
namespace {

using wire::Bytes;
using wire::ByteView;

constexpr std::size_t kChip = 256;

Bytes frame(std::uint16_t tag, std::uint32_t announced, std::uint32_t code, std::size_t body) {
  wire::Writer out;
  out.u16(tag).u32(announced).u32(code);
  for (std::size_t i = 0; i < body; ++i) out.u8(static_cast<std::uint8_t>(i));
  return out.take();
}
Bytes command(std::size_t size) {
  return frame(0x8001, static_cast<std::uint32_t>(size), 0x17B, size - 10);
}
Bytes control(std::size_t size) {
  return frame(kControlTag, static_cast<std::uint32_t>(size), 4, size - 10);
}

Bytes join(std::initializer_list<Bytes> parts) {
  Bytes out;
  for (const auto& part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}

std::string describe(const Arrival& arrival) {
  struct {
    std::string operator()(const TpmFrame& f) const { return "tpm " + std::to_string(f.bytes.size()); }
    std::string operator()(const ControlFrame& f) const {
      return "control " + std::to_string(f.type) + " " + std::to_string(f.body.size());
    }
    std::string operator()(const BadSize& f) const {
      return "bad " + std::to_string(f.size) + (f.control ? " control " + std::to_string(f.type) : "");
    }
    std::string operator()(const TooLarge& f) const {
      return "large " + std::to_string(f.size) + (f.control ? " control" : "");
    }
  } visitor;
  return std::visit(visitor, arrival);
}

// Feeds `stream` in pieces as `cut` says and returns the arrivals, in order.
template <typename Cut>
std::vector<std::string> arrivals(ByteView stream, Cut&& cut, std::size_t* most_held = nullptr) {
  FrameReader reader(kChip);
  std::vector<std::string> out;
  while (!stream.empty()) {
    const std::size_t n = std::min(stream.size(), cut());
    reader.feed(stream.first(n));
    stream = stream.subspan(n);
    while (const auto arrival = reader.next()) out.push_back(describe(*arrival));
    if (most_held != nullptr) *most_held = std::max(*most_held, reader.buffered());
  }
  return out;
}

struct Row {
  const char* name;
  Bytes stream;
  std::vector<std::string> expected;
};

const std::vector<Row>& rows() {
  static const std::vector<Row> kRows = {
      {"Nothing", {}, {}},
      {"NineOctets", Bytes(9, 0x80), {}},
      {"OneCommand", command(12), {"tpm 12"}},
      {"ShortestCommand", command(10), {"tpm 10"}},
      {"LargestCommand", command(kChip), {"tpm 256"}},
      {"AnyOtherTagIsATpmFrame", frame(0x1234, 11, 5, 1), {"tpm 11"}},
      {"Pipelined", join({command(12), command(20), command(10)}), {"tpm 12", "tpm 20", "tpm 10"}},
      {"IncompleteBody", join({command(12), frame(0x8001, 50, 1, 39)}), {"tpm 12"}},
      {"SizeZero", join({frame(0x8001, 0, 1, 0), command(10)}), {"bad 0", "tpm 10"}},
      {"SizeFive", join({frame(0x8001, 5, 1, 0), command(10)}), {"bad 5", "tpm 10"}},
      {"SizeNine", join({frame(0x8001, 9, 1, 0), command(10)}), {"bad 9", "tpm 10"}},
      {"OneAboveTheBuffer", join({command(kChip + 1), command(10)}), {"bad 257", "tpm 10"}},
      {"SixtyFourKib", join({command(kMaxFrameSize), command(10)}), {"bad 65536", "tpm 10"}},
      {"OversizedIncomplete", join({command(12), frame(0x8001, 5000, 1, 4989)}), {"tpm 12"}},
      {"TooLarge", join({command(12), frame(0x8001, 65537, 1, 100), command(10)}), {"tpm 12", "large 65537"}},
      {"Huge", frame(0x8001, 0xFFFFFFFF, 1, 30), {"large 4294967295"}},
      {"Control", join({control(10), control(11), command(10)}), {"control 4 0", "control 4 1", "tpm 10"}},
      {"ControlHasALimitOfItsOwn",
       join({control(kMaxControlSize), control(kMaxControlSize + 1), command(10)}),
       {"control 4 4086", "bad 4097 control 4", "tpm 10"}},
      {"ControlTooSmall", join({frame(kControlTag, 3, 2, 0), command(10)}), {"bad 3 control 2", "tpm 10"}},
      {"ControlTooLarge", join({frame(kControlTag, 70000, 2, 10), command(10)}), {"large 70000 control"}},
  };
  return kRows;
}

class FrameTable : public testing::TestWithParam<Row> {};

TEST_P(FrameTable, AllAtOnce) {
  EXPECT_EQ(arrivals(GetParam().stream, [] { return std::size_t{1} << 20; }), GetParam().expected);
}

TEST_P(FrameTable, OctetByOctet) {
  EXPECT_EQ(arrivals(GetParam().stream, [] { return std::size_t{1}; }), GetParam().expected);
}

INSTANTIATE_TEST_SUITE_P(Rows, FrameTable, testing::ValuesIn(rows()),
                         [](const auto& row) { return std::string(row.param.name); });

// Any sequence of rows, cut anywhere, gives what its rows give; and little is held.
TEST(FrameReader, CutsDoNotMatter) {
  for (std::uint32_t seed = 1; seed <= 300; ++seed) {
    std::mt19937 random(seed);
    Bytes stream;
    std::vector<std::string> expected;
    for (int i = 0; i < 12; ++i) {
      const Row& row = rows()[random() % rows().size()];
      const std::string name = row.name;
      if (name == "NineOctets" || name.find("Incomplete") != std::string::npos) continue;  // would swallow the next
      stream.insert(stream.end(), row.stream.begin(), row.stream.end());
      expected.insert(expected.end(), row.expected.begin(), row.expected.end());
      if (name == "Huge" || name.find("TooLarge") != std::string::npos) break;
    }
    std::size_t held = 0;
    const auto got = arrivals(
        stream, [&] { return std::size_t{1 + random() % 700}; }, &held);
    ASSERT_EQ(got, expected) << "seed " << seed;
    ASSERT_LT(held, kMaxControlSize) << "seed " << seed;
  }
}

TEST(FrameReader, NoiseNeverHoldsMoreThanAFrame) {
  for (std::uint32_t seed = 1; seed <= 200; ++seed) {
    std::mt19937 random(seed);
    FrameReader reader(4096);
    for (int i = 0; i < 200; ++i) {
      Bytes noise(1 + random() % 100);
      for (auto& octet : noise) octet = static_cast<std::uint8_t>(random() % 3);  // small sizes are likely
      reader.feed(noise);
      while (reader.next()) {
      }
      ASSERT_LE(reader.buffered(), kMaxFrameSize);
    }
  }
}

TEST(FrameReader, KeepsTheOctetsOfAFrame) {
  FrameReader reader(kChip);
  const Bytes sent = command(77);
  reader.feed(sent);
  const auto arrival = reader.next();
  ASSERT_TRUE(arrival && std::holds_alternative<TpmFrame>(*arrival));
  EXPECT_EQ(std::get<TpmFrame>(*arrival).bytes, sent);
}

TEST(FrameReader, HoldsNothingOfAnOversizedBody) {
  FrameReader reader(kChip);
  reader.feed(frame(0x8001, 60000, 1, 0));
  EXPECT_FALSE(reader.next());
  for (int i = 0; i < 59; ++i) {
    reader.feed(Bytes(1000, 0x11));
    EXPECT_FALSE(reader.next());
    EXPECT_EQ(reader.buffered(), 0U);
    EXPECT_TRUE(reader.mid_frame());
  }
  reader.feed(Bytes(990, 0x11));
  EXPECT_TRUE(reader.next());
  EXPECT_FALSE(reader.mid_frame());
}

TEST(FrameReader, AfterTooLargeNothingIsHeld) {
  FrameReader reader(kChip);
  reader.feed(frame(0x8001, 1 << 20, 1, 500));
  EXPECT_TRUE(reader.next());
  reader.feed(Bytes(5000, 0));
  EXPECT_FALSE(reader.next());
  EXPECT_EQ(reader.buffered(), 0U);
}

TEST(FrameReader, AClientTakesLargeReplies) {
  FrameReader reader(kMaxFrameSize, kMaxReplySize);
  reader.feed(encode_control(0x80000004, Bytes(200'000, 1)));
  const auto arrival = reader.next();
  ASSERT_TRUE(arrival && std::holds_alternative<ControlFrame>(*arrival));
  EXPECT_EQ(std::get<ControlFrame>(*arrival).body.size(), 200'000U);
}

}  // namespace
}  // namespace tpmspace::proto
