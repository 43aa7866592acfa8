// A learned profile as text: the configuration reads the text as the same profile.
#include "explain/learning.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>

#include "../../support/test_accounts.h"
#include "../../support/tpm_commands.h"
#include "config/config.h"
#include "config/profile_text.h"
#include "guard/learned.h"
#include "proto/control.h"

namespace tpmspace::explain {
namespace {

using namespace support;

constexpr std::uint32_t kKey = 0x81000001, kTransient = 0x80000000;

wire::Command parsed(Bytes bytes, const wire::CommandTable& table = wire::CommandTable::builtin()) {
  auto out = wire::Command::parse(std::move(bytes), table, 4096);
  EXPECT_TRUE(out);
  return *std::move(out);
}

guard::Profile read_again(const std::string& text, const std::string& name) {
  const auto settings = config::parse_settings(text, "f.toml", config::test_accounts());
  EXPECT_TRUE(settings) << settings.error() << "\n" << text;
  if (!settings || !settings->policy.profiles.contains(name)) return {};
  return settings->policy.profiles.find(name)->second.profile;
}

TEST(ProfileText, SaysItAsPeopleWriteIt) {
  guard::Profile profile;
  profile.commands = {{cc::kSign, cc::kSign}, {cc::kPCRRead, cc::kPCRRead}, {0x20000001, 0x20000002}};
  profile.localities = {{0, 0}, {2, 3}};
  profile.hierarchies = {{kOwner, kOwner}, {0x4000000B, 0x4000000C}, {0x40000110, 0x40000110}};
  profile.persistent_use = {{kKey, kKey}, {0x81000010, 0x81000012}};
  profile.nv_read = {{0x11FFFFFF, 0x12000000}};
  profile.pcr_read = {{0, 7}, {16, 16}};
  profile.pcr_reset = wire::Numbers::all();
  EXPECT_EQ(config::to_toml(profile, "p"),
            "[profile.p]\n"
            "allow = [\n  \"TPM2_Sign\",\n  \"TPM2_PCR_Read\",\n  \"0x20000001\",\n  \"0x20000002\",\n]\n"
            "localities = [0, \"2-3\"]\n"
            "hierarchies = [\"owner\", \"endorsement\", \"platform\", 0x40000110]\n"
            "persistent.use = [0x81000001, \"0x81000010-0x81000012\"]\n"
            "nv.read = [0x11ffffff, 0x12000000]\n"
            "pcr.read = [\"0-7\", 16]\n"
            "pcr.reset = [\"all\"]\n");
  profile.name = "a.b";
  EXPECT_EQ(read_again(config::to_toml(profile, "a.b"), "a.b"), profile);
}

TEST(ProfileText, ASetWithoutAPossibleEntryIsAll) {
  guard::Profile profile;
  profile.nv_read = wire::Numbers::one(kKey);
  EXPECT_EQ(config::to_toml(profile, "p"), "[profile.p]\nnv.read = [\"all\"]\n");
}

TEST(ProfileText, IsReadAgainAsTheSameProfile) {
  for (std::uint32_t seed = 1; seed <= 300; ++seed) {
    std::mt19937 random(seed);
    guard::Profile profile;
    profile.name = "p";
    const auto rows = wire::CommandTable::builtin().rows();
    const auto starts = {0U, 0x01000000U, 0x11FFFFFEU, 0x40000000U, 0x40000006U, 0x81000000U, 0x90000000U};
    for (int n = 0; n < 20; ++n) {
      const auto& row = rows[random() % rows.size()];
      wire::Writer out;
      const bool sessions = row.auth_handles > 0;
      wire::Writer area;
      for (unsigned i = 0; i < row.auth_handles; ++i) area.raw(password());
      for (unsigned i = 0; i < row.handles; ++i)
        out.u32(*(starts.begin() + random() % starts.size()) + static_cast<std::uint32_t>(random() % 4));
      if (sessions) out.u32(static_cast<std::uint32_t>(area.bytes().size())).raw(area.bytes());
      for (unsigned i = 0; i < row.names.after; ++i) out.u16(0);
      out.u32(*(starts.begin() + random() % starts.size())).u32(0);
      profile = guard::learn(std::move(profile),
                             parsed(wire::Writer()
                                        .u16(sessions ? wire::kTagSessions : wire::kTagNoSessions)
                                        .u32(static_cast<std::uint32_t>(wire::kHeaderSize + out.bytes().size()))
                                        .u32(row.code)
                                        .raw(out.bytes())
                                        .take()),
                             static_cast<std::uint8_t>(random() % 5));
    }
    EXPECT_EQ(read_again(config::to_toml(profile, "p"), "p"), profile) << "seed " << seed;
  }
}

TEST(Learning, CountsCommandsAndListsRefusals) {
  Learning learning;
  EXPECT_EQ(learning.report("p"), "# Learned from 0 TPM commands.\n[profile.p]\n");
  EXPECT_TRUE(learning.report("p").starts_with(proto::kLearnedNothing)) << "the tool looks for that";
  learning.record(parsed(get_random()), 0, wire::rc::kSuccess);
  learning.record(parsed(clear()), 0, 0x000B0143);
  learning.record(parsed(clear()), 0, 0x000B0120);
  EXPECT_EQ(learning.report("p"),
            "# Learned from 3 TPM commands.\n# Commands refused during the run, and allowed by this profile:\n#   "
            "TPM2_Clear (0x000b0143)\n[profile.p]\nallow = [\n  \"TPM2_Clear\",\n  \"TPM2_GetRandom\",\n]\nlocalities "
            "= [0]\nhierarchies = [\"platform\"]\n");
  EXPECT_EQ(read_again(learning.report("p"), "p").commands,
            wire::Numbers({{cc::kClear, cc::kClear}, {cc::kGetRandom, cc::kGetRandom}}));
}

TEST(Learning, CommandsAnsweredForAllNeedNoPermission) {
  Learning learning;
  learning.record(parsed(startup_clear()), 0, wire::rc::kSuccess);
  learning.record(parsed(startup_clear()), 0, wire::from_manager(wire::rc::kCommandCode));
  learning.record(parsed(command(cc::kShutdown, {}, {}, Bytes{0, 0})), 0, wire::rc::kSuccess);
  learning.record(parsed(get_random()), 0, wire::rc::kSuccess);
  const auto report = learning.report("p");
  EXPECT_EQ(read_again(report, "p").commands, wire::Numbers::one(cc::kGetRandom));
  EXPECT_EQ(report.find("Startup"), std::string::npos) << report;
}

TEST(Learning, LimitsAreTwiceTheMostThatExisted) {
  Learning learning;
  learning.record(observe::Held{.objects = 1});
  EXPECT_EQ(learning.report("p"),
            "# Learned from 0 TPM commands.\n"
            "# At one time there were at most 1 object. The limits are twice that, at least 4.\n"
            "[profile.p]\nobjects = 4\n");
  learning.record(observe::Held{.objects = 7, .sessions = 2});
  learning.record(observe::Held{.objects = 3, .sessions = 1});
  learning.record(parsed(read_public(kKey)), 0, wire::rc::kSuccess);  // a set of its own stands before the limits
  const std::string report = learning.report("p");
  EXPECT_NE(report.find("at most 7 objects and 2 sessions."), std::string::npos) << report;
  const auto limits = read_again(report, "p").limits;
  EXPECT_EQ(limits.objects, 14U);
  EXPECT_EQ(limits.sessions, 4U);
}

TEST(Learning, ListsSetsThatCouldNotBeLearnedNarrowly) {
  Learning learning;
  learning.record(parsed(command(cc::kEvictControl, {kOwner, kTransient}, authorization(0x02000000, 0x21),
                                 Writer().u32(kKey).take())),
                  0, wire::rc::kSuccess);
  EXPECT_NE(learning.report("p").find("of the command, which name the handles, could not be read:\n"
                                      "#   persistent.evict: TPM2_EvictControl\n"),
            std::string::npos)
      << learning.report("p");
}

// Whatever a client sends: no list becomes longer than can be read, no report longer than can be sent.
TEST(Learning, EndsWhereThereIsNoRoom) {
  Learning learning;
  for (std::uint32_t i = 0; i < 1000; ++i)
    for (const auto& bytes : {read_public(kKey + 4 * i), sign(kKey + 4 * i), create(kKey + 4 * i)})
      learning.record(parsed(bytes), 0, 0x000B0143);
  for (const auto& row : wire::CommandTable::builtin().rows())
    if (row.handles == 0 && row.auth_handles == 0)
      learning.record(parsed(command(row.code, {}, {}, Writer().u64(0).take())), 0, 0x000B0143);
  const std::string report = learning.report(std::string(limits::kMaxName, 'p'));
  EXPECT_NE(report.find("# NOT COMPLETE"), std::string::npos);
  EXPECT_LT(report.size(), 0x10000U);
  (void)read_again(report, std::string(limits::kMaxName, 'p'));
}

TEST(Learning, HasANameThatAProfileCanHave) {
  for (const auto* name : {"learned", "a.b-C_9"}) EXPECT_TRUE(may_be_learned_as(name)) << name;
  for (const auto* name : {"", "safe", "default", "a b", "a\"b", "a]\n"}) EXPECT_FALSE(may_be_learned_as(name)) << name;
  EXPECT_FALSE(may_be_learned_as(std::string(limits::kMaxName + 1, 'p')));
}

}  // namespace
}  // namespace tpmspace::explain
