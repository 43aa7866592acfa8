// A conversation as bytes in, bytes out: the order of responses, and the causes of waiting.
#include "proto/dialogue.h"

#include <gtest/gtest.h>

#include <vector>

#include "proto/overloaded.h"
#include "wire/response.h"

namespace tpmspace::proto {
namespace {

using wire::Bytes;

constexpr wire::Rc kFull = wire::from_manager(wire::rc::kMemory);

class FakeManager final : public Dialogue::Manager {
 public:
  std::optional<wire::Rc> submit(wire::Command command, std::uint8_t locality) override {
    if (refuse) return refuse;
    submitted.push_back(std::move(command));
    localities.push_back(locality);
    return std::nullopt;
  }
  // Cancel, Hello, Locality and Sync are not refused by `refuse`.
  std::optional<Reply> handle(const Request& request) override {
    return std::visit(Overloaded{[&](const Hello&) {
                                   return now(HelloReply{1, "test", 7});
                                 },
                                 [&](const Cancel&) {
                                   ++cancels;
                                   return now(CancelReply{});
                                 },
                                 [&](const Locality& wanted) {
                                   return wanted.locality == 4
                                              ? now(Refusal{3, wire::from_manager(wire::rc::kLocality)})
                                              : now(LocalityReply{});
                                 },
                                 [&](const Sync& sync) { return now(SyncReply{sync.mark}); },
                                 [&](const StatusRequest&) { return later ? std::nullopt : now(StatusReply{}); },
                                 [&](const auto& other) {
                                   return refuse ? now(Refusal{type_of(request), *refuse}) : grant(other);
                                 }},
                      request);
  }
  void answered_early(wire::Rc code) override { early.push_back(code); }
  void cut_off(const std::string& why) override { cut_off_because.push_back(why); }

  std::optional<wire::Rc> refuse;
  bool later = false;  // a status is not there at once
  std::vector<wire::Command> submitted;
  std::vector<std::uint8_t> localities;
  std::vector<wire::Rc> early;
  std::vector<std::string> cut_off_because;
  std::vector<proto::SessionOrder> ordered;
  std::vector<std::string> narrowed_to, chips;
  std::vector<proto::Token> shared;
  std::vector<proto::Join> joined;
  int cancels = 0;

