#include "books/books.h"

#include <gtest/gtest.h>

namespace tpmspace::space {
namespace {

Books some_books() {
  Books books;
  books.tick = 9;
  books.newest_sequence = 7;
  books.reset_count = 3;
  const SpaceId first = open_space(books, OwnerId{1000}, {.shares_tries = true});
  SpaceLimits seen;
  seen.part = {76, 77};
  seen.share = 50;
  seen.priority = 3;
  seen.pools = {Pool{.id = {5}, .sessions = 4, .objects = 3, .bytes = 2}, Pool{.id = {6}}};
  seen.view = std::make_shared<const View>(
      View{.commands = {{1, 3}, {5, 5}}, .nv = wire::Numbers::all(), .persistent_base = 0x81100000});
  seen.pins = std::make_shared<const wire::Numbers>(wire::Numbers{{0x01500020, 0x01500022}});
  open_space(books, OwnerId{1001}, seen);
  add_object(books, first, {0x80000000}, {false, {1, 2, 3}, 5, 0, CountsMisses::kYes, 9, 12, 7});
  books.last_twin = 7;
  add_object(books, first, {0x80000001}, {true, {}, 6});
  books.slots.push_back(Slot{wire::TpmHandle{0x80000000}, SpaceId{1}, wire::ClientHandle{0x80000001}});
  books.slots.push_back(Slot{wire::TpmHandle{0x80000001}, SpaceId{}, wire::ClientHandle{}});
  Session session;
  session.handle = 0x03000004;
  session.client = wire::ClientHandle{0x03000004};
  session.owner = OwnerId{1000};
  session.space = SpaceId{1};
  session.context = {9, 9};
  session.sequence = 7;
  session.bound_to_what_counts = true;
  session.log.auth_value = true;
  books.sessions[4] = session;
  books.unwanted_sessions.push_back(UnwantedSession{0x02000005, true});
  return books;
}

TEST(Books, ASpaceIsInEachPoolOnce) {
  Books books;
  SpaceLimits limits;
  limits.pools[0].id = {5};
  limits.pools[kMaxPools - 1].id = {5};
  open_space(books, OwnerId{7}, limits);
  EXPECT_EQ(check(books, Chip{}), "a space is in one pool twice");
}

TEST(Books, ASecludedSpaceTakesItsEntitiesAlong) {
  Books books;
  const SpaceId one = open_space(books, OwnerId{7}, {}), two = open_space(books, OwnerId{7}, {});
  const auto session = [&](std::uint32_t number, bool client_saved) -> Session& {
    Session out;
    out.handle = 0x03000000 | number;
    out.client = {out.handle};
    out.owner = OwnerId{7};
    out.space = one;
    out.client_saved = client_saved;
    return books.sessions.emplace(number, out).first->second;
  };
  const Session &used = session(1, false), &saved = session(2, true);
  books.spaces.at(one).tombstones[5] = {};
  SpaceLimits limits;
  limits.part = {98, 99};
  set_limits(books, one, limits);
  const Space &here = books.spaces.at(one), &there = books.spaces.at(two);
  EXPECT_TRUE(may_take_up(here, used));
  EXPECT_FALSE(may_take_up(there, used));
  EXPECT_TRUE(may_take_up(there, saved));
  EXPECT_FALSE(may_take_up(here, saved));
  EXPECT_TRUE(here.tombstones.empty());
}

TEST(Books, TheImageIsTheBooks) {
  const auto image = encode(some_books());
  const auto back = decode(image);
  ASSERT_TRUE(back);
  EXPECT_EQ(encode(*back), image);
  const SpaceLimits& seen = back->spaces.at(SpaceId{2}).limits;
  EXPECT_EQ(seen.part, (Part{76, 77}));
  EXPECT_EQ(seen.share, 50U);
  EXPECT_EQ(seen.priority, 3U);
  EXPECT_EQ(seen.pools[0], (Pool{.id = {5}, .sessions = 4, .objects = 3, .bytes = 2}));
  ASSERT_TRUE(seen.view);
  EXPECT_EQ(*seen.view, *some_books().spaces.at(SpaceId{2}).limits.view);
  EXPECT_EQ(back->spaces.at(SpaceId{1}).limits.view, nullptr);
  ASSERT_TRUE(seen.pins);
  EXPECT_EQ(*seen.pins, (wire::Numbers{{0x01500020, 0x01500022}}));
  EXPECT_EQ(back->spaces.at(SpaceId{1}).limits.pins, nullptr);
  EXPECT_EQ(back->pools, some_books().pools);
  EXPECT_EQ(back->sessions.at(4).handle, 0x03000004U);
  EXPECT_TRUE(back->sessions.at(4).bound_to_what_counts && back->sessions.at(4).log.auth_value);
  EXPECT_TRUE(back->spaces.at(SpaceId{1}).limits.shares_tries);
  EXPECT_FALSE(back->spaces.at(SpaceId{2}).limits.shares_tries);
  EXPECT_EQ(back->spaces.at(SpaceId{1}).objects.at(0x80000000).counts_misses, CountsMisses::kYes);
  EXPECT_EQ(back->spaces.at(SpaceId{1}).objects.at(0x80000000).context, (wire::Bytes{1, 2, 3}));
  EXPECT_EQ(back->spaces.at(SpaceId{1}).objects.at(0x80000000).made_by, 12U);
  EXPECT_EQ(back->spaces.at(SpaceId{1}).objects.at(0x80000000).twin, 7U);
  EXPECT_EQ(back->last_twin, 7U);
}

TEST(Books, NoPartOfAnImageIsAnImage) {
  auto image = encode(some_books());
  for (std::size_t size = 0; size < image.size(); ++size)
    EXPECT_FALSE(decode(wire::ByteView(image).first(size))) << size;
  image.push_back(0);
  EXPECT_FALSE(decode(image));
  image.pop_back();
  image[3] ^= 1;
  EXPECT_FALSE(decode(image)) << "another version";
}

TEST(Books, CheckFindsInvalidStates) {
  const Chip chip;
  EXPECT_EQ(check(some_books(), chip), std::nullopt);
  const auto broken = [&](auto change) {
    Books books = some_books();
    change(books);
    return check(books, chip).has_value();
  };
  EXPECT_TRUE(broken([](Books& b) { b.slots.push_back(b.slots[0]); })) << "one handle twice";
  EXPECT_TRUE(broken([](Books& b) { b.slots.erase(b.slots.begin()); })) << "neither loaded nor saved";
  EXPECT_TRUE(broken([](Books& b) { b.slots[0].object.value = 0x80000009; })) << "a slot of nothing";
  EXPECT_TRUE(broken([](Books& b) { b.sessions.at(4).handle = 0x03000005; })) << "another's number";
  EXPECT_TRUE(broken([](Books& b) { b.sessions.at(4).space = SpaceId{77}; })) << "a space that is not open";
  EXPECT_TRUE(broken([](Books& b) { b.unwanted_sessions[0].handle = 0x02000004; })) << "wanted and unwanted";
  EXPECT_TRUE(broken([](Books& b) {
    for (std::uint32_t i = 0; i < 3; ++i) b.unwanted_sessions.push_back(UnwantedSession{0x02000010 + i, true});
  })) << "more loaded than there are places";
  EXPECT_TRUE(broken([](Books& b) { b.last_space = 1; })) << "a space's number is still to come";
  EXPECT_TRUE(broken([](Books& b) { b.tick = 5; })) << "used in the future";
  EXPECT_TRUE(broken([](Books& b) { b.slots[1].tpm.value = 0x81000000; })) << "a slot that is none";
  EXPECT_TRUE(broken([](Books& b) { b.sessions.at(4).handle = 0x80000004; })) << "a session that is none";
  EXPECT_TRUE(broken([](Books& b) { b.sessions.at(4).owner = OwnerId{1001}; })) << "in another owner's space";
  EXPECT_TRUE(broken([](Books& b) { b.unwanted_sessions.push_back({0x03000005, false}); })) << "unwanted twice";
  EXPECT_TRUE(broken([](Books& b) { b.contexts.take({OwnerId{1000}, false}); })) << "an owner's sum";
  EXPECT_TRUE(broken([](Books& b) { b.objects_by_use.clear(); })) << "objects that nobody finds";
  EXPECT_TRUE(broken([](Books& b) { b.spaces_by_owner.clear(); })) << "spaces that nobody finds";
  EXPECT_TRUE(broken([](Books& b) {
    Space& space = b.spaces.begin()->second;
    space.taken_objects.insert(space.objects.begin()->first);
  })) << "there, and taken";
  EXPECT_TRUE(broken([](Books& b) { ++b.held.objects; })) << "the sum of all";
  EXPECT_TRUE(broken([](Books& b) { ++b.pools.at(PoolId{5}).spaces; })) << "a pool's sum";
  EXPECT_TRUE(broken([](Books& b) { b.pools.erase(PoolId{6}); })) << "a pool that nobody knows";
  EXPECT_TRUE(broken([](Books& b) {
    SpaceLimits twice;
    twice.pools = {Pool{.id = {5}}, Pool{.id = {5}}};
    set_limits(b, SpaceId{2}, twice);
  })) << "in one pool twice";
  EXPECT_TRUE(broken([](Books& b) {
    SpaceLimits beyond;
    beyond.view = std::make_shared<const View>(View{.persistent_base = 0x81FFFFFF});
    set_limits(b, SpaceId{2}, beyond);
  })) << "a window that is none";
  const auto object = [](Books& b, std::uint32_t handle) -> Object& {
    return b.spaces.at(SpaceId{1}).objects.at(handle);
  };
  EXPECT_TRUE(broken([&](Books& b) { object(b, 0x80000000).twin = 8; })) << "a twin that is still to be made";
  EXPECT_TRUE(broken([&](Books& b) { object(b, 0x80000001).twin = 7; })) << "a sequence is one's own";
  EXPECT_TRUE(broken([](Books& b) { b.sessions.at(4).left_pools[0] = PoolId{5}; })) << "left what it is in";
}

TEST(Books, OwnersTotalsAreRight) {
  Books books;
  const SpaceId first = open_space(books, OwnerId{1}, {});
  const SpaceId second = open_space(books, OwnerId{1}, {});
  const SpaceId other = open_space(books, OwnerId{2}, {});
  add_object(books, first, {0x80000000}, {false, {1, 2, 3}, 0});
  add_object(books, second, {0x80000000}, {false, {1, 2}, 0});
  add_object(books, other, {0x80000000}, {true, {1}, 0});
  const Payer one{OwnerId{1}, false}, administrators{{}, true};
  EXPECT_EQ(books.contexts.taken(one), 5U);
  EXPECT_EQ(books.held, (Holding{3, 3, 6}));
  set_limits(books, second, {.administers = true});
  EXPECT_EQ(books.contexts.taken(one), 3U);
  EXPECT_EQ(books.contexts.taken(administrators), 2U) << "all administrators are one";
  set_limits(books, second, {});
  set_context(books, first, {0x80000000}, {1});
  set_context(books, other, {0x80000000}, {});
  EXPECT_EQ(books.held, (Holding{3, 3, 3}));
  EXPECT_EQ(decode(encode(books))->contexts, books.contexts);
  erase_objects_if(books, [&](SpaceId space, auto, const auto&) { return space == second; });
  EXPECT_EQ(books.contexts.taken(one), 1U);
  erase_space(books, first);
  erase_space(books, second);
  EXPECT_EQ(books.contexts.taken(one), 0U);
  EXPECT_EQ(books.held, (Holding{1, 1, 0}));
}

TEST(Books, PoolsTotalsAreRight) {
  const auto in = [](std::uint64_t one, std::uint64_t other = 0) {
    SpaceLimits out;
    out.pools = {Pool{.id = {one}}, Pool{.id = {other}}};
    return out;
  };
  Books books;
  const SpaceId first = open_space(books, OwnerId{1}, in(7, 8));
  const SpaceId second = open_space(books, OwnerId{2}, in(7));
  const SpaceId free = open_space(books, OwnerId{1}, {});
  add_object(books, first, {0x80000000}, {false, {1, 2, 3}, 0});
  add_object(books, second, {0x80000000}, {false, {1, 2}, 0});
  add_object(books, free, {0x80000000}, {false, {1}, 0});
  using Sums = std::map<PoolId, Holding>;
  EXPECT_EQ(books.pools, (Sums{{{7}, {2, 2, 5}}, {{8}, {1, 1, 3}}}));
  set_limits(books, first, in(9, 7));
  EXPECT_EQ(books.pools, (Sums{{{7}, {2, 2, 5}}, {{9}, {1, 1, 3}}})) << "nobody is in 8 any more";
  set_context(books, first, {0x80000000}, {});
  EXPECT_EQ(books.pools, (Sums{{{7}, {2, 2, 2}}, {{9}, {1, 1, 0}}}));
  EXPECT_EQ(decode(encode(books))->pools, books.pools);
  erase_space(books, first);
  EXPECT_EQ(books.pools, (Sums{{{7}, {1, 1, 2}}}));
  erase_space(books, second);
  EXPECT_TRUE(books.pools.empty());
  EXPECT_EQ(books.held, (Holding{1, 1, 1}));
}

}  // namespace
}  // namespace tpmspace::space
