#include "space/books.h"

#include <gtest/gtest.h>

namespace tpmspace::space {
namespace {

Books some_books() {
  Books books;
  books.last_space = 2;
  books.tick = 9;
  books.newest_sequence = 7;
  books.reset_count = 3;
  Space space;
  space.owner = OwnerId{1000};
  space.objects[0x80000000] = Object{false, {1, 2, 3}, 5};
  space.objects[0x80000001] = Object{true, {}, 6};
  books.spaces[SpaceId{1}] = space;
  books.spaces[SpaceId{2}] = Space{};
  books.slots.push_back(Slot{wire::TpmHandle{0x80000000}, SpaceId{1}, wire::ClientHandle{0x80000001}});
  books.slots.push_back(Slot{wire::TpmHandle{0x80000001}, SpaceId{}, wire::ClientHandle{}});
  Session session;
  session.handle = 0x03000004;
  session.owner = OwnerId{1000};
  session.space = SpaceId{1};
  session.context = {9, 9};
  session.sequence = 7;
  books.sessions[4] = session;
  books.unwanted_sessions.push_back(UnwantedSession{0x02000005, true});
  return books;
}

TEST(Books, TheImageIsTheBooks) {
  const auto image = encode(some_books());
  const auto back = decode(image);
  ASSERT_TRUE(back);
  EXPECT_EQ(encode(*back), image);
  EXPECT_EQ(back->sessions.at(4).handle, 0x03000004U);
  EXPECT_EQ(back->spaces.at(SpaceId{1}).objects.at(0x80000000).context, (wire::Bytes{1, 2, 3}));
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

TEST(Books, CheckFindsWhatMustNotBe) {
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
}

}  // namespace
}  // namespace tpmspace::space
