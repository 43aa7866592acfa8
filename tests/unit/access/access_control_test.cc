// ClientIdentitys: the profile of a client at the listener, and the effects of a new policy, a listener's locality and
// narrowing.
#include "access/access_control.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "../../support/tpm_commands.h"
#include "base/fd.h"
#include "base/limits.h"
#include "books/view.h"
#include "config/policy_file.h"
#include "guard/shipped.h"

namespace tpmspace::access {
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

class AccessControlTest : public testing::Test {
 protected:
  AccessControlTest() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    ours_.reset(ends[0]);
    theirs_.reset(ends[1]);
  }
  [[nodiscard]] ClientIdentity admit(AccessControl& keeper,
                                     const guard::Entrance& entrance = {.listener = "main"}) const {
    auto identity = keeper.admit(ours_.get(), entrance, peer::since_boot());
    EXPECT_TRUE(identity);
    return *std::move(identity);
  }

  base::Fd ours_, theirs_;
  static constexpr std::uint64_t kBytes = 1 << 20;
  const space::SpaceLimits most_;
};

TEST_F(AccessControlTest, TheDaemonsOwnUserIsTheAdministrator) {
  AccessControl keeper(policy({}, ::geteuid()), kChips, most_, kBytes);
  const ClientIdentity identity = admit(keeper);
  EXPECT_EQ(identity.who.uid, ::geteuid());
  EXPECT_EQ(identity.owner, peer::owner_of(::geteuid()));
  EXPECT_EQ(peer::uid_of(identity.holder()), ::geteuid());
  EXPECT_EQ(identity.permissions->profile(), guard::admin());
  EXPECT_TRUE(identity.permissions->profile().administer);
}

TEST_F(AccessControlTest, ClientsOfEqualRightsShareThem) {
  AccessControl keeper(policy({}, ::geteuid()), kChips, most_, kBytes);
  const ClientIdentity one = admit(keeper), two = admit(keeper);
  EXPECT_EQ(one.permissions, two.permissions);
  EXPECT_NE(one.permissions, admit(keeper, {.listener = "x", .locality = 2}).permissions);
}

TEST_F(AccessControlTest, ANewPolicyHoldsFromTheNextLookOn) {
  AccessControl keeper(policy({}, ::geteuid()), kChips, most_, kBytes);
  ClientIdentity identity = admit(keeper);
  EXPECT_FALSE(keeper.renew(identity));
  keeper.set_policy(policy({everybody("storage")}));
  EXPECT_EQ(identity.permissions->profile(), guard::admin());
  EXPECT_TRUE(keeper.renew(identity));
  EXPECT_EQ(identity.permissions->profile(), guard::storage());
  EXPECT_FALSE(keeper.renew(identity));
}

TEST_F(AccessControlTest, AListenersLocalityIsTheOnlyOne) {
  AccessControl keeper(policy({}, ::geteuid()), kChips, most_, kBytes);
  const ClientIdentity identity = admit(keeper, {.listener = "tpm-locality-2", .locality = 2});
  EXPECT_EQ(identity.permissions->profile().localities, wire::Numbers::one(2));
}

TEST_F(AccessControlTest, ANarrowedClientNeverWidens) {
  AccessControl keeper(policy({everybody("storage")}), kChips, most_, kBytes);
  ClientIdentity identity = admit(keeper);
  ASSERT_EQ(keeper.narrow(identity, "safe", 7), AccessControl::Narrowing::kDone);
  const guard::Profile both = guard::narrow(guard::storage(), guard::safe());
  EXPECT_EQ(identity.permissions->profile(), both);
  EXPECT_EQ(identity.limits().part, (space::Part{.user = 0, .connection = 7}));

  EXPECT_EQ(keeper.narrow(identity, "nobody's", 7), AccessControl::Narrowing::kNoSuchProfile);
  EXPECT_EQ(identity.permissions->profile(), both);
  ASSERT_EQ(keeper.narrow(identity, "admin", 7), AccessControl::Narrowing::kDone);
  EXPECT_EQ(identity.permissions->profile().commands, both.commands);
  EXPECT_FALSE(identity.permissions->profile().administer);

  for (unsigned i = identity.narrowings; i < limits::kNarrowings; ++i)
    ASSERT_EQ(keeper.narrow(identity, "admin", 7), AccessControl::Narrowing::kDone);
  const std::string name = identity.permissions->profile().name;
  EXPECT_EQ(name, "storage & safe & admin") << "each once, however often";
  EXPECT_EQ(keeper.narrow(identity, "admin", 7), AccessControl::Narrowing::kTooOften);

  keeper.set_policy(policy({everybody("admin")}));
  ASSERT_TRUE(keeper.renew(identity));
  EXPECT_EQ(identity.permissions->profile().commands, guard::safe().commands);
  EXPECT_FALSE(identity.permissions->profile().administer);
}

