// The form of an audit record, and that no record is lost silently.
#include "log/audit_log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include "base/fd.h"
#include "log/audit_sentences.h"
#include "peer/owner_numbers.h"

namespace tpmspace::log {
namespace {

observe::AuditRecord refusal() {
  observe::AuditRecord out;
  out.event = observe::AuditEvent::kRefused;
  out.uid = 33;
  out.pid = 812;
  out.executable = "/usr/sbin/\"ng\ninx";
  out.listener = "main";
  out.connection = 5;
  out.command = "TPM2_Clear";
  out.code = 0x000B0143;
  out.profile = "web";
  out.rule = 12;
  out.reason = "the profile does not list this command";
  return out;
}

TEST(AuditRecord, IsASentence) {
  EXPECT_EQ(AuditLog::sentence(refusal(), 3),
            "uid 33, pid 812 (\"/usr/sbin/\\\"ng\\ninx\"): refused TPM2_Clear with 0x000b0143: the profile does not "
            "list this "
            "command (profile web, rule on line 12) [3 more before this]");
}

TEST(AuditRecord, NamesTheNamespace) {
  auto record = refusal();
  record.executable.reset();
  record.tpm_namespace = "shop";
  EXPECT_TRUE(AuditLog::sentence(record, 0).starts_with("uid 33, pid 812, namespace shop: refused TPM2_Clear"));
  EXPECT_NE(AuditLog::json(record, 0, {}).find("\"pid\": 812, \"namespace\": \"shop\", \"listener\""),
            std::string::npos);
}

TEST(AuditRecord, IsALineOfJson) {
  EXPECT_EQ(AuditLog::json(refusal(), 0, std::chrono::system_clock::time_point(std::chrono::milliseconds(1500))),
            "{\"time\": \"1970-01-01T00:00:01.500Z\", \"event\": \"refused\", \"uid\": 33, \"pid\": 812, "
            "\"executable\": \"/usr/sbin/\\\"ng\\ninx\", \"listener\": \"main\", \"connection\": 5, "
            "\"command\": \"TPM2_Clear\", \"code\": \"0x000b0143\", \"profile\": \"web\", \"rule_line\": 12, "
            "\"reason\": \"the profile does not list this command\"}\n");
}

class AuditFile : public testing::Test {
 protected:
  AuditFile() {
    std::string name = (std::filesystem::temp_directory_path() / "tpmspace-audit-XXXXXX").string();
    directory_ = ::mkdtemp(name.data());
  }
  ~AuditFile() override { std::filesystem::remove_all(directory_); }
  [[nodiscard]] std::vector<std::string> lines(const char* file = "audit") const {
    std::vector<std::string> out;
    std::ifstream in(directory_ / file);
    for (std::string line; std::getline(in, line);) out.push_back(line);
    return out;
  }
  std::filesystem::path directory_;
  Log log_{LogLevel::kError};
};

TEST_F(AuditFile, IsOursAlone) {
  auto audit = AuditLog::open(log_, (directory_ / "audit").string());
  ASSERT_TRUE(audit) << audit.error();
  audit->write(refusal());
  audit->flush();
  EXPECT_EQ(lines().size(), 1U);
  struct stat info {};
  ASSERT_EQ(::stat((directory_ / "audit").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
}

TEST_F(AuditFile, OneUsersFloodIsCountedAndHidesNoOtherUsersRecords) {
  auto audit = AuditLog::open(log_, (directory_ / "audit").string());
  ASSERT_TRUE(audit);
  for (int i = 0; i < 1000; ++i) audit->write(refusal());
  audit->flush();
  const auto of_flood = lines().size();
  EXPECT_LT(of_flood, 100U);
  auto other = refusal();
  other.uid = 34;
  audit->write(other);
  audit->flush();
  EXPECT_EQ(lines().size(), of_flood + 1);
  // An administrator's acts are always there.
  auto order = refusal();
  order.event = observe::AuditEvent::kOrder;
  for (int i = 0; i < 20; ++i) audit->write(order);
  audit->flush();
  EXPECT_EQ(lines().size(), of_flood + 21);
}

// A container's root has all of its uids.
TEST_F(AuditFile, ATenantWithSeveralUidsHasTheRecordsOfOneUser) {
  auto audit = AuditLog::open(log_, (directory_ / "audit").string());
  ASSERT_TRUE(audit);
  auto record = refusal();
  for (std::uint32_t uid = 1000; uid < 6000; ++uid) {
    record.uid = uid;
    record.owner = peer::part_of_tenant(uid, 3).owner.value;
    audit->write(record);
  }
  audit->write(refusal());
  audit->last_words();
  const auto all = lines();
  ASSERT_EQ(all.size(), limits::kLinesPerPeriod + 2);
  EXPECT_NE(all[limits::kLinesPerPeriod].find("\"uid\": 33"), std::string::npos) << "somebody else's is there";
  EXPECT_NE(all.back().find("\"event\": \"held_back\", \"reason\""), std::string::npos) << all.back();
}

TEST_F(AuditFile, HeldBackRecordsAreCountedAtTheEndOfThePeriod) {
  auto audit = AuditLog::open(log_, (directory_ / "audit").string());
  ASSERT_TRUE(audit);
  unsigned told = 0;
  audit->on_held_back([&] { ++told; });
  const auto start = AuditLog::Clock::now();
  for (unsigned i = 0; i < limits::kLinesPerPeriod; ++i) audit->write(refusal(), start);
  EXPECT_EQ(told, 0U);
  for (int i = 0; i < 7; ++i) audit->write(refusal(), start);
  EXPECT_EQ(told, 7U);
  EXPECT_TRUE(audit->say_held_back(start)) << "not yet";
  EXPECT_FALSE(audit->say_held_back(start + limits::kLinePeriod));
  EXPECT_FALSE(audit->say_held_back(start + 2 * limits::kLinePeriod)) << "once";
  audit->flush();
  const auto all = lines();
  ASSERT_EQ(all.size(), limits::kLinesPerPeriod + 1);
  EXPECT_NE(
      all.back().find("\"event\": \"held_back\", \"uid\": 33, \"reason\": \"7 records were not written, because there "
                      "were too many at a time\", \"held_back\": 7}"),
      std::string::npos)
      << all.back();
}

TEST_F(AuditFile, AFloodOfOtherCommandsHidesNoChange) {
  auto audit = AuditLog::open(log_, (directory_ / "audit").string());
  ASSERT_TRUE(audit);
  auto change = refusal();
  change.event = observe::AuditEvent::kChanged;
  for (int i = 0; i < 100; ++i) audit->write(refusal());
  change.command = "TPM2_NV_DefineSpace";
  for (int i = 0; i < 100; ++i) audit->write(change);
  change.command = "TPM2_Clear";
  audit->write(change);
  audit->flush();
  EXPECT_EQ(lines().size(), 2 * limits::kLinesPerPeriod + 1);
  EXPECT_NE(lines().back().find("\"event\": \"changed\""), std::string::npos);
  EXPECT_NE(lines().back().find("TPM2_Clear"), std::string::npos);
  change.by_administrator = true;
  for (int i = 0; i < 20; ++i) audit->write(change);
  audit->flush();
  EXPECT_EQ(lines().size(), 2 * limits::kLinesPerPeriod + 21) << "an administrator's are always there";
}

TEST_F(AuditFile, CountsHeldBackRecordsOfEachOwner) {
  auto audit = AuditLog::open(log_, (directory_ / "audit").string());
  ASSERT_TRUE(audit);
  auto other = refusal();
  other.uid = 34;
  for (unsigned i = 0; i < limits::kLinesPerPeriod + 3; ++i) audit->write(refusal());
  for (unsigned i = 0; i < limits::kLinesPerPeriod + 7; ++i) audit->write(other);
  EXPECT_EQ(audit->held_back(), 10U);
  EXPECT_EQ(audit->held_back_of(33 + 1), 3U) << "uid 33 outside of all tenants";
  EXPECT_EQ(audit->held_back_of(34 + 1), 7U);
  EXPECT_EQ(audit->held_back_of(35 + 1), 0U);
  EXPECT_EQ(audit->most_held_back(), "uid 34: 7, uid 33: 3");
}

TEST_F(AuditFile, HeldBackRecordsAreCountedAtTheEnd) {
  auto audit = AuditLog::open(log_, (directory_ / "audit").string());
  ASSERT_TRUE(audit);
  for (unsigned i = 0; i <= limits::kLinesPerPeriod; ++i) audit->write(refusal());
  audit->last_words();
  const auto all = lines();
  ASSERT_EQ(all.size(), limits::kLinesPerPeriod + 1);
  EXPECT_NE(all.back().find("1 record was not written"), std::string::npos) << all.back();
}

TEST_F(AuditFile, IsOpenedAnewByItsName) {
  auto audit = AuditLog::open(log_, (directory_ / "audit").string());
  ASSERT_TRUE(audit);
  audit->write(refusal());
  audit->flush();
  std::filesystem::rename(directory_ / "audit", directory_ / "audit.1");
  audit->open_anew();
  audit->write(refusal());
  audit->flush();
  EXPECT_EQ(lines("audit.1").size(), 1U);
  EXPECT_EQ(lines().size(), 1U);
}

TEST_F(AuditFile, TheOldOneGoesOnIfThereIsNoNewOne) {
  auto audit = AuditLog::open(log_, (directory_ / "audit").string());
  ASSERT_TRUE(audit);
  std::filesystem::rename(directory_ / "audit", directory_ / "audit.1");
  std::filesystem::create_directory(directory_ / "audit");
  audit->open_anew();
  audit->write(refusal());
  audit->flush();
  EXPECT_EQ(lines("audit.1").size(), 1U);
}

// The writer waits for a reader that will never come, and is freed: the record is in the new one, whole.
TEST_F(AuditFile, AFullPipeThatIsMovedAwayKeepsNothing) {
  const std::string pipe = (directory_ / "audit").string();
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const base::Fd reader(::open(pipe.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
  ASSERT_TRUE(reader);
  const std::string much(4096, 'x');
  while (::write(reader.get(), much.data(), much.size()) > 0) {
  }
  auto audit = AuditLog::open(log_, pipe);
  ASSERT_TRUE(audit);
  audit->write(refusal());
  std::filesystem::rename(directory_ / "audit", directory_ / "pipe");
  audit->open_anew();
  audit->flush();
  EXPECT_EQ(lines().size(), 1U);
  EXPECT_EQ(audit->lost(), 0U);
}

TEST(AuditSentence, NamesOrderAndTarget) {
  std::vector<std::uint32_t> many(kMostHandles + 2, 0x02000000);
  EXPECT_EQ(sentence_of(proto::FlushThese{{0x02000001, 0x03000002}}), "flush of 0x02000001, 0x03000002");
  EXPECT_TRUE(sentence_of(proto::FlushThese{many}).ends_with(", 0x02000000 and 2 more"));
  EXPECT_EQ(sentence_of(proto::FlushAbandoned{}), "flush of the abandoned sessions");
  EXPECT_EQ(sentence_of(proto::FlushOwner{33}), "flush of the sessions of uid 33");
  EXPECT_EQ(sentence_of(proto::ReserveThis{0x02000001, true}), "reservation of 0x02000001");
  EXPECT_EQ(sentence_of(proto::ReserveThis{0x02000001, false}), "release of 0x02000001");
  EXPECT_EQ(sentence_of_end("flush", 0, 1), "flush: 1 session");
  EXPECT_EQ(sentence_of_end("flush", 0, 0), "flush: no such session existed");
  EXPECT_EQ(sentence_of_end("flush", 0, std::nullopt), "flush: the client disconnected before the end of the order");
  EXPECT_TRUE(sentence_of_end("flush", 0x000B0101, 0).starts_with("flush: the order failed: 0x000b0101"));
}

TEST(AuditSentence, OfAReclaimedSessionGivesCauseAndWaiter) {
  using Why = observe::Taker::Why;
  const auto sentence = [](Why why, std::uint64_t space) {
    return sentence_of(observe::Reclaimed{.owner = 1, .space = space, .handle = 2, .by = {.why = why, .waiter = 3}},
                       "uid 2");
  };
  EXPECT_EQ(sentence(Why::kLease, 1), "the session was idle for longer than its lease, and uid 2 waits for a session");
  EXPECT_EQ(
      sentence(Why::kLease, 0),
      "the session was idle for longer than its lease, and uid 2 waits for a session, and its connection is closed");
  EXPECT_EQ(sentence(Why::kShare, 1),
            "the session's owner has more than the fair share, and uid 2 has waited for a session");
  EXPECT_EQ(sentence(Why::kOrder, 1), "by order of an administrator");
  std::set<std::string> all;
  for (const Why why : {Why::kLease, Why::kShare, Why::kOrder, Why::kNotSame, Why::kLost, Why::kLeft, Why::kAllLeft,
                        Why::kPool, Why::kRoom})
    all.insert(sentence(why, 1));
  EXPECT_EQ(all.size(), 9U);
}

// A disk that fills up: the rest of a line must not spoil the next line.
TEST_F(AuditFile, ATornLineSpoilsNoOther) {
  const auto file = log::AuditFile::open((directory_ / "audit").string());
  ASSERT_TRUE(file) << file.error();
  EXPECT_EQ((*file)->write("{first}\n"), std::nullopt);
  (void)std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{.rlim_cur = 12, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto torn = (*file)->write("{second}\n"), none = (*file)->write("{third}\n");
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_TRUE(torn && none);
  EXPECT_EQ((*file)->write("{fourth}\n"), std::nullopt);
  EXPECT_EQ((*file)->write("{fifth}\n"), std::nullopt);
  EXPECT_EQ(lines(), (std::vector<std::string>{"{first}", "{sec", "{fourth}", "{fifth}"}));
}

TEST_F(AuditFile, OneThatCannotBeHadIsSaid) {
  const auto audit = AuditLog::open(log_, (directory_ / "no" / "audit").string());
  ASSERT_FALSE(audit);
  EXPECT_NE(audit.error().find("cannot be opened: No such file or directory"), std::string::npos) << audit.error();
}

}  // namespace
}  // namespace tpmspace::log
