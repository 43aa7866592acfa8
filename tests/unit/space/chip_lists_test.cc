#include "space/chip_lists.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <set>

#include "../../support/any_numbers.h"
#include "wire/command_table.h"
#include "wire/response.h"

namespace tpmspace::space {
namespace {

using wire::Bytes;
using wire::ByteView;
using wire::Writer;

constexpr std::uint32_t kHandles = 1, kCommands = 2;

// A TPM that only lists, in pages of any size.
class ListingTpm : public wire::Tpm {
 public:
  std::vector<std::uint32_t> words;
  std::uint32_t page = 254;
  bool always_more = false;
  int asked = 0;

  Answer transact(ByteView command, std::uint8_t /*locality*/) override {
    ++asked;
    return wire::success_response(list(command.subspan(wire::kHeaderSize)));
  }
  [[nodiscard]] Bytes list(ByteView parameters) const {
    wire::Reader in(parameters);
    const auto capability = *in.u32(), first = *in.u32(), count = std::min(*in.u32(), page);
    const auto place = [&](std::uint32_t word) {
      return capability == kCommands ? wire::CommandAttributes{word}.code() : word;
    };
    std::vector<std::uint32_t> from;
    std::copy_if(words.begin(), words.end(), std::back_inserter(from), [&](auto word) { return place(word) >= first; });
    const std::size_t given = std::min<std::size_t>(from.size(), count);
    Writer out;
    out.u8(always_more || given < from.size() ? 1 : 0).u32(capability).u32(static_cast<std::uint32_t>(given));
    for (std::size_t i = 0; i < given; ++i) out.u32(from[i]);
    return out.take();
  }
};

// The response for a client of the view.
TpmPort::Result<Bytes> ask(ListingTpm& tpm, const View& view, const CapabilityQuery& query) {
  TpmPort port(tpm, wire::CommandTable::builtin(), [] { return std::uint64_t{0}; });
  return ChipLists(view, port).parameters(query, tpm.list(question(view, query)));
}

// As a TPM would answer that has these only.
Bytes as_of_tpm(const std::vector<std::uint32_t>& shown, const CapabilityQuery& query) {
  const std::size_t given = std::min({shown.size(), std::size_t{query.count}, std::size_t{254}});
  Writer out;
  out.u8(given < shown.size() ? 1 : 0).u32(query.capability).u32(static_cast<std::uint32_t>(given));
  for (std::size_t i = 0; i < given; ++i) out.u32(shown[i]);
  return out.take();
}

RC_GTEST_PROP(ChipLists, ShowWhatTheViewHasAndNothingElse, ()) {
  const auto number = rc::gen::inRange<std::uint32_t>(0, 60);
  const std::set<std::uint32_t> there = *rc::gen::container<std::set<std::uint32_t>>(number);
  const wire::Numbers visible = *support::any_numbers(0, 60);
  const std::uint32_t from = *number;
  const std::uint32_t kind = *rc::gen::element(0x81000000U, 0x01000000U);

  ListingTpm tpm;
  tpm.page = *rc::gen::inRange<std::uint32_t>(1, 9);
  View view;
  std::vector<wire::Numbers::Range> ranges;
  for (const auto& range : visible.ranges()) ranges.push_back({kind + range.first, kind + range.last});
  (kind == 0x81000000 ? view.persistent : view.nv) = wire::Numbers(ranges);
  // A window that begins in the middle of the existing handles.
  const std::uint32_t base = kind == 0x81000000 && *rc::gen::arbitrary<bool>() ? 0x81000000 + *number : 0;
  view.persistent_base = base;

  std::vector<std::uint32_t> shown;
  for (const std::uint32_t one : there) {
    tpm.words.push_back(kind + one);
    if (base != 0 && kind + one < base) continue;
    const std::uint32_t known_as = base == 0 ? kind + one : 0x81000000 + (kind + one - base);
    if (known_as - kind >= from && visible.contains(known_as - kind)) shown.push_back(known_as);
  }
  const CapabilityQuery query{kHandles, kind + from, *rc::gen::inRange<std::uint32_t>(0, 12)};
  RC_PRE(hides(&view, query));
  RC_ASSERT(*ask(tpm, view, query) == as_of_tpm(shown, query));
}

RC_GTEST_PROP(ChipLists, OfCommandsKeepTheirAttributes, ()) {
  const std::set<std::uint32_t> there = *rc::gen::container<std::set<std::uint32_t>>(rc::gen::inRange(0x11FU, 0x150U));
  View view;
  view.commands = *support::any_numbers(0x11F, 0x150);
  ListingTpm tpm;
  tpm.page = *rc::gen::inRange<std::uint32_t>(1, 9);
  const CapabilityQuery query{kCommands, *rc::gen::inRange(0x11EU, 0x151U), *rc::gen::inRange<std::uint32_t>(0, 12)};
  std::vector<std::uint32_t> shown;
  for (const std::uint32_t code : there) {
    const std::uint32_t word = code | *rc::gen::inRange(0U, 128U) << 22;
    tpm.words.push_back(word & ~0x20000000U);
    if (code >= query.property && view.commands.contains(code)) shown.push_back(word & ~0x20000000U);
  }
  RC_ASSERT(*ask(tpm, view, query) == as_of_tpm(shown, query));
}

TEST(ChipLists, AWindowHasAnEnd) {
  ListingTpm tpm;
  tpm.words = {0x810FFFFF, 0x81100000, 0x8111FFFF, 0x81120000};
  View view{.persistent = wire::Numbers::all(), .persistent_base = 0x81100000};
  const auto listed = [&](std::uint32_t from) { return *ask(tpm, view, {kHandles, from, 10}); };
  EXPECT_EQ(listed(0x81000000), Writer().u8(0).u32(1).u32(2).u32(0x81000000).u32(0x8101FFFF).take());
  EXPECT_EQ(listed(0x8101FFFF), Writer().u8(0).u32(1).u32(1).u32(0x8101FFFF).take());
  EXPECT_EQ(listed(0x81020000), Writer().u8(0).u32(1).u32(0).take());
  EXPECT_EQ(listed(0x81100000), Writer().u8(0).u32(1).u32(0).take());
  EXPECT_EQ(listed(0x81FFFFFF), Writer().u8(0).u32(1).u32(0).take());
}

TEST(ChipLists, OneThatIsNoListIsNotBelieved) {
  const View view;  // hides everything
  const CapabilityQuery query{kHandles, 0x01000000, 10};
  ListingTpm tpm;
  tpm.words = {0x01000005, 0x01000004};
  EXPECT_EQ(ask(tpm, view, query).error(), wire::rc::kFailure) << "out of order";
  tpm.words = {0x01000005, 0x01000005};
  EXPECT_EQ(ask(tpm, view, query).error(), wire::rc::kFailure) << "twice";
  tpm.words = {0x81000005};
  EXPECT_EQ(ask(tpm, view, query).error(), wire::rc::kFailure) << "of another kind";
  tpm.words.clear();
  for (std::uint32_t i = 0; i < 1000; ++i) tpm.words.push_back(0x01000000 + i);
  tpm.page = 1;
  tpm.always_more = true;
  EXPECT_EQ(ask(tpm, view, query).error(), wire::rc::kFailure) << "without an end";
  EXPECT_LT(tpm.asked, 100);
  TpmPort port(tpm, wire::CommandTable::builtin(), [] { return std::uint64_t{0}; });
  const Bytes other = Writer().u8(0).u32(6).u32(0).take(), longer = Writer().u8(0).u32(1).u32(UINT32_MAX).take();
  EXPECT_FALSE(ChipLists(view, port).parameters(query, other));
  EXPECT_FALSE(ChipLists(view, port).parameters(query, longer));
  EXPECT_FALSE(ChipLists(view, port).parameters(query, {}));
  const Bytes no_selection = Writer().u8(0).u32(5).u32(2).u16(11).u8(3).raw(Bytes(3)).take();
  EXPECT_FALSE(ChipLists(view, port).parameters({5, 0, 1}, no_selection));
}

TEST(View, AWindowIsOfPersistentHandles) {
  EXPECT_TRUE(View{}.is_possible());
  EXPECT_TRUE(View{.persistent_base = 0x81000000}.is_possible());
  EXPECT_TRUE(View{.persistent_base = 0x81FE0000}.is_possible());
  EXPECT_FALSE(View{.persistent_base = 0x81FE0001}.is_possible());
  EXPECT_FALSE(View{.persistent_base = 0x80FFFFFF}.is_possible());
}

}  // namespace
}  // namespace tpmspace::space
