// Which indices are PIN Fail indices, asked of a TPM that says anything.
#include "space/pin_indices.h"

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <utility>

#include "wire/response.h"

namespace tpmspace::space {
namespace {

using wire::Writer;

constexpr std::uint32_t kIndex = 0x01500020;
constexpr std::uint32_t kPinFail = 0x02060082, kPinPass = 0x02060092, kOrdinary = 0x02060002;
constexpr wire::Rc kNoSuchIndex = 0x18B;

class TpmWithIndices : public wire::Tpm {
 public:
  std::map<std::uint32_t, std::uint32_t> attributes;
  std::optional<wire::Rc> always;
  int asked = 0;

  Answer transact(wire::ByteView command, std::uint8_t /*locality*/) override {
    ++asked;
    if (always) return wire::error_response(*always);
    const auto index = *wire::Reader(command.subspan(wire::kHeaderSize)).u32();
    const auto found = attributes.find(index);
    if (found == attributes.end()) return wire::error_response(kNoSuchIndex);
    const auto area = Writer().u32(index).u16(0x000B).u32(found->second).u16(0).u16(8).take();
    return wire::success_response(Writer().tpm2b(area).u16(0).bytes());
  }
};

class PinIndicesTest : public testing::Test {
 protected:
  // With other users of the chip, or without.
  void others(bool there) {
    chip_.keep_free_objects = there ? 1 : 0;
    chip_.keep_free_sessions = 0;
  }
  bool is_one(std::uint32_t index = kIndex) { return indices_.is_one(index).value(); }
  int asked() { return std::exchange(tpm_.asked, 0); }

  TpmWithIndices tpm_;
  TpmPort port_{tpm_, wire::CommandTable::builtin(), [] { return std::uint64_t{0}; }};
  Chip chip_;
  PinIndices indices_{chip_, port_};
};

TEST_F(PinIndicesTest, ByTheTypeAlone) {
  const struct {
    std::uint32_t attributes;
    bool expected;
  } cases[] = {{kPinFail, true},   {0x82, true},        {kPinPass, false},
               {kOrdinary, false}, {0x02060012, false}, {~0U, false}};
  for (const auto& [attributes, expected] : cases) {
    indices_.forget();
    tpm_.attributes[kIndex] = attributes;
    EXPECT_EQ(is_one(), expected) << std::hex << attributes;
  }
}

TEST_F(PinIndicesTest, IsAskedOnce) {
  others(false);
  tpm_.attributes = {{kIndex, kPinFail}, {kIndex + 1, kOrdinary}};
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(is_one());
    EXPECT_FALSE(is_one(kIndex + 1));
  }
  EXPECT_EQ(asked(), 2);
  indices_.doubt(kIndex + 1);
  EXPECT_FALSE(is_one(kIndex + 1));
  EXPECT_EQ(asked(), 0) << "nobody else can have changed it";
  indices_.forget();
  EXPECT_TRUE(is_one());
  EXPECT_EQ(asked(), 1);
}

TEST_F(PinIndicesTest, WhereOthersDefineThemToo) {
  others(true);
  tpm_.attributes = {{kIndex, kPinFail}, {kIndex + 1, kOrdinary}};
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(is_one());
  EXPECT_EQ(asked(), 3) << "it could be another one by now";
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(is_one(kIndex + 1));
  EXPECT_EQ(asked(), 1);
  tpm_.attributes[kIndex + 1] = kPinFail;
  indices_.doubt(kIndex + 1);
  EXPECT_TRUE(is_one(kIndex + 1)) << "after one wrong try";
  tpm_.attributes[kIndex + 1] = kOrdinary;
  EXPECT_FALSE(is_one(kIndex + 1));
}

TEST_F(PinIndicesTest, AMissingIndexIsNotRemembered) {
  EXPECT_FALSE(is_one());
  tpm_.attributes[kIndex] = kPinFail;
  EXPECT_TRUE(is_one());
}

TEST_F(PinIndicesTest, AFailedQueryIsNoAnswer) {
  for (const wire::Rc code : {wire::rc::kFailure, wire::rc::kRetry, wire::rc::kCommandCode}) {
    tpm_.always = code;
    EXPECT_EQ(indices_.is_one(kIndex).error(), code);
    EXPECT_EQ(indices_.known(), 0U);
  }
}

TEST_F(PinIndicesTest, IndicesUnknownToNvReadPublicCountAsPinFail) {
  EXPECT_TRUE(is_one(0x11500020));
  EXPECT_TRUE(is_one(0x12500020));
  EXPECT_EQ(asked(), 0);
}

TEST_F(PinIndicesTest, AreBounded) {
  for (std::uint32_t i = 0; i < 3 * PinIndices::kMaxKnown; ++i) {
    tpm_.attributes = {{kIndex + i, kOrdinary}};
    EXPECT_FALSE(is_one(kIndex + i));
    EXPECT_LE(indices_.known(), PinIndices::kMaxKnown);
  }
}

// Whatever defines or removes an index, by its row: those that name one to do so, and those that empty a hierarchy.
TEST(MayChangeIndices, EveryCommandThatCan) {
  const auto& table = wire::CommandTable::builtin();
  for (const auto& row : table.rows()) {
    const auto names = row.names.what;
    const bool defines = names == wire::Names::kNvPublic || names == wire::Names::kNvPublic2;
    const bool removes = row.code == wire::cc::kNVUndefineSpace || row.code == wire::cc::kNVUndefineSpaceSpecial;
    const bool can = defines || removes || row.extensive || row.permission == wire::PermissionClass::kVendor;
    EXPECT_TRUE(!can || may_change_indices(row)) << row.name;
  }
  for (const auto code : {wire::cc::kNVRead, wire::cc::kNVWrite, wire::cc::kNVIncrement, wire::cc::kPolicySecret,
                          wire::cc::kStartAuthSession, wire::cc::kPCRExtend})
    EXPECT_FALSE(may_change_indices(*table.find(code))) << code;
  wire::CommandTable chips = table;
  const wire::CommandAttributes vendors[] = {wire::CommandAttributes{0x20000001}, wire::CommandAttributes{0x1FF}};
  (void)chips.adopt(vendors);
  for (const auto code : {0x20000001U, 0x1FFU}) EXPECT_TRUE(may_change_indices(*chips.find(code))) << code;
}

}  // namespace
}  // namespace tpmspace::space
