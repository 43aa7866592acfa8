#include "guard/rules.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <functional>
#include <string_view>

#include "guard/shipped.h"
#include "guard/verdict.h"
#include "profiles.h"

namespace tpmspace::guard {
namespace {

using namespace std::string_literals;

Principal nginx() {
  Principal out = Principal::ordinary(33);
  out.gids = {33, 100};
  out.pid = 1234;
  out.executable = "/usr/sbin/nginx"s;
  out.cgroup = "/system.slice/nginx.service"s;
  out.unit = "nginx.service"s;
  out.container = "0a1b"s;
  out.pod = "2c48913c-b29f-11e7-9350-020968147796"s;
  out.user_namespace = std::uint64_t{4026531837};
  out.mount_namespace = std::uint64_t{4026531841};
  out.lsm_label = "nginx_t"s;
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

TEST(Rules, MatchTheirConditions) {
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
      {"listener", [](Rule& r) { r.listener = "public"; }, true},
      {"another listener", [](Rule& r) { r.listener = "orchestration"; }, false},
      {"two things",
       [](Rule& r) {
         r.uids = Numbers::one(33);
         r.listener = "public";
       },
       true},
      {"two things, one of them not so",
       [](Rule& r) {
         r.uids = Numbers::one(33);
         r.listener = "orchestration";
       },
       false},
  };
  for (const auto& [what, names, matches] : cases)
    EXPECT_EQ(rule(names).matches(nginx(), "public"), match_if(matches)) << what;
}

// Everything that a rule can name of a process, and how it is unknown.
const struct Field {
  const char* name;
  void (*names)(Rule&);
  void (*forget)(Principal&);
  bool binds_administrators;  // when it is unknown
} kFields[] = {
    {"groups", [](Rule& r) { r.gids = Numbers::one(7); }, [](Principal& p) { p.all_gids = false; }, false},
    {"label", [](Rule& r) { r.lsm_label = "x"; }, [](Principal& p) { p.lsm_label = {}; }, false},
    {"executable", [](Rule& r) { r.executable = Pattern("/x"); }, [](Principal& p) { p.executable = {}; }, false},
    {"user namespace", [](Rule& r) { r.user_namespace = 7; }, [](Principal& p) { p.user_namespace = {}; }, false},
    {"mount namespace", [](Rule& r) { r.mount_namespace = 7; }, [](Principal& p) { p.mount_namespace = {}; }, false},
    {"cgroup", [](Rule& r) { r.cgroup = Pattern("/x"); }, [](Principal& p) { p.cgroup = {}; }, true},
    {"unit", [](Rule& r) { r.unit = Pattern("x"); }, [](Principal& p) { p.unit = {}; }, true},
    {"container", [](Rule& r) { r.container = Pattern("x"); }, [](Principal& p) { p.container = {}; }, true},
    {"pod", [](Rule& r) { r.pod = Pattern("x"); }, [](Principal& p) { p.pod = {}; }, true},
    {"TPM namespace", [](Rule& r) { r.tpm_namespace = "x"; }, [](Principal& p) { p.tpm_namespace = {}; }, true},
};

TEST(Rules, AnAbsentFactIsNotMatchedAndAnUnknownFactMayBe) {
  for (const Field& field : kFields) {
    Principal who = Principal::ordinary(33);
    EXPECT_EQ(rule(field.names).matches(who, ""), Match::kNo) << field.name;
    field.forget(who);
    EXPECT_EQ(rule(field.names).matches(who, ""), Match::kMaybe) << field.name;
    EXPECT_EQ(rule(field.names).matches(who, "", Match::kNo), field.binds_administrators ? Match::kMaybe : Match::kNo)
        << field.name;
    const auto of_another = [&](Rule& r) {
      field.names(r);
      r.uids = Numbers::one(34);
    };
    EXPECT_EQ(rule(of_another).matches(who, ""), Match::kNo) << field.name << ", and what is known says no";
  }
  EXPECT_EQ(rule([](Rule& r) { r.gids = Numbers::one(5); })
                .matches(
                    [] {
                      Principal who = Principal::ordinary(33);
                      who.gids = {5};
                      who.all_gids = false;
                      return who;
                    }(),
                    ""),
            Match::kYes)
      << "the primary group is known where the others are not";
}

TEST(Rules, OneCoversAnotherThatNamesNoLess) {
  using Names = std::function<void(Rule&)>;
  const Names none = [](Rule&) {};
  const Names few = [](Rule&r) { r.uids = Numbers::one(5); }, more = [](Rule&r) { r.uids = {{0, 9}}; };
  const Names group = [](Rule&r) { r.gids = Numbers::one(5); }, groups = [](Rule&r) { r.gids = {{0, 9}}; };
  const Names unit = [](Rule&r) { r.unit = Pattern("a"); }, other_unit = [](Rule&r) { r.unit = Pattern("b"); };
  const Names both = [](Rule& r) {
    r.uids = Numbers::one(5);
    r.listener = "d";
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

TEST(Policy, AClientWithoutAMatchingRuleIsSafe) {
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

  // A client with another executable gets the permissions of the later rules, and no more.
  Principal other = nginx();
  other.executable = Known<std::string>::none();
  EXPECT_EQ(p.choose(other, "").profile, provision());
  other.executable = {};
  EXPECT_EQ(p.choose(other, "").profile, chain.profile) << "unknown: it may be what is narrowed";
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
    EXPECT_EQ(p.choose(Principal::ordinary(uid), "").profile, *profile) << uid;
  }
}

TEST(Policy, RefusesPartsThatDoNotFitTogether) {
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
  if (*rc::gen::inRange(0, 4) == 0) out.listener = *rc::gen::element<std::string>("a", "b");
  out.profile = *rc::gen::element<std::string>("safe", "storage", "attest", "provision", "admin");
  return out;
}

template <typename T>
Known<T> anything(rc::Gen<T> gen) {
  switch (*rc::gen::inRange(0, 3)) {
    case 0:
      return {};
    case 1:
      return Known<T>::none();
    default:
      return *gen;
  }
}

Principal any_principal() {
  Principal out;
  out.uid = *rc::gen::inRange(0U, 3U);
  out.gids = {*rc::gen::inRange(0U, 3U)};
  out.all_gids = *rc::gen::arbitrary<bool>();
  out.executable = anything(rc::gen::element<std::string>("/a", "/b/c"));
  out.cgroup = anything(rc::gen::element<std::string>("/a", "/b"));
  out.user_namespace = anything(rc::gen::inRange<std::uint64_t>(0, 2));
  out.is_native = *rc::gen::element(Match::kNo, Match::kMaybe, Match::kYes);
  out.is_unidentified = *rc::gen::weightedElement<bool>({{3, false}, {1, true}});
  return out;
}

// The possible values of the principal's unknown fields.
Principal some_truth_of(Principal one) {
  const auto decide = [](auto& field, const auto& gen) {
    if (field.is_known()) return;
    field = std::decay_t<decltype(field)>::none();
    if (*rc::gen::arbitrary<bool>()) field = *gen;
  };
  decide(one.executable, rc::gen::element<std::string>("/a", "/b/c"));
  decide(one.cgroup, rc::gen::element<std::string>("/a", "/b"));
  decide(one.user_namespace, rc::gen::inRange<std::uint64_t>(0, 2));
  if (!one.all_gids && *rc::gen::arbitrary<bool>()) one.gids.push_back(*rc::gen::inRange(0U, 3U));
  one.all_gids = true;
  if (one.is_native == Match::kMaybe) one.is_native = match_if(*rc::gen::arbitrary<bool>());
  one.is_unidentified = false;
  return one;
}

Policy any_policy() {
  std::vector<Rule> rules;
  for (int i = *rc::gen::inRange(0, 5); i > 0; --i) rules.push_back(any_rule());
  if (*rc::gen::arbitrary<bool>()) rules.push_back(Policy::standard_rule(1));
  std::vector<Namespace> namespaces;
  for (int i = *rc::gen::inRange(0, 3); i > 0; --i) {
    Namespace one;
    one.name = std::to_string(i);
    one.members = any_rule();
    one.members.executable.reset();
    if (*rc::gen::arbitrary<bool>()) one.profile = *rc::gen::element<std::string>("safe", "provision", "admin");
    if (*rc::gen::arbitrary<bool>()) one.nv = *any_handles();
    if (*rc::gen::arbitrary<bool>()) {
      const auto first = 0x81200000 + static_cast<std::uint32_t>(i) * 0x20000;
      one.window = {first, first + 0x1FFFF};
    }
    namespaces.push_back(std::move(one));
  }
  auto out = Policy::make({}, std::move(rules), {}, {}, std::move(namespaces));
  RC_ASSERT(out.has_value());
  return *std::move(out);
}

bool gives_no_more(const Profile& a, const Profile& than) {
  for (const auto& one : kSets)
    if (!((a.*one.set - than.*one.set).empty())) return false;
  return a.administer <= than.administer && (than.disabled - a.disabled).empty();
}

// The claim of guard/rules.h. Unreadable facts do not count against an administrator.
RC_GTEST_PROP(Policy, ToBeUnknownNeverGivesMoreThanToBeKnown, ()) {
  const Policy p = any_policy();
  const std::string listener = *rc::gen::element<std::string>("a", "b");
  const std::string listener_profile = *rc::gen::element<std::string>("", "storage", "admin");
  const Principal principal = any_principal();
  const Principal truth = some_truth_of(principal);
  const bool is_known_administrator = principal.uid < 2 && principal.is_native == Match::kYes;
  RC_PRE(!is_known_administrator);
  RC_ASSERT(gives_no_more(p.choose(principal, listener, listener_profile).profile,
                          p.choose(truth, listener, listener_profile).profile));
}

RC_GTEST_PROP(Policy, WhatIsInDoubtIsNoMoreThanSafeButForWhatAListenerGives, ()) {
  const Policy p = any_policy();
  const Choice choice = p.choose(any_principal(), "a");
  if (choice.in_doubt) RC_ASSERT(gives_no_more(choice.profile, safe()));
}

RC_GTEST_PROP(Policy, AClientThatIsKnownIsNeverInDoubt, ()) {
  const Policy p = any_policy();
  const Choice choice = p.choose(some_truth_of(any_principal()), "a");
  RC_ASSERT(!choice.in_doubt && choice.homes.empty());
}

RC_GTEST_PROP(Policy, WhomNoRuleMatchesNeverGetsMoreThanSafe, ()) {
  const Choice choice = any_policy().choose(any_principal(), "a");
  if (choice.by_default) RC_ASSERT(gives_no_more(choice.profile, safe()));
}

RC_GTEST_PROP(Policy, ToBeAnotherExecutableNeverGivesMoreThanToHaveNone, ()) {
  const Policy p = any_policy();
  Principal spoofed = some_truth_of(any_principal()), without = spoofed;
  without.executable = Known<std::string>::none();
  RC_ASSERT(gives_no_more(p.choose(spoofed, "a").profile, p.choose(without, "a").profile));
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
  Principal out = Principal::ordinary(uid);
  out.tpm_namespace = {};
  const auto homes = p.homes_of(out, "main");
  EXPECT_EQ(homes.size(), 1U);
  out.tpm_namespace = homes[0] != nullptr ? Known<std::string>(homes[0]->name) : Known<std::string>::none();
  return out;
}

TEST(Namespaces, TheFirstThatMatchesWins) {
  auto everybody = inside("all", 1);
  everybody.members.uids.reset();
  const Policy p = with_namespaces({inside("one", 1), inside("again", 1), inside("two", 2)});
  EXPECT_EQ(member(p, 1).tpm_namespace.value(), "one");
  EXPECT_EQ(member(p, 2).tpm_namespace.value(), "two");
  EXPECT_EQ(member(p, 3).tpm_namespace.value(), std::nullopt);
  EXPECT_EQ(member(with_namespaces({everybody, inside("one", 1)}), 1).tpm_namespace.value(), "all");
}

TEST(Policy, UserNobodyDoesNotAdministerADaemonOfItsOwn) {
  const auto of = [](std::uint32_t own_uid, std::uint32_t uid) {
    return Policy::standard(own_uid).choose(Principal::ordinary(uid), "main").profile.name;
  };
  EXPECT_EQ(of(kOverflowUid, kOverflowUid), safe().name);
  EXPECT_EQ(of(kOverflowUid, 0), admin().name);
  EXPECT_EQ(of(kOverflowUid - 1, kOverflowUid - 1), admin().name);
}

TEST(Namespaces, ItsProfileStandsBehindRulesAndBeforeTheListeners) {
  auto home = inside("one", 0);
  home.profile = "provision";
  const auto standard = Policy::standard_rule(0);
  const Policy p = with_namespaces({home}, {standard});
  const Choice got = p.choose(member(p, 0), "d", "storage");
  EXPECT_EQ(got.profile, provision()) << "root as well";
  EXPECT_TRUE(got.by_namespace && !got.by_listener && !got.by_default);
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

// A namespace with a condition on the place of its members takes the standard rule from them: no process in a container
// is the machine's own.
TEST(Namespaces, RootIsNoAdministratorInOneThatSaysWhereItIs) {
  auto of_unit = inside("one", 0);
  of_unit.members.unit = Pattern("nginx.service");
  const Policy p = with_namespaces({of_unit}, {Policy::standard_rule(0)});
  Principal root = Principal::ordinary(0);
  root.tpm_namespace = {};
  EXPECT_EQ(p.choose(root, "main").profile, admin());
  root.unit = "nginx.service"s;
  EXPECT_EQ(p.choose(root, "main").profile, safe());
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

// A narrowed client is no longer an administrator.
TEST(Namespaces, ANarrowedProfileIsConfinedAgain) {
  auto home = inside("one", 1);
  home.window = kWindow;
  const Policy p = with_namespaces({home}, {Policy::standard_rule(0)});
  Profile narrowed = narrow(p.choose(member(p, 0), "main").profile, safe());
  p.confine(narrowed, member(p, 0), "main");
  EXPECT_EQ(narrowed.persistent_public, safe().persistent_public - Numbers{kWindow});
}

TEST(Namespaces, OfOneThatIsGoneNoMoreThanSafeIsLeft) {
  auto other = inside("other", 9);
  other.window = kWindow;
  const Policy p = with_namespaces({other}, {rule([](Rule&) {}, "admin", 3)});
  Principal left_over = member(p, 1);
  left_over.tpm_namespace = "gone"s;
  const Profile got = p.choose(left_over, "main").profile;
  EXPECT_EQ(got.commands, safe().commands);
  EXPECT_FALSE(got.administer);
  EXPECT_EQ(got.persistent_public, safe().persistent_public - Numbers{kWindow});
}

// --- Doubt: each unknown field x each kind of decision. docs/identity.md has the table.

constexpr const char* kListener = "main";

Namespace about(const Field& field) {
  Namespace out = inside("x", 0);
  out.members = rule(field.names, "");
  out.profile = "storage";
  out.nv = Numbers::one(0x01500001);
  return out;
}

// Root whose process was read, but for that.
Principal root_without(const Field& field) {
  Principal out = Principal::ordinary(0);
  field.forget(out);
  return out;
}
// Root of which it is not known whether it is the machine's.
Principal any_root() {
  Principal out;
  out.uid = 0;
  out.all_gids = true;
  out.is_unidentified = true;
  return out;
}

TEST(Doubt, ARuleThatTakesIsNotEscapedAndARuleThatGivesIsNotGained) {
  for (const Field& field : kFields) {
    if (std::string_view(field.name) == "TPM namespace") continue;  // below
    Principal user = Principal::ordinary(33);
    field.forget(user);
    const auto mine = [](Rule& r) { r.uids = Numbers::one(33); };
    const Policy takes = policy({rule(field.names, "attest", 1), rule(mine, "provision", 2)});
    const Policy gives = policy({rule(field.names, "provision", 1)});
    const bool only_narrows = takes.rules()[0].only_narrows();
    const Choice taken = takes.choose(user, kListener), given = gives.choose(user, kListener);
    EXPECT_EQ(taken.in_doubt, !only_narrows) << field.name;
    EXPECT_TRUE(gives_no_more(taken.profile, attest())) << field.name;
    EXPECT_TRUE(gives_no_more(taken.profile, provision())) << field.name;
    EXPECT_TRUE(only_narrows || gives_no_more(taken.profile, safe())) << field.name;
    EXPECT_TRUE(gives_no_more(given.profile, safe())) << field.name;
    EXPECT_TRUE(given.by_default) << field.name;
  }
}

TEST(Doubt, ANamespaceIsNeitherEscapedNorEntered) {
  for (const Field& field : kFields) {
    if (about(field).members.executable || about(field).members.tpm_namespace) continue;  // no namespace names these
    Principal user = Principal::ordinary(33);
    field.forget(user);
    user.tpm_namespace = {};
    const Policy p = with_namespaces({about(field)}, {rule([](Rule& r) { r.tpm_namespace = "x"; }, "admin", 3)});
    EXPECT_EQ(p.homes_of(user, kListener).size(), 2U) << field.name;
    const Choice choice = p.choose(user, kListener);
    EXPECT_TRUE(choice.in_doubt) << field.name;
    EXPECT_EQ(choice.homes, std::vector<std::size_t>{0}) << field.name;
    EXPECT_TRUE(gives_no_more(choice.profile, safe())) << field.name;
    EXPECT_TRUE((choice.profile.nv_read - Numbers::one(0x01500001)).empty()) << field.name;
    EXPECT_EQ(choice.profile.name, "admin & safe") << field.name;
  }
}

TEST(Doubt, AClientThatMayOrMayNotLookThroughAWindowSeesNeitherSide) {
  auto home = about(kFields[5]);
  home.window = kWindow;
  const Policy p = with_namespaces({home}, {});
  Principal user = Principal::ordinary(33);
  user.tpm_namespace = {};
  user.cgroup = {};
  const Profile got = p.choose(user, kListener).profile;
  for (const auto& [name, set] : kSets) EXPECT_TRUE(!name.starts_with("persistent.") || (got.*set).empty()) << name;
}

// Facts that the shipped unit cannot read do not lock out the real root.
TEST(Doubt, UnreadableFactsDoNotCountAgainstAnAdministrator) {
  for (const Field& field : kFields) {
    if (field.binds_administrators) continue;
    const Policy p = with_namespaces({about(field)}, {rule(field.names, "safe", 1), Policy::standard_rule(0)});
    Principal root = root_without(field);
    root.tpm_namespace = {};
    EXPECT_EQ(p.choose(root, kListener).profile, admin()) << field.name;
    EXPECT_FALSE(p.choose(root, kListener).in_doubt) << field.name;
    root.uid = 33;
    EXPECT_NE(p.choose(root, kListener).profile, admin()) << field.name;
  }
}

TEST(Doubt, WhereAnAdministratorIsHasToBeKnown) {
  for (const Field& field : kFields) {
    if (!field.binds_administrators || rule(field.names).tpm_namespace) continue;
    const Policy p = with_namespaces({about(field)}, {Policy::standard_rule(0)});
    Principal root = root_without(field);
    root.tpm_namespace = {};
    EXPECT_TRUE(gives_no_more(p.choose(root, kListener).profile, safe())) << field.name;
    EXPECT_EQ(with_namespaces({}, {Policy::standard_rule(0)}).choose(root, kListener).profile, admin())
        << field.name << ": nothing asks for it";
  }
}

TEST(Doubt, AnAdministratorIsNativeForSure) {
  const Policy standard = Policy::standard(120);
  for (const std::uint32_t uid : {0U, 120U})
    for (const auto& [native, wanted] :
         {std::pair{Match::kYes, &admin()}, {Match::kMaybe, &safe()}, {Match::kNo, &safe()}}) {
      Principal one = Principal::ordinary(uid);
      one.is_native = native;
      const Choice choice = standard.choose(one, kListener);
      EXPECT_EQ(choice.profile.commands, wanted->commands);
      EXPECT_EQ(choice.profile.administer, wanted->administer);
      EXPECT_EQ(choice.in_doubt, native == Match::kMaybe);
    }
}

TEST(Doubt, AnUnidentifiedClientGetsNoMoreThanSafeAlsoByARuleThatKnowsItsUser) {
  for (const auto& names : {std::function<void(Rule&)>([](Rule& r) { r.uids = Numbers::one(0); }),
                            std::function<void(Rule&)>([](Rule&) {})}) {
    const Policy p = policy({rule(names, "admin", 1)});
    EXPECT_TRUE(gives_no_more(p.choose(any_root(), kListener).profile, safe()));
    EXPECT_TRUE(gives_no_more(p.choose(any_root(), "d", "attest").profile, safe()));
  }
}

// To come by a listener with a profile it is enough to have been let in there.
TEST(Doubt, ByAListenerItGetsTheListenersProfile) {
  const Policy p = with_namespaces({}, {Policy::standard_rule(0)});
  EXPECT_EQ(p.choose(any_root(), "d", "storage").profile, storage());
  const Policy q = with_namespaces({about(kFields[5])}, {Policy::standard_rule(0)});
  EXPECT_TRUE(gives_no_more(q.choose(any_root(), "d", "provision").profile, safe()))
      << "if it cannot be in a namespace instead";
}

TEST(Namespaces, NamedProfilesAndNamespacesMustExist) {
  auto home = inside("one", 1);
  home.profile = "nobody's";
  EXPECT_EQ(Policy::make({}, {}, {}, {}, {home}).error(),
            "the namespace on line 7 gives the profile \"nobody's\", which does not exist");
  EXPECT_EQ(Policy::make({}, {rule([](Rule& r) { r.tpm_namespace = "two"; }, "safe", 12)}).error(),
            "the rule on line 12 is about the namespace \"two\", which does not exist");
}

}  // namespace
}  // namespace tpmspace::guard