 private:
  static std::optional<Reply> now(Reply reply) { return reply; }
  std::optional<Reply> grant(const Narrow& wanted) {
    narrowed_to.push_back(wanted.profile);
    return NarrowReply{};
  }
  static std::optional<Reply> grant(const SessionsRequest&) { return std::nullopt; }
  static std::optional<Reply> grant(const Reload&) { return std::nullopt; }
  static std::optional<Reply> grant(const ListenersRequest&) {
    return ListenersReply{{ListenerEntry{.name = "main", .path = "/a"}}};
  }
  static std::optional<Reply> grant(const ListenerRequest&) { return ListenerReply{{true, "made"}}; }
  std::optional<Reply> grant(const OrderRequest& wanted) {
    ordered.push_back(wanted.what);
    return std::nullopt;
  }
  static std::optional<Reply> grant(const Learn& wanted) { return LearnReply{"[profile." + wanted.name + "]\n"}; }
  std::optional<Reply> grant(const UseChip& wanted) {
    chips.push_back(wanted.name);
    return UseChipReply{};
  }
  static std::optional<Reply> grant(const ClientsRequest&) { return ClientsReply{}; }
  static std::optional<Reply> grant(const WhoRequest&) { return WhoReply{}; }
  std::optional<Reply> grant(const Share& wanted) {
    shared.push_back(wanted.token);
    return ShareReply{};
  }
  std::optional<Reply> grant(const Join& wanted) {
    joined.push_back(wanted);
    return std::nullopt;
  }
};

Bytes random_command(std::uint16_t octets) {
  wire::Writer out;
  out.u16(wire::kTagNoSessions).u32(12).u32(wire::cc::kGetRandom).u16(octets);
  return out.take();
}
Bytes header(std::uint32_t size) {
  wire::Writer out;
  out.u16(wire::kTagNoSessions).u32(size).u32(wire::cc::kGetRandom);
  return out.take();
}
Bytes joined(std::initializer_list<Bytes> parts) {
  Bytes out;
  for (const auto& part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}
Bytes refusal(std::uint32_t type, wire::Rc code) {
  return proto::encode(proto::Reply(proto::Refusal{type, wire::from_manager(code), proto::kProtocolVersion}));
}

class DialogueTest : public testing::Test {
 protected:
  void feed(const Bytes& bytes) {
    ASSERT_TRUE(dialogue_.wants_input());
    dialogue_.feed(bytes);
  }
  // Everything that can be sent, sent; in the order it came.
  Bytes talk() {
    Bytes out;
    do {
      const auto now = dialogue_.output();
      out.insert(out.end(), now.begin(), now.end());
      dialogue_.sent(now.size());
    } while (dialogue_.step());
    return out;
  }

  FakeManager manager_;
  Dialogue dialogue_{manager_, wire::CommandTable::builtin(), 4096};
};

TEST_F(DialogueTest, AChipIsChosenBeforeTheFirstCommand) {
  const auto use = proto::encode(proto::Request(proto::UseChip{"other"}));
  const auto type = static_cast<std::uint32_t>(proto::MessageType::kUseChip);
  feed(joined({proto::encode(proto::Request(proto::Hello{})), use}));
  (void)talk();
  EXPECT_EQ(manager_.chips, std::vector<std::string>{"other"});
  manager_.refuse = wire::from_manager(wire::rc::kDisabled);
  feed(use);
  EXPECT_EQ(talk(), refusal(type, wire::rc::kDisabled));
  manager_.refuse.reset();
  feed(joined({random_command(4), use}));
  EXPECT_EQ(talk(), refusal(type, wire::rc::kSequence));
  EXPECT_EQ(manager_.chips.size(), 1U);
}

// --- processes that were forked

constexpr auto kShareType = static_cast<std::uint32_t>(proto::MessageType::kShare);
constexpr auto kJoinType = static_cast<std::uint32_t>(proto::MessageType::kJoin);

TEST_F(DialogueTest, AConnectionIsSharedOnce) {
  const proto::Token token{1, 2, 3};
  const auto share = proto::encode(proto::Request(proto::Share{token}));
  feed(share);
  EXPECT_EQ(talk(), refusal(kShareType, wire::rc::kSequence)) << "before Hello";
  feed(joined({random_command(8), proto::encode(proto::Request(proto::Hello{})), share}));
  const auto hello = proto::encode(proto::Reply(proto::HelloReply{1, "test", 7}));
  EXPECT_EQ(talk(), joined({hello, proto::encode(proto::Reply(proto::ShareReply{}))})) << "while a command runs";
  EXPECT_EQ(manager_.shared, std::vector<proto::Token>{token});
  feed(share);
  EXPECT_EQ(talk(), refusal(kShareType, wire::rc::kSequence));
  EXPECT_EQ(manager_.shared.size(), 1U);
}

class Joining : public DialogueTest {
 protected:
  Joining() {
    feed(proto::encode(proto::Request(proto::Hello{})));
    (void)talk();
  }
  const Bytes join_ = proto::encode(proto::Request(proto::Join{{9}, 4}));
};

TEST_F(Joining, ItsCommandsWaitUntilItHasJoined) {
  feed(joined({join_, random_command(8)}));
  EXPECT_TRUE(talk().empty());
  ASSERT_EQ(manager_.joined.size(), 1U);
  EXPECT_EQ(manager_.joined[0].sent, 4U);
  EXPECT_TRUE(manager_.submitted.empty());
  EXPECT_TRUE(dialogue_.in_flight());
  EXPECT_FALSE(dialogue_.wants_input());
  dialogue_.answer(wire::success_response({}));
  EXPECT_EQ(talk(), proto::encode(proto::Reply(proto::JoinReply{})));
  EXPECT_EQ(manager_.submitted.size(), 1U);
}

TEST_F(Joining, ARefusedJoinEndsTheConnection) {
  manager_.refuse = wire::from_manager(wire::rc::kValue);
  feed(joined({join_, random_command(8)}));
  EXPECT_EQ(talk(), refusal(kJoinType, wire::rc::kValue));
  EXPECT_TRUE(dialogue_.finished());
  manager_.refuse.reset();
  EXPECT_TRUE(manager_.submitted.empty()) << "its command would run in a space that it is not meant for";
}

TEST_F(Joining, AJoinThatFailsLaterIsRefusedLikewise) {
  feed(joined({join_, random_command(8)}));
  EXPECT_TRUE(talk().empty());
  dialogue_.answer(wire::error_response(wire::from_manager(wire::rc::kObjectMemory)));
  EXPECT_EQ(talk(), refusal(kJoinType, wire::rc::kObjectMemory));
  EXPECT_TRUE(dialogue_.finished());
  EXPECT_TRUE(manager_.submitted.empty());
}

TEST_F(Joining, ARequestThatCannotBeReadEndsNothing) {
  feed(proto::encode_control(kJoinType, Bytes(31)));
  EXPECT_EQ(talk(), refusal(kJoinType, wire::rc::kSize));
  EXPECT_FALSE(dialogue_.finished());
  EXPECT_TRUE(dialogue_.wants_input());
}

TEST_F(Joining, IsForConnectionsWithoutAnEarlierCommand) {
  feed(random_command(8));
  (void)talk();
  dialogue_.answer(wire::success_response({}));
  (void)talk();
  feed(join_);
  EXPECT_EQ(talk(), refusal(kJoinType, wire::rc::kSequence));
  EXPECT_TRUE(manager_.joined.empty());
}

TEST_F(Joining, HappensOnceAndSettlesTheChip) {
  feed(join_);
  (void)talk();
  dialogue_.answer(wire::success_response({}));
  (void)talk();
  feed(proto::encode(proto::Request(proto::UseChip{"other"})));
  EXPECT_EQ(talk(), refusal(static_cast<std::uint32_t>(proto::MessageType::kUseChip), wire::rc::kSequence));
  EXPECT_TRUE(manager_.chips.empty());
  feed(join_);
  EXPECT_EQ(talk(), refusal(kJoinType, wire::rc::kSequence));
  EXPECT_EQ(manager_.joined.size(), 1U);
}

TEST_F(DialogueTest, SyncIsAnsweredBehindTheCommandInFlight) {
  const auto hello = proto::encode(proto::Request(proto::Hello{})),
             sync = proto::encode(proto::Request(proto::Sync{5}));
  const auto reply = proto::encode(proto::Reply(proto::SyncReply{5}));
  feed(joined({hello, sync}));
  EXPECT_EQ(talk(), joined({proto::encode(proto::Reply(proto::HelloReply{1, "test", 7})), reply}));
  feed(joined({random_command(8), sync}));
  EXPECT_TRUE(talk().empty());
  dialogue_.answer(wire::error_response(0x101));
  EXPECT_EQ(talk(), joined({wire::error_response(0x101), reply}));
}

// Both sides count a client's commands before the fork alike.
TEST_F(DialogueTest, EveryTpmFrameIsCountedHoweverItIsAnswered) {
  feed(random_command(8));
  (void)talk();
  dialogue_.answer(wire::success_response({}));
  (void)talk();
  manager_.refuse = wire::from_manager(wire::rc::kDisabled);
  feed(joined({random_command(8), header(5), proto::encode(proto::Request(proto::Hello{}))}));
  (void)talk();
  EXPECT_EQ(dialogue_.commands_taken(), 3U);
}

TEST_F(DialogueTest, ACommandGoesOutAndItsAnswerComesBack) {
  feed(random_command(8));
  EXPECT_TRUE(talk().empty());
  ASSERT_EQ(manager_.submitted.size(), 1U);
  EXPECT_TRUE(dialogue_.in_flight());
  dialogue_.answer(wire::error_response(0x101));
  EXPECT_EQ(talk(), wire::error_response(0x101));
  EXPECT_TRUE(dialogue_.wants_input());
}

TEST_F(DialogueTest, OneFrameIsReadAheadAndNoMore) {
  feed(joined({random_command(1), random_command(2), random_command(3)}));
  talk();
  EXPECT_EQ(manager_.submitted.size(), 1U);
  EXPECT_FALSE(dialogue_.wants_input());
  dialogue_.answer(wire::error_response(1));
  talk();
  EXPECT_EQ(manager_.submitted.size(), 2U);
  EXPECT_FALSE(dialogue_.wants_input());
  dialogue_.answer(wire::error_response(1));
  talk();
  EXPECT_EQ(manager_.submitted.size(), 3U);
  EXPECT_TRUE(dialogue_.wants_input());
}

TEST_F(DialogueTest, WhileACommandRunsOnlyControlFramesAreAnswered) {
  feed(joined({proto::encode(proto::Request(proto::Hello{})), random_command(1)}));
  talk();
  feed(joined({proto::encode(proto::Request(proto::Cancel{})), proto::encode(proto::Request(proto::StatusRequest{}))}));
  EXPECT_EQ(talk(), joined({proto::encode(proto::Reply(proto::CancelReply{})),
                            proto::encode(proto::Reply(proto::StatusReply{}))}));
  EXPECT_EQ(manager_.cancels, 1);
}

Bytes flush_abandoned() {
  return proto::encode(proto::Request(proto::OrderRequest{proto::FlushAbandoned{}}));
}

TEST_F(DialogueTest, NothingIsHandledUntilSessionsAreFlushed) {
  feed(joined({proto::encode(proto::Request(proto::Hello{})), random_command(1), flush_abandoned(),
               proto::encode(proto::Request(proto::SessionsRequest{})), random_command(2)}));
  talk();
  EXPECT_EQ(manager_.ordered, std::vector{proto::SessionOrder(proto::FlushAbandoned{})});
  EXPECT_FALSE(dialogue_.wants_input());
  dialogue_.answer(wire::error_response(1));
  EXPECT_EQ(talk(), wire::error_response(1)) << "the command in flight has its answer all the same";
  EXPECT_EQ(manager_.submitted.size(), 1U);
  dialogue_.end_of_input();
  EXPECT_FALSE(dialogue_.finished());
  const std::vector<proto::SessionEntry> flushed{{.handle = 0x03000001}};
  dialogue_.reply(OrderReply{flushed});
  EXPECT_EQ(talk(), proto::encode(proto::Reply(proto::OrderReply{flushed})));
  EXPECT_EQ(manager_.submitted.size(), 1U) << "the list of sessions is not there yet";
  proto::Sessions list;
  list.hidden_sessions = 3;
  dialogue_.reply(SessionsReply{list});
  EXPECT_EQ(talk(), proto::encode(proto::Reply(proto::SessionsReply{list})));
  EXPECT_EQ(manager_.submitted.size(), 2U);
}

TEST_F(DialogueTest, AStatusOrAListOfSessionsMayComeLaterAndRepliesStayInOrder) {
  manager_.later = true;
  feed(joined({proto::encode(proto::Request(proto::Hello{})), proto::encode(proto::Request(proto::StatusRequest{})),
               proto::encode(proto::Request(proto::SessionsRequest{})), random_command(2)}));
  talk();
  EXPECT_FALSE(dialogue_.wants_input());
  dialogue_.reply(StatusReply{});
  EXPECT_EQ(talk(), proto::encode(proto::Reply(proto::StatusReply{})));
  EXPECT_TRUE(manager_.submitted.empty());
  dialogue_.reply(Refusal{5, kFull});
  EXPECT_EQ(talk(),
            proto::encode(proto::Reply(proto::Refusal{.type = static_cast<std::uint32_t>(proto::MessageType::kSessions),
                                                      .code = kFull,
                                                      .version = proto::kProtocolVersion})));
  EXPECT_EQ(manager_.submitted.size(), 1U);
}

TEST_F(DialogueTest, AnOrderToFlushThatIsRefusedBlocksNothing) {
  manager_.refuse = kFull;
  feed(joined({proto::encode(proto::Request(proto::Hello{})), flush_abandoned()}));
  const Bytes hello = proto::encode(proto::Reply(proto::HelloReply{1, "test", 7}));
  EXPECT_EQ(talk(), joined({hello, refusal(6, wire::rc::kMemory)}));
  EXPECT_TRUE(dialogue_.wants_input());
  manager_.refuse.reset();
  feed(flush_abandoned());
  talk();
  dialogue_.reply(Refusal{6, wire::from_manager(wire::rc::kFailure)});
  EXPECT_EQ(talk(), refusal(6, wire::rc::kFailure));
  EXPECT_TRUE(dialogue_.wants_input());
}

TEST_F(DialogueTest, AClientThatDoesNotReadIsNotRead) {
  feed(joined({proto::encode(proto::Request(proto::Hello{})), proto::encode(proto::Request(proto::StatusRequest{})),
               random_command(1)}));
  ASSERT_TRUE(dialogue_.step());
  EXPECT_FALSE(dialogue_.step());
  EXPECT_FALSE(dialogue_.wants_input());
  EXPECT_FALSE(dialogue_.output().empty());
  dialogue_.sent(1);
  EXPECT_FALSE(dialogue_.step());
  dialogue_.sent(dialogue_.output().size());
  EXPECT_TRUE(dialogue_.step());
  EXPECT_TRUE(manager_.submitted.empty());
}

TEST_F(DialogueTest, BadSizesAreAnsweredInTheirTurn) {
  Bytes oversized = header(5000);
  oversized.resize(5000);
  feed(joined({random_command(1), header(9)}));
  EXPECT_TRUE(talk().empty());
  dialogue_.answer(wire::error_response(0x55));
  EXPECT_EQ(talk(), joined({wire::error_response(0x55), wire::error_response(0x000B0142)}));
  feed(oversized);
  EXPECT_EQ(talk(), wire::error_response(0x000B0142));
  EXPECT_TRUE(dialogue_.wants_input());
  EXPECT_EQ(manager_.early, (std::vector<wire::Rc>{0x000B0142, 0x000B0142}));
}

TEST_F(DialogueTest, AboveSixtyFourKibibytesItEnds) {
  feed(joined({header(65537), random_command(1)}));
  EXPECT_EQ(talk(), wire::error_response(0x000B0142));
  EXPECT_TRUE(dialogue_.finished());
  EXPECT_TRUE(manager_.submitted.empty());
}

TEST_F(DialogueTest, AnUnknownCommandNeverLeaves) {
  Bytes unknown = wire::error_response(0xFFFF);  // the same ten bytes, read as a command
  feed(unknown);
  EXPECT_EQ(talk(), wire::error_response(0x000B0143));
  EXPECT_TRUE(manager_.submitted.empty());
}

TEST_F(DialogueTest, ARefusedCommandIsAnsweredAndTheNextOneIsTaken) {
  manager_.refuse = kFull;
  feed(random_command(1));
  EXPECT_EQ(talk(), wire::error_response(kFull));
  manager_.refuse.reset();
  feed(random_command(1));
  EXPECT_TRUE(talk().empty());
  EXPECT_EQ(manager_.submitted.size(), 1U);
}

TEST_F(DialogueTest, ControlNeedsAHelloFirst) {
  feed(proto::encode(proto::Request(proto::StatusRequest{})));
  EXPECT_EQ(talk(), refusal(4, wire::rc::kSequence));
  feed(proto::encode(proto::Request(proto::Hello{99})));
  EXPECT_EQ(talk(), refusal(1, wire::rc::kValue));
  feed(proto::encode(proto::Request(proto::StatusRequest{})));
  EXPECT_EQ(talk(), refusal(4, wire::rc::kSequence));
  feed(proto::encode(proto::Request(proto::Hello{})));
  EXPECT_EQ(talk(), proto::encode(proto::Reply(proto::HelloReply{1, "test", 7})));
  feed(proto::encode_control(77, {}));
  EXPECT_EQ(talk(), refusal(77, wire::rc::kCommandCode));
}

TEST_F(DialogueTest, ALocalityHoldsForLaterCommands) {
  feed(joined({proto::encode(proto::Request(proto::Hello{})), random_command(1)}));
  talk();
  feed(proto::encode(proto::Request(proto::Locality{3})));
  EXPECT_EQ(talk(), proto::encode(proto::Reply(proto::LocalityReply{})));
  dialogue_.answer(wire::error_response(1));
  talk();
  for (const std::uint8_t wrong : std::initializer_list<std::uint8_t>{5, 31, 4}) {  // 4: not for this one
    feed(proto::encode(proto::Request(proto::Locality{wrong})));
    EXPECT_EQ(talk(), refusal(3, wire::rc::kLocality));
  }
  feed(random_command(2));
  talk();
  EXPECT_EQ(manager_.localities, (std::vector<std::uint8_t>{0, 3}));
}

TEST_F(DialogueTest, ItsListenersLocalityIsThereFromTheBeginning) {
  Dialogue dialogue(manager_, wire::CommandTable::builtin(), 4096, {.locality = 2, .refusal = std::nullopt});
  dialogue.feed(random_command(2));
  while (dialogue.step()) {
  }
  EXPECT_EQ(manager_.localities, std::vector<std::uint8_t>{2});
}

TEST_F(DialogueTest, RightsCanBeGivenAway) {
  feed(proto::encode(proto::Request(proto::Hello{})));
  talk();
  feed(proto::encode(proto::Request(proto::Narrow{"safe"})));
  EXPECT_EQ(talk(), proto::encode(proto::Reply(proto::NarrowReply{})));
  EXPECT_EQ(manager_.narrowed_to, std::vector<std::string>{"safe"});
  manager_.refuse = wire::from_manager(wire::rc::kValue);
  feed(proto::encode(proto::Request(proto::Narrow{"nobody's"})));
  EXPECT_EQ(talk(), refusal(7, wire::rc::kValue));
}

TEST_F(DialogueTest, ALearnedProfileIsSent) {
  feed(proto::encode(proto::Request(proto::Hello{})));
  talk();
  feed(proto::encode(proto::Request(proto::Learn{"p"})));
  EXPECT_EQ(talk(), proto::encode(proto::Reply(proto::LearnReply{"[profile.p]\n"})));
  manager_.refuse = wire::from_manager(wire::rc::kValue);
  feed(proto::encode(proto::Request(proto::Learn{"safe"})));
  EXPECT_EQ(talk(), refusal(11, wire::rc::kValue));
}

TEST_F(DialogueTest, AReloadIsAnsweredWhenItIsDoneAndNothingIsReadMeanwhile) {
  feed(proto::encode(proto::Request(proto::Hello{})));
  talk();
  const Bytes reload = proto::encode(proto::Request(proto::Reload{}));
  feed(joined({reload, proto::encode(proto::Request(proto::Hello{}))}));
  EXPECT_EQ(talk(), Bytes{});
  EXPECT_FALSE(dialogue_.wants_input());
  dialogue_.reply(ReloadReply{{true, "read again"}});
  EXPECT_EQ(talk(), joined({proto::encode(proto::Reply(proto::ReloadReply{{true, "read again"}})),
                            proto::encode(proto::Reply(proto::HelloReply{1, "test", 7}))}));
  manager_.refuse = wire::from_manager(wire::rc::kDisabled);
  feed(reload);
  EXPECT_EQ(talk(), refusal(8, wire::rc::kDisabled));
  EXPECT_TRUE(dialogue_.wants_input());
}

TEST_F(DialogueTest, AnAdministratorsOrdersAreAnsweredOrRefused) {
  feed(proto::encode(proto::Request(proto::Hello{})));
  talk();
  const proto::Request asked[] = {proto::ListenersRequest{}, proto::ListenerRequest{proto::RemoveListener{"two"}}};
  const proto::Reply told[] = {
      proto::ListenersReply{{proto::ListenerEntry{.name = "main", .path = "/a"}}},
      proto::ListenerReply{{true, "made"}},
  };
  for (std::size_t i = 0; i < std::size(asked); ++i) {
    manager_.refuse.reset();
    feed(proto::encode(asked[i]));
    EXPECT_EQ(talk(), proto::encode(told[i]));
    manager_.refuse = wire::from_manager(wire::rc::kDisabled);
    feed(proto::encode(asked[i]));
    EXPECT_EQ(talk(), refusal(proto::type_of(asked[i]), wire::rc::kDisabled));
  }
}

TEST_F(DialogueTest, ACancelWithoutACommandHasNoEffect) {
  feed(joined({proto::encode(proto::Request(proto::Hello{})), proto::encode(proto::Request(proto::Cancel{}))}));
  talk();
  EXPECT_EQ(manager_.cancels, 0);
}

TEST_F(DialogueTest, AClientThatStoppedSendingStillGetsResponses) {
  feed(joined({random_command(1), random_command(2)}));
  talk();
  dialogue_.end_of_input();
  EXPECT_FALSE(dialogue_.finished());
  dialogue_.answer(wire::error_response(1));
  talk();
  EXPECT_EQ(manager_.submitted.size(), 2U);
  EXPECT_FALSE(dialogue_.finished());
  dialogue_.answer(wire::error_response(2));
  EXPECT_FALSE(dialogue_.finished());
  talk();
  EXPECT_TRUE(dialogue_.finished());
}

TEST_F(DialogueTest, HalfAFrameAtTheEndIsIgnored) {
  feed(Bytes(5, 0x80));
  EXPECT_TRUE(talk().empty());
  dialogue_.end_of_input();
  EXPECT_FALSE(dialogue_.step());
  EXPECT_TRUE(dialogue_.finished());
}

TEST_F(DialogueTest, DroppedInputLeavesOnlyTheAnswerInFlight) {
  feed(joined({random_command(1), random_command(2)}));
  talk();
  dialogue_.drop_input();
  EXPECT_FALSE(dialogue_.finished());
  dialogue_.answer(wire::error_response(1));
  EXPECT_EQ(talk(), wire::error_response(1));
  EXPECT_TRUE(dialogue_.finished());
  EXPECT_EQ(manager_.submitted.size(), 1U);
}

TEST(RefusedDialogue, TheFirstFrameIsAnsweredAndItEnds) {
  const auto table = wire::CommandTable::builtin();
  const std::vector<std::pair<Bytes, Bytes>> cases{
      {random_command(1), wire::error_response(kFull)},
      {header(3), wire::error_response(kFull)},
      {proto::encode(proto::Request(proto::Hello{})), refusal(1, wire::rc::kMemory)},
  };
  for (const auto& [sent, wanted] : cases) {
    FakeManager manager;
    Dialogue dialogue(manager, table, 4096, {.locality = 0, .refusal = kFull});
    dialogue.feed(sent);
    EXPECT_TRUE(dialogue.step());
    EXPECT_EQ(wire::to_bytes(dialogue.output()), wanted);
    dialogue.sent(dialogue.output().size());
    EXPECT_TRUE(dialogue.finished());
    EXPECT_TRUE(manager.submitted.empty());
  }
}

}  // namespace
}  // namespace tpmspace::proto
