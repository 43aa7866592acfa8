// `tpmspace doctor`: machines made of files, and the findings about them.
#include "tool/doctor.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <optional>

#include "../client/temp_dir.h"
#include "tool/capabilities.h"
#include "wire/command.h"

namespace tpmspace::tool {
namespace {

using testing_support::Peer;
using testing_support::TempDir;
using wire::Bytes;

class MachineTest : public testing::Test {
 protected:
  void file(const std::string& path, const std::string& text, mode_t mode = 0644) {
    const std::string whole = dir_.path("m" + path);
    std::filesystem::create_directories(std::filesystem::path(whole).parent_path());
    std::ofstream(whole) << text;
    chmod(whole.c_str(), mode);
  }
  void process(int pid, const std::string& name, const std::string& open_file) {
    const std::string folder = "/proc/" + std::to_string(pid);
    file(folder + "/comm", name + "\n");
    std::filesystem::create_directories(dir_.path("m" + folder + "/fd"));
    if (!open_file.empty()) std::filesystem::create_symlink(open_file, dir_.path("m" + folder + "/fd/5"));
  }
  std::string judged(pid_t server = 0) {
    Findings findings;
    judge_machine(look_at_machine(dir_.path("m")), server, findings);
    return findings_text(findings);
  }
  TempDir dir_;
};

TEST_F(MachineTest, WithoutATpm) {
  EXPECT_EQ(judged(),
            "note     this machine shows no TPM; `tpmspaced --tpm embedded` and `tpmspace run -- CMD` need no TPM\n");
}

TEST_F(MachineTest, WithoutATpmButServed) {
  EXPECT_EQ(judged(70), "ok       no TPM is visible here, but tpmspaced serves a TPM\n");
}

TEST_F(MachineTest, WithATpmThatTpmspacedServes) {
  file("/sys/class/tpm/tpm0/tpm_version_major", "2\n");
  file("/sys/class/tpm/tpm0/device/description", "TPM 2.0 Device\n");
  file("/dev/tpm0", "", 0600);
  process(70, "tpmspaced", "/dev/tpm0");
  const std::string text = judged(70);
  EXPECT_TRUE(text.starts_with("ok       tpm0 is a TPM 2.0 (TPM 2.0 Device)\nok       /dev/tpm0 has mode 0600, owner "))
      << text;
  EXPECT_NE(text.find("ok       tpmspaced (pid 70) has /dev/tpm0 open\n"), std::string::npos) << text;
  EXPECT_EQ(text.find("problem"), std::string::npos) << text;
}

TEST_F(MachineTest, WithADeviceThatAllUsersCanOpen) {
  file("/dev/tpmrm0", "", 0666);
  const std::string text = judged();
  EXPECT_NE(text.find("problem  /dev/tpmrm0 has mode 0666"), std::string::npos) << text;
  EXPECT_NE(text.find("chmod 0660 /dev/tpmrm0"), std::string::npos) << text;
}

TEST_F(MachineTest, WithOneThatAGroupCanOpen) {
  file("/dev/tpmrm0", "", 0660);
  EXPECT_TRUE(judged().find("note     /dev/tpmrm0 has mode 0660") != std::string::npos) << judged();
}

TEST_F(MachineTest, WithAbrmd) {
  file("/dev/tpm0", "", 0600);
  process(90, "tpm2-abrmd", "/dev/tpm0");
  const std::string text = judged();
  EXPECT_NE(text.find("problem  tpm2-abrmd (pid 90) has /dev/tpm0 open: "), std::string::npos) << text;
  EXPECT_NE(text.find("systemctl disable --now tpm2-abrmd"), std::string::npos) << text;
  EXPECT_NE(text.find("note     tpm2-abrmd runs (pid 90)"), std::string::npos) << text;
}

TEST_F(MachineTest, WithAnotherProgram) {
  file("/dev/tpm0", "", 0600);
  file("/dev/tpmrm0", "", 0600);
  process(91, "tpm2_getcap", "/dev/tpm0");
  process(92, "openssl", "/dev/tpmrm0");
  const std::string text = judged();
  EXPECT_NE(text.find("problem  tpm2_getcap (pid 91) has /dev/tpm0 open"), std::string::npos) << text;
  EXPECT_NE(text.find("note     openssl (pid 92) has /dev/tpmrm0 open"), std::string::npos) << text;
}

TEST_F(MachineTest, WithATpmOfTheOldKind) {
  file("/sys/class/tpm/tpm0/tpm_version_major", "1\n");
  file("/sys/class/tpm/tpm1/device/x", "");
  const std::string text = judged();
  EXPECT_NE(text.find("problem  tpm0 is a TPM 1.2"), std::string::npos) << text;
  EXPECT_NE(text.find("note     tpm1 does not report its version"), std::string::npos) << text;
}

TEST_F(MachineTest, OtherFilesAreNoDevices) {
  file("/dev/tpmfoo", "", 0666);
  file("/dev/tpm", "", 0666);
  EXPECT_TRUE(look_at_machine(dir_.path("m")).raw.empty());
}

TEST(Lockout, IsJudged) {
  const auto said = [](const std::map<std::uint32_t, std::uint32_t>& properties) {
    Findings findings;
    judge_lockout(properties, findings);
    return findings_text(findings);
  };
  EXPECT_TRUE(said({{property::kMaxAuthFail, 32}}).starts_with("ok       0 of 32 "));
  EXPECT_TRUE(said({{property::kMaxAuthFail, 32}, {property::kLockoutCounter, 3}}).starts_with("note     3 of 32 "));
  const auto locked = said({{property::kPermanent, kInLockout}, {property::kLockoutInterval, 7200}});
  EXPECT_TRUE(locked.starts_with("problem  the TPM is locked out")) << locked;
  EXPECT_NE(locked.find("7200 s"), std::string::npos);
}

struct TctiRow {
  const char* name;
  const char* socket;
  std::optional<std::string> tcti;
  const char* said;  // must be in it
  bool library = true;
};

class TctiJudged : public testing::TestWithParam<TctiRow> {};

TEST_P(TctiJudged, NamesTheRemedy) {
  const TctiRow& row = GetParam();
  Findings findings;
  judge_tcti({.socket = row.socket,
              .default_socket = "/default.sock",
              .tcti = row.tcti,
              .library_found = row.library,
              .program = "/opt/bin/tpmspace",
              .can_be_run = [](const std::string& program) { return program == "/opt/bin/tpmspace"; }},
             findings);
  EXPECT_NE(findings_text(findings).find(row.said), std::string::npos) << findings_text(findings);
}

INSTANTIATE_TEST_SUITE_P(
    Rows, TctiJudged,
    testing::Values(
        TctiRow{"Unset",
                "/default.sock",
                {},
                "is not set: tpm2-tools choose a TCTI by themselves; export TPM2TOOLS_TCTI=space:\n"},
        TctiRow{"UnsetElsewhere", "/a/s.sock", {}, "export TPM2TOOLS_TCTI=space:path=/a/s.sock\n"},
        TctiRow{"UnsetWithAComma", "/a,b.sock", {}, "export TPM2TOOLS_TCTI=space:/a,b.sock\n"},
        TctiRow{"UnsetWithoutLibrary",
                "/a.sock",
                {},
                "export TPM2TOOLS_TCTI=\"cmd:/opt/bin/tpmspace connect --socket /a.sock\"\n",
                false},
        TctiRow{"Default", "/default.sock", "space:", "ok       TPM2TOOLS_TCTI is \"space:\"\n"},
        TctiRow{"DefaultBare", "/default.sock", "space", "ok       TPM2TOOLS_TCTI is"},
        TctiRow{"DefaultByFile", "/default.sock", "/x/libtss2-tcti-space.so.0:locality=1",
                "ok       TPM2TOOLS_TCTI is"},
        TctiRow{"DefaultElsewhere", "/a.sock",
                "space:", "note     TPM2TOOLS_TCTI is \"space:\": tpm2-tools use /default.sock, not /a.sock"},
        TctiRow{"Same", "/a.sock", "space:path=/a.sock,locality=2", "ok       "},
        TctiRow{"SameLone", "/a/../b.sock", "space:/b.sock", "ok       "},
        TctiRow{
            "OtherLone", "/a.sock", "space:/nope/x",
            "tpm2-tools use /nope/x, not /a.sock, which is examined here; export TPM2TOOLS_TCTI=space:path=/a.sock\n"},
        TctiRow{"OtherPath", "/a.sock", "space:locality=1,path=/b", "tpm2-tools use /b, not /a.sock"},
        TctiRow{"Device", "/default.sock", "device:/dev/tpmspace0",
                "tpm2-tools do not use tpmspaced; export TPM2TOOLS_TCTI=space:\n"},
        TctiRow{"CommandNotInPath", "/default.sock", "cmd:tpmspace connect",
                "problem  TPM2TOOLS_TCTI is \"cmd:tpmspace connect\", and tpmspace is not in PATH"},
        TctiRow{"CommandNotThere", "/default.sock", "cmd:/no/tpmspace connect", "/no/tpmspace cannot be executed"},
        TctiRow{"Command", "/default.sock", "cmd:/opt/bin/tpmspace connect", "ok       "},
        TctiRow{"CommandOtherSocket", "/a.sock", "cmd:/opt/bin/tpmspace connect --socket=/b",
                "tpm2-tools use /b, not /a.sock"},
        TctiRow{"CommandSameSocket", "/a.sock", "cmd:/opt/bin/tpmspace connect --socket  /a.sock", "ok       "},
        TctiRow{"AnotherCommand", "/a.sock", "cmd:ssh x tpmspace connect", "do not use tpmspaced"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(StatusJudged, OnlyARealChipNeedsTheMachineRestarted) {
  for (const char* back_end : {"embedded:/x", "swtpm:path=/x,ctrl=/y", "device:/dev/tpm0"}) {
    proto::Status status;
    status.tpm_lost = true;
    status.tpm_backend = back_end;
    Findings findings;
    judge_status(status, findings);
    const std::string text = findings_text(findings);
    EXPECT_NE(text.find("no longer answers; "), std::string::npos) << text;
    EXPECT_EQ(text.find("the machine") != std::string::npos, status.tpm_backend.starts_with("device")) << text;
  }
}

TEST(StatusJudged, ALostTpmIsAProblem) {
  proto::Status status;
  Findings findings;
  judge_status(status, findings);
  EXPECT_EQ(findings_text(findings).find("problem"), std::string::npos);
  status.tpm_lost = true;
  judge_status(status, findings);
  EXPECT_NE(findings_text(findings).find("problem"), std::string::npos);
}

TEST(StatusJudged, EachOtherTpmThatIsLostIsAProblem) {
  proto::Status status;
  status.tpm_chip = "main";
  status.tpm_all_chips = "main a b c";
  status.tpm_lost_chips = "a c";
  Findings findings;
  judge_status(status, findings);
  const std::string text = findings_text(findings);
  for (const char* name : {"a", "c"})
    EXPECT_NE(text.find(fmt::format("problem  the chip \"{}\" does not answer", name)), std::string::npos) << text;
  EXPECT_EQ(text.find("\"b\""), std::string::npos) << text;
}

TEST(StatusJudged, SessionsThatAreAllTakenAreAProblem) {
  proto::Status status;
  status.chip_active_sessions = 64;
  status.spaces_sessions = 63;
  status.spaces_sessions_client_saved = 1;
  status.spaces_objects = 1;
  status.chip_object_slots = 3;
  Findings findings;
  judge_status(status, findings);
  EXPECT_EQ(findings_text(findings).find("problem"), std::string::npos);
  EXPECT_NE(findings_text(findings).find("together: 1 object (0 in 3 slots), 63 sessions (0 loaded, 1 saved"),
            std::string::npos)
      << findings_text(findings);
  status.spaces_sessions = 64;
  judge_status(status, findings);
  const std::string text = findings_text(findings);
  EXPECT_NE(text.find("problem  all 64 active sessions of the chip are in use (1 saved by clients)"), std::string::npos)
      << text;
}

class CapabilitiesTest : public testing::Test {
 protected:
  CapabilitiesTest() : peer_(base::Fd()), connection_(make(peer_)) {}
  static client::Connection make(Peer& peer) {
    std::array<int, 2> ends{};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    peer = Peer(base::Fd(ends[0]));
    return client::Connection::adopt(base::Fd(ends[1]), "a test");
  }
  // A page as a TPM gives it.
  void page(bool more, std::uint32_t capability, std::uint32_t count, const std::vector<std::uint32_t>& words) {
    wire::Writer out;
    out.u16(wire::kTagNoSessions).u32(static_cast<std::uint32_t>(19 + 4 * words.size())).u32(0);
    out.u8(more ? 1 : 0).u32(capability).u32(count);
    for (const auto word : words) out.u32(word);
    peer_.send(out.bytes());
  }
  Peer peer_;
  client::Connection connection_;
};

TEST_F(CapabilitiesTest, ListsGoOverPages) {
  page(true, 1, 2, {0x81000000, 0x81000001});
  page(false, 1, 1, {0x81010001});
  EXPECT_EQ(handles(connection_, HandleRange::kPersistent),
            (std::vector<std::uint32_t>{0x81000000, 0x81000001, 0x81010001}));
  peer_.read(22);
  const Bytes second = peer_.read(22);
  EXPECT_EQ(Bytes(second.begin() + 14, second.begin() + 18), (Bytes{0x81, 0, 0, 2}));
}

TEST_F(CapabilitiesTest, PropertiesGoOverPages) {
  page(true, 6, 1, {0x200, 5});
  page(false, 6, 1, {0x20E, 2});
  const auto properties = variable_properties(connection_);
  ASSERT_TRUE(properties);
  EXPECT_EQ(properties->at(property::kLockoutCounter), 2U);
}

TEST_F(CapabilitiesTest, AListThatNeverEndsIsGivenUp) {
  for (int i = 0; i < kMaxPages; ++i) page(true, 1, 1, {0x81000000});
  EXPECT_FALSE(handles(connection_, HandleRange::kPersistent));
}

TEST_F(CapabilitiesTest, AMeaninglessResponseIsNoAnswer) {
  page(false, 1, 5, {0x81000000});  // fewer than it says
  EXPECT_FALSE(handles(connection_, HandleRange::kPersistent));
  page(false, 6, 0, {});  // another capability
  EXPECT_FALSE(handles(connection_, HandleRange::kPersistent));
  peer_.send(Bytes{0x80, 0x01, 0, 0, 0, 10, 0, 0, 1, 1});  // an error
  EXPECT_FALSE(handles(connection_, HandleRange::kPersistent));
  peer_.hang_up();
  EXPECT_FALSE(handles(connection_, HandleRange::kPersistent));
}

TEST(StatusJudged, AnOrdinaryUserIsToldOfTheirOwnPartAlone) {
  proto::Status status;
  status.server_own_only = true;
  status.chip_active_sessions = 64;
  status.spaces_sessions = 64;
  status.connections_now = 1;
  Findings findings;
  judge_status(status, findings);
  const std::string text = findings_text(findings);
  EXPECT_NE(text.find("ok       you have 64 sessions and 1 connection to tpmspaced (64 sessions at most for all users"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("note     objects and sessions of other users are not shown to you; root"), std::string::npos)
      << text;
  EXPECT_EQ(text.find("no sessions"), std::string::npos) << text;
  EXPECT_EQ(text.find("all spaces of this TPM"), std::string::npos) << text;
}

TEST(FindingsJson, SaysWhetherAllIsWell) {
  EXPECT_EQ(findings_json({{Finding::Level::kOk, "a \"b\""}, {Finding::Level::kNote, "c"}}),
            "{\n  \"ok\": true,\n  \"findings\": [\n    {\"level\": \"ok\", \"text\": \"a \\\"b\\\"\"},\n"
            "    {\"level\": \"note\", \"text\": \"c\"}]\n}\n");
  EXPECT_TRUE(findings_json({{Finding::Level::kProblem, "d"}}).starts_with("{\n  \"ok\": false,"));
}

}  // namespace
}  // namespace tpmspace::tool
