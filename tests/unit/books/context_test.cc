#include "books/context.h"

#include <gtest/gtest.h>

namespace tpmspace::space {
namespace {

wire::Bytes context(std::uint32_t saved_handle, std::size_t blob = 10) {
  return wire::Writer().u64(42).u32(saved_handle).u32(0x40000001).tpm2b(wire::Bytes(blob)).take();
}

TEST(Context, TellsItsKind) {
  EXPECT_TRUE(read_context(context(0x80000000))->is_object());
  EXPECT_TRUE(read_context(context(0x80000002))->is_object());
  EXPECT_TRUE(read_context(context(0x80000001))->is_sequence());
  EXPECT_TRUE(read_context(context(0x02000003))->is_session());
  EXPECT_TRUE(read_context(context(0x03000003))->is_session());
  EXPECT_EQ(read_context(context(0x80000000))->sequence, 42U);
  EXPECT_EQ(read_context(context(0x80000000))->hierarchy, 0x40000001U);
}

TEST(Context, IsRefusedAsLibtpmsDoes) {
  EXPECT_EQ(read_context(context(0x80000005)).error(), 0x1C4U);
  EXPECT_EQ(read_context(context(0x81000000)).error(), 0x1C4U);
  const auto whole = context(0x80000000);
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_EQ(read_context(wire::ByteView(whole).first(size)).error(), 0x1DAU) << size;
  auto longer = whole;
  longer.push_back(0);
  EXPECT_EQ(read_context(longer).error(), 0x095U);
}

TEST(Context, DigestIsOfEveryOctet) {
  auto one = context(0x02000000);
  const auto before = digest_of(one);
  EXPECT_EQ(digest_of(one), before);
  one.back() ^= 1;
  EXPECT_NE(digest_of(one), before);
}

}  // namespace
}  // namespace tpmspace::space
