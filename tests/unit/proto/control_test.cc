// Control messages there and back, and everything that is none.
#include "proto/control.h"

#include <gtest/gtest.h>

#include <random>

#include "proto/message_table.h"

namespace tpmspace::proto {
namespace {

using wire::Bytes;

ControlFrame read(const Bytes& octets) {
  FrameReader reader(4096, kMaxReplySize);
  reader.feed(octets);
  const auto arrival = reader.next();
  EXPECT_TRUE(arrival && std::holds_alternative<ControlFrame>(*arrival));
  return arrival ? std::get<ControlFrame>(*arrival) : ControlFrame{};
}

TEST(Request, ThereAndBack) {
  const auto hello = decode_request(read(encode(Request(Hello{}))));
  ASSERT_TRUE(hello && std::holds_alternative<Hello>(*hello));
  EXPECT_EQ(std::get<Hello>(*hello).version, kProtocolVersion);
  const auto locality = decode_request(read(encode(Request(Locality{3}))));
  ASSERT_TRUE(locality && std::holds_alternative<Locality>(*locality));
  EXPECT_EQ(std::get<Locality>(*locality).locality, 3);
  const auto cancel = decode_request(read(encode(Request(Cancel{}))));
  EXPECT_TRUE(cancel && std::holds_alternative<Cancel>(*cancel));
  const auto status = decode_request(read(encode(Request(StatusRequest{}))));
  EXPECT_TRUE(status && std::holds_alternative<StatusRequest>(*status));
  const auto sessions = decode_request(read(encode(Request(SessionsRequest{}))));
  EXPECT_TRUE(sessions && std::holds_alternative<SessionsRequest>(*sessions));
  const auto flush = decode_request(read(encode(Request(OrderRequest{FlushOwner{1000}}))));
  ASSERT_TRUE(flush && std::holds_alternative<OrderRequest>(*flush));
  EXPECT_EQ(std::get<OrderRequest>(*flush).what, SessionOrder(FlushOwner{1000}));
  const auto learn = decode_request(read(encode(Request(Learn{"p"}))));
  ASSERT_TRUE(learn && std::holds_alternative<Learn>(*learn));
  EXPECT_EQ(std::get<Learn>(*learn).name, "p");
  const auto clients = decode_request(read(encode(Request(ClientsRequest{7}))));
  ASSERT_TRUE(clients && std::holds_alternative<ClientsRequest>(*clients));
  EXPECT_EQ(std::get<ClientsRequest>(*clients).after, 7U);
  const auto who = decode_request(read(encode(Request(WhoRequest{{3, {"Sign"}}}))));
  ASSERT_TRUE(who && std::holds_alternative<WhoRequest>(*who));
  EXPECT_EQ(std::get<WhoRequest>(*who).what, (WhoQuestion{3, {"Sign"}}));
}

TEST(Request, HelloOnTheWireIsAsDocumented) {
  EXPECT_EQ(encode(Request(Hello{})), (Bytes{0x53, 0x50, 0, 0, 0, 12, 0, 0, 0, 1, 0, 1}));
}

TEST(MessageTable, EachMessageHasItsNumberItsNameAndItsStage) {
  struct Wanted {
    MessageType type;
    std::string_view name;
    Stage stage;
  };
  constexpr Wanted kWanted[] = {
      {MessageType::kHello, "Hello", Stage::kAnyTime},
      {MessageType::kCancel, "Cancel", Stage::kAfterHello},
      {MessageType::kLocality, "Locality", Stage::kAfterHello},
      {MessageType::kStatus, "Status", Stage::kAfterHello},
      {MessageType::kSessions, "Sessions", Stage::kAfterHello},
      {MessageType::kOrder, "Order", Stage::kAfterHello},
      {MessageType::kNarrow, "Narrow", Stage::kAfterHello},
      {MessageType::kReload, "Reload", Stage::kAfterHello},
      {MessageType::kListeners, "Listeners", Stage::kAfterHello},
      {MessageType::kListener, "Listener", Stage::kAfterHello},
      {MessageType::kLearn, "Learn", Stage::kAfterHello},
      {MessageType::kUseChip, "UseChip", Stage::kBeforeCommands},
      {MessageType::kShare, "Share", Stage::kAfterHello},
      {MessageType::kJoin, "Join", Stage::kBeforeCommands},
      {MessageType::kClients, "Clients", Stage::kAfterHello},
      {MessageType::kWho, "Who", Stage::kAfterHello},
      {MessageType::kSync, "Sync", Stage::kAfterHello},
  };
  EXPECT_EQ(message_table().size(), std::size(kWanted));
  std::uint32_t number = 0;
  for (const auto& wanted : kWanted) {
    const MessageRow* row = find_message(++number);
    ASSERT_NE(row, nullptr) << wanted.name;
    EXPECT_EQ(row->type, wanted.type) << wanted.name;
    EXPECT_EQ(row->name, wanted.name);
    EXPECT_EQ(row->stage, wanted.stage) << wanted.name;
  }
  EXPECT_EQ(find_message(0), nullptr);
  EXPECT_EQ(find_message(++number), nullptr);
}

struct RefusedRow {
  const char* name;
  ControlFrame frame;
  std::uint32_t type;
  wire::Rc code;
};

class RefusedRequest : public testing::TestWithParam<RefusedRow> {};

TEST(Request, ShareAndJoinOnTheWireAreAsDocumented) {
  Token token{};
  for (std::size_t i = 0; i < token.size(); ++i) token[i] = static_cast<std::uint8_t>(i);
  wire::Bytes body(token.begin(), token.end());
  const auto share = read(encode(Request(Share{token})));
  EXPECT_EQ(share.type, 13U);
  EXPECT_EQ(share.body, body);
  const auto shared = decode_request(share);
  ASSERT_TRUE(shared && std::holds_alternative<Share>(*shared));
  EXPECT_EQ(std::get<Share>(*shared).token, token);
  body.insert(body.end(), {0, 0, 0, 0, 0, 0, 1, 2});
  const auto join = read(encode(Request(Join{token, 258})));
  EXPECT_EQ(join.type, 14U);
  EXPECT_EQ(join.body, body);
  const auto joined = decode_request(join);
  ASSERT_TRUE(joined && std::holds_alternative<Join>(*joined));
  EXPECT_EQ(std::get<Join>(*joined).token, token);
  EXPECT_EQ(std::get<Join>(*joined).sent, 258U);
}

TEST_P(RefusedRequest, GetsItsCode) {
  const auto request = decode_request(GetParam().frame);
  ASSERT_FALSE(request);
  EXPECT_EQ(request.error().type, GetParam().type);
  EXPECT_EQ(request.error().code, GetParam().code);
}

INSTANTIATE_TEST_SUITE_P(Rows, RefusedRequest,
                         testing::Values(RefusedRow{"UnknownType", {77, {}}, 77, 0x000B0143},
                                         RefusedRow{"TypeZero", {0, {}}, 0, 0x000B0143},
                                         RefusedRow{"AReply", {kReply | 2, {0, 0, 0, 0}}, 2, 0x000B0143},
                                         RefusedRow{"HelloWithoutVersion", {1, {0}}, 1, 0x000B0095},
                                         RefusedRow{"HelloOfTomorrow", {1, {0, 9, 1, 2, 3}}, 1, 0x000B0084},
                                         RefusedRow{"HelloTooLong", {1, {0, 1, 0}}, 1, 0x000B0095},
                                         RefusedRow{"CancelWithBody", {2, {0}}, 2, 0x000B0095},
                                         RefusedRow{"LocalityEmpty", {3, {}}, 3, 0x000B0095},
                                         RefusedRow{"LocalityTooLong", {3, {1, 2}}, 3, 0x000B0095},
                                         RefusedRow{"ShareTooShort", {13, wire::Bytes(31)}, 13, 0x000B0095},
                                         RefusedRow{"ShareTooLong", {13, wire::Bytes(33)}, 13, 0x000B0095},
                                         RefusedRow{"JoinWithoutCount", {14, wire::Bytes(32)}, 14, 0x000B0095},
                                         RefusedRow{"JoinTooLong", {14, wire::Bytes(41)}, 14, 0x000B0095},
                                         RefusedRow{"SyncTooShort", {17, wire::Bytes(7)}, 17, 0x000B0095},
                                         RefusedRow{"SyncTooLong", {17, wire::Bytes(9)}, 17, 0x000B0095},
                                         RefusedRow{"StatusWithBody", {4, {0}}, 4, 0x000B0095},
                                         RefusedRow{"SessionsWithBody", {5, {0}}, 5, 0x000B0095},
                                         RefusedRow{"FlushOfNothing", {6, {}}, 6, 0x000B0095},
                                         RefusedRow{"LearnWithoutName", {11, {}}, 11, 0x000B0095},
                                         RefusedRow{"LearnCutOff", {11, {0, 2, 'p'}}, 11, 0x000B0095},
                                         RefusedRow{"LearnTooLong", {11, {0, 1, 'p', 0}}, 11, 0x000B0095},
                                         RefusedRow{"ClientsBehindNothing", {15, {}}, 15, 0x000B0095},
                                         RefusedRow{"ClientsTooLong", {15, Bytes(9)}, 15, 0x000B0095},
                                         RefusedRow{"WhoWithoutWords", {16, {0, 0, 0, 1}}, 16, 0x000B0095},
                                         RefusedRow{"WhoTooLong", {16, {0, 0, 0, 1, 0, 0, 0}}, 16, 0x000B0095}),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(Reply, ThereAndBack) {
  const auto hello = decode_reply(read(encode(Reply(HelloReply{1, "tpmspaced 0.1.0", 4711}))));
  ASSERT_TRUE(hello && std::holds_alternative<HelloReply>(*hello));
  EXPECT_EQ(std::get<HelloReply>(*hello).server, "tpmspaced 0.1.0");
  EXPECT_EQ(std::get<HelloReply>(*hello).pid, 4711U);
  const auto cancel = decode_reply(read(encode(Reply(CancelReply{}))));
  EXPECT_TRUE(cancel && std::holds_alternative<CancelReply>(*cancel));
  const auto locality = decode_reply(read(encode(Reply(LocalityReply{}))));
  EXPECT_TRUE(locality && std::holds_alternative<LocalityReply>(*locality));
  const auto shared = decode_reply(read(encode(Reply(ShareReply{}))));
  EXPECT_TRUE(shared && std::holds_alternative<ShareReply>(*shared));
  const auto joined = decode_reply(read(encode(Reply(JoinReply{}))));
  EXPECT_TRUE(joined && std::holds_alternative<JoinReply>(*joined));
  const auto synced = decode_reply(read(encode(Reply(SyncReply{99}))));
  ASSERT_TRUE(synced && std::holds_alternative<SyncReply>(*synced));
  EXPECT_EQ(std::get<SyncReply>(*synced).mark, 99U);
  Status status;
  status.queue_longest = 9;
  const auto told = decode_reply(read(encode(Reply(StatusReply{status}))));
  ASSERT_TRUE(told && std::holds_alternative<StatusReply>(*told));
  EXPECT_EQ(std::get<StatusReply>(*told).status, status);
  Sessions sessions;
  sessions.hidden_sessions = 3;
  const auto listed = decode_reply(read(encode(Reply(SessionsReply{sessions}))));
  ASSERT_TRUE(listed && std::holds_alternative<SessionsReply>(*listed));
  EXPECT_EQ(std::get<SessionsReply>(*listed).sessions, sessions);
  const std::string long_text(65535, 'x');
  const auto learned = decode_reply(read(encode(Reply(LearnReply{long_text}))));
  ASSERT_TRUE(learned && std::holds_alternative<LearnReply>(*learned));
  EXPECT_EQ(std::get<LearnReply>(*learned).text, long_text);
  const auto who = decode_reply(read(encode(Reply(WhoReply{{.connection = 5, .text = "allowed"}}))));
  ASSERT_TRUE(who && std::holds_alternative<WhoReply>(*who));
  EXPECT_EQ(std::get<WhoReply>(*who).report.text, "allowed");
  const auto page = decode_reply(read(encode(Reply(ClientsReply{{.total = 3, .clients = {}}}))));
  ASSERT_TRUE(page && std::holds_alternative<ClientsReply>(*page));
  EXPECT_EQ(std::get<ClientsReply>(*page).clients.total, 3U);
  const SessionEntry entry{.handle = 0x02000003, .uid = 7};
  const auto flushed = decode_reply(read(encode(Reply(OrderReply{{entry}}))));
  ASSERT_TRUE(flushed && std::holds_alternative<OrderReply>(*flushed));
  EXPECT_EQ(std::get<OrderReply>(*flushed).sessions, std::vector{entry});
}

TEST(Reply, ARefusedHelloTellsOurVersion) {
  const auto reply = decode_reply(read(encode(Reply(Refusal{1, 0x000B0084, 7}))));
  ASSERT_TRUE(reply && std::holds_alternative<Refusal>(*reply));
  EXPECT_EQ(std::get<Refusal>(*reply).code, 0x000B0084U);
  EXPECT_EQ(std::get<Refusal>(*reply).version, 7);
  EXPECT_EQ(type_of(*reply), 1U);
}

TEST(Reply, ARefusalOfAnUnknownTypeIsUnderstood) {
  const auto reply = decode_reply(read(encode(Reply(Refusal{77, 0x000B0143}))));
  ASSERT_TRUE(reply && std::holds_alternative<Refusal>(*reply));
  EXPECT_EQ(std::get<Refusal>(*reply).type, 77U);
}

TEST(Reply, AnInvalidReplyIsRejected) {
  EXPECT_FALSE(decode_reply({4, {0, 0, 0, 0}}));                            // a request
  EXPECT_FALSE(decode_reply({kReply | 2, {0, 0, 0}}));                      // no code
  EXPECT_FALSE(decode_reply({kReply | 77, {0, 0, 0, 0}}));                  // success of an unknown request
  EXPECT_FALSE(decode_reply({kReply | 1, {0, 0, 0, 0, 0, 1, 0, 9, 'x'}}));  // string cut off
  EXPECT_FALSE(decode_reply({kReply | 4, {0, 0, 0, 0, 0, 99}}));            // status of another version
}

TEST(Control, DecodingIsTotal) {
  for (std::uint32_t seed = 1; seed <= 5000; ++seed) {
    std::mt19937 random(seed);
    ControlFrame frame{static_cast<std::uint32_t>(random() % 18) | (random() % 2 != 0 ? kReply : 0),
                       Bytes(random() % 40)};
    for (auto& octet : frame.body) octet = static_cast<std::uint8_t>(random() % 2 != 0 ? 0 : random());
    (void)decode_request(frame);
    (void)decode_reply(frame);
  }
}

}  // namespace
}  // namespace tpmspace::proto
