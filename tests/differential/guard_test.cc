// The guard reads a command's parameters at the same places as libtpms.

#include <gtest/gtest.h>

#include "../support/tpm_commands.h"
#include "examples.h"
#include "guard/shipped.h"
#include "guard/verdict.h"
#include "wire/command.h"
#include "world.h"

namespace tpmspace::differential {
namespace {

using guard::Numbers;
using guard::Profile;
using guard::Reason;
namespace cc = wire::cc;

// Every example of a command that `wanted` picks, staged, which libtpms answers as the example says.
template <typename Wanted, typename Visit>
void for_each_example(World& world, const Wanted& wanted, const Visit& visit) {
  for (const auto& example : examples()) {
    if (!wanted(*wire::CommandTable::builtin().find(example.code))) continue;
    stage(world, example);
    const auto bytes = command_of(world, example);
    const auto command = wire::Command::parse(bytes, wire::CommandTable::builtin(), 4096);
    ASSERT_TRUE(command) << name_of(example);
    visit(example, *command);
    if (const auto code = world.ask(bytes).code; code == 0 && changes_for_good(example.code)) world.rebuild();
  }
}

Profile without(Numbers Profile::*set, const Numbers& numbers) {
  Profile out = guard::admin();
  out.*set = out.*set - numbers;
  return out;
}

TEST(Guard, CanReadEveryCommandThatLibtpmsAccepts) {
  World world;
  for_each_example(
      world, [](const wire::CommandRow&) { return true; },
      [](const Example& example, const wire::Command& command) {
        EXPECT_TRUE(judge(guard::admin(), command, 0).allowed()) << name_of(example);
        for (const auto& one : guard::kSets) {
          const Reason reason = judge(without(one.set, Numbers::all()), command, 0).reason;
          EXPECT_NE(reason, Reason::kUnreadable) << name_of(example) << ", without " << one.name;
        }
      });
}

TEST(Guard, SeesTheHandlesInTheParameters) {
  const struct {
    wire::CommandCode code;
    Numbers Profile::*set;
    std::uint32_t named;  // in the example
  } cases[] = {
      {cc::kPCRRead, &Profile::pcr_read, 16},
      {cc::kPolicyPCR, &Profile::pcr_read, 16},
      {cc::kQuote, &Profile::pcr_read, 16},
      {cc::kNVDefineSpace, &Profile::nv_define, 0x01800077},
      {cc::kHierarchyControl, &Profile::hierarchies, support::kEndorsement},
  };
  World world;
  for (const auto& [code, set, named] : cases)
    for_each_example(
        world, [code = code](const wire::CommandRow& row) { return row.code == code; },
        [set = set, named = named](const Example& example, const wire::Command& command) {
          EXPECT_FALSE(judge(without(set, Numbers::one(named)), command, 0).allowed()) << name_of(example);
          EXPECT_TRUE(judge(without(set, Numbers::one(named - 1)), command, 0).allowed()) << name_of(example);
        });
}

// Their examples name the owner or TPM_RH_NULL: any other value in its place would be refused.
TEST(Guard, SeesTheHierarchyThatAnObjectOrATicketIsFor) {
  World world;
  for_each_example(
      world,
      [](const wire::CommandRow& row) {
        return row.code == cc::kHash || row.code == cc::kLoadExternal || row.code == cc::kSequenceComplete;
      },
      [](const Example& example, const wire::Command& command) {
        const auto others = Numbers::all() - Numbers::one(support::kOwner);
        EXPECT_TRUE(judge(without(&Profile::hierarchies, others), command, 0).allowed()) << name_of(example);
      });
}

TEST(Guard, SeesWhereAnObjectIsMadePersistent) {
  World world;
  for_each_example(
      world, [](const wire::CommandRow& row) { return row.code == cc::kEvictControl; },
      [&](const Example& example, const wire::Command& command) {
        wire::Reader parameters(command.parameters());
        const auto named = Numbers::one(*parameters.u32());
        EXPECT_FALSE(judge(without(&Profile::persistent_evict, named), command, 0).allowed()) << name_of(example);
        const auto others = Numbers::all() - named - Numbers::one(command.handle(1).value);
        EXPECT_TRUE(judge(without(&Profile::persistent_evict, others), command, 0).allowed()) << name_of(example);
      });
}

// A scheme with a counter is found in every command that takes one: with ECDAA in place of the example's scheme libtpms
// reads on, and so does the guard.
TEST(Guard, SeesAnAnonymousScheme) {
  World world;
  unsigned seen = 0;
  for_each_example(
      world,
      [](const wire::CommandRow& row) {
        return row.names.what == wire::Names::kScheme || row.names.what == wire::Names::kSchemeAndPcrs;
      },
      [&](const Example& example, const wire::Command& command) {
        wire::Reader in(command.parameters());
        for (unsigned i = 0; i < command.row().names.after; ++i) ASSERT_TRUE(in.tpm2b()) << name_of(example);
        const std::size_t at = command.parameters_at() + in.offset();
        const auto scheme = *in.u16();
        Bytes bytes = wire::to_bytes(command.bytes().first(at));
        const Bytes anonymous = wire::Writer().u16(0x001A).u16(support::kSha256).u16(7).take();
        bytes.insert(bytes.end(), anonymous.begin(), anonymous.end());
        const auto rest = command.bytes().subspan(at + (scheme == support::kAlgNull ? 2 : 4));
        bytes.insert(bytes.end(), rest.begin(), rest.end());
        wire::put_u32(bytes, 2, static_cast<std::uint32_t>(bytes.size()));

        const wire::Rc code = world.ask(bytes).code;
        if (code == 0) return;  // with TPM_RH_NULL for a key nothing is signed
        EXPECT_EQ(code & ~0xF00U, wire::rc::kScheme | 0x40U) << name_of(example) << ": the key has another scheme";
        const auto changed = wire::Command::parse(bytes, wire::CommandTable::builtin(), 4096);
        ASSERT_TRUE(changed) << name_of(example);
        EXPECT_EQ(judge(without(&Profile::commands, Numbers::one(cc::kCommit)), *changed, 0).rc, code)
            << name_of(example) << ": the same parameter is at fault for both";
        ++seen;
      });
  EXPECT_GE(seen, 8U);
}

}  // namespace
}  // namespace tpmspace::differential
