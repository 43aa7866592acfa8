// How clients are shown, in 80 columns and as JSON.
#include "tool/clients.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <sstream>

#include "tool/doctor.h"
#include "tool/manage_listeners.h"

namespace tpmspace::tool {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;

std::string nobody(std::uint32_t, std::uint32_t, std::uint64_t) {
  return "";
}

proto::ClientEntry busy() {
  proto::ClientEntry out;
  out.connection = 17;
  out.who = {.uid = 999'999,
             .pid = 4711,
             .executable = "/usr/sbin/nginx",
             .unit = "nginx.service",
             .listener = "main",
             .profile = "tls-key",
             .chip = "main"};
  out.age = 750 * kSecond;
  out.commands = 231;
  out.tpm_time = 1840 * kSecond / 1000;
  out.waiting = 3 * kSecond;
  out.waits_for = "TPM2_Sign";
  out.objects = 2;
  out.sessions = 1;
  out.refusal = proto::RefusedCommand{3 * kSecond, "TPM2_Clear", 0x000B0143, "the profile has no such command"};
  return out;
}

void expect_to_fit(const std::string& text) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80U) << line;
}

TEST(ClientsText, IsForPeople) {
  const std::string text = clients_text({2, {busy()}}, nobody);
  expect_to_fit(text);
  EXPECT_EQ(text,
            "conn  user        pid       commands  TPM time   waiting  objects  sessions\n"
            "17    999999      4711           231    1.84 s     3.0 s        2         1\n"
            "      /usr/sbin/nginx, unit nginx.service, listener main, profile tls-key,\n"
            "        connected for 12 min, waits for TPM2_Sign\n"
            "      last refused 3.0 s ago: TPM2_Clear, 0x000b0143 (resource manager: command\n"
            "        code not supported); the profile has no such command\n"
            "and 1 more\n");
  EXPECT_EQ(clients_text({}, nobody), "no clients\n");
}

TEST(ClientsText, NamesAProgramThatTheManagerMayNotLookAt) {
  auto client = busy();
  client.who.executable = "";
  EXPECT_NE(clients_text({1, {client}}, nobody).find("unknown program, unit"), std::string::npos);
  const auto known = [](std::uint32_t pid, std::uint32_t uid, std::uint64_t age) {
    return pid == 4711 && uid == 999'999 && age == 750 * kSecond ? "/usr/bin/found" : "";
  };
  EXPECT_NE(clients_text({1, {client}}, known).find("/usr/bin/found, unit"), std::string::npos);
}

TEST(ClientsJson, HasEveryField) {
  EXPECT_EQ(clients_json({2, {busy()}}, nobody),
            "{\n  \"total\": 2,\n  \"clients\": [\n"
            "    {\"connection\": 17, \"uid\": 999999, \"user\": \"999999\", \"pid\": 4711, \"program\": "
            "\"/usr/sbin/nginx\", \"unit\": \"nginx.service\", \"container\": null, \"pod\": null, \"namespace\": "
            "null, \"listener\": \"main\", \"profile\": \"tls-key\", \"chip\": \"main\", \"age_ns\": 750000000000, "
            "\"commands\": 231, \"tpm_time_ns\": 1840000000, \"waits_for\": \"TPM2_Sign\", \"waiting_ns\": "
            "3000000000, \"objects\": 2, \"sessions\": 1, \"last_refusal\": {\"ago_ns\": 3000000000, \"command\": "
            "\"TPM2_Clear\", \"code\": \"0x000b0143\", \"reason\": \"the profile has no such command\"}}]\n}\n");
}

TEST(ReportText, NamesClientReasonAndRefusal) {
  proto::WhoReport report;
  report.who = busy().who;
  report.who.container = std::string(64, 'a');
  report.reasons = {"/etc/tpmspace/tpmspace.toml:12: gives \"tls-key\""};
  report.refusal = busy().refusal;
  const std::string text = report_text(report);
  expect_to_fit(text);
  EXPECT_EQ(text,
            "user          999999 (uid 999999)\n"
            "process       4711, /usr/sbin/nginx\n"
            "runs in       container aaaaaaaaaaaa\n"
            "listener      main\n"
            "profile       tls-key\n"
            "rule          /etc/tpmspace/tpmspace.toml:12: gives \"tls-key\"\n"
            "may           use the TPM as the profile allows\n"
            "last refused  3.0 s ago: TPM2_Clear, 0x000b0143 (resource manager: command code\n"
            "              not supported); the profile has no such command\n");
  EXPECT_NE(report_json(report).find("\"administers\": false, \"reasons\": [\"/etc/tpmspace"), std::string::npos);
}

TEST(HowToUse, IsALineForTheShell) {
  EXPECT_EQ(how_to_use("/run/a/tpm.sock"),
            "for programs that use this listener: export TPMSPACE_SOCKET=/run/a/tpm.sock "
            "TPM2TOOLS_TCTI=space:path=/run/a/tpm.sock\n");
  EXPECT_EQ(how_to_use("/a,b"),
            "for programs that use this listener: export TPMSPACE_SOCKET=/a,b TPM2TOOLS_TCTI=space:/a,b\n");
  EXPECT_EQ(how_to_use("/it's"),
            "for programs that use this listener: export TPMSPACE_SOCKET='/it'\\''s' "
            "TPM2TOOLS_TCTI='space:path=/it'\\''s'\n");
}

TEST(NoteOfOtherManager, IsSaidWhereTheVariableLeadsElsewhere) {
  const auto note = [](std::string_view tcti) {
    return note_of_other_manager("TSS2_TCTI", tcti, "/run/default", "/run/asked").value_or("");
  };
  EXPECT_EQ(note("space:path=/run/asked"), "");
  EXPECT_EQ(note("space:/run/asked"), "");
  EXPECT_EQ(note("cmd:tpmspace connect --socket /run/asked"), "");
  EXPECT_EQ(note("space:"),
            "TSS2_TCTI is \"space:\": programs that read the variable use /run/default; this report is about "
            "/run/asked; for a report about their socket add --socket /run/default");
  EXPECT_EQ(note("device:/dev/tpm0"),
            "TSS2_TCTI is \"device:/dev/tpm0\": programs that read the variable do not use tpmspaced; this report is "
            "about tpmspaced at /run/asked");
}

TEST(ProgramOf, IsThatOfAProcessThatIsOldEnough) {
  const auto pid = static_cast<std::uint32_t>(::getpid()), uid = static_cast<std::uint32_t>(::getuid());
  EXPECT_NE(program_of(pid, uid, 0), "");
  EXPECT_EQ(program_of(pid, uid, 1'000'000 * kSecond), "") << "it started after the connection was made";
  EXPECT_EQ(program_of(pid, uid + 1, 0), "") << "it is another user's";
  EXPECT_EQ(program_of(0x7FFFFFFF, uid, 0), "");
}

}  // namespace
}  // namespace tpmspace::tool
