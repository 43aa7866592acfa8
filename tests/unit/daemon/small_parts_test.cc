// The small parts: counters, watchdog, sleep of the machine, rate limit, log lines, mailboxes.
#include <fcntl.h>
#include <fmt/core.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <functional>
#include <thread>

#include "base/mailbox.h"
#include "base/round_robin.h"
#include "daemon/shared_tokens.h"
#include "host/retry_pace.h"
#include "host/sleep_clock.h"
#include "host/status_counters.h"
#include "host/watchdog.h"
#include "log/log.h"
#include "log/timestamp.h"
#include "observe/account.h"
#include "peer/owner_numbers.h"
#include "wire/command_table.h"

namespace tpmspace::daemon {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

TEST(SharedTokens, BelongToTheConnectionThatSharedThem) {
  SharedTokens tokens;
  const proto::Token one{1}, other{2};
  EXPECT_EQ(tokens.find(one), std::nullopt);
  EXPECT_TRUE(tokens.share(one, 7));
  EXPECT_EQ(tokens.find(one), 7U);
  EXPECT_EQ(tokens.find(other), std::nullopt);
  EXPECT_FALSE(tokens.share(one, 8)) << "another connection's";
  EXPECT_EQ(tokens.find(one), 7U);
  EXPECT_FALSE(tokens.share(other, 7)) << "one for each connection";
  tokens.forget(8);
  EXPECT_EQ(tokens.find(one), 7U);
  tokens.forget(7);
  EXPECT_EQ(tokens.find(one), std::nullopt);
  EXPECT_TRUE(tokens.share(one, 8));
}

TEST(StatusCounters, AddUpAccounts) {
  host::StatusCounters counters;
  observe::Account account;
  account.client_code = wire::cc::kSign;
  account.evictions = 1;
  account.tpm = {{wire::cc::kContextSave, observe::Cause::kSave, 0, 10},
                 {wire::cc::kFlushContext, observe::Cause::kFlush, 0, 20},
                 {wire::cc::kContextLoad, observe::Cause::kLoad, 0, 30},
                 {wire::cc::kSign, observe::Cause::kClient, 0, 40}};
  counters.add(account, true);
  account.tpm = {{wire::cc::kContextSave, observe::Cause::kClient, 0, 5}};
  account.evictions = 0;
  account.rc = 0x000B0910;
  counters.add(account, true);
  account.rc = 0x101;
  account.tpm.clear();
  counters.add(account, false);  // no client got this response
  counters.add_early_answer(0x000B0143);
  counters.add_queue_length(3);
  counters.add_queue_length(2);
  counters.add_snapshot({.connections = 1, .queued = 0, .objects = 9, .objects_loaded = 2, .sessions = 3});

  proto::Status status;
  counters.fill(status);
  EXPECT_EQ(status.client_commands_answered, 3U);
  EXPECT_EQ(status.client_commands_failed, 2U);
  EXPECT_EQ(status.client_commands_by_manager, 2U);
  EXPECT_EQ(status.tpm_commands_total, 5U);
  EXPECT_EQ(status.tpm_commands_client, 2U);
  EXPECT_EQ(status.tpm_commands_save, 1U);
  EXPECT_EQ(status.tpm_commands_load, 1U);
  EXPECT_EQ(status.tpm_commands_flush, 1U);
  EXPECT_EQ(status.tpm_commands_time, 105U);
  EXPECT_EQ(status.swapping_saves, 1U);  // the client's own is not ours
  EXPECT_EQ(status.swapping_loads, 1U);
  EXPECT_EQ(status.swapping_evictions, 1U);
  EXPECT_EQ(status.queue_longest, 3U);
  EXPECT_EQ(status.spaces_objects, 9U);
  ASSERT_EQ(status.tpm_commands_by_code.size(), 4U);
  const proto::CommandUse saves{wire::cc::kContextSave, 2, 15};
  EXPECT_NE(std::find(status.tpm_commands_by_code.begin(), status.tpm_commands_by_code.end(), saves),
            status.tpm_commands_by_code.end());
}

TEST(RetryPace, WaitsLongerEachTimeAndBeginsAnewAfterOneThatServedLong) {
  host::RetryPace pace({.first = 1s, .most = 6s});
  const Clock::time_point now = {};
  for (const auto expected : {1s, 2s, 4s, 6s, 6s}) EXPECT_EQ(pace.left(now), expected);
  pace.came(now);
  EXPECT_EQ(pace.left(now + 5s), 6s) << "it comes and goes";
  pace.came(now);
  EXPECT_EQ(pace.left(now + 6s), 1s);
  EXPECT_EQ(pace.left(now + 60s), 2s) << "it was not there meanwhile";
}

TEST(RetryPace, TriesANewTpmSoonAndAFlappingTpmLessOften) {
  host::RetryPace pace({.first = 1s, .most = 30s});
  const Clock::time_point now = {};
  EXPECT_EQ(pace.left(now), 1s);
  EXPECT_EQ(pace.appeared(now), host::RetryPace::kSoon);
  for (const auto expected : {40ms, 80ms, 160ms}) EXPECT_EQ(pace.left(now), expected) << "it does not listen yet";
  for (unsigned i = 1; i < host::RetryPace::kAppearances; ++i) EXPECT_EQ(pace.appeared(now), host::RetryPace::kSoon);
  EXPECT_EQ(pace.appeared(now + 29s), std::nullopt);
  EXPECT_EQ(pace.appeared(now + 30s), host::RetryPace::kSoon);
}

TEST(Watchdog, ACommandIsOverdueOnlyWhenTheSameOneStays) {
  host::Watchdog dog;
  const auto start = Clock::now();
  const auto running = [](std::uint64_t sequence) {
    return std::optional<engine::Gate::Running>({.ticket = 1, .code = 2, .deadline_ms = 1000, .sequence = sequence});
  };
  EXPECT_FALSE(dog.look(std::nullopt, start));
  EXPECT_FALSE(dog.look(running(1), start));
  EXPECT_FALSE(dog.look(running(1), start + 1000ms));
  EXPECT_TRUE(dog.look(running(1), start + 1001ms));
  EXPECT_EQ(dog.running_for(start + 1001ms), 1001ms);
  EXPECT_FALSE(dog.look(running(2), start + 1002ms));  // progress
  EXPECT_FALSE(dog.look(std::nullopt, start + 1500ms));
  EXPECT_FALSE(dog.look(running(2), start + 5000ms));  // a new look at it starts anew
  EXPECT_EQ(dog.running_for(start + 5000ms), 0ms);
}

// A machine whose clocks go on as a test says.
class MachineThatSleeps {
 public:
  void run_for(std::chrono::nanoseconds time) { monotonic_ += time; }
  void sleep_for(std::chrono::nanoseconds time) { asleep_ += time; }
  // The next reading of a clock takes so long: it is that much later than the one before it.
  void delay_readings_by(std::chrono::nanoseconds time) { delay_ = time; }

