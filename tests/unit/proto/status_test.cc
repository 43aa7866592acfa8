// Status: one list of fields, there and back, between versions.
#include "proto/status.h"

#include <gtest/gtest.h>

#include <set>

#include "proto/frame.h"

namespace tpmspace::proto {
namespace {

// A different value in every field.
struct Fill {
  std::uint64_t next = 1;
  void operator()(const StatusField& field, std::string& text) const { text = std::string(field.name) + "\"ü"; }
  void operator()(const StatusField&, bool& flag) const { flag = true; }
  void operator()(const StatusField&, std::uint64_t& number) { number = 0x0102030405060700 + next++; }
  void operator()(const StatusField&, std::vector<CommandUse>& uses) const {
    uses = {{0x17B, 5, 6}, {0x131, 7, 1ULL << 60}};
  }
};

Status full() {
  Status status;
  for_each_field(status, Fill{});
  return status;
}

TEST(Status, ThereAndBack) {
  EXPECT_EQ(decode_status(encode_status(full())), full());
  EXPECT_EQ(decode_status(encode_status(Status{})), Status{});
}

TEST(Status, EveryFieldHasItsOwnIdAndName) {
  std::set<std::uint16_t> ids;
  std::set<std::string> names;
  const Status status;
  for_each_field(status, [&](const StatusField& field, const auto&) {
    EXPECT_TRUE(ids.insert(field.id).second) << field.name;
    EXPECT_TRUE(names.insert(std::string(field.group) + "." + std::string(field.name)).second) << field.name;
  });
  EXPECT_EQ(ids.size(), 67U) << "a new field: raise this number, and keep the old fields' ids";
}

TEST(Status, AFieldOfTomorrowIsSkipped) {
  auto octets = encode_status(full());
  octets.insert(octets.end(), {0x7F, 0xFF, 0, 0, 0, 3, 1, 2, 3});
  EXPECT_EQ(decode_status(octets), full());
}

TEST(Status, AFieldThatAnOlderServerDoesNotSendIsZero) {
  wire::Writer out;
  out.u16(kStatusVersion).u16(2).u32(8).u64(4711);
  const auto status = decode_status(out.bytes());
  ASSERT_TRUE(status);
  EXPECT_EQ(status->server_pid, 4711U);
  EXPECT_EQ(status->connections_now, 0U);
}

TEST(Status, ACutMessageIsRejected) {
  const auto whole = encode_status(full());
  // Ends between fields are as an older server's; all others are refused, none reads beyond its bytes.
  std::size_t taken = 0;
  for (std::size_t n = 0; n < whole.size(); ++n)
    if (decode_status(wire::ByteView(whole).first(n))) ++taken;
  EXPECT_EQ(taken, 67U);
}

TEST(Status, ValuesMustFitTheirKind) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{7}, std::size_t{9}}) {
    wire::Writer out;
    out.u16(kStatusVersion).u16(2).u32(static_cast<std::uint32_t>(size)).raw(wire::Bytes(size, 0));
    EXPECT_FALSE(decode_status(out.bytes())) << size;
  }
  wire::Writer uses;
  uses.u16(kStatusVersion).u16(47).u32(21).raw(wire::Bytes(21, 0));
  EXPECT_FALSE(decode_status(uses.bytes()));
}

TEST(Status, NeverLargerThanAReplyMayBe) {
  Status status = full();
  status.tpm_commands_by_code.resize(100'000);
  status.tpm_vendor = std::string(500'000, 'x');
  EXPECT_LT(encode_status(status).size() + kFrameHeaderSize + 4, kMaxReplySize);
}

}  // namespace
}  // namespace tpmspace::proto
