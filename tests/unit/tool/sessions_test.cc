// The list of sessions, and the arguments and messages of `flush`.
#include "tool/sessions.h"

#include <gtest/gtest.h>

#include "tool/flush.h"

namespace tpmspace::tool {
namespace {

constexpr std::uint64_t kNsPerSecond = 1'000'000'000;

proto::Sessions example() {
  proto::Sessions out;
  out.sessions = {{.handle = 0x02000000,
                   .state = proto::SessionState::kSaved,
                   .uid = 1000,
                   .connection = 12,
                   .age = 7400 * kNsPerSecond,
                   .idle = kNsPerSecond / 4,
                   .lease = 10 * kNsPerSecond},
                  {.handle = 0x03000001,
                   .kind = proto::SessionKind::kPolicy,
                   .state = proto::SessionState::kAbandoned,
                   .lease = proto::kEndless,
                   .rebuildable = proto::Rebuildable::kYes,
                   .parked = true}};
  out.waiting = {{.uid = 7, .connection = 3, .waited = 2 * kNsPerSecond, .left = 28 * kNsPerSecond}};
  return out;
}

TEST(SessionsText, IsForPeople) {
  EXPECT_EQ(
      sessions_text(example()),
      "handle      uid         kind    state                 connection  age         idle        lease       can be "
      "made "
      "again\n"
      "0x02000000  1000        hmac    saved                 12          2 h 3 min   0.2 s       10.0 s      no: hmac\n"
      "0x03000001  0           policy  abandoned, parked     -           0.0 s       0.0 s       endless     yes\n"
      "\nwaiting for a session:\n"
      "uid         connection  for           refused in\n"
      "7           3           2.0 s         28.0 s\n");
  EXPECT_EQ(sessions_text({}), "no sessions\n");
}

TEST(SessionsText, CountsHiddenSessions) {
  proto::Sessions few;
  few.more_waiting = 9;
  EXPECT_NE(sessions_text(few).find("and 9 more\n"), std::string::npos);
  few.hidden_sessions = 5;
  EXPECT_NE(sessions_text(few).find("belong to other users: sessions 5, waiting 0;"), std::string::npos);
}

TEST(SessionsText, HasAColumnForMembersOfANamespace) {
  auto some = example();
  some.sessions[0].tenant.tpm_namespace = "left";
  some.waiting[0].tenant.listener = "the-listener-of-a-rather-long-name";
  EXPECT_EQ(
      sessions_text(some),
      R"(handle      uid         namespace or listener                        kind    state                 connection  age         idle        lease       can be made again
0x02000000  1000        left                                         hmac    saved                 12          2 h 3 min   0.2 s       10.0 s      no: hmac
0x03000001  0                                                        policy  abandoned, parked     -           0.0 s       0.0 s       endless     yes

waiting for a session:
uid         namespace or listener                        connection  for           refused in
7           listener the-listener-of-a-rather-long-name  3           2.0 s         28.0 s
)");
}

TEST(SessionsJson, IsForPrograms) {
  auto sessions = example();
  sessions.waiting[0].tenant.tpm_namespace = "left";
  EXPECT_EQ(sessions_json(sessions), R"({
  "sessions": [
    {"handle": "0x02000000", "uid": 1000, "kind": "hmac", "state": "saved", "connection": 12, "age_ns": 7400000000000, "idle_ns": 250000000, "lease_ns": 10000000000, "rebuildable": "no: hmac", "parked": false, "namespace": null, "listener": null},
    {"handle": "0x03000001", "uid": 0, "kind": "policy", "state": "abandoned", "connection": null, "age_ns": 0, "idle_ns": 0, "lease_ns": null, "rebuildable": "yes", "parked": true, "namespace": null, "listener": null}],
  "more_parked": 0,
  "waiting": [
    {"uid": 7, "connection": 3, "waited_ns": 2000000000, "left_ns": 28000000000, "namespace": "left", "listener": null}],
  "more_waiting": 0,
  "hidden_sessions": 0,
  "hidden_waiting": 0
}
)");
  EXPECT_NE(sessions_json({}).find(R"("sessions": [],)"), std::string::npos);
}

TEST(SessionNames, AreNumbersIfTheMachineDoesNotKnowThem) {
  EXPECT_EQ(kind_name(proto::SessionKind::kTrial), "trial");
  EXPECT_EQ(kind_name(proto::SessionKind{9}), "9");
  EXPECT_EQ(state_name(proto::SessionState::kClientSaved), "client-saved");
  EXPECT_EQ(state_name(proto::SessionState{200}), "200");
}

TEST(Age, HasAUnitThatFits) {
  EXPECT_EQ(age_text(0), "0.0 s");
  EXPECT_EQ(age_text(119 * kNsPerSecond), "119.0 s");
  EXPECT_EQ(age_text(121 * kNsPerSecond), "2 min");
  EXPECT_EQ(age_text(7199 * kNsPerSecond), "119 min");
  EXPECT_EQ(age_text(proto::kEndless), "endless");
}

FlushOptions handles(std::vector<std::string> named) {
  FlushOptions out;
  out.handles = std::move(named);
  return out;
}

TEST(WhatToFlush, IsOneOfThree) {
  EXPECT_EQ(what_to_flush(handles({"0x03000001", "0X2000aBc"})),
            proto::SessionOrder(proto::FlushThese{{0x03000001, 0x02000ABC}}));
  FlushOptions options;
  EXPECT_FALSE(what_to_flush(options));
  options.abandoned = true;
  EXPECT_EQ(what_to_flush(options), proto::SessionOrder(proto::FlushAbandoned{}));
  options.owner = "0";
  EXPECT_FALSE(what_to_flush(options));
  options.abandoned = false;
  EXPECT_EQ(what_to_flush(options), proto::SessionOrder(proto::FlushOwner{0}));
  options.owner = "root";
  EXPECT_EQ(what_to_flush(options), proto::SessionOrder(proto::FlushOwner{0}));
  for (const char* nobody : {"", "-1", "4294967296", "1x", "no such user"}) {
    options.owner = nobody;
    EXPECT_FALSE(what_to_flush(options)) << nobody;
  }
  options.owner = "0";
  options.handles = {"0x03000001"};
  EXPECT_FALSE(what_to_flush(options));
}

TEST(WhatToFlush, IsNothingElse) {
  for (const char* text :
       {"", "0x", "3", "03000001", "0x80000000", "0x40000007", "0x03000001x", "0x103000001", "0x-3000001", "all"})
    EXPECT_FALSE(what_to_flush(handles({text}))) << text;
  EXPECT_FALSE(what_to_flush(handles(std::vector<std::string>(proto::kMaxHandles + 1, "0x03000001"))));
}

TEST(Flushed, NamesFlushedAndMissingSessions) {
  const auto flushed = example().sessions;
  EXPECT_EQ(flushed_text(flushed),
            "flushed 0x02000000: hmac, saved, of uid 1000, idle for 0.2 s\n"
            "flushed 0x03000001: policy, abandoned, of uid 0, idle for 0.0 s\n");
  EXPECT_EQ(flushed_text({}), "flushed nothing: no such session exists\n");
  EXPECT_EQ(not_there(proto::FlushThese{{0x02000001, 0x03000002}}, flushed),
            std::vector<std::string>{"there is no session 0x03000002"});
  EXPECT_TRUE(not_there(proto::FlushAbandoned{}, {}).empty());
}

}  // namespace
}  // namespace tpmspace::tool
