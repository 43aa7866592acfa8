// The list of sessions, and orders to flush some, there and back; and everything that is none.
#include "proto/sessions.h"

#include <gtest/gtest.h>

#include "proto/frame.h"

namespace tpmspace::proto {
namespace {

using wire::Bytes;

Sessions example() {
  Sessions out;
  out.sessions = {{.handle = 0x02000000,
                   .uid = 0,
                   .connection = 3,
                   .age = 9,
                   .idle = 8,
                   .lease = 7,
                   .tenant = {.listener = "build"}},
                  {.handle = 0x03000001,
                   .kind = SessionKind::kTrial,
                   .state = SessionState::kAbandoned,
                   .uid = 0xFFFFFFFF,
                   .lease = kEndless}};
  out.waiting = {{.uid = 1000, .connection = 4, .waited = 5, .left = kEndless, .tenant = {"left", ""}}};
  out.hidden_sessions = 1;
  out.hidden_waiting = 2;
  out.more_waiting = 3;
  return out;
}

TEST(Sessions, ThereAndBack) {
  EXPECT_EQ(decode_sessions(encode_sessions(example())), example());
  EXPECT_EQ(decode_sessions(encode_sessions({})), Sessions{});
  EXPECT_EQ(decode_flushed(encode_flushed(example().sessions)), example().sessions);
}

TEST(Sessions, TheLargestListFitsAReply) {
  Sessions many;
  const Tenant longest{std::string(Tenant::kLongestName, 'n'), std::string(Tenant::kLongestName, 'd')};
  many.sessions.resize(kMaxRecords + 1, SessionEntry{.tenant = longest});
  many.waiting.resize(kMaxRecords + 1, WaitingEntry{.tenant = longest});
  const Bytes octets = encode_sessions(many);
  EXPECT_LE(octets.size(), std::size_t{510} * 1024);
  const auto told = decode_sessions(octets);
  ASSERT_TRUE(told);
  EXPECT_EQ(told->sessions.size(), kMaxRecords);
  EXPECT_EQ(told->waiting.size(), kMaxRecords);
}

TEST(Sessions, FieldsOfANewerManagerAreSkipped) {
  wire::Writer record;
  record.u32(0x03000001)
      .u8(7)
      .u8(9)
      .u32(1)
      .u64(2)
      .u64(3)
      .u64(4)
      .u64(5)
      .u8(77)
      .u8(1)
      .u16(0)
      .u16(1)
      .u8('x')
      .u32(0xAAAAAAAA);
  wire::Writer body;
  body.u16(kSessionsVersion).u32(0).u32(0).u32(0).u32(0).u16(1).tpm2b(record.bytes()).u16(0).u32(0xBBBBBBBB);
  const auto told = decode_sessions(body.bytes());
  ASSERT_TRUE(told);
  EXPECT_EQ(static_cast<int>(told->sessions.at(0).kind), 7);
  EXPECT_EQ(static_cast<int>(told->sessions.at(0).state), 9);
  EXPECT_EQ(told->sessions.at(0).lease, 5U);
  EXPECT_EQ(static_cast<int>(told->sessions.at(0).rebuildable), 77);
  EXPECT_EQ(told->sessions.at(0).tenant.listener, "x");
}

TEST(Sessions, AnOlderManagerTellsNoTenant) {
  wire::Writer session, waiting, body;
  session.u32(0x03000001).u8(1).u8(0).u32(1).u64(2).u64(3).u64(4).u64(5).u8(0).u8(1);
  waiting.u32(1).u64(2).u64(3).u64(4);
  body.u16(kSessionsVersion).u32(0).u32(0).u32(0).u32(0);
  body.u16(1).tpm2b(session.bytes()).u16(1).tpm2b(waiting.bytes());
  const auto told = decode_sessions(body.bytes());
  ASSERT_TRUE(told);
  EXPECT_TRUE(told->sessions.at(0).parked);
  EXPECT_EQ(told->sessions.at(0).tenant, Tenant{});
  EXPECT_EQ(told->waiting.at(0).tenant, Tenant{});
}

TEST(Sessions, NamesThatNoneCanHaveAreNone) {
  for (const std::string& name : {std::string("a b"), std::string("\x1B[2J"), std::string("\xC3\xA4"),
                                  std::string(Tenant::kLongestName + 1, 'a'), std::string(1, '\0')}) {
    EXPECT_FALSE(decode_flushed(encode_flushed({{.tenant = {.tpm_namespace = name}}}))) << name;
    EXPECT_FALSE(decode_flushed(encode_flushed({{.tenant = {.listener = name}}}))) << name;
  }
}

TEST(Sessions, ACutMessageIsRejected) {
  const Bytes whole = encode_sessions(example()), flushed = encode_flushed(example().sessions);
  for (std::size_t n = 0; n < whole.size(); ++n) EXPECT_FALSE(decode_sessions(wire::ByteView(whole).first(n))) << n;
  for (std::size_t n = 0; n < flushed.size(); ++n) EXPECT_FALSE(decode_flushed(wire::ByteView(flushed).first(n))) << n;
}

// Behind a number that is not whole there may be bytes enough for a smaller one.
TEST(Sessions, ARecordThatIsTooShortIsNone) {
  for (std::size_t n = 0; n < 44; ++n) {
    wire::Writer body;
    body.u16(kSessionsVersion).u16(1).tpm2b(Bytes(n));
    EXPECT_FALSE(decode_flushed(body.bytes())) << n;
  }
}

TEST(Sessions, OfAnotherVersionOrTooManyAreNone) {
  EXPECT_FALSE(decode_sessions(wire::Writer().u16(2).u32(0).u32(0).u32(0).u32(0).u16(0).u16(0).take()));
  EXPECT_FALSE(decode_flushed(wire::Writer().u16(2).u16(0).take()));
  wire::Writer many;
  many.u16(kSessionsVersion).u16(kMaxRecords + 1);
  for (std::size_t i = 0; i <= kMaxRecords; ++i) many.tpm2b(Bytes(42));
  EXPECT_FALSE(decode_flushed(many.bytes()));
}

TEST(Flush, ThereAndBack) {
  for (const SessionOrder& what : {SessionOrder(FlushThese{{0x02000000, 0x03FFFFFF}}), SessionOrder(FlushThese{}),
                                   SessionOrder(FlushAbandoned{}), SessionOrder(FlushOwner{0xFFFFFFFF})})
    EXPECT_EQ(decode_order(encode_order(what)), what);
  EXPECT_LE(encode_order(FlushThese{std::vector<std::uint32_t>(1000)}).size(), kMaxControlSize - kFrameHeaderSize);
}

TEST(Flush, AnEmptyRequestIsRejected) {
  for (const Bytes& body :
       {Bytes{}, Bytes{0}, Bytes{4}, Bytes{1}, Bytes{1, 0}, Bytes{1, 0, 1, 2, 0, 0}, Bytes{1, 0, 1, 2, 0, 0, 0, 0},
        Bytes{2, 0}, Bytes{3}, Bytes{3, 0, 0, 0}, Bytes{3, 0, 0, 0, 0, 0}})
    EXPECT_FALSE(decode_order(body));
  wire::Writer many;
  many.u8(1).u16(kMaxHandles + 1).raw(Bytes((kMaxHandles + 1) * 4));
  EXPECT_FALSE(decode_order(many.bytes()));
}

}  // namespace
}  // namespace tpmspace::proto
