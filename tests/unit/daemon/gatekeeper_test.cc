// Badges: who gets which profile at the door, and what a new policy, a door's locality and narrowing make of it.
#include "daemon/gatekeeper.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "../../support/tpm_commands.h"
#include "daemon/limits.h"
#include "daemon/policy_file.h"
#include "guard/shipped.h"
#include "posix/fd.h"
#include "space/view.h"

namespace tpmspace::daemon {
namespace {

std::shared_ptr<const guard::Policy> policy(std::vector<guard::Rule> rules = {}, std::uint32_t own_uid = 0) {
  rules.push_back(guard::Policy::standard_rule(own_uid));
  auto out = guard::Policy::make({}, std::move(rules));
  EXPECT_TRUE(out) << out.error();
  return std::make_shared<const guard::Policy>(*std::move(out));
}

guard::Rule everybody(const std::string& profile) {
  guard::Rule out;
  out.line = 1;
  out.profile = profile;
  return out;
}

const std::vector<std::string> kChips = {"main", "other"};

class GatekeeperTest : public testing::Test {
 protected:
  GatekeeperTest() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    ours_.reset(ends[0]);
    theirs_.reset(ends[1]);
  }
  [[nodiscard]] Badge admit(Gatekeeper& keeper, const Entrance& entrance = {.door = "main"}) const {
    auto badge = keeper.admit(ours_.get(), entrance, since_boot());
    EXPECT_TRUE(badge);
    return *std::move(badge);
  }

