// What an audit record looks like, and that none is lost silently.
#include "daemon/audit_log.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace tpmspace::daemon {
namespace {

observe::AuditRecord refusal() {
  observe::AuditRecord out;
  out.event = observe::AuditEvent::kRefused;
  out.uid = 33;
  out.pid = 812;
  out.executable = "/usr/sbin/\"ng\ninx";
  out.door = "main";
  out.connection = 5;
  out.command = "TPM2_Clear";
  out.code = 0x000B0143;
  out.profile = "web";
  out.rule = 12;
  out.reason = "the profile does not list this command";
  return out;
}

TEST(AuditRecord, IsASentence) {
  EXPECT_EQ(
      AuditLog::sentence(refusal(), 3),
      "uid 33, pid 812 (\"/usr/sbin/\\\"ng\\ninx\"): refused TPM2_Clear with 0xb0143: the profile does not list this "
      "command (profile web, rule on line 12) [3 more before this]");
}

TEST(AuditRecord, NamesTheNamespace) {
  auto record = refusal();
  record.executable.reset();
  record.tpm_namespace = "shop";
  EXPECT_TRUE(AuditLog::sentence(record, 0).starts_with("uid 33, pid 812, namespace shop: refused TPM2_Clear"));
  EXPECT_NE(AuditLog::json(record, 0, {}).find("\"pid\": 812, \"namespace\": \"shop\", \"door\""), std::string::npos);
}

TEST(AuditRecord, IsALineOfJson) {
  EXPECT_EQ(AuditLog::json(refusal(), 0, std::chrono::system_clock::time_point(std::chrono::milliseconds(1500))),
            "{\"time\": \"1970-01-01T00:00:01.500Z\", \"event\": \"refused\", \"uid\": 33, \"pid\": 812, "
            "\"executable\": \"/usr/sbin/\\\"ng\\ninx\", \"door\": \"main\", \"connection\": 5, "
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
  [[nodiscard]] std::vector<std::string> lines() const {
    std::vector<std::string> out;
    std::ifstream in(directory_ / "audit");
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

TEST_F(AuditFile, OneUsersFloodIsCountedAndHidesNobodyElses) {
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

TEST_F(AuditFile, OneThatCannotBeHadIsSaid) {
  const auto audit = AuditLog::open(log_, (directory_ / "no" / "audit").string());
  ASSERT_FALSE(audit);
  EXPECT_NE(audit.error().find("cannot be opened: No such file or directory"), std::string::npos) << audit.error();
}

}  // namespace
}  // namespace tpmspace::daemon
