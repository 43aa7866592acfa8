#include "guard/rules.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <functional>

#include "guard/shipped.h"
#include "guard/verdict.h"
#include "profiles.h"

namespace tpmspace::guard {
namespace {

Principal nginx() {
  Principal out;
  out.uid = 33;
  out.gids = {{33, 100}};
  out.pid = 1234;
  out.executable = "/usr/sbin/nginx";
  out.cgroup = "/system.slice/nginx.service";
  out.unit = "nginx.service";
  out.container = "0a1b";
  out.pod = "2c48913c-b29f-11e7-9350-020968147796";
  out.user_namespace = 4026531837;
  out.mount_namespace = 4026531841;
  out.lsm_label = "nginx_t";
  return out;
}

Rule rule(const std::function<void(Rule&)>& names, const std::string& profile = "admin", int line = 1) {
  Rule out;
  out.profile = profile;
  out.line = line;
  names(out);
  return out;
}

Policy policy(std::vector<Rule> rules, Policy::Profiles own = {}) {
  auto out = Policy::make(std::move(own), std::move(rules));
  EXPECT_TRUE(out) << out.error();
  return *std::move(out);
}

TEST(Rules, MatchWhatTheyName) {
  const struct {
    const char* what;
    std::function<void(Rule&)> names;
    bool matches;
  } cases[] = {
      {"nothing", [](Rule&) {}, true},
      {"uid", [](Rule& r) { r.uids = Numbers::one(33); }, true},
      {"another uid", [](Rule& r) { r.uids = Numbers::one(34); }, false},
      {"a range of uids",
       [](Rule& r) {
         r.uids = {{0, 0}, {30, 40}};
       },
       true},
      {"a supplementary gid", [](Rule& r) { r.gids = Numbers::one(100); }, true},
      {"another gid", [](Rule& r) { r.gids = Numbers::one(101); }, false},
      {"executable", [](Rule& r) { r.executable = Pattern("/usr/sbin/nginx"); }, true},
      {"executables", [](Rule& r) { r.executable = Pattern("/usr/**"); }, true},
      {"another executable", [](Rule& r) { r.executable = Pattern("/usr/sbin/ngin"); }, false},
      {"cgroup", [](Rule& r) { r.cgroup = Pattern("/system.slice/nginx.service/**"); }, true},
      {"another cgroup", [](Rule& r) { r.cgroup = Pattern("/user.slice/**"); }, false},
      {"unit", [](Rule& r) { r.unit = Pattern("nginx.*"); }, true},
      {"another unit", [](Rule& r) { r.unit = Pattern("ngin.service"); }, false},
      {"container", [](Rule& r) { r.container = Pattern("0a*"); }, true},
      {"another container", [](Rule& r) { r.container = Pattern("0b*"); }, false},
      {"pod", [](Rule& r) { r.pod = Pattern("2c48913c-*"); }, true},
      {"another pod", [](Rule& r) { r.pod = Pattern("3c48913c-*"); }, false},
      {"user namespace", [](Rule& r) { r.user_namespace = 4026531837; }, true},
      {"another user namespace", [](Rule& r) { r.user_namespace = 1; }, false},
      {"mount namespace", [](Rule& r) { r.mount_namespace = 4026531841; }, true},
      {"another mount namespace", [](Rule& r) { r.mount_namespace = 1; }, false},
      {"label", [](Rule& r) { r.lsm_label = "nginx_t"; }, true},
      {"another label", [](Rule& r) { r.lsm_label = "nginx"; }, false},
      {"door", [](Rule& r) { r.door = "public"; }, true},
      {"another door", [](Rule& r) { r.door = "orchestration"; }, false},
      {"two things",
       [](Rule& r) {
         r.uids = Numbers::one(33);
         r.door = "public";
       },
       true},
      {"two things, one of them not so",
       [](Rule& r) {
         r.uids = Numbers::one(33);
         r.door = "orchestration";
       },
       false},
  };
  for (const auto& [what, names, matches] : cases) EXPECT_EQ(rule(names).matches(nginx(), "public"), matches) << what;
}

TEST(Rules, WhatIsNotKnownMatchesNoRuleThatNamesIt) {
  Principal unknown;
  unknown.uid = 33;
  const std::function<void(Rule&)> names[] = {
      [](Rule& r) { r.gids = Numbers::all(); },    [](Rule& r) { r.executable = Pattern("**"); },
      [](Rule& r) { r.cgroup = Pattern("**"); },   [](Rule& r) { r.unit = Pattern("*"); },
      [](Rule& r) { r.container = Pattern("*"); }, [](Rule& r) { r.pod = Pattern("*"); },
      [](Rule& r) { r.user_namespace = 0; },       [](Rule& r) { r.mount_namespace = 0; },
      [](Rule& r) { r.lsm_label = ""; },
  };
  for (const auto& one : names) EXPECT_FALSE(rule(one).matches(unknown, ""));
  EXPECT_TRUE(rule([](Rule& r) { r.uids = Numbers::one(33); }).matches(unknown, ""));
}

TEST(Rules, OneCoversAnotherThatNamesNoLess) {
  using Names = std::function<void(Rule&)>;
  const Names none = [](Rule&) {};
  const Names few = [](Rule&r) { r.uids = Numbers::one(5); }, more = [](Rule&r) { r.uids = {{0, 9}}; };
  const Names group = [](Rule&r) { r.gids = Numbers::one(5); }, groups = [](Rule&r) { r.gids = {{0, 9}}; };
  const Names unit = [](Rule&r) { r.unit = Pattern("a"); }, other_unit = [](Rule&r) { r.unit = Pattern("b"); };
  const Names both = [](Rule& r) {
    r.uids = Numbers::one(5);
    r.door = "d";
  };
  const struct {
    Names earlier, later;
    bool covers;
  } cases[] = {{none, none, true},     {none, both, true}, {both, none, false},      {more, few, true},
               {few, more, false},     {more, both, true}, {both, few, false},       {groups, group, true},
               {group, groups, false}, {unit, unit, true}, {unit, other_unit, false}};
  for (std::size_t i = 0; i < std::size(cases); ++i)
    EXPECT_EQ(rule(cases[i].earlier).covers(rule(cases[i].later)), cases[i].covers) << i;
}

TEST(Policy, ShippedProfilesHaveTheTermsThatAreSaidForAll) {
  SessionTerms terms;
  terms.claim = 7;
  Limits limits;
  limits.objects = 9;
  const auto p = Policy::make({}, {}, terms, limits);
  ASSERT_TRUE(p);
  for (const Profile* shipped : shipped_profiles()) {
    Profile wanted = *shipped;
    wanted.terms = terms;
    wanted.limits = limits;
    EXPECT_EQ(*p->profile(shipped->name), wanted);
  }
  EXPECT_EQ(p->choose(nginx(), "").profile.terms, terms) << "by default, too";
}

TEST(Policy, TheFirstRuleThatMatchesWins) {
  const Policy p =
      policy({rule([](Rule& r) { r.uids = Numbers::one(0); }, "admin", 3),
              rule([](Rule& r) { r.uids = Numbers::one(33); }, "storage", 7), rule([](Rule&) {}, "attest", 11)});
  const Choice choice = p.choose(nginx(), "public");
  EXPECT_EQ(choice.profile, storage());
  ASSERT_EQ(choice.rules.size(), 1U);
  EXPECT_EQ(p.rules()[choice.rules[0]].line, 7);
  EXPECT_FALSE(choice.by_default);
}

TEST(Policy, WhomNoRuleMatchesIsSafe) {
  const Choice choice = policy({rule([](Rule& r) { r.uids = Numbers::one(0); })}).choose(nginx(), "public");
  EXPECT_EQ(choice.profile, safe());
  EXPECT_TRUE(choice.rules.empty());
  EXPECT_TRUE(choice.by_default);
}

TEST(Policy, ARuleOnAnExecutableOnlyNarrows) {
  const auto by_name = [](Rule& r) { r.executable = Pattern("/usr/sbin/nginx"); };
  const Choice lone = policy({rule(by_name, "admin")}).choose(nginx(), "");
  EXPECT_EQ(lone.profile, narrow(admin(), safe()));
  EXPECT_TRUE(lone.by_default);
  EXPECT_EQ(lone.rules.size(), 1U);

  const Policy p =
      policy({rule(by_name, "storage", 1), rule(by_name, "attest", 2),
              rule([](Rule& r) { r.uids = Numbers::one(33); }, "provision", 3), rule([](Rule&) {}, "admin", 4)});
  const Choice chain = p.choose(nginx(), "");
  EXPECT_EQ(chain.profile, narrow(narrow(storage(), attest()), provision()));
  EXPECT_EQ(chain.rules, (std::vector<std::size_t>{0, 1, 2}));
  EXPECT_FALSE(chain.by_default);

  // Who runs something else, or runs it so that nobody knows, gets what the rules after it give: no more.
  Principal other = nginx();
  other.executable.reset();
  EXPECT_EQ(p.choose(other, "").profile, provision());
}

TEST(Policy, ARuleMayTakeCommandsAway) {
  const Policy p = policy({rule([](Rule& r) { r.disabled = *commands_named("TPM2_Quote"); }, "attest")});
  const Profile& profile = p.choose(nginx(), "").profile;
  EXPECT_TRUE(profile.disabled.contains(wire::cc::kQuote));
  EXPECT_TRUE(profile.commands.contains(wire::cc::kQuote)) << "it exists, and is disabled";
}

TEST(Policy, OneUserAloneMayMigrate) {
  Profile migration = safe();
  migration.name = "migration";
  migration.commands = migration.commands | *commands_named("migrate");
  const Policy p =
      policy({rule([](Rule& r) { r.uids = Numbers::one(1001); }, "migration")}, {{migration.name, migration}});
  Principal keeper = nginx();
  keeper.uid = 1001;
  const auto duplicate = parsed(
      support::command(wire::cc::kDuplicate, {0x80000000, support::kNull}, support::authorization(0x03000000), {}));
  EXPECT_TRUE(judge(p.choose(keeper, "").profile, duplicate, 0).allowed());
  EXPECT_EQ(judge(p.choose(nginx(), "").profile, duplicate, 0).rc, wire::rc::kCommandCode);
}

TEST(Policy, AsInstalledRootAndTheDaemonAreAdministrators) {
  const Policy p = Policy::standard(120);
  for (const auto& [uid, profile] : {std::pair{0U, &admin()}, {120U, &admin()}, {1000U, &safe()}, {65534U, &safe()}}) {
    Principal one;
    one.uid = uid;
    EXPECT_EQ(p.choose(one, "").profile, *profile) << uid;
  }
}

TEST(Policy, RefusesWhatDoesNotFitTogether) {
  EXPECT_EQ(Policy::make({}, {rule([](Rule&) {}, "tls", 12)}).error(),
            "the rule on line 12 gives the profile \"tls\", which does not exist");
  EXPECT_EQ(Policy::make({{"safe", admin()}}, {}).error(), "the profile \"safe\" is built in; give yours another name");
}

// --- Properties. Few values, so that rules match.

rc::Gen<std::optional<Numbers>> maybe_numbers() {
  return rc::gen::weightedOneOf<std::optional<Numbers>>(
      {{3, rc::gen::just(std::optional<Numbers>())},
       {1, rc::gen::map(any_numbers(0, 2), [](const Numbers& n) { return std::optional(n); })}});
}

Rule any_rule() {
  Rule out;
  out.uids = *maybe_numbers();
  out.gids = *maybe_numbers();
  if (*rc::gen::inRange(0, 3) == 0) out.executable = Pattern(*rc::gen::element<std::string>("/a", "/*", "**"));
  if (*rc::gen::inRange(0, 4) == 0) out.cgroup = Pattern(*rc::gen::element<std::string>("/a/**", "**"));
  if (*rc::gen::inRange(0, 4) == 0) out.user_namespace = *rc::gen::inRange<std::uint64_t>(0, 2);
  if (*rc::gen::inRange(0, 4) == 0) out.door = *rc::gen::element<std::string>("a", "b");
  out.profile = *rc::gen::element<std::string>("safe", "storage", "attest", "provision", "admin");
  return out;
}

Principal any_principal() {
  Principal out;
  out.uid = *rc::gen::inRange(0U, 3U);
  if (*rc::gen::arbitrary<bool>()) out.gids = {{*rc::gen::inRange(0U, 3U)}};
  if (*rc::gen::arbitrary<bool>()) out.executable = *rc::gen::element<std::string>("/a", "/b/c");
  if (*rc::gen::arbitrary<bool>()) out.cgroup = *rc::gen::element<std::string>("/a", "/b");
  if (*rc::gen::arbitrary<bool>()) out.user_namespace = *rc::gen::inRange<std::uint64_t>(0, 2);
  return out;
}

Policy any_policy() {
  std::vector<Rule> rules;
  for (int i = *rc::gen::inRange(0, 5); i > 0; --i) rules.push_back(any_rule());
  return policy(std::move(rules));
}

bool gives_no_more(const Profile& a, const Profile& than) {
  for (const auto& one : kSets)
    if (!((a.*one.set - than.*one.set).empty())) return false;
  return true;
}

RC_GTEST_PROP(Policy, WhomNoRuleMatchesNeverGetsMoreThanSafe, ()) {
  const Policy p = any_policy();
  const Principal principal = any_principal();
  bool matched = false;
  for (const Rule& one : p.rules()) matched = matched || one.matches(principal, "a");
  const Choice choice = p.choose(principal, "a");
  if (!matched) RC_ASSERT(choice.profile == safe());
  if (choice.by_default) RC_ASSERT(gives_no_more(choice.profile, safe()));
}

RC_GTEST_PROP(Policy, ToBeAnotherExecutableNeverGivesMoreThanToBeUnknown, ()) {
  const Policy p = any_policy();
  Principal spoofed = any_principal(), unknown = spoofed;
  unknown.executable.reset();
  RC_ASSERT(gives_no_more(p.choose(spoofed, "a").profile, p.choose(unknown, "a").profile));
}

RC_GTEST_PROP(Policy, AChoiceIsWhatItsRulesGive, ()) {
  const Policy p = any_policy();
  const Principal principal = any_principal();
  const Choice choice = p.choose(principal, "a");
  std::optional<Profile> expected;
  for (const auto i : choice.rules) {
    RC_ASSERT(p.rules()[i].matches(principal, "a"));
    RC_ASSERT(p.rules()[i].only_narrows() || i == choice.rules.back());
    const Profile& given = *p.profile(p.rules()[i].profile);
    expected = expected ? narrow(*expected, given) : given;
  }
  if (choice.by_default) expected = expected ? narrow(*expected, safe()) : safe();
  RC_ASSERT(choice.profile == *expected);
}

// --- Namespaces

constexpr Numbers::Range kWindow = {0x81200000, 0x8121FFFF};

Namespace inside(const std::string& name, std::uint32_t uid) {
  Namespace out;
  out.line = 7;
  out.name = name;
  out.members.uids = Numbers::one(uid);
  return out;
}

Policy with_namespaces(std::vector<Namespace> namespaces, std::vector<Rule> rules = {}) {
  auto out = Policy::make({}, std::move(rules), {}, {}, std::move(namespaces));
  EXPECT_TRUE(out) << out.error();
  return *std::move(out);
}

Principal member(const Policy& p, std::uint32_t uid) {
  Principal out;
  out.uid = uid;
  if (const Namespace* home = p.namespace_of(out, "main")) out.tpm_namespace = home->name;
  return out;
}

TEST(Namespaces, TheFirstThatMatchesWins) {
  auto everybody = inside("all", 1);
  everybody.members.uids.reset();
  const Policy p = with_namespaces({inside("one", 1), inside("again", 1), inside("two", 2)});
  EXPECT_EQ(member(p, 1).tpm_namespace, "one");
  EXPECT_EQ(member(p, 2).tpm_namespace, "two");
  EXPECT_EQ(member(p, 3).tpm_namespace, std::nullopt);
  EXPECT_EQ(member(with_namespaces({everybody, inside("one", 1)}), 1).tpm_namespace, "all");
}

TEST(Policy, NobodyAdministersAlsoIfTheDaemonRunsAsNobody) {
  const auto of = [](std::uint32_t own_uid, std::uint32_t uid) {
    Principal who;
    who.uid = uid;
    return Policy::standard(own_uid).choose(who, "main").profile.name;
  };
  EXPECT_EQ(of(kOverflowUid, kOverflowUid), safe().name);
  EXPECT_EQ(of(kOverflowUid, 0), admin().name);
  EXPECT_EQ(of(kOverflowUid - 1, kOverflowUid - 1), admin().name);
}

TEST(Namespaces, ItsProfileStandsBehindRulesAndBeforeTheDoors) {
  auto home = inside("one", 0);
  home.profile = "provision";
  const auto standard = Policy::standard_rule(0);
  const Policy p = with_namespaces({home}, {standard});
  const Choice got = p.choose(member(p, 0), "d", "storage");
  EXPECT_EQ(got.profile, provision()) << "root as well";
  EXPECT_TRUE(got.by_namespace && !got.by_door && !got.by_default);
  EXPECT_EQ(p.choose(member(p, 1), "d", "storage").profile, storage());

  Rule of_members = rule([](Rule& r) { r.tpm_namespace = "one"; }, "attest", 3);
  const Policy q = with_namespaces({home}, {of_members, standard});
  EXPECT_EQ(q.choose(member(q, 0), "d").profile, attest());
  EXPECT_EQ(q.choose(member(q, 5), "d").profile, safe());

  home.profile.reset();
  const Policy r = with_namespaces({home}, {standard});
  EXPECT_EQ(r.choose(member(r, 0), "d", "storage").profile, storage());
  EXPECT_EQ(r.choose(member(r, 0), "d").profile, admin());
}

TEST(Namespaces, OtherIndicesAreNotThere) {
  auto home = inside("one", 1);
  home.profile = "provision";
  home.nv = Numbers{{0x01500000, 0x015000FF}};
  const Policy p = with_namespaces({home});
  const Profile got = p.choose(member(p, 1), "main").profile;
  for (const auto& [name, set] : kSets) {
    const bool of_nv = name.starts_with("nv.");
    EXPECT_EQ(got.*set, of_nv ? provision().*set & *home.nv : provision().*set) << name;
  }
}

TEST(Namespaces, WindowsAreForTheirMembersAndAdministrators) {
  auto home = inside("one", 1), without = inside("none", 2);
  home.window = kWindow;
  const Policy p = with_namespaces({home, without}, {Policy::standard_rule(0)});
  const auto of = [&](std::uint32_t uid) { return p.choose(member(p, uid), "main").profile; };
  const Numbers known{{0x81000000, 0x8101FFFF}};
  const Profile member_has = of(1);
  for (const auto& [name, set] : kSets)
    EXPECT_EQ(member_has.*set, name.starts_with("persistent.") ? safe().*set & known : safe().*set)
        << name << ": members know these numbers and no others";
  EXPECT_EQ(of(0), admin());
  for (const std::uint32_t uid : {2U, 3U}) {
    const Profile got = of(uid);
    for (const auto& [name, set] : kSets)
      EXPECT_EQ(got.*set, name.starts_with("persistent.") ? safe().*set - Numbers{kWindow} : safe().*set) << name;
  }
}

// Who gives rights away is no administrator any more.
TEST(Namespaces, WhatIsNarrowedIsConfinedAgain) {
  auto home = inside("one", 1);
  home.window = kWindow;
  const Policy p = with_namespaces({home}, {Policy::standard_rule(0)});
  Profile narrowed = narrow(p.choose(member(p, 0), "main").profile, safe());
  p.confine(narrowed, member(p, 0));
  EXPECT_EQ(narrowed.persistent_public, safe().persistent_public - Numbers{kWindow});
}

TEST(Namespaces, OfOneThatIsGoneNoMoreThanSafeIsLeft) {
  auto other = inside("other", 9);
  other.window = kWindow;
  const Policy p = with_namespaces({other}, {rule([](Rule&) {}, "admin", 3)});
  Principal left_over = member(p, 1);
  left_over.tpm_namespace = "gone";
  const Profile got = p.choose(left_over, "main").profile;
  EXPECT_EQ(got.commands, safe().commands);
  EXPECT_FALSE(got.administer);
  EXPECT_EQ(got.persistent_public, safe().persistent_public - Numbers{kWindow});
}

TEST(Namespaces, WhatTheyNameIsThere) {
  auto home = inside("one", 1);
  home.profile = "nobody's";
  EXPECT_EQ(Policy::make({}, {}, {}, {}, {home}).error(),
            "the namespace on line 7 gives the profile \"nobody's\", which does not exist");
  EXPECT_EQ(Policy::make({}, {rule([](Rule& r) { r.tpm_namespace = "two"; }, "safe", 12)}).error(),
            "the rule on line 12 is about the namespace \"two\", which does not exist");
}

}  // namespace
}  // namespace tpmspace::guard
