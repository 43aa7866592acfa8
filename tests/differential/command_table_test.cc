// The builtin table against libtpms' description of itself, and against its behaviour.

#include "wire/command_table.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "../support/tpm_commands.h"
#include "examples.h"
#include "wire/command.h"
#include "wire/rc.h"
#include "world.h"

namespace tpmspace::differential {
namespace {

using namespace support;
using wire::CommandAttributes;
using wire::CommandRow;
using wire::CommandTable;
using wire::Rc;
namespace rc = wire::rc;

std::vector<CommandAttributes> commands_of(const World& world) {
  std::vector<CommandAttributes> out;
  for (const auto raw : world.facts().commands) out.push_back(CommandAttributes{raw});
  return out;
}

TEST(Table, AgreesWithLibtpms) {
  const World world;
  EXPECT_GT(world.facts().commands.size(), 100U);
  for (const auto& chip : commands_of(world)) {
    const CommandRow* row = CommandTable::builtin().find(chip.code());
    ASSERT_NE(row, nullptr) << fmt::format("{:#x} is not in the table", chip.code());
    EXPECT_EQ(row->handles, chip.handles()) << row->name;
    EXPECT_EQ(row->has_response_handle(), chip.response_handle()) << row->name;
    EXPECT_EQ(row->flushes_handle >= 0, chip.flushed()) << row->name;
    EXPECT_EQ(row->extensive, chip.extensive()) << row->name;
    EXPECT_EQ(row->nv, chip.nv()) << row->name;
  }
}

TEST(Table, AdoptingLibtpmsReportsNothing) {
  const World world;
  CommandTable table = CommandTable::builtin();
  for (const auto& sentence : table.adopt(commands_of(world))) ADD_FAILURE() << sentence;
  EXPECT_EQ(table.rows().size(), world.facts().commands.size());
}

TEST(Table, EveryCommandOfLibtpmsHasAnExampleAndEveryExampleWorks) {
  World world;
  std::set<wire::CommandCode> seen;
  for (const auto& example : examples()) {
    seen.insert(example.code);
    stage(world, example);
    const auto code = world.ask(command_of(world, example)).code;
    EXPECT_EQ(code, example.answer) << name_of(example);
    if (code == 0 && changes_for_good(example.code)) world.rebuild();
  }
  for (const auto& chip : commands_of(world))
    EXPECT_EQ(seen.count(chip.code()), 1U) << CommandTable::builtin().find(chip.code())->name;
}

// `example` with these authorizations; none: without a session tag.
Bytes with_authorizations(const wire::Command& command, const std::vector<Bytes>& authorizations) {
  Writer area;
  for (const auto& one : authorizations) area.raw(one);
  Writer body;
  for (std::size_t i = 0; i < command.handle_count(); ++i) body.u32(command.handle(i).value);
  if (!authorizations.empty()) body.u32(static_cast<std::uint32_t>(area.bytes().size())).raw(area.bytes());
  body.raw(command.parameters());
  return Writer()
      .u16(authorizations.empty() ? wire::kTagNoSessions : wire::kTagSessions)
      .u32(static_cast<std::uint32_t>(wire::kHeaderSize + body.bytes().size()))
      .u32(command.code())
      .raw(body.bytes())
      .take();
}

class Authorizations : public testing::Test {
 protected:
  // The example's command with the first `count` of its own authorizations, then passwords.
  Rc answer(const Example& example, std::size_t count) {
    stage(world_, example);
    const auto bytes = command_of(world_, example);
    const auto command = wire::Command::parse(bytes, world_.table(), 4096);
    EXPECT_TRUE(command) << name_of(example);
    if (!command) return 0;
    std::vector<Bytes> authorizations;
    for (std::size_t i = 0; i < count; ++i) {
      const bool own = i < command->authorizations().size();
      const auto session = own ? command->authorizations()[i].handle.value : wire::kPasswordSession;
      authorizations.push_back(session == wire::kPasswordSession ? password() : authorization(session));
    }
    const Rc code = world_.ask(with_authorizations(*command, authorizations)).code;
    if (code == 0 && changes_for_good(example.code)) world_.rebuild();
    return code;
  }
  static const CommandRow& row_of(const Example& example) { return *CommandTable::builtin().find(example.code); }

  World world_;
};

TEST_F(Authorizations, AreMissedByLibtpmsExactlyWhereTheTableWantsThem) {
  for (const auto& example : examples()) {
    if (example.code == cc::kStartup) continue;  // a started TPM answers INITIALIZE before it looks
    const auto wanted = row_of(example).auth_handles;
    for (std::size_t count = 0; count < wanted; ++count)
      EXPECT_EQ(answer(example, count), rc::kAuthMissing) << name_of(example) << " with " << count;
    EXPECT_EQ(answer(example, wanted), example.answer) << name_of(example) << " with all";
  }
}

// A password that has no handle to authorize is refused with its number: so libtpms counts the handles for us.
TEST_F(Authorizations, OneTooManyIsRefusedWithItsNumber) {
  for (const auto& example : examples()) {
    const CommandRow& row = row_of(example);
    if (row.code == cc::kStartup || !row.sessions_allowed || example.answer == 0x990) continue;
    EXPECT_EQ(answer(example, row.auth_handles + 1U), rc::in_session(rc::kHandle, row.auth_handles + 1U))
        << name_of(example);
  }
}

TEST_F(Authorizations, AreRefusedByLibtpmsExactlyWhereTheTableAllowsNone) {
  for (const auto& example : examples()) {
    if (example.code == cc::kStartup) continue;
    const Rc code = answer(example, row_of(example).auth_handles + 1U);
    EXPECT_EQ(code == rc::kAuthContext, !row_of(example).sessions_allowed) << name_of(example);
  }
}

// A session that is to decrypt where nothing can be encrypted is refused for its attributes.
TEST_F(Authorizations, MayEncryptTheFirstParameterWhereTheTableSaysSo) {
  constexpr std::uint32_t kHmacSession = 0x02000000;
  for (const auto& example : examples()) {
    const CommandRow& row = row_of(example);
    if (row.code == cc::kStartup || !row.sessions_allowed || example.answer == 0x990) continue;
    stage(world_, example);
    const auto bytes = command_of(world_, example);
    const auto command = wire::Command::parse(bytes, world_.table(), 4096);
    ASSERT_TRUE(command) << name_of(example);
    std::vector<Bytes> authorizations(row.auth_handles, password());
    authorizations.push_back(authorization(kHmacSession, 0x21));
    const auto number = static_cast<unsigned>(authorizations.size());
    const Rc code = world_.ask(with_authorizations(*command, authorizations)).code;
    EXPECT_EQ(code == rc::in_session(rc::kAttributes, number), !row.encryptable) << name_of(example);
    if (code == 0 && changes_for_good(example.code)) world_.rebuild();
  }
}

TEST_F(Authorizations, AreRefusedByStartup) {
  const Example* startup = nullptr;
  for (const auto& example : examples())
    if (example.code == cc::kStartup) startup = &example;
  ASSERT_NE(startup, nullptr);
  stage(world_, *startup);
  const auto bytes = command_of(world_, *startup);
  const auto command = wire::Command::parse(bytes, world_.table(), 4096);
  ASSERT_TRUE(command);
  world_.lose_power();
  EXPECT_EQ(world_.ask(with_authorizations(*command, {password()})).code, rc::kAuthContext);
  EXPECT_FALSE(row_of(*startup).sessions_allowed);
  EXPECT_EQ(world_.ask(bytes).code, 0U);
}

}  // namespace
}  // namespace tpmspace::differential
