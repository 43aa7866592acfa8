// Profiles, rules and listeners of the configuration: the meaning of each key, and the order of rules.
#include "config/policy_file.h"

#include <gtest/gtest.h>

#include "../../support/test_accounts.h"
#include "base/limits.h"
#include "config/config.h"
#include "guard/shipped.h"

namespace tpmspace::config {
namespace {

using guard::Pattern;
using guard::Principal;

constexpr uid_t kOwnUid = 120;

PolicyFile parsed(const std::string& text) {
  const auto settings = parse_settings(text, "f.toml", test_accounts());
  EXPECT_TRUE(settings) << settings.error();
  return settings ? settings->policy : PolicyFile{};
}

guard::Access access(const std::string& text) {
  auto out = access_of(parsed(text), kOwnUid, "/run/main.sock");
  EXPECT_TRUE(out) << out.error();
  return out.value_or(guard::Access{});
}

guard::Profile profile(const std::string& body) {
  const auto file = parsed("[profile.p]\n" + body);
  const auto found = file.profiles.find("p");
  EXPECT_NE(found, file.profiles.end());
  return found == file.profiles.end() ? guard::Profile{} : found->second.profile;
}

guard::Rule rule(const std::string& condition) {
  const auto file =
      parsed("[[rule]]\nprofile = \"safe\"\n" + condition + "\n[[listener]]\nname = \"d\"\npath = \"/d\"\n");
  return file.rules.size() == 1 ? file.rules[0] : guard::Rule{};
}

std::string given(const guard::Access& access, uid_t uid, std::string_view listener = guard::kMainListener) {
  const Principal who = Principal::ordinary(uid);
  return access.choose(who, listener).profile.name;
}

// --- Profiles

TEST(PolicyFile, WithoutABaseNothingIsAllowed) {
  guard::Profile nothing;
  nothing.name = "p";
  EXPECT_EQ(profile(""), nothing);
}

TEST(PolicyFile, ABaseIsWhereAProfileStarts) {
  guard::Profile wanted = guard::storage();
  wanted.name = "p";
  EXPECT_EQ(profile("base = \"storage\""), wanted);
}

TEST(PolicyFile, AllowAddsToTheBaseAndDenyWinsOverBoth) {
  const auto got =
      profile("base = \"safe\"\nallow = [\"migrate\", \"0x20000001\"]\ndeny = [\"TPM2_Rewrap\", \"attest\"]");
  const auto one = [&](std::string_view word) { return *guard::commands_named(word); };
  EXPECT_EQ(got.commands,
            (guard::safe().commands | one("migrate") | one("0x20000001")) - one("TPM2_Rewrap") - one("attest"));
  EXPECT_TRUE(got.disabled.empty()) << "denied is: not there";
}

TEST(PolicyFile, ASetThatIsGivenReplacesTheBases) {
  const auto got = profile(
      "base = \"provision\"\nlocalities = [0, 2]\nhierarchies = [\"owner\", \"lockout\", 0x40000110]\n"
      "persistent.use = [0x81000001, \"0x81000010-0x81000012\"]\npersistent.evict = []\n"
      "nv.read = \"0x01500000-0x0150ffff\"\npcr.extend = [16, \"20-22\"]\npcr.reset = \"all\"\n");
  guard::Profile wanted = guard::provision();
  wanted.name = "p";
  wanted.localities = {{0, 0}, {2, 2}};
  wanted.hierarchies = {{0x40000001, 0x40000001}, {0x4000000A, 0x4000000A}, {0x40000110, 0x40000110}};
  wanted.persistent_use = {{0x81000001, 0x81000001}, {0x81000010, 0x81000012}};
  wanted.persistent_evict = {};
  wanted.nv_read = {{0x01500000, 0x0150FFFF}};
  wanted.pcr_extend = {{16, 16}, {20, 22}};
  wanted.pcr_reset = Numbers::all();
  EXPECT_EQ(got, wanted);
}

TEST(PolicyFile, EverySetCanBeGiven) {
  for (const auto& one : guard::kSets) {
    if (one.name == "commands") continue;
    const auto got = profile(std::string(one.name) + " = \"all\"");
    for (const auto& other : guard::kSets)
      EXPECT_EQ(got.*other.set == Numbers::all(), one.name == other.name) << one.name << ", " << other.name;
  }
}

TEST(PolicyFile, EveryLimitAndTermCanBeGiven) {
  const auto got = profile(
      "objects = 5\nsessions = 6\nconnections = 7\nbytes = 65536\nshare = 8\npriority = 9\nendless_sessions = 4\n"
      "claim = 2\nlease = \"1s\"\ntenure = \"endless\"\ndeadline = \"200ms\"\nexhaustion = \"wait\"\n");
  const guard::Limits limits{
      .connections = 7, .objects = 5, .sessions = 6, .bytes = 65536, .share = 8, .priority = 9, .endless_sessions = 4};
  const guard::SessionTerms terms{.claim = 2,
                                  .lease = 1'000'000'000,
                                  .tenure = UINT64_MAX,
                                  .deadline = 200'000'000,
                                  .exhaustion = guard::Exhaustion::kWait};
  EXPECT_EQ(got.limits, limits);
  EXPECT_EQ(got.terms, terms);
}

// Whatever their order in the file.
TEST(PolicyFile, ProfilesAreBasedOnProfiles) {
  const auto file = parsed(
      "[profile.c]\nbase = \"b\"\nclaim = 1\n[profile.b]\nbase = \"a\"\npcr.extend = 16\n"
      "[profile.a]\nbase = \"safe\"\nobjects = 9\nclaim = 5\n");
  const guard::Profile& c = file.profiles.at("c").profile;
  EXPECT_EQ(c.commands, guard::safe().commands);
  EXPECT_EQ(c.pcr_extend, Numbers::one(16));
  EXPECT_EQ(c.limits.objects, 9U);
  EXPECT_EQ(c.terms.claim, 1U);
  EXPECT_EQ(file.profiles.at("b").profile.terms.claim, 5U);
  EXPECT_EQ(file.profiles.at("b").base, "a");
}

TEST(PolicyFile, AProfileWithoutATermHasTheDefaultTerm) {
  const auto got = access(
      "[profile.mine]\nbase = \"safe\"\nclaim = 1\n[profile.default]\nclaim = 4\nlease = \"1s\"\n"
      "[limits]\nobjects = 77\nsessions = 7\nbytes = 70000\n");
  for (const char* name : {"safe", "admin", "mine"}) {
    const auto* one = got.policy.profile(name);
    ASSERT_NE(one, nullptr) << name;
    EXPECT_EQ(one->limits, (guard::Limits{.objects = 77, .sessions = 7, .bytes = 70000})) << name;
    EXPECT_EQ(one->terms.lease, 1'000'000'000U) << name;
    EXPECT_EQ(one->terms.claim, std::string_view(name) == "mine" ? 1U : 4U) << name;
  }
  const Principal stranger = Principal::ordinary(7);
  EXPECT_EQ(got.choose(stranger, guard::kMainListener).profile.terms.claim, 4U) << "by default, too";
}

// --- Rules

TEST(PolicyFile, ARuleHasItsConditions) {
  const struct {
    const char* text;
    void (*names)(guard::Rule&);
  } cases[] = {
      {"", [](guard::Rule&) {}},
      {"user = 33", [](guard::Rule& r) { r.uids = Numbers::one(33); }},
      {"user = \"www-data\"", [](guard::Rule& r) { r.uids = Numbers::one(33); }},
      {"user = [0, \"1000-1999\", \"www-data\"]",
       [](guard::Rule& r) {
         r.uids = {{0, 0}, {33, 33}, {1000, 1999}};
       }},
      {"group = [\"tss\", 5]",
       [](guard::Rule& r) {
         r.gids = {{5, 5}, {114, 114}};
       }},
      {"executable = \"/usr/bin/*\"", [](guard::Rule& r) { r.executable = Pattern("/usr/bin/*"); }},
      {"cgroup = \"/system.slice/**\"", [](guard::Rule& r) { r.cgroup = Pattern("/system.slice/**"); }},
      {"unit = \"nginx.service\"", [](guard::Rule& r) { r.unit = Pattern("nginx.service"); }},
      {"container = \"0a*\"", [](guard::Rule& r) { r.container = Pattern("0a*"); }},
      {"pod = \"2c48913c-b29f-11e7-9350-020968147796\"",
       [](guard::Rule& r) { r.pod = Pattern("2c48913c-b29f-11e7-9350-020968147796"); }},
      {"user_namespace = 4026531837", [](guard::Rule& r) { r.user_namespace = 4026531837; }},
      {"mount_namespace = 7", [](guard::Rule& r) { r.mount_namespace = 7; }},
      {"label = \"nginx_t\"", [](guard::Rule& r) { r.lsm_label = "nginx_t"; }},
      {"listener = \"main\"", [](guard::Rule& r) { r.listener = "main"; }},
      {"listener = \"d\"", [](guard::Rule& r) { r.listener = "d"; }},
      {"disable = \"attest\"", [](guard::Rule& r) { r.disabled = *guard::commands_named("attest"); }},
  };
  for (const auto& [text, names] : cases) {
    guard::Rule wanted;
    wanted.line = 1;
    wanted.profile = "safe";
    names(wanted);
    EXPECT_EQ(rule(text), wanted) << text;
  }
}

TEST(PolicyFile, TheFilesRulesComeFirstThenTheListenersThenTheStandardOne) {
  const auto got = access(
      "[[listener]]\npath = \"/run/a\"\nprofile = \"attest\"\n"
      "[[rule]]\nuser = 1000\nprofile = \"storage\"\n[[rule]]\nuser = [0, 1000]\nlistener = \"second\"\nprofile = "
      "\"admin\"\n"
      "[[listener]]\nname = \"second\"\npath = \"/run/b\"\nprofile = \"provision\"\n[[listener]]\npath = \"/run/c\"\n");
  std::vector<std::pair<int, std::string>> order;
  for (const auto& one : got.policy.rules()) order.emplace_back(one.line, one.profile);
  EXPECT_EQ(order, (std::vector<std::pair<int, std::string>>{{4, "storage"}, {7, "admin"}, {0, "admin"}}));

  EXPECT_EQ(given(got, 1000, "second"), "storage") << "the first that matches";
  EXPECT_EQ(given(got, 0, "second"), "admin") << "by the rule";
  EXPECT_EQ(given(got, 7, "second"), "provision");
  EXPECT_EQ(given(got, 0, "/run/a"), "attest") << "a listener is before the standard rule, also for root";
  EXPECT_EQ(given(got, kOwnUid, "/run/a"), "attest");
  EXPECT_EQ(given(got, 0, "/run/c"), "admin") << "a listener without a profile";
  EXPECT_EQ(given(got, 7, "/run/c"), "safe");
  EXPECT_EQ(given(got, 0), "admin");
  EXPECT_EQ(given(got, kOwnUid), "admin");
  EXPECT_EQ(given(got, 7), "safe");
}

TEST(PolicyFile, WhereNothingIsWrittenThePolicyIsTheStandardOne) {
  EXPECT_EQ(access(""), (guard::Access{guard::Policy::standard(kOwnUid), {}}));
}

// --- Listeners

TEST(PolicyFile, AListenerHasItsKeys) {
  const auto file = parsed(
      "[[listener]]\nname = \"tss\"\npath = \"/run/t\"\nmode = 0o640\nowner = \"alice\"\ngroup = \"114\"\n"
      "profile = \"attest\"\nlocality = 2\nconnections = 10\nseparate_users = true\n");
  ASSERT_EQ(file.listeners.size(), 1U);
  const guard::Listener wanted{.line = 1,
                               .name = "tss",
                               .path = "/run/t",
                               .mode = 0640,
                               .owner = 1000,
                               .group = 114,
                               .profile = "attest",
                               .locality = 2,
                               .connections = 10,
                               .separate_users = true};
  EXPECT_EQ(file.listeners[0], wanted);
}

TEST(PolicyFile, AListenersDefaultModeFollowsOwnerAndGroup) {
  const struct {
    const char* keys;
    mode_t mode;
  } cases[] = {{"", 0666},
               {"owner = \"alice\"", 0600},
               {"group = 114", 0660},
               {"owner = 0\ngroup = \"tss\"", 0660},
               {"owner = \"alice\"\nmode = \"0666\"", 0666}};
  for (const auto& [keys, mode] : cases) {
    const auto file = parsed("[[listener]]\npath = \"/run/t\"\n" + std::string(keys));
    ASSERT_EQ(file.listeners.size(), 1U);
    EXPECT_EQ(file.listeners[0].mode, mode) << keys;
    EXPECT_EQ(file.listeners[0].name, "/run/t");
  }
}

TEST(PolicyFile, NoListenerHasThePathOfTheMainSocket) {
  const auto got = access_of(parsed("[[listener]]\npath = \"/run/main.sock\"\n"), kOwnUid, "/run/main.sock");
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error(),
            "the listener on line 1 of the configuration has the path of tpmspaced's own socket, /run/main.sock: give "
            "it another \"path\"");
}

// --- Bounds

// --- Namespaces

TEST(PolicyFile, ANamespaceHasItsKeys) {
  const auto file = parsed(
      "[[namespace]]\nname = \"n\"\nuser = [\"alice\", \"2000-2999\"]\ncgroup = \"/a/**\"\nunit = \"u.service\"\n"
      "container = \"c*\"\npod = \"p\"\nuser_namespace = 7\nlistener = \"d\"\nprofile = \"storage\"\nconnections = 1\n"
      "sessions = 2\nobjects = 3\nbytes = 65536\nnv = [\"0x01500000-0x0150ffff\"]\npersistent_base = 0x81200000\n"
      "[[listener]]\nname = \"d\"\npath = \"/d\"\n[[rule]]\nnamespace = \"n\"\nprofile = \"safe\"\n");
  guard::Namespace wanted;
  wanted.line = 1;
  wanted.name = "n";
  wanted.members.uids = Numbers{{1000, 1000}, {2000, 2999}};
  wanted.members.cgroup = Pattern("/a/**");
  wanted.members.unit = Pattern("u.service");
  wanted.members.container = Pattern("c*");
  wanted.members.pod = Pattern("p");
  wanted.members.user_namespace = 7;
  wanted.members.listener = "d";
  wanted.profile = "storage";
  wanted.quotas = {.connections = 1, .sessions = 2, .objects = 3, .bytes = 65536};
  wanted.nv = Numbers{{0x01500000, 0x0150FFFF}};
  wanted.window = {0x81200000, 0x8121FFFF};
  ASSERT_EQ(file.namespaces.size(), 1U);
  EXPECT_EQ(file.namespaces[0], wanted);
  ASSERT_EQ(file.rules.size(), 1U);
  EXPECT_EQ(file.rules[0].tpm_namespace, "n");
}

TEST(PolicyFile, WindowsMayTouchAndFillTheWholeRange) {
  const auto windows = [](const char* one, const char* two) {
    const auto text = fmt::format(
        "[[namespace]]\nname = \"a\"\nuser = 1\npersistent_base = \"{}\"\n"
        "[[namespace]]\nname = \"b\"\nuser = 2\npersistent_base = \"{}\"\n",
        one, two);
    return parse_settings(text, "f", test_accounts()).has_value();
  };
  EXPECT_TRUE(windows("0x81000000", "0x81020000"));
  EXPECT_TRUE(windows("0x81fe0000", "0x81fc0000"));
  EXPECT_FALSE(windows("0x81fe0000", "0x81fc0001"));
  EXPECT_FALSE(windows("0x81fe0001", "0x81000000"));
  EXPECT_FALSE(windows("0x81200000", "0x81200000"));
}

std::string repeated(const std::string& text, std::size_t times) {
  std::string out;
  for (std::size_t i = 0; i < times; ++i) {
    std::string one = text;
    if (const auto at = one.find('#'); at != std::string::npos) one.replace(at, 1, std::to_string(i));
    out += one;
  }
  return out;
}

TEST(PolicyFile, SoManyOfEachAndNoMore) {
  const struct {
    const char* before;
    const char* one;
    std::size_t most;
    const char* after;
    const char* message;
  } cases[] = {
      {"", "[profile.p#]\n", limits::kProfiles, "", "there are 129 profiles, at most 128 are possible"},
      {"", "[[rule]]\nprofile = \"safe\"\n", limits::kRules, "",
       "this is one [[rule]] too many: at most 1024 are possible"},
      {"", "[[listener]]\npath = \"/#\"\n", limits::kListeners, "",
       "this is one [[listener]] too many: at most 64 are possible"},
      {"", "[[namespace]]\nname = \"n#\"\nuser = 1\n", limits::kNamespaces, "",
       "this is one [[namespace]] too many: at most 64 are possible"},
      {"[profile.p]\nnv.read = [", "0x01000001, ", limits::kListEntries, "]\n",
       "\"profile.p.nv.read\" has 257 entries, at most 256 are possible: write ranges"},
      {"[profile.p]\nallow = [", "\"all\", ", limits::kListEntries, "]\n",
       "\"profile.p.allow\" has 257 entries, at most 256 are possible: write classes"},
  };
  for (const auto& [before, one, most, after, message] : cases) {
    const auto fits = parse_settings(before + repeated(one, most) + after, "f", test_accounts());
    EXPECT_TRUE(fits) << fits.error();
    const auto too_many = parse_settings(before + repeated(one, most + 1) + after, "f", test_accounts());
    ASSERT_FALSE(too_many) << message;
    EXPECT_NE(too_many.error().find(message), std::string::npos) << too_many.error();
  }
}

// Each is based on the next.
TEST(PolicyFile, TheLongestChainOfBases) {
  std::string text;
  for (std::size_t i = 0; i + 1 < limits::kProfiles; ++i)
    text += "[profile.p" + std::to_string(i) + "]\nbase = \"p" + std::to_string(i + 1) + "\"\n";
  text += "[profile.p" + std::to_string(limits::kProfiles - 1) + "]\nbase = \"attest\"\n";
  EXPECT_EQ(parsed(text).profiles.at("p0").profile.commands, guard::attest().commands);
}

TEST(PolicyFile, NamesOfThisMachineAreLookedUp) {
  const auto file = parse_settings("[[rule]]\nuser = \"root\"\ngroup = \"root\"\nprofile = \"safe\"\n", "f");
  ASSERT_TRUE(file) << file.error();
  EXPECT_EQ(file->policy.rules[0].uids, Numbers::one(0));
  EXPECT_EQ(file->policy.rules[0].gids, Numbers::one(0));
}

TEST(PolicyFile, AListenerThatHasANameAloneHasADirectoryOfItsOwn) {
  const auto access = [](const std::string& text, std::string_view socket) {
    const auto settings = parse_settings(text, "f", test_accounts());
    EXPECT_TRUE(settings) << settings.error();
    return access_of(settings->policy, 120, socket);
  };
  constexpr const char* kBuild = "[[listener]]\nname = \"build\"\n";
  const auto system = access(kBuild, "/run/tpmspace/tpm.sock");
  ASSERT_TRUE(system) << system.error();
  EXPECT_EQ(system->listeners[0].path, "/run/tpmspace-listeners/build/tpm.sock");
  EXPECT_TRUE(system->listeners[0].default_path);
  EXPECT_EQ(access(kBuild, "/a/./b/s")->listeners[0].path, "/a/b-listeners/build/tpm.sock");
  EXPECT_EQ(access(kBuild, "/s")->listeners[0].path, "/tpmspace-listeners/build/tpm.sock");
  EXPECT_EQ(access(kBuild, "/" + std::string(77, 'a') + "/s")->listeners[0].path.size(), 103U);
  EXPECT_EQ(
      access(kBuild, "/" + std::string(78, 'a') + "/s").error(),
      "the listener on line 1 of the configuration would be at /" + std::string(78, 'a') +
          "-listeners/build/tpm.sock, and a socket's path has at most 103 bytes: give it a shorter \"name\", or a "
          "\"path\"");
  EXPECT_EQ(access("[[listener]]\nname = \"a\"\n[[listener]]\npath = \"/b-listeners/a/tpm.sock\"\n", "/b/s").error(),
            "the listeners on lines 1 and 3 of the configuration have the same path, /b-listeners/a/tpm.sock: each "
            "listener needs its own path");
}

}  // namespace
}  // namespace tpmspace::config