  [[nodiscard]] host::SleepClock clock() {
    return host::SleepClock([this](clockid_t clock) {
      monotonic_ += delay_;
      EXPECT_TRUE(clock == CLOCK_BOOTTIME || clock == CLOCK_MONOTONIC);
      return std::int64_t{(clock == CLOCK_BOOTTIME ? monotonic_ + asleep_ : monotonic_).count()};
    });
  }

 private:
  std::chrono::nanoseconds monotonic_ = 1h, asleep_ = 3h, delay_ = 0ns;
};

TEST(SleepClock, NoticesEachSleepOfTheMachineOnce) {
  MachineThatSleeps machine;
  host::SleepClock clock = machine.clock();
  EXPECT_FALSE(clock.since_last_look()) << "what the machine slept before is over";
  for (const std::chrono::nanoseconds slept : {std::chrono::nanoseconds(501ms), std::chrono::nanoseconds(8h)}) {
    machine.run_for(10min);
    EXPECT_FALSE(clock.since_last_look());
    machine.sleep_for(slept);
    EXPECT_TRUE(clock.since_last_look());
    EXPECT_FALSE(clock.since_last_look());
    machine.run_for(10min);
    EXPECT_FALSE(clock.since_last_look());
  }
  machine.sleep_for(1s);
  machine.sleep_for(1s);
  EXPECT_TRUE(clock.since_last_look()) << "two sleeps between two looks";
  EXPECT_FALSE(clock.since_last_look());
}

TEST(SleepClock, TakesNoSmallDifferenceOfTheClocksForASleep) {
  MachineThatSleeps machine;
  host::SleepClock clock = machine.clock();
  // One that adds up, as the clocks are read one after the other or are set right.
  for (int i = 0; i < 100; ++i) {
    machine.sleep_for(i % 3 == 0 ? 500ms : 1ms);
    EXPECT_FALSE(clock.since_last_look());
    machine.sleep_for(-1ms);
    EXPECT_FALSE(clock.since_last_look());
  }
  // The thread was not running between its two readings.
  machine.delay_readings_by(400ms);
  EXPECT_FALSE(clock.since_last_look());
  machine.delay_readings_by(0ns);
  EXPECT_FALSE(clock.since_last_look());
}

TEST(OwnerNumbers, NameUserAndPlace) {
  for (const std::uint32_t uid : {0U, 1000U, UINT32_MAX - 1})
    for (const peer::TenantNumber in : {0U, 1U, 70'000U}) {
      EXPECT_EQ(peer::uid_of({.owner = peer::owner_of(uid, in), .part = {}}), uid);
      const space::Holder part = peer::part_of_tenant(uid, in);
      EXPECT_EQ(peer::uid_of(part), uid);
      EXPECT_EQ(peer::tenant_of(part.owner), in);
      EXPECT_NE(part.owner, peer::owner_of(uid, in));
      EXPECT_NE(part.owner, peer::owner_of(uid, in + 1));
      EXPECT_EQ(peer::tenant_of(peer::owner_of(uid, in)), in);
    }
}

TEST(RateLimit, CountsHeldBackLines) {
  log::RateLimit rate;
  const auto start = Clock::now();
  for (unsigned i = 0; i < limits::kLinesPerPeriod; ++i) EXPECT_EQ(rate.allow(start), 0U);
  EXPECT_FALSE(rate.allow(start + 1s));
  EXPECT_FALSE(rate.allow(start + 2s));
  EXPECT_EQ(rate.allow(start + limits::kLinePeriod), 2U);
  EXPECT_EQ(rate.allow(start + limits::kLinePeriod), 0U);
}

// The lines of a log that writes to a pipe.
std::string logged(const std::function<void(log::Log&)>& say, bool is_journal = false) {
  int ends[2];
  EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const base::Fd reader(ends[0]);
  base::Fd writer(ends[1]);
  struct stat info {};
  EXPECT_EQ(::fstat(writer.get(), &info), 0);
  ::setenv("JOURNAL_STREAM", fmt::format("{}:{}", info.st_dev, info.st_ino + (is_journal ? 0 : 1)).c_str(), 1);
  {
    log::Log log(log::LogLevel::kInfo, writer.get());
    ::unsetenv("JOURNAL_STREAM");
    say(log);
  }
  writer.reset();
  std::string got(8192, '\0');
  got.resize(static_cast<std::size_t>(::read(reader.get(), got.data(), got.size())));
  return got;
}

TEST(Log, ALineCannotBeFaked) {
  const std::string got = logged(
      [](log::Log& log) {
        log.warning("a path: {}", "x\n<0>root: fake\x1B[31m");
        log.debug("not wanted");
        log.error("{}", std::string(2 * limits::kMaxLine, 'y'));
      },
      true);
  const std::string first = "<4>tpmspaced: a path: x?<0>root: fake?[31m\n<3>tpmspaced: ";
  EXPECT_EQ(got, first + std::string(limits::kMaxLine, 'y') + "\n");
}

TEST(Log, OutsideTheJournalALineHasTimeAndLevel) {
  const auto before = std::chrono::system_clock::now();
  const std::string got = logged([](log::Log& log) { log.warning("less fine"); });
  const auto after = std::chrono::system_clock::now();
  constexpr std::size_t kTime = 24;  // "2026-11-30T09:22:39.123Z"
  ASSERT_GT(got.size(), kTime);
  EXPECT_EQ(got.substr(kTime), " tpmspaced: warning: less fine\n");
  EXPECT_LE(log::timestamp(before), got.substr(0, kTime));
  EXPECT_LE(got.substr(0, kTime), log::timestamp(after));
}

TEST(Log, ATimeIsAsRfc3339HasIt) {
  EXPECT_EQ(log::timestamp(std::chrono::system_clock::time_point(1'796'030'559'007ms)), "2026-11-30T09:22:39.007Z");
}

TEST(Log, LevelsHaveNames) {
  for (const auto level : {log::LogLevel::kError, log::LogLevel::kWarning, log::LogLevel::kNotice, log::LogLevel::kInfo,
                           log::LogLevel::kDebug})
    EXPECT_EQ(log::log_level_from(log::name_of(level)), level);
  EXPECT_FALSE(log::log_level_from("Info"));
}

TEST(Mailbox, EverythingArrivesInOrder) {
  constexpr int kItems = 10'000;
  base::Inbox<int> in;
  base::Outbox<int> out;
  std::thread worker([&] {
    for (int seen = 0; seen < kItems;) {
      in.wait(std::nullopt);
      for (const int item : in.take()) {
        out.put(item);
        ++seen;
      }
    }
  });
  for (int i = 0; i < kItems; ++i) in.put(i);
  int next = 0;
  while (next < kItems) {
    pollfd ready{out.fd(), POLLIN, 0};
    ASSERT_EQ(::poll(&ready, 1, 60'000), 1);
    for (const int item : out.take()) ASSERT_EQ(item, next++);
  }
  worker.join();
  pollfd ready{out.fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&ready, 1, 0), 0);
}

TEST(Mailbox, AWaitEndsWithItsTime) {
  base::Inbox<int> in;
  in.wait(Clock::now() + 1ms);
  EXPECT_TRUE(in.take().empty());
}

TEST(RoundRobin, AFloodOfOneOwnersWeighsAsOneOfAnothers) {
  const space::OwnerId flood{1}, other{2}, third{3};
  base::RoundRobin<space::OwnerId, host::ClientId> turns;
  for (host::ClientId id = 1; id <= 600; ++id) turns.put(flood, id);
  EXPECT_EQ(turns.next(), 1U);
  turns.put(other, 1000);
  turns.put(other, 1001);
  turns.put(third, 2000);
  std::vector<host::ClientId> got(7);
  for (host::ClientId& one : got) one = *turns.next();
  EXPECT_EQ(got, (std::vector<host::ClientId>{2, 1000, 2000, 3, 1001, 4, 5}));
  EXPECT_EQ(turns.size(), 595U);
  while (turns.next()) {
  }
  EXPECT_EQ(turns.size(), 0U);
  turns.put(other, 7);
  EXPECT_EQ(turns.next(), 7U);
}

// The account of a refused command ends with the events that made room again.
TEST(KnownCrash, IsFoundBehindLaterEvents) {
  constexpr wire::Rc kRefusal = wire::from_manager(0x29C);
  observe::Account account{.rc = kRefusal};
  EXPECT_FALSE(observe::is_known_crash(account));
  account.tpm = {{.code = 0x157, .cause = wire::Cause::kLoad},
                 {.code = 0x197, .cause = wire::Cause::kClient, .rc = kRefusal}};
  EXPECT_TRUE(observe::is_known_crash(account));
  account.tpm.push_back({.code = 0x162, .cause = wire::Cause::kSave});
  EXPECT_TRUE(observe::is_known_crash(account));
  for (const wire::Rc other : {wire::rc::kSuccess, wire::Rc{0x29C}, wire::from_manager(wire::rc::kFailure),
                               wire::from_manager(wire::rc::kCanceled)}) {
    account.rc = account.tpm[1].rc = other;
    EXPECT_FALSE(observe::is_known_crash(account)) << std::hex << other;
  }
}

}  // namespace
}  // namespace tpmspace::daemon
