// Listeners on the wire: encoded listeners decode to the same, and other bytes are rejected.
#include "proto/listener_messages.h"

#include <gtest/gtest.h>

#include "proto/control.h"

namespace tpmspace::proto {
namespace {

ListenerEntry listener() {
  return {.name = "tpm2",
          .path = "/run/tpmspace/two",
          .mode = 0660,
          .uid = 33,
          .gid = kKeep,
          .profile = "storage",
          .locality = 2,
          .connections = 4,
          .limit = 5,
          .at_run_time = true,
          .chip = "other",
          .separate_users = true};
}

TEST(Listeners, ComeBackAsTheyWere) {
  ListenerEntry plain;
  plain.name = "main";
  const std::vector<ListenerEntry> listeners{plain, listener()};
  EXPECT_EQ(decode_listeners(encode_listeners(listeners)), listeners);
  auto lost = listeners;
  lost[1].chip_lost = true;
  EXPECT_EQ(decode_listeners(encode_listeners(lost)), lost);
  for (const ListenerOrder& order : {ListenerOrder(listener()), ListenerOrder(RemoveListener{"tpm2"})})
    EXPECT_EQ(decode_listener_order(encode_listener_order(order)), order);
  EXPECT_EQ(decode_outcome(encode_outcome({true, "done"})), (Outcome{true, "done"}));
}

TEST(Listeners, CutShortAreNone) {
  const auto listeners = encode_listeners({listener()}), order = encode_listener_order(listener()),
             outcome = encode_outcome({true, "done"});
  for (std::size_t n = 0; n < listeners.size(); ++n)
    EXPECT_FALSE(decode_listeners(wire::ByteView(listeners).first(n))) << n;
  for (std::size_t n = 0; n < order.size(); ++n)
    EXPECT_FALSE(decode_listener_order(wire::ByteView(order).first(n))) << n;
  for (std::size_t n = 0; n < outcome.size(); ++n) EXPECT_FALSE(decode_outcome(wire::ByteView(outcome).first(n))) << n;
}

TEST(Listeners, OfAnotherVersionOrTooManyAreNone) {
  auto listeners = encode_listeners({listener()});
  listeners[1] = 2;
  EXPECT_FALSE(decode_listeners(listeners));
  listeners[1] = 1;
  listeners[3] = kMaxListeners + 1;
  EXPECT_FALSE(decode_listeners(listeners));
  auto order = encode_listener_order(RemoveListener{"x"});
  order.push_back(0);
  EXPECT_FALSE(decode_listener_order(order));
  order[0] = 3;
  EXPECT_FALSE(decode_listener_order(order));
}

TEST(Listeners, OfAnOlderServerSayNothingOfALostChip) {
  auto one = listener();
  one.chip_lost = true;
  auto octets = encode_listeners({one});
  octets.pop_back();
  --octets[5];  // the record's length
  EXPECT_EQ(decode_listeners(octets), std::vector{listener()});
  octets = encode_listeners({one});
  octets.back() = 2;
  EXPECT_FALSE(decode_listeners(octets));
}

// Found by a fuzzer: a flag has two values.
TEST(Listeners, HaveOneForm) {
  auto order = encode_listener_order(listener());
  EXPECT_TRUE(decode_listener_order(order));
  order.back() = 2;
  EXPECT_FALSE(decode_listener_order(order));
}

TEST(Listeners, AreControlMessages) {
  const auto read = [](const wire::Bytes& frame) {
    FrameReader reader(4096, kMaxReplySize);
    reader.feed(frame);
    return std::get<ControlFrame>(*reader.next());
  };
  for (const Request& request : {Request(Narrow{"safe"}), Request(Reload{}), Request(ListenersRequest{}),
                                 Request(ListenerRequest{listener()}), Request(ListenerRequest{RemoveListener{"x"}})}) {
    const auto back = decode_request(read(encode(request)));
    ASSERT_TRUE(back);
    EXPECT_EQ(encode(*back), encode(request));
  }
  for (const Reply& reply : {Reply(NarrowReply{}), Reply(ReloadReply{{false, "line 3"}}),
                             Reply(ListenersReply{{listener()}}), Reply(ListenerReply{{true, "there"}})}) {
    const auto back = decode_reply(read(encode(reply)));
    ASSERT_TRUE(back);
    EXPECT_EQ(encode(*back), encode(reply));
  }
}

}  // namespace
}  // namespace tpmspace::proto
