// A learned profile allows the commands seen, and no more than necessary.
#include "guard/learned.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "guard/shipped.h"
#include "guard/verdict.h"
#include "profiles.h"

namespace tpmspace::guard {
namespace {

using namespace support;
using wire::Command;

constexpr std::uint32_t kLearnedIndex = 0x01500016, kLearnedKey = 0x81000001, kLearnedObject = 0x80000000;

Profile learned(const std::vector<Command>& commands, std::uint8_t locality = 0) {
  Profile out;
  for (const auto& one : commands) out = learn(std::move(out), one, locality);
  return out;
}
Profile learned(ByteView bytes, std::uint8_t locality = 0) {
  return learned({parsed(wire::to_bytes(bytes))}, locality);
}
bool allows(const Profile& profile, const Command& command) {
  return judge(profile, command, 0).allowed();
}
std::vector<Command> some_commands() {
  std::vector<Command> out;
  for (int n = *rc::gen::inRange(1, 6); n > 0; --n) out.push_back(any_command());
  return out;
}
Profile only(const std::vector<wire::CommandCode>& codes) {
  Profile out;
  for (const auto code : codes) out.commands = out.commands | Numbers::one(code);
  out.localities = Numbers::one(0);
  return out;
}

Bytes nv(wire::CommandCode code, std::uint32_t authority, ByteView parameters) {
  return command(code, {authority, kLearnedIndex}, password(), parameters);
}
Bytes quote(ByteView authorization) {
  const Bytes pcrs = Writer().u32(1).u16(kSha256).u8(3).u8(0x81).u8(0).u8(0x80).take();
  return command(cc::kQuote, {kLearnedObject}, authorization, Writer().u16(0).u16(kAlgNull).raw(pcrs).take());
}

TEST(Learned, OfACommandThatNeedsNothingElse) {
  EXPECT_EQ(learned(get_random()), only({cc::kGetRandom}));
  EXPECT_EQ(learned(sign(kLearnedObject)), only({cc::kSign}));
}

TEST(Learned, OnlyTheUseOfTheHandleIsLearned) {
  const struct {
    std::string what;
    Bytes bytes;
    wire::CommandCode code;
    std::vector<std::pair<Numbers Profile::*, Numbers>> sets;
  } cases[] = {
      {"a primary key", create_primary(kOwner), cc::kCreatePrimary, {{&Profile::hierarchies, {{kOwner, kOwner}}}}},
      {"a key under it",
       create(kLearnedKey),
       cc::kCreate,
       {{&Profile::persistent_parent, {{kLearnedKey, kLearnedKey}}}}},
      {"signing", sign(kLearnedKey), cc::kSign, {{&Profile::persistent_use, {{kLearnedKey, kLearnedKey}}}}},
      {"its public area",
       read_public(kLearnedKey),
       cc::kReadPublic,
       {{&Profile::persistent_public, {{kLearnedKey, kLearnedKey}}}}},
      {"making it persistent",
       evict_control(kLearnedObject, kLearnedKey),
       cc::kEvictControl,
       {{&Profile::hierarchies, {{kOwner, kOwner}}}, {&Profile::persistent_evict, {{kLearnedKey, kLearnedKey}}}}},
      {"an NV index by itself",
       nv(cc::kNVRead, kLearnedIndex, Writer().u32(8).take()),
       cc::kNVRead,
       {{&Profile::nv_read, {{kLearnedIndex, kLearnedIndex}}}, {&Profile::nv_pin, {{kLearnedIndex, kLearnedIndex}}}}},
      {"a session that is bound to one",
       start_session(SessionType::kHmac, kNull, kLearnedIndex),
       cc::kStartAuthSession,
       {{&Profile::nv_authorize, {{kLearnedIndex, kLearnedIndex}}},
        {&Profile::nv_pin, {{kLearnedIndex, kLearnedIndex}}}}},
      {"a session that is bound to a storage key",
       start_session(SessionType::kHmac, kNull, kLearnedKey),
       cc::kStartAuthSession,
       {{&Profile::persistent_parent, {{kLearnedKey, kLearnedKey}}}}},
      {"by the owner",
       nv(cc::kNVWrite, kOwner, Writer().u16(0).u16(0).take()),
       cc::kNVWrite,
       {{&Profile::hierarchies, {{kOwner, kOwner}}},
        {&Profile::nv_by_owner, {{kLearnedIndex, kLearnedIndex}}},
        {&Profile::nv_write, {{kLearnedIndex, kLearnedIndex}}}}},
      {"the PCRs of a quote", quote(password()), cc::kQuote, {{&Profile::pcr_read, {{0, 0}, {7, 7}, {23, 23}}}}},
      {"every NV index, if they are all locked",
       command(cc::kNVGlobalWriteLock, {kOwner}, password(), {}),
       cc::kNVGlobalWriteLock,
       {{&Profile::hierarchies, {{kOwner, kOwner}}}, {&Profile::nv_lock, {{0x01000000, 0x01FFFFFF}}}}},
  };
  for (const auto& [what, bytes, code, sets] : cases) {
    Profile wanted = only({code});
    for (const auto& [set, numbers] : sets) wanted.*set = numbers;
    EXPECT_EQ(learned(bytes), wanted) << what;
  }
}

TEST(Learned, AnIndexThatIsDefined) {
  const Bytes area = Writer().u32(kLearnedIndex).u16(kSha256).u32(0x02020002).u16(0).u16(8).take();
  const auto got =
      learned(command(cc::kNVDefineSpace, {kOwner}, password(), Writer().u16(3).raw(Bytes(3)).tpm2b(area).take()));
  EXPECT_EQ(got.nv_define, Numbers::one(kLearnedIndex)) << "behind a TPM2B of odd length";
  EXPECT_EQ(got.hierarchies, Numbers::one(kOwner));
}

TEST(Learned, SpendingACommitmentNeedsCommit) {
  const Bytes scheme = Writer().u16(0x001A).u16(kSha256).u16(1).u16(0x8024).u32(kNull).u16(0).take();
  const auto got =
      learned(command(cc::kSign, {kLearnedObject}, password(), Writer().tpm2b(Bytes(32)).raw(scheme).take()));
  EXPECT_EQ(got, only({cc::kSign, cc::kCommit}));
}

// An unreadable parameter is allowed to a client with all permissions of its kind.
TEST(Learned, AParameterThatIsEncryptedMayNameAnything) {
  const auto start = parsed(command(cc::kEvictControl, {kOwner, kLearnedObject}, authorization(0x02000000, 0x21),
                                    Writer().u32(kLearnedKey).take()));
  EXPECT_EQ(learned({start}).persistent_evict, Numbers::all());
  EXPECT_EQ(learned({start}).persistent_use, Numbers());
}

TEST(Learned, AVendorsCommandMayDoAnythingToItsHandle) {
  wire::CommandTable table = wire::CommandTable::builtin();
  const wire::CommandAttributes chip[] = {wire::CommandAttributes{0x20000001U | 1U << 25}};
  (void)table.adopt(chip);
  const auto one = parsed(wire::Writer().u16(0x8001).u32(14).u32(0x20000001).u32(kLearnedKey).take(), table);
  const auto got = learned({one});
  EXPECT_TRUE(allows(got, one));
  EXPECT_EQ(got.commands, Numbers::one(0x20000001));
  EXPECT_EQ(got.persistent_evict, Numbers::one(kLearnedKey));
  EXPECT_EQ(got.nv_write, Numbers::all()) << "no entry of that list can be this handle";
}

TEST(Learned, TheLocality) {
  EXPECT_EQ(learned(get_random(), 3).localities, Numbers::one(3));
}

TEST(Learned, AnAllowedCommandAddsNothing) {
  for (const auto& bytes : {get_random(), create_primary(kOwner), read_public(kLearnedKey), quote(password())})
    EXPECT_EQ(learn(safe(), parsed(bytes), 0), safe());
}

TEST(Learned, ThereIsRoomForAListOfTheConfiguration) {
  Profile profile;
  for (std::uint32_t i = 0; i < kMostEntries; ++i)
    profile = learn(std::move(profile), parsed(read_public(kLearnedKey + 2 * i)), 0);
  EXPECT_TRUE(has_room(profile));
  EXPECT_FALSE(has_room(learn(profile, parsed(read_public(kLearnedKey + 2 * kMostEntries)), 0)));
  EXPECT_TRUE(has_room(learn(profile, parsed(read_public(kLearnedKey + 1)), 0))) << "two ranges became one";
  for (std::uint32_t i = 0; i < kMostEntries; ++i)
    profile = learn(std::move(profile), parsed(sign(kLearnedKey + 2 * i)), 0);
  EXPECT_FALSE(has_room(profile)) << "all sets together";
  profile = {};
  profile.commands = {{1, kMostEntries + 1}};
  EXPECT_FALSE(has_room(profile)) << "commands are listed one by one";
}

RC_GTEST_PROP(Learned, AllowsWhatItWasShownInAnyOrder, ()) {
  auto commands = some_commands();
  const auto profile = learned(commands);
  for (const auto& one : commands) RC_ASSERT(allows(profile, one));
  std::reverse(commands.begin(), commands.end());
  RC_ASSERT(learned(commands) == profile);
}

RC_GTEST_PROP(Learned, NothingCanBeSpared, ()) {
  const auto commands = some_commands();
  const auto profile = learned(commands);
  for (const auto& one : kSets) {
    const Numbers& numbers = profile.*one.set;
    if (numbers == Numbers::all()) continue;  // something could not be told
    Numbers tried;
    if (one.set == &Profile::nv_pin)
      for (const Command& command : commands) tried = tried | tried_indices(command);
    for (const auto& range : numbers.ranges())
      for (std::uint64_t number = range.first; number <= std::min<std::uint64_t>(range.last, range.first + 63ULL);
           ++number) {
        if (tried.contains(static_cast<std::uint32_t>(number))) continue;  // the manager needs it
        Profile without = profile;
        without.*one.set = numbers - Numbers::one(static_cast<std::uint32_t>(number));
        RC_ASSERT(std::any_of(commands.begin(), commands.end(),
                              [&](const Command& command) { return !allows(without, command); }));
      }
  }
}

RC_GTEST_PROP(Learned, AnotherCommandIsRefused, ()) {
  const auto commands = some_commands();
  const auto profile = learned(commands);
  const auto other = any_command();
  // Commit comes with a scheme that spends a commitment.
  const bool shown = other.code() == cc::kCommit ||
                     std::any_of(commands.begin(), commands.end(),
                                 [&](const Command& command) { return command.code() == other.code(); });
  if (!shown) RC_ASSERT(judge(profile, other, 0).reason == Reason::kNoSuchCommand);
  RC_ASSERT(!judge(profile, commands[0], 1).allowed());
}

RC_GTEST_PROP(Learned, GrowsAndLosesNothing, ()) {
  auto before = any_profile();
  before.disabled = {};
  const auto after = learn(before, any_command(), 0);
  for (const auto& one : kSets) RC_ASSERT((before.*one.set - after.*one.set).empty());
  RC_ASSERT(after.limits == before.limits);
  RC_ASSERT(after.terms == before.terms);
}

}  // namespace
}  // namespace tpmspace::guard