TEST_F(AccessControlTest, LimitsAreTheSmallerOfTheDaemonsAndTheProfiles) {
  guard::Profile small = guard::safe();
  small.name = "small";
  small.limits.objects = 5;
  small.limits.sessions = 500;
  small.terms.exhaustion = guard::Exhaustion::kRefuse;
  small.terms.claim = 2;
  auto small_for_all = guard::Policy::make({{small.name, small}}, {everybody("small")});
  AccessControl keeper(std::make_shared<const guard::Policy>(*small_for_all), kChips, most_, kBytes);
  const auto limits = admit(keeper).permissions->limits;
  EXPECT_EQ(limits.objects, 5U);
  EXPECT_EQ(limits.sessions, most_.sessions);
  EXPECT_EQ(limits.terms.claim, 2U);
  EXPECT_EQ(limits.terms.exhaustion, space::Exhaustion::kRefuse);
}

TEST_F(AccessControlTest, TheManagerIsToldWhichPinsMayBeTried) {
  AccessControl keeper(policy({everybody("provision")}), kChips, most_, kBytes);
  ClientIdentity identity = admit(keeper);
  ASSERT_NE(identity.permissions->limits.pins, nullptr);
  EXPECT_EQ(*identity.permissions->limits.pins, guard::provision().nv_pin);
  ASSERT_EQ(keeper.narrow(identity, "safe", 7), AccessControl::Narrowing::kDone);
  ASSERT_NE(identity.permissions->limits.pins, nullptr);
  EXPECT_TRUE(identity.permissions->limits.pins->empty());
  keeper.set_policy(policy({everybody("admin")}));
  EXPECT_EQ(admit(keeper).permissions->limits.pins, nullptr) << "all";
}

TEST_F(AccessControlTest, JudgesByTheIdentity) {
  AccessControl keeper(policy({everybody("safe")}), kChips, most_, kBytes);
  const ClientIdentity identity = admit(keeper);
  const auto command = [](std::uint32_t code) {
    auto bytes = wire::Writer().u16(wire::kTagNoSessions).u32(12).u32(code).u16(8).take();
    return *wire::Command::parse(std::move(bytes), wire::CommandTable::builtin(), 4096);
  };
  EXPECT_TRUE(AccessControl::judge(identity, command(wire::cc::kGetRandom), 0).allowed());
  EXPECT_EQ(AccessControl::judge(identity, command(wire::cc::kGetRandom), 1).rc, wire::rc::kLocality);
  EXPECT_EQ(AccessControl::judge(identity, command(wire::cc::kStartup), 0).rc, wire::rc::kCommandCode);
}

TEST_F(AccessControlTest, TheListOfCommandsHasTheCommandsAnsweredForAllClients) {
  AccessControl keeper(policy({everybody("safe")}), kChips, most_, kBytes);
  const auto identity = admit(keeper);
  const auto& shown = identity.permissions->limits.view->commands;
  EXPECT_TRUE(shown.contains(wire::cc::kStartup));
  EXPECT_TRUE(shown.contains(wire::cc::kShutdown));
  EXPECT_FALSE(shown.contains(wire::cc::kSelfTest));
  EXPECT_FALSE(shown.contains(wire::cc::kClear));
}

// A container's root is root, too; and a removed listener stays the same for its clients.
TEST_F(AccessControlTest, AListenersProfileIsRootsAlso) {
  AccessControl keeper(policy({}, ::geteuid()), kChips, most_, kBytes);
  ClientIdentity identity = admit(keeper, {.listener = "containers", .profile = "storage"});
  EXPECT_EQ(identity.permissions->profile(), guard::storage());
  EXPECT_TRUE(identity.permissions->choice.by_listener);
  EXPECT_EQ(peer::uid_of(identity.holder()), ::geteuid());
  EXPECT_NE(identity.owner, admit(keeper).owner) << "what root saved is not his";
  EXPECT_EQ(keeper.tenant_of_owner(identity.owner),
            (AccessControl::Tenant{AccessControl::Tenant::Kind::kListener, "containers"}));
  EXPECT_EQ(identity.owner, admit(keeper, {.listener = "containers", .profile = "storage"}).owner);
  keeper.set_policy(policy({}, ::geteuid()));
  EXPECT_TRUE(keeper.renew(identity));
  EXPECT_EQ(identity.permissions->profile(), guard::storage());
  const ClientIdentity late = admit(keeper, {.listener = "containers", .profile = "no more"});
  for (const auto& one : guard::kSets) EXPECT_TRUE((late.permissions->profile().*one.set).empty()) << one.name;
}

