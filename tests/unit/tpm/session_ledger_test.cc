// The session ledger: a written ledger is read, and any other file is ignored.
#include "tpm/session_ledger.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace tpmspace::tpm {
namespace {

class Ledger : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "ledgerXXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    directory_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  [[nodiscard]] std::string path() const { return directory_ + "/sessions"; }
  [[nodiscard]] HeldSessions read(const std::string& text) const {
    std::ofstream(path()) << text;
    return SessionLedger(path()).read();
  }

  std::string directory_;
};

TEST_F(Ledger, TellsTheNextDaemonTheSessionsOfTheLast) {
  const HeldSessions held{7, 3, {0x02000000, 0x03000001, 0x02000FFF}};
  SessionLedger ledger(path());
  EXPECT_EQ(ledger.read(), HeldSessions{});
  ASSERT_TRUE(ledger.write(held));
  EXPECT_EQ(SessionLedger(path()).read(), held);
  ASSERT_TRUE(ledger.write({8, 0, {}}));
  EXPECT_EQ(SessionLedger(path()).read(), (HeldSessions{8, 0, {}}));
}

TEST_F(Ledger, ADamagedLedgerIsIgnored) {
  const std::string good = "tpmspace sessions 1\nreset 7\nrestart 3\n02000000\n";
  EXPECT_EQ(read(good), (HeldSessions{7, 3, {0x02000000}}));
  for (const auto* bad :
       {"", "tpmspace sessions 2\nreset 7\n02000000\n", "tpmspace sessions 1\nreset x\n02000000\n",
        "tpmspace sessions 1\nreset 7\nrestart 3\n02000000", "tpmspace sessions 1\nreset 7\nrestart 3\n80000000\n",
        "tpmspace sessions 1\nreset 7\nrestart 3\n02000000 \n", "tpmspace sessions 1\n02000000\n",
        "tpmspace sessions 1\nreset 7\n02000000\n"})
    EXPECT_EQ(read(bad), HeldSessions{}) << bad;
}

TEST_F(Ledger, ALinkIsNotFollowed) {
  std::ofstream(directory_ + "/other") << "precious";
  std::filesystem::create_symlink(directory_ + "/other", path());
  SessionLedger ledger(path());
  EXPECT_EQ(ledger.read(), HeldSessions{});
  ASSERT_TRUE(ledger.write({1, 0, {}}));
  std::ifstream other(directory_ + "/other");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(other), {}), "precious");
}

TEST_F(Ledger, WithoutADirectoryItNamesTheConsequence) {
  SessionLedger ledger(directory_ + "/none/sessions");
  const auto written = ledger.write({1, 0, {0x02000000}});
  ASSERT_FALSE(written);
  EXPECT_NE(written.error().find("stay in the TPM"), std::string::npos) << written.error();
}

}  // namespace
}  // namespace tpmspace::tpm
