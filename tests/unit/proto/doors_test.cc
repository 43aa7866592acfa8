// Doors on the wire: what goes in comes out, and octets that are none are nothing.
#include "proto/doors.h"

#include <gtest/gtest.h>

#include "proto/control.h"

namespace tpmspace::proto {
namespace {

DoorEntry door() {
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

TEST(Doors, ComeBackAsTheyWere) {
  DoorEntry plain;
  plain.name = "main";
  const std::vector<DoorEntry> doors{plain, door()};
  EXPECT_EQ(decode_doors(encode_doors(doors)), doors);
  auto lost = doors;
  lost[1].chip_lost = true;
  EXPECT_EQ(decode_doors(encode_doors(lost)), lost);
  for (const DoorOrder& order : {DoorOrder(door()), DoorOrder(RemoveDoor{"tpm2"})})
    EXPECT_EQ(decode_door_order(encode_door_order(order)), order);
  EXPECT_EQ(decode_outcome(encode_outcome({true, "done"})), (Outcome{true, "done"}));
}

TEST(Doors, CutShortAreNone) {
  const auto doors = encode_doors({door()}), order = encode_door_order(door()),
             outcome = encode_outcome({true, "done"});
  for (std::size_t n = 0; n < doors.size(); ++n) EXPECT_FALSE(decode_doors(wire::ByteView(doors).first(n))) << n;
  for (std::size_t n = 0; n < order.size(); ++n) EXPECT_FALSE(decode_door_order(wire::ByteView(order).first(n))) << n;
  for (std::size_t n = 0; n < outcome.size(); ++n) EXPECT_FALSE(decode_outcome(wire::ByteView(outcome).first(n))) << n;
}

TEST(Doors, OfAnotherVersionOrTooManyAreNone) {
  auto doors = encode_doors({door()});
  doors[1] = 2;
  EXPECT_FALSE(decode_doors(doors));
  doors[1] = 1;
  doors[3] = kMaxDoors + 1;
  EXPECT_FALSE(decode_doors(doors));
  auto order = encode_door_order(RemoveDoor{"x"});
  order.push_back(0);
  EXPECT_FALSE(decode_door_order(order));
  order[0] = 3;
  EXPECT_FALSE(decode_door_order(order));
}

TEST(Doors, OfAnOlderServerSayNothingOfALostChip) {
  auto one = door();
  one.chip_lost = true;
  auto octets = encode_doors({one});
  octets.pop_back();
  --octets[5];  // the record's length
  EXPECT_EQ(decode_doors(octets), std::vector{door()});
  octets = encode_doors({one});
  octets.back() = 2;
  EXPECT_FALSE(decode_doors(octets));
}

// What a fuzzer found: a flag has two values.
TEST(Doors, HaveOneForm) {
  auto order = encode_door_order(door());
  EXPECT_TRUE(decode_door_order(order));
  order.back() = 2;
  EXPECT_FALSE(decode_door_order(order));
}

TEST(Doors, AreControlMessages) {
  const auto read = [](const wire::Bytes& frame) {
    FrameReader reader(4096, kMaxReplySize);
    reader.feed(frame);
    return std::get<ControlFrame>(*reader.next());
  };
  for (const Request& request : {Request(Narrow{"safe"}), Request(Reload{}), Request(DoorsRequest{}),
                                 Request(DoorRequest{door()}), Request(DoorRequest{RemoveDoor{"x"}})}) {
    const auto back = decode_request(read(encode(request)));
    ASSERT_TRUE(back);
    EXPECT_EQ(encode(*back), encode(request));
  }
  for (const Reply& reply : {Reply(NarrowReply{}), Reply(ReloadReply{{false, "line 3"}}), Reply(DoorsReply{{door()}}),
                             Reply(DoorReply{{true, "there"}})}) {
    const auto back = decode_reply(read(encode(reply)));
    ASSERT_TRUE(back);
    EXPECT_EQ(encode(*back), encode(reply));
  }
}

}  // namespace
}  // namespace tpmspace::proto