TEST_F(AccessControlTest, EndlessLeasesShareAPool) {
  guard::Profile patient = guard::safe();
  patient.name = "patient";
  patient.terms.lease = space::SessionTerms::kEndless;
  patient.limits.endless_sessions = 5;
  patient.limits.bytes = 70'000;
  const auto all = guard::Policy::make({{patient.name, patient}}, {everybody("patient")});
  AccessControl keeper(std::make_shared<const guard::Policy>(*all), kChips, most_, kBytes);
  const auto limits = admit(keeper).permissions->limits;
  EXPECT_NE(limits.pools[0].id.value, 0U);
  EXPECT_EQ(limits.pools[0].sessions, 5U);
  EXPECT_EQ(limits.pools[1].bytes, 70'000U);
  EXPECT_NE(limits.pools[0].id, limits.pools[1].id);
  EXPECT_EQ(admit(keeper, {.listener = "x"}).permissions->limits.pools[0].id, limits.pools[0].id);
}

// --- Namespaces

constexpr std::uint32_t kBase = 0x81200000;

guard::Namespace here(const std::string& name) {
  guard::Namespace out;
  out.name = name;
  out.members.listener = "main";
  return out;
}

std::shared_ptr<const guard::Policy> with_namespaces(std::vector<guard::Namespace> namespaces) {
  auto out = guard::Policy::make({}, {guard::Policy::standard_rule(::geteuid())}, {}, {}, std::move(namespaces));
  EXPECT_TRUE(out) << out.error();
  return std::make_shared<const guard::Policy>(*std::move(out));
}

TEST_F(AccessControlTest, AUidTellsTheOwnerUnlessANamespaceMightHaveHim) {
  const auto uid = ::geteuid();
  const guard::Entrance outside{.listener = "x"}, through_listener{.listener = "y", .profile = "safe"};
  auto others = here("others");
  others.members.uids = wire::Numbers::one(uid + 1);
  AccessControl keeper(with_namespaces({here("one"), others}), kChips, most_, kBytes);
  EXPECT_EQ(keeper.owner_by_uid(uid, outside), admit(keeper, outside).owner);
  EXPECT_EQ(keeper.owner_by_uid(uid, through_listener), admit(keeper, through_listener).owner);
  EXPECT_EQ(keeper.owner_by_uid(uid, {.listener = "main"}), std::nullopt);
  auto by_unit = here("unit");
  by_unit.members = {};
  by_unit.members.user_namespace = 1;
  keeper.set_policy(with_namespaces({others, by_unit}));
  EXPECT_EQ(keeper.owner_by_uid(uid, outside), std::nullopt);
  keeper.set_policy(with_namespaces({others}));
  EXPECT_EQ(keeper.owner_by_uid(uid, {.listener = "main"}), admit(keeper).owner);
}

TEST_F(AccessControlTest, AStrangersIdentityAllowsNothing) {
  const ClientIdentity identity = AccessControl::stranger({.pid = 7, .uid = 0, .gid = 0}, {.listener = "main"});
  EXPECT_EQ(identity.who.uid, 0U);
  EXPECT_EQ(identity.who.pid, 7);
  EXPECT_TRUE(identity.permissions->profile().commands.empty());
  EXPECT_FALSE(identity.permissions->profile().administer);
}

TEST_F(AccessControlTest, AUserInANamespaceIsAnotherOwner) {
  AccessControl keeper(with_namespaces({here("one")}), kChips, most_, kBytes);
  const ClientIdentity inside = admit(keeper), outside = admit(keeper, {.listener = "x"});
  EXPECT_EQ(inside.who.tpm_namespace.value(), "one");
  EXPECT_EQ(outside.who.tpm_namespace, guard::Known<std::string>::none());
  EXPECT_EQ(outside.owner, peer::owner_of(::geteuid()));
  EXPECT_NE(inside.owner, outside.owner);
  EXPECT_EQ(peer::uid_of(inside.holder()), ::geteuid());
  EXPECT_EQ(keeper.tenant_of_owner(inside.owner),
            (AccessControl::Tenant{AccessControl::Tenant::Kind::kNamespace, "one"}));
  EXPECT_EQ(keeper.tenant_of_owner(outside.owner), std::nullopt);
  const auto known = keeper.holders_of(::geteuid());
  for (const ClientIdentity& one : {outside, inside})
    EXPECT_NE(std::find(known.begin(), known.end(), one.holder()), known.end()) << peer::uid_of(one.holder());
}

// A container's root can be any of its users.
TEST_F(AccessControlTest, ATenantsUsersAreOneOwnerUnlessTheyAreSeparate) {
  auto people = here("people");
  people.members.listener = "p";
  people.separate_users = true;
  AccessControl keeper(with_namespaces({here("box"), people}), kChips, most_, kBytes);
  const std::uint32_t uid = ::geteuid();
  const ClientIdentity in_box = admit(keeper), in_people = admit(keeper, {.listener = "p"}),
                       behind_listener = admit(keeper, {.listener = "x", .profile = "safe"}),
                       behind_listeners = admit(keeper, {.listener = "y", .profile = "safe", .separate_users = true});
  for (const ClientIdentity& one : {in_box, behind_listener}) {
    EXPECT_EQ(one.holder(), peer::part_of_tenant(uid, peer::tenant_of(one.owner)));
    EXPECT_EQ(one.owner, peer::part_of_tenant(uid + 1, peer::tenant_of(one.owner)).owner)
        << "another user is the same owner";
    EXPECT_EQ(one.limits().part.user, uid + 1) << "but has no part in what this one saves";
  }
  for (const ClientIdentity& one : {in_people, behind_listeners}) {
    EXPECT_EQ(one.owner, peer::owner_of(uid, peer::tenant_of(one.owner)));
    EXPECT_EQ(one.limits().part, space::Part{});
  }
  EXPECT_EQ(keeper.owner_by_uid(uid, in_people.entrance), std::nullopt);
  EXPECT_EQ(keeper.owner_by_uid(uid, behind_listeners.entrance), behind_listeners.owner);
}

// Else a container's root would have us keep as many as the root has uids.
TEST_F(AccessControlTest, AllUsersOfATenantSharePermissions) {
  AccessControl keeper(with_namespaces({here("box")}), kChips, most_, kBytes);
  const ClientIdentity one = admit(keeper);
  ClientIdentity other = one;
  other.part = peer::part_of_tenant(::geteuid() + 1, peer::tenant_of(one.owner)).part;
  ASSERT_TRUE(keeper.change_chip(other, "main"));
  EXPECT_EQ(one.permissions, other.permissions);
  EXPECT_NE(one.limits().part, other.limits().part);
}

TEST_F(AccessControlTest, ANarrowedClientStaysTheSameUser) {
  AccessControl keeper(with_namespaces({here("box")}), kChips, most_, kBytes);
  ClientIdentity identity = admit(keeper);
  const space::Holder user = identity.holder();
  ASSERT_EQ(keeper.narrow(identity, "safe", 7), AccessControl::Narrowing::kDone);
  EXPECT_EQ(peer::uid_of(identity.holder()), ::geteuid());
  EXPECT_TRUE(user.covers(identity.holder()));
  EXPECT_FALSE(identity.holder().covers(user));
}

TEST_F(AccessControlTest, ANamespacesQuotasAreAPoolOfItsMembers) {
  auto one = here("one"), two = here("two");
  two.members.listener = "two";
  one.quotas = {.connections = 4, .sessions = 3, .objects = 2, .bytes = 70'000};
  two.quotas = one.quotas;
  AccessControl keeper(with_namespaces({one, two}), kChips, most_, kBytes);
  const ClientIdentity inside = admit(keeper), other = admit(keeper, {.listener = "two"}),
                       outside = admit(keeper, {.listener = "x"});
  const auto& pool = inside.permissions->limits.pools[2];
  EXPECT_EQ(pool, (space::Pool{.id = pool.id, .sessions = 3, .objects = 2, .bytes = 70'000}));
  EXPECT_NE(pool.id.value, 0U);
  EXPECT_NE(pool.id, other.permissions->limits.pools[2].id);
  EXPECT_EQ(outside.permissions->limits.pools[2], space::Pool{});
  EXPECT_EQ(inside.permissions->namespace_connections, 4U);
  EXPECT_EQ(outside.permissions->namespace_connections, guard::kUnlimited);
}

// The same profile, and still no equal rights: another window.
TEST_F(AccessControlTest, PermissionsAreNotSharedAcrossNamespaces) {
  auto one = here("one");
  one.window = {kBase, kBase + (space::View::kWindow - 1)};
  auto two = here("two");
  two.members.listener = "two";
  AccessControl keeper(with_namespaces({one, two}), kChips, most_, kBytes);
  const ClientIdentity inside = admit(keeper), other = admit(keeper, {.listener = "two"});
  ASSERT_NE(inside.permissions->limits.view, nullptr);
  EXPECT_EQ(inside.permissions->limits.view->persistent_base, kBase);
  EXPECT_EQ(inside.permissions->profile().commands, guard::admin().commands);
  EXPECT_EQ(inside.permissions->profile().persistent_public, (wire::Numbers{{0x81000000, 0x8101FFFF}}));
  EXPECT_EQ(other.permissions->limits.view, nullptr);
  EXPECT_EQ(inside.permissions, admit(keeper).permissions);
}

TEST_F(AccessControlTest, AReloadKeepsMembersWhereTheyAre) {
  auto one = here("one");
  one.window = {kBase, kBase + (space::View::kWindow - 1)};
  AccessControl keeper(with_namespaces({one}), kChips, most_, kBytes);
  ClientIdentity identity = admit(keeper);
  const auto owner = identity.owner;

  auto moved = one;  // the name counts, and not the present members
  moved.members.listener = "elsewhere";
  moved.window = {kBase + 0x100000, kBase + 0x100000 + (space::View::kWindow - 1)};
  keeper.set_policy(with_namespaces({here("new"), moved}));
  ASSERT_TRUE(keeper.renew(identity));
  EXPECT_EQ(identity.owner, owner);
  EXPECT_EQ(identity.permissions->limits.view->persistent_base, kBase + 0x100000);
  EXPECT_NE(admit(keeper).owner, owner);

  auto gone = moved;
  gone.name = "another";
  keeper.set_policy(with_namespaces({gone}));
  ASSERT_TRUE(keeper.renew(identity));
  EXPECT_EQ(identity.owner, owner);
  EXPECT_EQ(identity.permissions->profile().commands, guard::safe().commands);
  EXPECT_EQ(identity.permissions->limits.view->persistent_base, 0U);
  EXPECT_FALSE(identity.permissions->limits.view->persistent.contains(moved.window->first));
  EXPECT_EQ(identity.permissions->limits.pools[2], space::Pool{});

  keeper.set_policy(with_namespaces({one}));
  ASSERT_TRUE(keeper.renew(identity));
  EXPECT_EQ(identity.permissions->limits.view->persistent_base, kBase);
  EXPECT_EQ(admit(keeper).owner, owner) << "its number is as before";
}

TEST_F(AccessControlTest, ANarrowedAdministratorSeesNoWindow) {
  auto one = here("one");
  one.window = {kBase, kBase + (space::View::kWindow - 1)};
  AccessControl keeper(with_namespaces({one}), kChips, most_, kBytes);
  ClientIdentity identity = admit(keeper, {.listener = "x"});
  EXPECT_TRUE(identity.permissions->profile().persistent_public.contains(kBase));
  ASSERT_EQ(keeper.narrow(identity, "safe", 7), AccessControl::Narrowing::kDone);
  EXPECT_FALSE(identity.permissions->profile().persistent_public.contains(kBase));
  EXPECT_FALSE(identity.permissions->limits.view->persistent.contains(kBase));
}

// --- Clients of which something is unknown

// A connection whose process is gone.
base::Fd orphan() {
  base::Fd listening(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;  // without a name the kernel takes a free one that is in no file system
  socklen_t size = sizeof(sa_family_t);
  EXPECT_EQ(::bind(listening.get(), reinterpret_cast<const sockaddr*>(&address), size), 0);
  size = sizeof address;
  EXPECT_EQ(::getsockname(listening.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  EXPECT_EQ(::listen(listening.get(), 1), 0);
  base::Fd client(::socket(AF_UNIX, SOCK_STREAM, 0));
  const pid_t child = ::fork();
  if (child == 0) ::_exit(::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), size));
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  return base::Fd(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
}

guard::Namespace of_pods(const std::string& name) {
  guard::Namespace out;
  out.name = name;
  out.members.pod = guard::Pattern("*");
  return out;
}

using Kind = AccessControl::Tenant::Kind;

class UnknownClient : public AccessControlTest {
 protected:
  [[nodiscard]] static ClientIdentity admit_orphan(AccessControl& keeper,
                                                   const guard::Entrance& entrance = {.listener = "main"}) {
    const base::Fd socket = orphan();
    auto identity = keeper.admit(socket.get(), entrance, peer::since_boot());
    EXPECT_TRUE(identity);
    return *std::move(identity);
  }
};

TEST_F(UnknownClient, IsAnOwnerOfItsOwnWithAllOthers) {
  AccessControl keeper(policy({}, ::geteuid()), kChips, most_, kBytes);
  const ClientIdentity known = admit(keeper), one = admit_orphan(keeper), other = admit_orphan(keeper);
  EXPECT_TRUE(one.who.is_unidentified);
  EXPECT_EQ(one.permissions->profile().commands, guard::safe().commands);
  EXPECT_FALSE(one.permissions->profile().administer);
  EXPECT_TRUE(one.permissions->choice.in_doubt);
  EXPECT_EQ(one.owner, other.owner);
  EXPECT_EQ(one.part, other.part);
  EXPECT_NE(one.part, known.part);
  EXPECT_EQ(known.limits().may_be, std::vector<space::OwnerId>());
  const auto may_be = one.limits().may_be;
  EXPECT_NE(std::find(may_be.begin(), may_be.end(), known.owner), may_be.end())
      << "its tries are those of its user, too";
  EXPECT_EQ(peer::uid_of(one.holder()), ::geteuid());
  EXPECT_EQ(keeper.tenant_of_owner(one.owner), (AccessControl::Tenant{.kind = Kind::kUnknown}));
  EXPECT_EQ(keeper.tenant_of_owner(known.owner), std::nullopt);
  const auto holders = keeper.holders_of(::geteuid());
  EXPECT_NE(std::find(holders.begin(), holders.end(), one.holder()), holders.end())
      << "an administrator's order finds it";
}

TEST_F(UnknownClient, AtAListenerWithAProfileIsTheListenersOwner) {
  AccessControl keeper(policy({}, ::geteuid()), kChips, most_, kBytes);
  const guard::Entrance listener{.listener = "d", .profile = "storage"};
  const ClientIdentity known = admit(keeper, listener), unknown = admit_orphan(keeper, listener);
  EXPECT_EQ(unknown.owner, known.owner);
  EXPECT_EQ(unknown.permissions->profile(), guard::storage());
}

TEST_F(UnknownClient, HasTheLeastOfItsPossibleNamespaces) {
  auto one = of_pods("one"), two = of_pods("two");
  one.members.listener = two.members.listener = "main";
  one.quotas = {.connections = 4, .sessions = 3, .objects = 200, .bytes = 90'000};
  two.quotas = {.connections = 9, .sessions = 2, .objects = 100, .bytes = 70'000};
  AccessControl keeper(with_namespaces({one, two}), kChips, most_, kBytes);
  const ClientIdentity identity = admit_orphan(keeper), elsewhere = admit_orphan(keeper, {.listener = "x"});
  EXPECT_FALSE(identity.who.tpm_namespace.is_known());
  EXPECT_EQ(identity.permissions->choice.homes, (std::vector<std::size_t>{0, 1}));
  EXPECT_EQ(identity.permissions->namespace_connections, 4U);
  const auto& pool = identity.permissions->limits.pools[2];
  EXPECT_EQ(pool, (space::Pool{.id = pool.id, .sessions = 2, .objects = 100, .bytes = 70'000}));
  EXPECT_NE(identity.permissions, elsewhere.permissions);
  EXPECT_EQ(elsewhere.permissions->namespace_connections, guard::kUnlimited);
  EXPECT_EQ(admit(keeper).permissions->namespace_connections, guard::kUnlimited)
      << "we are in no pod, and that is known";
}

TEST_F(UnknownClient, ThatMayHaveDifferentChipsGetsNothing) {
  auto one = of_pods("one");
  one.chip = "other";
  AccessControl keeper(with_namespaces({one}), kChips, most_, kBytes);
  ClientIdentity identity = admit_orphan(keeper);
  EXPECT_TRUE(identity.permissions->profile().commands.empty());
  EXPECT_EQ(admit_orphan(keeper, {.listener = "main", .chip = "main"}).permissions->profile().commands,
            guard::safe().commands);
  EXPECT_EQ(admit(keeper).permissions->profile(), guard::admin());
  keeper.set_policy(policy({}, ::geteuid()));
  ASSERT_TRUE(keeper.renew(identity));
  EXPECT_EQ(identity.permissions->profile().commands, guard::safe().commands) << "it stays unidentified";
}

// --- Facts that are read later

TEST_F(AccessControlTest, TheProgramIsReadWhenThePolicyNamesItOrTheFirstCommandComes) {
  AccessControl keeper(policy({}, ::geteuid()), kChips, most_, kBytes, 1);
  ClientIdentity identity = admit(keeper);
  EXPECT_TRUE(identity.process);
  EXPECT_FALSE(identity.who.executable.is_known());
  EXPECT_TRUE(identity.who.cgroup.is_known());
  const ClientIdentity second = admit(keeper);
  EXPECT_FALSE(second.process) << "no more descriptors are kept";
  EXPECT_TRUE(second.who.executable.is_known());
  keeper.read_program(identity);
  EXPECT_FALSE(identity.process);
  EXPECT_EQ(identity.who, second.who);
  EXPECT_TRUE(admit(keeper).process) << "its descriptor was given back";

  guard::Rule narrows = everybody("safe");
  narrows.executable = guard::Pattern("/nowhere");
  keeper.set_policy(policy({narrows}, ::geteuid()));
  EXPECT_FALSE(admit(keeper).process);
}

// The listener's, else the namespace's, else the main one.
TEST_F(AccessControlTest, EachClientHasOneChip) {
  guard::Namespace here;
  here.name = "here";
  here.members.uids = wire::Numbers::one(::geteuid());
  here.chip = "other";
  auto with = guard::Policy::make({}, {guard::Policy::standard_rule(0)}, {}, {}, {here});
  ASSERT_TRUE(with);
  AccessControl keeper(std::make_shared<const guard::Policy>(*with), kChips, most_, kBytes);
  EXPECT_EQ(admit(keeper).chip, 1U);
  EXPECT_EQ(admit(keeper).who.chip, "other");
  EXPECT_EQ(admit(keeper, {.listener = "x", .chip = "main"}).chip, 0U);
  keeper.set_policy(policy());
  EXPECT_EQ(admit(keeper).chip, 0U);
  EXPECT_EQ(admit(keeper, {.listener = "x", .chip = "other"}).who.chip, "other");
}

TEST_F(AccessControlTest, PermissionsCanDependOnTheChip) {
  guard::Rule rule = everybody("storage");
  rule.chip = "other";
  AccessControl keeper(policy({rule}, ::geteuid()), kChips, most_, kBytes);
  ClientIdentity identity = admit(keeper);
  EXPECT_EQ(identity.permissions->profile(), guard::admin());
  EXPECT_FALSE(keeper.change_chip(identity, "nowhere"));
  EXPECT_EQ(identity.chip, 0U);
  EXPECT_TRUE(keeper.change_chip(identity, "other"));
  EXPECT_EQ(identity.permissions->profile(), guard::storage());
  // Clients of equal rights there do not share them with clients here.
  EXPECT_EQ(admit(keeper).permissions->profile(), guard::admin());
  EXPECT_EQ(admit(keeper, {.listener = "main", .chip = "other"}).permissions, identity.permissions);
}

// --- a connection that joins another one

class JoiningIdentities : public AccessControlTest {
 protected:
  static guard::Rule of_uid(std::uint32_t uid, const std::string& profile) {
    guard::Rule out = everybody(profile);
    out.uids = wire::Numbers::one(uid);
    return out;
  }
  // As if that user had come.
  static ClientIdentity come_as(AccessControl& keeper, ClientIdentity like, std::uint32_t uid) {
    like.who.uid = uid;
    like.owner = peer::owner_of(uid);
    EXPECT_TRUE(keeper.change_chip(like, "main"));
    return like;
  }
};

TEST_F(JoiningIdentities, ItHasThePermissionsOfBoth) {
  AccessControl keeper(policy({of_uid(10, "admin"), of_uid(33, "attest")}), kChips, most_, kBytes);
  const ClientIdentity root = come_as(keeper, admit(keeper), 10), worker = come_as(keeper, root, 33);
  EXPECT_TRUE(root.permissions->profile().administer);
  ClientIdentity joined = worker;
  ASSERT_TRUE(keeper.join(joined, root));
  EXPECT_FALSE(joined.permissions->profile().administer);
  EXPECT_EQ(joined.permissions->profile().commands,
            root.permissions->profile().commands & worker.permissions->profile().commands);
  EXPECT_EQ(joined.permissions->profile().hierarchies,
            root.permissions->profile().hierarchies & worker.permissions->profile().hierarchies);
  ClientIdentity the_other_way = root;
  ASSERT_TRUE(keeper.join(the_other_way, worker));
  EXPECT_EQ(the_other_way.permissions->profile().commands, joined.permissions->profile().commands)
      << "nobody gains by it";
  EXPECT_FALSE(the_other_way.permissions->profile().administer);
}

TEST_F(JoiningIdentities, ItsOwnUserPays) {
  AccessControl keeper(policy(), kChips, most_, kBytes);
  const ClientIdentity root = come_as(keeper, admit(keeper), 10);
  ClientIdentity joined = come_as(keeper, root, 33);
  ASSERT_TRUE(keeper.join(joined, root));
  EXPECT_EQ(joined.holder(), come_as(keeper, root, 33).holder()) << "it can do nothing in the opener's name";
}

TEST_F(JoiningIdentities, ALaterPolicyHoldsForBoth) {
  AccessControl keeper(policy({everybody("provision")}), kChips, most_, kBytes);
  const ClientIdentity root = come_as(keeper, admit(keeper), 10);
  ClientIdentity joined = come_as(keeper, root, 33);
  ASSERT_TRUE(keeper.join(joined, root));
  keeper.set_policy(policy({of_uid(10, "attest"), of_uid(33, "admin")}));
  ASSERT_TRUE(keeper.renew(joined));
  EXPECT_FALSE(joined.permissions->profile().administer) << "the opener's rights became fewer";
  ClientIdentity opener = root;
  ASSERT_TRUE(keeper.renew(opener));
  EXPECT_EQ(joined.permissions->profile().commands - opener.permissions->profile().commands, wire::Numbers());
}

TEST_F(JoiningIdentities, ANarrowedConnectionNeitherJoinsNorIsJoined) {
  AccessControl keeper(policy(), kChips, most_, kBytes);
  const ClientIdentity open = admit(keeper);
  ClientIdentity narrowed = open;
  ASSERT_EQ(keeper.narrow(narrowed, "safe", 1), AccessControl::Narrowing::kDone);
  ClientIdentity joined = open;
  EXPECT_FALSE(keeper.join(joined, narrowed));
  EXPECT_EQ(joined.openers.size(), 0U);
  EXPECT_FALSE(keeper.join(narrowed, open));
}

TEST_F(JoiningIdentities, AnotherChipNamespaceOrListenerIsRefused) {
  AccessControl keeper(policy(), kChips, most_, kBytes);
  const ClientIdentity open = admit(keeper);
  ClientIdentity other_chip = open;
  ASSERT_TRUE(keeper.change_chip(other_chip, "other"));
  EXPECT_FALSE(keeper.join(other_chip, open));
  ClientIdentity other_listener = admit(keeper, {.listener = "side"});
  EXPECT_FALSE(keeper.join(other_listener, open));
  ClientIdentity other_namespace = open;
  other_namespace.who.tpm_namespace = std::string("web");
  EXPECT_FALSE(keeper.join(other_namespace, open));
}

TEST_F(JoiningIdentities, GenerationsOfOneProgramCountOnce) {
  AccessControl keeper(policy(), kChips, most_, kBytes);
  ClientIdentity last = admit(keeper);
  const ClientIdentity first = last;
  for (int generation = 0; generation < 100; ++generation) {
    ClientIdentity child = first;
    child.who.pid = 1000 + generation;
    ASSERT_TRUE(keeper.join(child, last));
    last = child;
  }
  EXPECT_EQ(last.openers.size(), 1U);
}

TEST_F(JoiningIdentities, ALineOfStrangersEnds) {
  AccessControl keeper(policy(), kChips, most_, kBytes);
  ClientIdentity last = admit(keeper);
  std::uint32_t joined = 0;
  for (std::uint32_t uid = 1; uid <= 100; ++uid) {
    ClientIdentity next = come_as(keeper, last, uid);
    next.openers.clear();
    if (!keeper.join(next, last)) break;
    ++joined;
    last = next;
  }
  EXPECT_EQ(joined, limits::kOpeners);
}

}  // namespace
}  // namespace tpmspace::access
