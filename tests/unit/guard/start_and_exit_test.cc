// The commands of programs at start and exit: every client gets the response of a running TPM.
#include "guard/start_and_exit.h"

#include <gtest/gtest.h>

#include "guard/shipped.h"
#include "profiles.h"

namespace tpmspace::guard {
namespace {

using namespace support;
using wire::Rc;
namespace rc = wire::rc;
using Given = std::optional<Rc>;

Given given_to(const Bytes& bytes, const Profile& profile = safe()) {
  const auto command = wire::Command::parse(bytes, wire::CommandTable::builtin(), 4096);
  EXPECT_TRUE(command);
  const Verdict verdict = judge(profile, *command, 0);
  EXPECT_FALSE(verdict.allowed());
  return answer_of_running_tpm(*command, verdict);
}

Bytes plain(wire::CommandCode code, const Bytes& parameters, const Bytes& authorizations = {}) {
  return command(code, {}, authorizations, parameters);
}

Rc ours(Rc code) {
  return wire::from_manager(code);
}

TEST(StartAndExit, AStartupIsAnsweredAsByARunningTpmUnderEveryProfile) {
  Profile nothing;
  Profile disables = admin();
  disables.disabled = Numbers::one(cc::kStartup);
  Profile elsewhere = admin();
  elsewhere.localities = Numbers::one(2);
  for (const Profile& profile : {safe(), storage(), attest(), provision(), nothing, disables, elsewhere})
    for (const Bytes& parameters : {Bytes{0, 0}, Bytes{0, 1}, Bytes{0, 2}, Bytes{0}, Bytes{}, Bytes{0, 0, 0}})
      EXPECT_EQ(given_to(plain(cc::kStartup, parameters), profile), Given(0x00000100)) << profile.name;
}

TEST(StartAndExit, AStartupWithSessionsIsRefusedByTheParserAsByATpm) {
  const auto command =
      wire::Command::parse(plain(cc::kStartup, {0, 0}, password()), wire::CommandTable::builtin(), 4096);
  ASSERT_FALSE(command);
  EXPECT_EQ(command.error(), rc::kAuthContext);
}

TEST(StartAndExit, AShutdownSucceedsWithoutTheTpm) {
  EXPECT_EQ(given_to(plain(cc::kShutdown, {0, 0})), Given(rc::kSuccess));
  EXPECT_EQ(given_to(plain(cc::kShutdown, {0, 1})), Given(rc::kSuccess));
  EXPECT_EQ(given_to(plain(cc::kShutdown, {0, 2})), Given(ours(0x1C4)));
  EXPECT_EQ(given_to(plain(cc::kShutdown, {0})), Given(ours(0x1DA)));
  EXPECT_EQ(given_to(plain(cc::kShutdown, {0, 0, 0})), Given(ours(0x095)));
}

TEST(StartAndExit, ASelfTestIsAnsweredIfItAsksForNothingThatCosts) {
  EXPECT_EQ(given_to(plain(cc::kSelfTest, {0})), Given(rc::kSuccess));
  EXPECT_EQ(given_to(plain(cc::kSelfTest, {1})), std::nullopt);
  EXPECT_EQ(given_to(plain(cc::kSelfTest, {2})), Given(ours(0x1C4)));
  EXPECT_EQ(given_to(plain(cc::kSelfTest, {})), Given(ours(0x1DA)));
  EXPECT_EQ(given_to(plain(cc::kSelfTest, {0, 0})), Given(ours(0x095)));
  EXPECT_EQ(given_to(plain(cc::kIncrementalSelfTest, {0, 0, 0, 0})), std::nullopt);
}

TEST(StartAndExit, UnderASessionOnlyTheTpmCanAnswer) {
  EXPECT_EQ(given_to(plain(cc::kShutdown, {0, 0}, password())), std::nullopt);
  EXPECT_EQ(given_to(plain(cc::kSelfTest, {0}, password())), std::nullopt);
}

TEST(StartAndExit, ADisabledCommandIsNotReportedAsSuccess) {
  Profile disables = admin();
  disables.disabled = {{cc::kSelfTest, cc::kSelfTest}, {cc::kShutdown, cc::kShutdown}};
  EXPECT_EQ(given_to(plain(cc::kShutdown, {0, 0}), disables), std::nullopt);
  EXPECT_EQ(given_to(plain(cc::kSelfTest, {0}), disables), std::nullopt);
}

TEST(StartAndExit, NoOtherRefusedCommandIsAnswered) {
  const Verdict refused{Reason::kNoSuchCommand, rc::kCommandCode};
  for (const auto& row : wire::CommandTable::builtin().rows()) {
    if (row.code == cc::kStartup || row.code == cc::kShutdown || row.code == cc::kSelfTest) continue;
    const Bytes bytes = Writer()
                            .u16(wire::kTagNoSessions)
                            .u32(10U + 4U * row.handles)
                            .u32(row.code)
                            .raw(Bytes(std::size_t{4} * row.handles))
                            .take();
    const auto command = wire::Command::parse(bytes, wire::CommandTable::builtin(), 4096);
    if (command) {
      EXPECT_EQ(answer_of_running_tpm(*command, refused), std::nullopt) << row.name;
    }
    EXPECT_EQ(sentence_of_answer(row.code, Reason::kNoSuchCommand), "") << row.name;
  }
}

}  // namespace
}  // namespace tpmspace::guard