  posix::Fd ours_, theirs_;
  static constexpr std::uint64_t kBytes = 1 << 20;
  const space::SpaceLimits most_;
};

TEST_F(GatekeeperTest, TheDaemonsOwnUserIsTheAdministrator) {
  Gatekeeper keeper(policy({}, ::geteuid()), kChips, most_, kBytes);
  const Badge badge = admit(keeper);
  EXPECT_EQ(badge.who.uid, ::geteuid());
  EXPECT_EQ(badge.owner, owner_of(::geteuid()));
  EXPECT_EQ(uid_of(badge.holder()), ::geteuid());
  EXPECT_EQ(badge.grant->profile(), guard::admin());
  EXPECT_TRUE(badge.grant->profile().administer);
}

TEST_F(GatekeeperTest, ThoseOfEqualRightsShareThem) {
  Gatekeeper keeper(policy({}, ::geteuid()), kChips, most_, kBytes);
  const Badge one = admit(keeper), two = admit(keeper);
  EXPECT_EQ(one.grant, two.grant);
  EXPECT_NE(one.grant, admit(keeper, {.door = "x", .locality = 2}).grant);
}

TEST_F(GatekeeperTest, ANewPolicyHoldsFromTheNextLookOn) {
  Gatekeeper keeper(policy({}, ::geteuid()), kChips, most_, kBytes);
  Badge badge = admit(keeper);
  EXPECT_FALSE(keeper.renew(badge));
  keeper.set_policy(policy({everybody("storage")}));
  EXPECT_EQ(badge.grant->profile(), guard::admin());
  EXPECT_TRUE(keeper.renew(badge));
  EXPECT_EQ(badge.grant->profile(), guard::storage());
  EXPECT_FALSE(keeper.renew(badge));
}

TEST_F(GatekeeperTest, ADoorsLocalityIsTheOnlyOne) {
  Gatekeeper keeper(policy({}, ::geteuid()), kChips, most_, kBytes);
  const Badge badge = admit(keeper, {.door = "tpm-locality-2", .locality = 2});
  EXPECT_EQ(badge.grant->profile().localities, wire::Numbers::one(2));
}

TEST_F(GatekeeperTest, WhatWasNarrowedNeverWidens) {
  Gatekeeper keeper(policy({everybody("storage")}), kChips, most_, kBytes);
  Badge badge = admit(keeper);
  ASSERT_EQ(keeper.narrow(badge, "safe", 7), Gatekeeper::Narrowing::kDone);
  const guard::Profile both = guard::narrow(guard::storage(), guard::safe());
  EXPECT_EQ(badge.grant->profile(), both);
  EXPECT_EQ(badge.limits().part, (space::Part{.user = 0, .connection = 7}));

  EXPECT_EQ(keeper.narrow(badge, "nobody's", 7), Gatekeeper::Narrowing::kNoSuchProfile);
  EXPECT_EQ(badge.grant->profile(), both);
  ASSERT_EQ(keeper.narrow(badge, "admin", 7), Gatekeeper::Narrowing::kDone);
  EXPECT_EQ(badge.grant->profile().commands, both.commands);
  EXPECT_FALSE(badge.grant->profile().administer);

  for (unsigned i = badge.narrowings; i < limits::kNarrowings; ++i)
    ASSERT_EQ(keeper.narrow(badge, "admin", 7), Gatekeeper::Narrowing::kDone);
  const std::string name = badge.grant->profile().name;
  EXPECT_EQ(name, "storage & safe & admin") << "each once, however often";
  EXPECT_EQ(keeper.narrow(badge, "admin", 7), Gatekeeper::Narrowing::kTooOften);

  keeper.set_policy(policy({everybody("admin")}));
  ASSERT_TRUE(keeper.renew(badge));
  EXPECT_EQ(badge.grant->profile().commands, guard::safe().commands);
  EXPECT_FALSE(badge.grant->profile().administer);
}

TEST_F(GatekeeperTest, LimitsAreTheSmallerOfTheDaemonsAndTheProfiles) {
  guard::Profile small = guard::safe();
  small.name = "small";
  small.limits.objects = 5;
  small.limits.sessions = 500;
  small.terms.exhaustion = guard::Exhaustion::kRefuse;
  small.terms.claim = 2;
  auto small_for_all = guard::Policy::make({{small.name, small}}, {everybody("small")});
  Gatekeeper keeper(std::make_shared<const guard::Policy>(*small_for_all), kChips, most_, kBytes);
  const auto limits = admit(keeper).grant->limits;
  EXPECT_EQ(limits.objects, 5U);
  EXPECT_EQ(limits.sessions, most_.sessions);
  EXPECT_EQ(limits.terms.claim, 2U);
  EXPECT_EQ(limits.terms.exhaustion, space::Exhaustion::kRefuse);
}

TEST_F(GatekeeperTest, TheManagerIsToldWhichPinsMayBeTried) {
  Gatekeeper keeper(policy({everybody("provision")}), kChips, most_, kBytes);
  Badge badge = admit(keeper);
  ASSERT_NE(badge.grant->limits.pins, nullptr);
  EXPECT_EQ(*badge.grant->limits.pins, guard::provision().nv_pin);
  ASSERT_EQ(keeper.narrow(badge, "safe", 7), Gatekeeper::Narrowing::kDone);
  ASSERT_NE(badge.grant->limits.pins, nullptr);
  EXPECT_TRUE(badge.grant->limits.pins->empty());
  keeper.set_policy(policy({everybody("admin")}));
  EXPECT_EQ(admit(keeper).grant->limits.pins, nullptr) << "all";
}

TEST_F(GatekeeperTest, JudgesByTheBadge) {
  Gatekeeper keeper(policy({everybody("safe")}), kChips, most_, kBytes);
  const Badge badge = admit(keeper);
  const auto command = [](std::uint32_t code) {
    auto bytes = wire::Writer().u16(wire::kTagNoSessions).u32(12).u32(code).u16(8).take();
    return *wire::Command::parse(std::move(bytes), wire::CommandTable::builtin(), 4096);
  };
  EXPECT_TRUE(Gatekeeper::judge(badge, command(wire::cc::kGetRandom), 0).allowed());
  EXPECT_EQ(Gatekeeper::judge(badge, command(wire::cc::kGetRandom), 1).rc, wire::rc::kLocality);
  EXPECT_EQ(Gatekeeper::judge(badge, command(wire::cc::kStartup), 0).rc, wire::rc::kCommandCode);
}

TEST_F(GatekeeperTest, TheListOfCommandsHasThoseThatAreAnsweredForEverybody) {
  Gatekeeper keeper(policy({everybody("safe")}), kChips, most_, kBytes);
  const auto badge = admit(keeper);
  const auto& shown = badge.grant->limits.view->commands;
  EXPECT_TRUE(shown.contains(wire::cc::kStartup));
  EXPECT_TRUE(shown.contains(wire::cc::kShutdown));
  EXPECT_FALSE(shown.contains(wire::cc::kSelfTest));
  EXPECT_FALSE(shown.contains(wire::cc::kClear));
}

// A container's root is root, too; and a door that is gone is what it was for who came by it.
TEST_F(GatekeeperTest, ADoorsProfileIsRootsAlso) {
  Gatekeeper keeper(policy({}, ::geteuid()), kChips, most_, kBytes);
  Badge badge = admit(keeper, {.door = "containers", .profile = "storage"});
  EXPECT_EQ(badge.grant->profile(), guard::storage());
  EXPECT_TRUE(badge.grant->choice.by_door);
  EXPECT_EQ(uid_of(badge.holder()), ::geteuid());
  EXPECT_NE(badge.owner, admit(keeper).owner) << "what root saved is not his";
  EXPECT_EQ(keeper.realm_of_owner(badge.owner), (Gatekeeper::Realm{Gatekeeper::Realm::Kind::kDoor, "containers"}));
  EXPECT_EQ(badge.owner, admit(keeper, {.door = "containers", .profile = "storage"}).owner);
  keeper.set_policy(policy({}, ::geteuid()));
  EXPECT_TRUE(keeper.renew(badge));
  EXPECT_EQ(badge.grant->profile(), guard::storage());
  const Badge late = admit(keeper, {.door = "containers", .profile = "no more"});
  for (const auto& one : guard::kSets) EXPECT_TRUE((late.grant->profile().*one.set).empty()) << one.name;
}

TEST_F(GatekeeperTest, EndlessLeasesShareAPool) {
  guard::Profile patient = guard::safe();
  patient.name = "patient";
  patient.terms.lease = space::SessionTerms::kEndless;
  patient.limits.endless_sessions = 5;
  patient.limits.bytes = 70'000;
  const auto all = guard::Policy::make({{patient.name, patient}}, {everybody("patient")});
  Gatekeeper keeper(std::make_shared<const guard::Policy>(*all), kChips, most_, kBytes);
  const auto limits = admit(keeper).grant->limits;
  EXPECT_NE(limits.pools[0].id.value, 0U);
  EXPECT_EQ(limits.pools[0].sessions, 5U);
  EXPECT_EQ(limits.pools[1].bytes, 70'000U);
  EXPECT_NE(limits.pools[0].id, limits.pools[1].id);
  EXPECT_EQ(admit(keeper, {.door = "x"}).grant->limits.pools[0].id, limits.pools[0].id);
}

// --- Namespaces

constexpr std::uint32_t kBase = 0x81200000;

guard::Namespace here(const std::string& name) {
  guard::Namespace out;
  out.name = name;
  out.members.door = "main";
  return out;
}

std::shared_ptr<const guard::Policy> with_namespaces(std::vector<guard::Namespace> namespaces) {
  auto out = guard::Policy::make({}, {guard::Policy::standard_rule(::geteuid())}, {}, {}, std::move(namespaces));
  EXPECT_TRUE(out) << out.error();
  return std::make_shared<const guard::Policy>(*std::move(out));
}

TEST_F(GatekeeperTest, AUidTellsTheOwnerUnlessANamespaceMightHaveHim) {
  const auto uid = ::geteuid();
  const Entrance outside{.door = "x"}, through_door{.door = "y", .profile = "safe"};
  auto others = here("others");
  others.members.uids = wire::Numbers::one(uid + 1);
  Gatekeeper keeper(with_namespaces({here("one"), others}), kChips, most_, kBytes);
  EXPECT_EQ(keeper.owner_by_uid(uid, outside), admit(keeper, outside).owner);
  EXPECT_EQ(keeper.owner_by_uid(uid, through_door), admit(keeper, through_door).owner);
  EXPECT_EQ(keeper.owner_by_uid(uid, {.door = "main"}), std::nullopt);
  auto by_unit = here("unit");
  by_unit.members = {};
  by_unit.members.user_namespace = 1;
  keeper.set_policy(with_namespaces({others, by_unit}));
  EXPECT_EQ(keeper.owner_by_uid(uid, outside), std::nullopt);
  keeper.set_policy(with_namespaces({others}));
  EXPECT_EQ(keeper.owner_by_uid(uid, {.door = "main"}), admit(keeper).owner);
}

TEST_F(GatekeeperTest, AStrangersBadgeAllowsNothing) {
  const Badge badge = Gatekeeper::stranger({.pid = 7, .uid = 0, .gid = 0}, {.door = "main"});
  EXPECT_EQ(badge.who.uid, 0U);
  EXPECT_EQ(badge.who.pid, 7);
  EXPECT_TRUE(badge.grant->profile().commands.empty());
  EXPECT_FALSE(badge.grant->profile().administer);
}

TEST_F(GatekeeperTest, AUserInANamespaceIsAnotherOwner) {
  Gatekeeper keeper(with_namespaces({here("one")}), kChips, most_, kBytes);
  const Badge inside = admit(keeper), outside = admit(keeper, {.door = "x"});
  EXPECT_EQ(inside.who.tpm_namespace.value(), "one");
  EXPECT_EQ(outside.who.tpm_namespace, guard::Known<std::string>::none());
  EXPECT_EQ(outside.owner, owner_of(::geteuid()));
  EXPECT_NE(inside.owner, outside.owner);
  EXPECT_EQ(uid_of(inside.holder()), ::geteuid());
  EXPECT_EQ(keeper.realm_of_owner(inside.owner), (Gatekeeper::Realm{Gatekeeper::Realm::Kind::kNamespace, "one"}));
  EXPECT_EQ(keeper.realm_of_owner(outside.owner), std::nullopt);
  const auto known = keeper.holders_of(::geteuid());
  for (const Badge& one : {outside, inside})
    EXPECT_NE(std::find(known.begin(), known.end(), one.holder()), known.end()) << uid_of(one.holder());
}

// A container's root can be any of its users.
TEST_F(GatekeeperTest, ARealmsUsersAreOneOwnerUnlessTheyAreSeparate) {
  auto people = here("people");
  people.members.door = "p";
  people.separate_users = true;
  Gatekeeper keeper(with_namespaces({here("box"), people}), kChips, most_, kBytes);
  const std::uint32_t uid = ::geteuid();
  const Badge in_box = admit(keeper), in_people = admit(keeper, {.door = "p"}),
              behind_door = admit(keeper, {.door = "x", .profile = "safe"}),
              behind_doors = admit(keeper, {.door = "y", .profile = "safe", .separate_users = true});
  for (const Badge& one : {in_box, behind_door}) {
    EXPECT_EQ(one.holder(), part_of_realm(uid, realm_of(one.owner)));
    EXPECT_EQ(one.owner, part_of_realm(uid + 1, realm_of(one.owner)).owner) << "another user is the same owner";
    EXPECT_EQ(one.limits().part.user, uid + 1) << "but has no part in what this one saves";
  }
  for (const Badge& one : {in_people, behind_doors}) {
    EXPECT_EQ(one.owner, owner_of(uid, realm_of(one.owner)));
    EXPECT_EQ(one.limits().part, space::Part{});
  }
  EXPECT_EQ(keeper.owner_by_uid(uid, in_people.entrance), std::nullopt);
  EXPECT_EQ(keeper.owner_by_uid(uid, behind_doors.entrance), behind_doors.owner);
}

// Else a container's root would have us keep as many as he has uids.
TEST_F(GatekeeperTest, AllUsersOfARealmShareAGrant) {
  Gatekeeper keeper(with_namespaces({here("box")}), kChips, most_, kBytes);
  const Badge one = admit(keeper);
  Badge other = one;
  other.part = part_of_realm(::geteuid() + 1, realm_of(one.owner)).part;
  ASSERT_TRUE(keeper.change_chip(other, "main"));
  EXPECT_EQ(one.grant, other.grant);
  EXPECT_NE(one.limits().part, other.limits().part);
}

TEST_F(GatekeeperTest, WhoNarrowsHimselfStaysTheUserHeIs) {
  Gatekeeper keeper(with_namespaces({here("box")}), kChips, most_, kBytes);
  Badge badge = admit(keeper);
  const space::Holder user = badge.holder();
  ASSERT_EQ(keeper.narrow(badge, "safe", 7), Gatekeeper::Narrowing::kDone);
  EXPECT_EQ(uid_of(badge.holder()), ::geteuid());
  EXPECT_TRUE(user.covers(badge.holder()));
  EXPECT_FALSE(badge.holder().covers(user));
}

TEST_F(GatekeeperTest, ANamespacesQuotasAreAPoolOfItsMembers) {
  auto one = here("one"), two = here("two");
  two.members.door = "two";
  one.quotas = {.connections = 4, .sessions = 3, .objects = 2, .bytes = 70'000};
  two.quotas = one.quotas;
  Gatekeeper keeper(with_namespaces({one, two}), kChips, most_, kBytes);
  const Badge inside = admit(keeper), other = admit(keeper, {.door = "two"}), outside = admit(keeper, {.door = "x"});
  const auto& pool = inside.grant->limits.pools[2];
  EXPECT_EQ(pool, (space::Pool{.id = pool.id, .sessions = 3, .objects = 2, .bytes = 70'000}));
  EXPECT_NE(pool.id.value, 0U);
  EXPECT_NE(pool.id, other.grant->limits.pools[2].id);
  EXPECT_EQ(outside.grant->limits.pools[2], space::Pool{});
  EXPECT_EQ(inside.grant->namespace_connections, 4U);
  EXPECT_EQ(outside.grant->namespace_connections, guard::kUnlimited);
}

// The same profile, and still no equal rights: another window.
TEST_F(GatekeeperTest, GrantsAreNotSharedAcrossNamespaces) {
  auto one = here("one");
  one.window = {kBase, kBase + (space::View::kWindow - 1)};
  auto two = here("two");
  two.members.door = "two";
  Gatekeeper keeper(with_namespaces({one, two}), kChips, most_, kBytes);
  const Badge inside = admit(keeper), other = admit(keeper, {.door = "two"});
  ASSERT_NE(inside.grant->limits.view, nullptr);
  EXPECT_EQ(inside.grant->limits.view->persistent_base, kBase);
  EXPECT_EQ(inside.grant->profile().commands, guard::admin().commands);
  EXPECT_EQ(inside.grant->profile().persistent_public, (wire::Numbers{{0x81000000, 0x8101FFFF}}));
  EXPECT_EQ(other.grant->limits.view, nullptr);
  EXPECT_EQ(inside.grant, admit(keeper).grant);
}

TEST_F(GatekeeperTest, AReloadKeepsMembersWhereTheyAre) {
  auto one = here("one");
  one.window = {kBase, kBase + (space::View::kWindow - 1)};
  Gatekeeper keeper(with_namespaces({one}), kChips, most_, kBytes);
  Badge badge = admit(keeper);
  const auto owner = badge.owner;

  auto moved = one;  // the name counts, and not who would belong to it now
  moved.members.door = "elsewhere";
  moved.window = {kBase + 0x100000, kBase + 0x100000 + (space::View::kWindow - 1)};
  keeper.set_policy(with_namespaces({here("new"), moved}));
  ASSERT_TRUE(keeper.renew(badge));
  EXPECT_EQ(badge.owner, owner);
  EXPECT_EQ(badge.grant->limits.view->persistent_base, kBase + 0x100000);
  EXPECT_NE(admit(keeper).owner, owner);

  auto gone = moved;
  gone.name = "another";
  keeper.set_policy(with_namespaces({gone}));
  ASSERT_TRUE(keeper.renew(badge));
  EXPECT_EQ(badge.owner, owner);
  EXPECT_EQ(badge.grant->profile().commands, guard::safe().commands);
  EXPECT_EQ(badge.grant->limits.view->persistent_base, 0U);
  EXPECT_FALSE(badge.grant->limits.view->persistent.contains(moved.window->first));
  EXPECT_EQ(badge.grant->limits.pools[2], space::Pool{});

  keeper.set_policy(with_namespaces({one}));
  ASSERT_TRUE(keeper.renew(badge));
  EXPECT_EQ(badge.grant->limits.view->persistent_base, kBase);
  EXPECT_EQ(admit(keeper).owner, owner) << "its number is as before";
}

TEST_F(GatekeeperTest, AnAdministratorWhoNarrowsHimselfSeesNoWindowAnyMore) {
  auto one = here("one");
  one.window = {kBase, kBase + (space::View::kWindow - 1)};
  Gatekeeper keeper(with_namespaces({one}), kChips, most_, kBytes);
  Badge badge = admit(keeper, {.door = "x"});
  EXPECT_TRUE(badge.grant->profile().persistent_public.contains(kBase));
  ASSERT_EQ(keeper.narrow(badge, "safe", 7), Gatekeeper::Narrowing::kDone);
  EXPECT_FALSE(badge.grant->profile().persistent_public.contains(kBase));
  EXPECT_FALSE(badge.grant->limits.view->persistent.contains(kBase));
}

// --- Clients of which something is unknown

// A connection whose process is gone.
posix::Fd orphan() {
  posix::Fd listening(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;  // without a name the kernel takes a free one that is in no file system
  socklen_t size = sizeof(sa_family_t);
  EXPECT_EQ(::bind(listening.get(), reinterpret_cast<const sockaddr*>(&address), size), 0);
  size = sizeof address;
  EXPECT_EQ(::getsockname(listening.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  EXPECT_EQ(::listen(listening.get(), 1), 0);
  posix::Fd client(::socket(AF_UNIX, SOCK_STREAM, 0));
  const pid_t child = ::fork();
  if (child == 0) ::_exit(::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), size));
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  return posix::Fd(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
}

guard::Namespace of_pods(const std::string& name) {
  guard::Namespace out;
  out.name = name;
  out.members.pod = guard::Pattern("*");
  return out;
}

using Kind = Gatekeeper::Realm::Kind;

class UnknownClient : public GatekeeperTest {
 protected:
  [[nodiscard]] static Badge admit_orphan(Gatekeeper& keeper, const Entrance& entrance = {.door = "main"}) {
    const posix::Fd socket = orphan();
    auto badge = keeper.admit(socket.get(), entrance, since_boot());
    EXPECT_TRUE(badge);
    return *std::move(badge);
  }
};

TEST_F(UnknownClient, IsAnOwnerOfItsOwnWithAllOthers) {
  Gatekeeper keeper(policy({}, ::geteuid()), kChips, most_, kBytes);
  const Badge known = admit(keeper), one = admit_orphan(keeper), other = admit_orphan(keeper);
  EXPECT_TRUE(one.who.is_unidentified);
  EXPECT_EQ(one.grant->profile().commands, guard::safe().commands);
  EXPECT_FALSE(one.grant->profile().administer);
  EXPECT_TRUE(one.grant->choice.in_doubt);
  EXPECT_EQ(one.owner, other.owner);
  EXPECT_EQ(one.part, other.part);
  EXPECT_NE(one.part, known.part);
  EXPECT_EQ(known.limits().may_be, std::vector<space::OwnerId>());
  const auto may_be = one.limits().may_be;
  EXPECT_NE(std::find(may_be.begin(), may_be.end(), known.owner), may_be.end())
      << "its tries are those of its user, too";
  EXPECT_EQ(uid_of(one.holder()), ::geteuid());
  EXPECT_EQ(keeper.realm_of_owner(one.owner), (Gatekeeper::Realm{.kind = Kind::kUnknown}));
  EXPECT_EQ(keeper.realm_of_owner(known.owner), std::nullopt);
  const auto holders = keeper.holders_of(::geteuid());
  EXPECT_NE(std::find(holders.begin(), holders.end(), one.holder()), holders.end())
      << "an administrator's order finds it";
}

TEST_F(UnknownClient, AtADoorWithAProfileIsWhoeverComesThere) {
  Gatekeeper keeper(policy({}, ::geteuid()), kChips, most_, kBytes);
  const Entrance door{.door = "d", .profile = "storage"};
  const Badge known = admit(keeper, door), unknown = admit_orphan(keeper, door);
  EXPECT_EQ(unknown.owner, known.owner);
  EXPECT_EQ(unknown.grant->profile(), guard::storage());
}

TEST_F(UnknownClient, HasTheLeastOfWhatTheNamespacesHaveThatItMayBeIn) {
  auto one = of_pods("one"), two = of_pods("two");
  one.members.door = two.members.door = "main";
  one.quotas = {.connections = 4, .sessions = 3, .objects = 200, .bytes = 90'000};
  two.quotas = {.connections = 9, .sessions = 2, .objects = 100, .bytes = 70'000};
  Gatekeeper keeper(with_namespaces({one, two}), kChips, most_, kBytes);
  const Badge badge = admit_orphan(keeper), elsewhere = admit_orphan(keeper, {.door = "x"});
  EXPECT_FALSE(badge.who.tpm_namespace.is_known());
  EXPECT_EQ(badge.grant->choice.homes, (std::vector<std::size_t>{0, 1}));
  EXPECT_EQ(badge.grant->namespace_connections, 4U);
  const auto& pool = badge.grant->limits.pools[2];
  EXPECT_EQ(pool, (space::Pool{.id = pool.id, .sessions = 2, .objects = 100, .bytes = 70'000}));
  EXPECT_NE(badge.grant, elsewhere.grant);
  EXPECT_EQ(elsewhere.grant->namespace_connections, guard::kUnlimited);
  EXPECT_EQ(admit(keeper).grant->namespace_connections, guard::kUnlimited) << "we are in no pod, and that is known";
}

TEST_F(UnknownClient, ThatMayHaveDifferentChipsGetsNothing) {
  auto one = of_pods("one");
  one.chip = "other";
  Gatekeeper keeper(with_namespaces({one}), kChips, most_, kBytes);
  Badge badge = admit_orphan(keeper);
  EXPECT_TRUE(badge.grant->profile().commands.empty());
  EXPECT_EQ(admit_orphan(keeper, {.door = "main", .chip = "main"}).grant->profile().commands, guard::safe().commands);
  EXPECT_EQ(admit(keeper).grant->profile(), guard::admin());
  keeper.set_policy(policy({}, ::geteuid()));
  ASSERT_TRUE(keeper.renew(badge));
  EXPECT_EQ(badge.grant->profile().commands, guard::safe().commands) << "it stays unidentified";
}

// --- What is read later

TEST_F(GatekeeperTest, TheProgramIsReadWhenThePolicyNamesItOrTheFirstCommandComes) {
  Gatekeeper keeper(policy({}, ::geteuid()), kChips, most_, kBytes, 1);
  Badge badge = admit(keeper);
  EXPECT_TRUE(badge.process);
  EXPECT_FALSE(badge.who.executable.is_known());
  EXPECT_TRUE(badge.who.cgroup.is_known());
  const Badge second = admit(keeper);
  EXPECT_FALSE(second.process) << "no more descriptors are kept";
  EXPECT_TRUE(second.who.executable.is_known());
  keeper.read_program(badge);
  EXPECT_FALSE(badge.process);
  EXPECT_EQ(badge.who, second.who);
  EXPECT_TRUE(admit(keeper).process) << "its descriptor was given back";

  guard::Rule narrows = everybody("safe");
  narrows.executable = guard::Pattern("/nowhere");
  keeper.set_policy(policy({narrows}, ::geteuid()));
  EXPECT_FALSE(admit(keeper).process);
}

struct Loans {
  const char* text;
  std::uint32_t uid, holder;
};
class SubordinateIdsTable : public testing::TestWithParam<Loans> {};

TEST_P(SubordinateIdsTable, TheHolder) {
  const auto uid_of_name = [](const std::string& name) -> std::optional<std::uint32_t> {
    if (name == "alice") return 1000;
    if (name == "root") return 0;
    return std::nullopt;
  };
  EXPECT_EQ(SubordinateIds::parse(GetParam().text, uid_of_name).holder_of(GetParam().uid), GetParam().holder);
}

INSTANTIATE_TEST_SUITE_P(
    Rows, SubordinateIdsTable,
    testing::Values(Loans{"", 5, 5}, Loans{"alice:100000:65536\n", 100000, 1000},
                    Loans{"alice:100000:65536", 165535, 1000}, Loans{"alice:100000:65536\n", 165536, 165536},
                    Loans{"# lent\n\nbob:1:2\nalice:100000:1\n", 100000, 1000}, Loans{"1001:200000:10\n", 200009, 1001},
                    Loans{"alice:100000:0\n", 100000, 100000}, Loans{"alice:100000:4294967295\n", 100001, 100001},
                    Loans{"alice:0:10\n", 0, 0}, Loans{"alice:1\n", 1, 1}, Loans{"alice:x:10\n", 0, 0},
                    // What root is lent is not root.
                    Loans{"root:100000:65536\n", 100000, 100000}, Loans{"alice:10:5\n1001:10:5\n", 12, 1000}));

TEST(SubordinateIds, AreLentByAServiceIfNsswitchNamesOne) {
  for (const char* text : {"subid: sss\n", "passwd: files\nsubid:\tsss files", "subid:sss # files\n"})
    EXPECT_TRUE(SubordinateIds::are_lent_by_service(text)) << text;
  for (const char* text : {"", "subid: files\n", "subid:\n", "# subid: sss\n", "passwd: sss\n", "subid: # sss\n"})
    EXPECT_FALSE(SubordinateIds::are_lent_by_service(text)) << text;
}

// The door's, else the namespace's, else the main one.
TEST_F(GatekeeperTest, EverybodyHasOneChip) {
  guard::Namespace here;
  here.name = "here";
  here.members.uids = wire::Numbers::one(::geteuid());
  here.chip = "other";
  auto with = guard::Policy::make({}, {guard::Policy::standard_rule(0)}, {}, {}, {here});
  ASSERT_TRUE(with);
  Gatekeeper keeper(std::make_shared<const guard::Policy>(*with), kChips, most_, kBytes);
  EXPECT_EQ(admit(keeper).chip, 1U);
  EXPECT_EQ(admit(keeper).who.chip, "other");
  EXPECT_EQ(admit(keeper, {.door = "x", .chip = "main"}).chip, 0U);
  keeper.set_policy(policy());
  EXPECT_EQ(admit(keeper).chip, 0U);
  EXPECT_EQ(admit(keeper, {.door = "x", .chip = "other"}).who.chip, "other");
}

TEST_F(GatekeeperTest, WhatIsAllowedCanDependOnTheChip) {
  guard::Rule rule = everybody("storage");
  rule.chip = "other";
  Gatekeeper keeper(policy({rule}, ::geteuid()), kChips, most_, kBytes);
  Badge badge = admit(keeper);
  EXPECT_EQ(badge.grant->profile(), guard::admin());
  EXPECT_FALSE(keeper.change_chip(badge, "nowhere"));
  EXPECT_EQ(badge.chip, 0U);
  EXPECT_TRUE(keeper.change_chip(badge, "other"));
  EXPECT_EQ(badge.grant->profile(), guard::storage());
  // Those of equal rights there do not share them with those here.
  EXPECT_EQ(admit(keeper).grant->profile(), guard::admin());
  EXPECT_EQ(admit(keeper, {.door = "main", .chip = "other"}).grant, badge.grant);
}

// --- a connection that joins another one

class JoiningBadges : public GatekeeperTest {
 protected:
  static guard::Rule of_uid(std::uint32_t uid, const std::string& profile) {
    guard::Rule out = everybody(profile);
    out.uids = wire::Numbers::one(uid);
    return out;
  }
  // As if that user had come.
  static Badge come_as(Gatekeeper& keeper, Badge like, std::uint32_t uid) {
    like.who.uid = uid;
    like.owner = owner_of(uid);
    EXPECT_TRUE(keeper.change_chip(like, "main"));
    return like;
  }
};

TEST_F(JoiningBadges, ItMayDoWhatBothMay) {
  Gatekeeper keeper(policy({of_uid(10, "admin"), of_uid(33, "attest")}), kChips, most_, kBytes);
  const Badge root = come_as(keeper, admit(keeper), 10), worker = come_as(keeper, root, 33);
  EXPECT_TRUE(root.grant->profile().administer);
  Badge joined = worker;
  ASSERT_TRUE(keeper.join(joined, root));
  EXPECT_FALSE(joined.grant->profile().administer);
  EXPECT_EQ(joined.grant->profile().commands, root.grant->profile().commands & worker.grant->profile().commands);
  EXPECT_EQ(joined.grant->profile().hierarchies,
            root.grant->profile().hierarchies & worker.grant->profile().hierarchies);
  Badge the_other_way = root;
  ASSERT_TRUE(keeper.join(the_other_way, worker));
  EXPECT_EQ(the_other_way.grant->profile().commands, joined.grant->profile().commands) << "nobody gains by it";
  EXPECT_FALSE(the_other_way.grant->profile().administer);
}

TEST_F(JoiningBadges, ItsOwnUserPays) {
  Gatekeeper keeper(policy(), kChips, most_, kBytes);
  const Badge root = come_as(keeper, admit(keeper), 10);
  Badge joined = come_as(keeper, root, 33);
  ASSERT_TRUE(keeper.join(joined, root));
  EXPECT_EQ(joined.holder(), come_as(keeper, root, 33).holder()) << "it can do nothing in the opener's name";
}

TEST_F(JoiningBadges, ALaterPolicyHoldsForBoth) {
  Gatekeeper keeper(policy({everybody("provision")}), kChips, most_, kBytes);
  const Badge root = come_as(keeper, admit(keeper), 10);
  Badge joined = come_as(keeper, root, 33);
  ASSERT_TRUE(keeper.join(joined, root));
  keeper.set_policy(policy({of_uid(10, "attest"), of_uid(33, "admin")}));
  ASSERT_TRUE(keeper.renew(joined));
  EXPECT_FALSE(joined.grant->profile().administer) << "the opener's rights became fewer";
  Badge opener = root;
  ASSERT_TRUE(keeper.renew(opener));
  EXPECT_EQ(joined.grant->profile().commands - opener.grant->profile().commands, wire::Numbers());
}

TEST_F(JoiningBadges, ANarrowedConnectionNeitherJoinsNorIsJoined) {
  Gatekeeper keeper(policy(), kChips, most_, kBytes);
  const Badge open = admit(keeper);
  Badge narrowed = open;
  ASSERT_EQ(keeper.narrow(narrowed, "safe", 1), Gatekeeper::Narrowing::kDone);
  Badge joined = open;
  EXPECT_FALSE(keeper.join(joined, narrowed));
  EXPECT_EQ(joined.openers.size(), 0U);
  EXPECT_FALSE(keeper.join(narrowed, open));
}

TEST_F(JoiningBadges, AnotherChipNamespaceOrDoorIsRefused) {
  Gatekeeper keeper(policy(), kChips, most_, kBytes);
  const Badge open = admit(keeper);
  Badge other_chip = open;
  ASSERT_TRUE(keeper.change_chip(other_chip, "other"));
  EXPECT_FALSE(keeper.join(other_chip, open));
  Badge other_door = admit(keeper, {.door = "side"});
  EXPECT_FALSE(keeper.join(other_door, open));
  Badge other_namespace = open;
  other_namespace.who.tpm_namespace = std::string("web");
  EXPECT_FALSE(keeper.join(other_namespace, open));
}

TEST_F(JoiningBadges, GenerationsOfOneProgramCountOnce) {
  Gatekeeper keeper(policy(), kChips, most_, kBytes);
  Badge last = admit(keeper);
  const Badge first = last;
  for (int generation = 0; generation < 100; ++generation) {
    Badge child = first;
    child.who.pid = 1000 + generation;
    ASSERT_TRUE(keeper.join(child, last));
    last = child;
  }
  EXPECT_EQ(last.openers.size(), 1U);
}

TEST_F(JoiningBadges, ALineOfStrangersEnds) {
  Gatekeeper keeper(policy(), kChips, most_, kBytes);
  Badge last = admit(keeper);
  std::uint32_t joined = 0;
  for (std::uint32_t uid = 1; uid <= 100; ++uid) {
    Badge next = come_as(keeper, last, uid);
    next.openers.clear();
    if (!keeper.join(next, last)) break;
    ++joined;
    last = next;
  }
  EXPECT_EQ(joined, limits::kOpeners);
}

}  // namespace
}  // namespace tpmspace::daemon
