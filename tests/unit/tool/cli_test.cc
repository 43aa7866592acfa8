// The command line: help and version everywhere, usage errors, and sentences.
#include <gtest/gtest.h>

#include "program.h"

namespace tpmspace::tool {
namespace {

using testing_support::TempDir;

struct Row {
  const char* name;
  std::vector<std::string> arguments;
  int code;
  const char* out;  // must be in standard output
  const char* err;  // must be in standard error
};

class CommandLine : public testing::TestWithParam<Row> {};

TEST_P(CommandLine, Ends) {
  const TempDir dir;
  Program program(dir, GetParam().arguments, {{"TPMSPACE_SOCKET", dir.path("none")}});
  EXPECT_EQ(program.wait(), GetParam().code);
  EXPECT_NE(program.out().find(GetParam().out), std::string::npos) << program.out();
  EXPECT_NE(program.err().find(GetParam().err), std::string::npos) << program.err();
}

INSTANTIATE_TEST_SUITE_P(
    Rows, CommandLine,
    testing::Values(
        Row{"Help", {"--help"}, 0, "doctor", ""}, Row{"Version", {"--version"}, 0, "tpmspace 0.", ""},
        Row{"RunHelp", {"run", "--help"}, 0, "--tpm SPEC", ""},
        Row{"RunUsage", {"run", "--help"}, 0, "Usage: tpmspace run [OPTIONS] [--] CMD...\n", ""},
        Row{"UnknownShortOption", {"-V"}, 2, "", "tpmspace: there is no option -V; `tpmspace --help` tells more\n"},
        Row{"UnknownShortOptionThere", {"status", "-V"}, 2, "", "tpmspace: there is no option -V; "},
        Row{"Twice", {"status", "--socket", "a", "--socket", "b"}, 2, "", "tpmspace: --socket is given more than once"},
        Row{"WithoutValue", {"status", "--socket"}, 2, "", "tpmspace: --socket needs a value; "},
        Row{"WithoutSpec", {"run", "--tpm"}, 125, "", "tpmspace: --tpm needs a value; "},
        Row{"RunOfNoTpm", {"run", "--tpm", "foo", "--", "true"}, 125, "", "\n  --tpm: 'foo' is not a kind of TPM"},
        Row{"RunVersion", {"run", "--version"}, 0, "tpmspace 0.", ""},
        Row{"ConnectHelp", {"connect", "--help"}, 0, "--socket PATH", ""},
        Row{"ConnectVersion", {"connect", "--version"}, 0, "tpmspace 0.", ""},
        Row{"StatusHelp", {"status", "--help"}, 0, "--json", ""},
        Row{"StatusVersion", {"status", "--version"}, 0, "tpmspace 0.", ""},
        Row{"SessionsHelp", {"sessions", "--help"}, 0, "--json", ""},
        Row{"SessionsVersion", {"sessions", "--version"}, 0, "tpmspace 0.", ""},
        Row{"FlushHelp", {"flush", "--help"}, 0, "--owner USER", ""},
        Row{"FlushVersion", {"flush", "--version"}, 0, "tpmspace 0.", ""},
        Row{"FlushNothing", {"flush"}, 2, "", "flush needs one of: handles, --abandoned, --owner USER"},
        Row{"FlushTwoThings", {"flush", "--abandoned", "0x03000000"}, 2, "", "flush needs one of"},
        Row{"FlushAnObject", {"flush", "0x80000000"}, 2, "", "\"0x80000000\" is not a session handle"},
        Row{"FlushOwnerByName", {"flush", "--owner", "root"}, 1, "", "no tpmspaced at "},
        Row{"FlushOwnerOfNoName", {"flush", "--owner", "no such"}, 2, "", "--owner: there is no user \"no such\""},
        Row{"ReserveHelp", {"reserve", "--help"}, 0, "--release", ""},
        Row{"ReserveNothing", {"reserve"}, 2, "", "tpmspace: reserve needs HANDLE: session handle, such as 0x03000000"},
        Row{"ReserveAnObject", {"reserve", "0x80000000"}, 2, "", "\"0x80000000\" is not a session handle"},
        Row{"ReserveOfNobody", {"reserve", "0x03000000"}, 1, "", "no tpmspaced at "},
        Row{"FlushOfNobody", {"flush", "--abandoned"}, 1, "", "no tpmspaced at "},
        Row{"SessionsOfNobody", {"sessions"}, 1, "", "no tpmspaced at "},
        Row{"PolicyHelp", {"policy", "--help"}, 0, "explain", ""},
        Row{"PolicyVersion", {"policy", "--version"}, 0, "tpmspace 0.", ""},
        Row{"PolicyNothing",
            {"policy"},
            2,
            "",
            "tpmspace: policy needs a subcommand: check, explain, reload and learn; `tpmspace policy --help` tells "
            "more\n"},
        Row{"PolicySing",
            {"policy", "sing"},
            2,
            "",
            "tpmspace: policy has no subcommand \"sing\"; the subcommands are check, explain, reload and learn; "},
        Row{"PolicyCheckUnknownOption",
            {"policy", "check", "-x"},
            2,
            "",
            "; `tpmspace policy check --help` tells more\n"},
        Row{"OptionBeforeItsSubcommand",
            {"--socket", "x", "status"},
            2,
            "",
            "tpmspace: --socket must follow the subcommand: tpmspace status --socket; "},
        Row{"OptionBeforeItsInnerSubcommand",
            {"--as=uid=1", "policy", "explain"},
            2,
            "",
            "tpmspace: --as must follow the subcommand: tpmspace policy explain --as; "},
        Row{"OptionWithoutSubcommand",
            {"--socket", "x"},
            2,
            "",
            "tpmspace: --socket must follow a subcommand, as in tpmspace status --socket; "},
        Row{"PolicyCheckHelp", {"policy", "check", "--help"}, 0, "FILE", ""},
        Row{"PolicyCheckTwoFiles", {"policy", "check", "a", "b"}, 2, "", "\"b\" is an unexpected argument"},
        Row{"PolicyExplainHelp", {"policy", "explain", "--help"}, 0, "--as AS", ""},
        Row{"PolicyExplainNobody",
            {"policy", "explain", "TPM2_Quote"},
            2,
            "",
            "tpmspace: policy explain needs --as AS: the client: uid=33"},
        Row{"PolicyExplainEmpty", {"policy", "explain", "--as", "", "TPM2_Quote"}, 2, "", "--as: the value is empty"},
        Row{"PolicyExplainNothing",
            {"policy", "explain", "--as", "uid=1"},
            2,
            "",
            "tpmspace: policy explain needs COMMAND: TPM2_NV_Write"},
        Row{"PolicyReloadHelp", {"policy", "reload", "--help"}, 0, "--socket PATH", ""},
        Row{"PolicyReloadOfNobody", {"policy", "reload"}, 1, "", "no tpmspaced at "},
        Row{"PolicyReloadSomething", {"policy", "reload", "x"}, 2, "", "\"x\" is an unexpected argument"},
        Row{"PolicyLearnHelp", {"policy", "learn", "--help"}, 0, "--output FILE", ""},
        Row{"PolicyLearnUsage",
            {"policy", "learn", "--help"},
            0,
            "Usage: tpmspace policy learn [OPTIONS] [--] CMD...\n",
            ""},
        Row{"PolicyLearnNothing", {"policy", "learn"}, 125, "", "policy learn needs a command"},
        Row{"PolicyLearnOnlyOptions",
            {"policy", "learn", "--name", "x", "--"},
            125,
            "",
            "policy learn needs a command"},
        Row{"PolicyLearnUnknownOption", {"policy", "learn", "--sing", "--", "true"}, 125, "", "--sing"},
        Row{"PolicyLearnOfNobody", {"policy", "learn", "--", "true", "--sing"}, 125, "", "no tpmspaced at "},
        Row{"OpenUsage", {"open", "--help"}, 0, "Usage: tpmspace open [OPTIONS] [--] CMD...\n", ""},
        Row{"DoctorHelp", {"doctor", "--help"}, 0, "--socket PATH", ""},
        Row{"DoctorVersion", {"doctor", "--version"}, 0, "tpmspace 0.", ""},
        Row{"Nothing", {}, 2, "", "tpmspace: a subcommand is needed: run, connect, status, "},
        Row{"Unknown",
            {"sing"},
            2,
            "",
            "tpmspace: there is no subcommand \"sing\"; the subcommands are run, connect, status, "
            "sessions, flush, reserve, clients, whoami, open, listener, policy, doctor, help and version\n"},
        Row{"TheFormerNameOfListener",
            {"door", "list"},
            2,
            "",
            "tpmspace: the subcommand \"door\" is now called \"listener\""},
        Row{"HelpAlone", {"help"}, 0, "  whoami ", ""},
        Row{"HelpOfASubcommand", {"help", "reserve"}, 0, "--release", ""},
        Row{"HelpOfAnInnerSubcommand", {"help", "policy", "explain"}, 0, "--as AS", ""},
        Row{"HelpOfACommandThatTakesOne", {"help", "open"}, 0, "share this one connection", ""},
        Row{"HelpOfNothing", {"help", "sing"}, 2, "", "there is no subcommand \"sing\""},
        Row{"VersionAlone", {"version"}, 0, "tpmspace 0.", ""},
        Row{"VersionOfSomething", {"version", "x"}, 2, "", "\"x\" is an unexpected argument"},
        Row{"ClientsHelp", {"clients", "--help"}, 0, "--json", ""},
        Row{"ClientsOfNobody", {"clients"}, 1, "", "no tpmspaced at "},
        Row{"WhoamiHelp", {"whoami", "--help"}, 0, "--json", ""},
        Row{"WhoamiOfNobody", {"whoami"}, 1, "", "no tpmspaced at "},
        Row{"DoctorJson", {"doctor", "--json"}, 1, "\"ok\": false", ""},
        Row{"PolicyExplainProcessOfNobody", {"policy", "explain", "--as", "pid=1"}, 1, "", "no tpmspaced at "},
        Row{"PolicyExplainNoProcess", {"policy", "explain", "--as", "pid=x"}, 2, "", "write the number of a process"},
        Row{"PolicyExplainProcessAndMore", {"policy", "explain", "--as", "pid=1,uid=2"}, 2, "", "no other fact"},
        Row{"ListenerAddNothing", {"listener", "add"}, 2, "", "listener add needs NAME: name for rules"},
        Row{"UnknownOption", {"status", "--sing"}, 2, "", "--sing"}, Row{"TooMany", {"status", "sing"}, 2, "", "sing"},
        Row{"RunWithoutCommand", {"run"}, 125, "", "run needs a command"},
        Row{"RunWithOnlyDashes", {"run", "--tpm", "embedded", "--"}, 125, "", "run needs a command"},
        Row{"RunWithoutSpec", {"run", "--tpm"}, 125, "", "--tpm"},
        Row{"RunUnknownOption", {"run", "--sing", "--", "true"}, 125, "", "tpmspace: "},
        Row{"StatusOfNobody", {"status"}, 1, "", "no tpmspaced at "},
        Row{"StatusOfAnother", {"status", "--socket", "/nowhere"}, 1, "", "no tpmspaced at /nowhere: "},
        Row{"StatusOfADirectory", {"status", "--socket", "/tmp"}, 1, "", "/tmp: that is a directory"},
        Row{"DoctorOfAFile", {"doctor", "--socket", "/etc/passwd"}, 1, "passwd: that is a plain file", ""},
        Row{"ConnectToTooLong", {"connect", "--socket", std::string(120, 'x')}, 1, "", "at most 103 are"},
        Row{"ConnectToNobody", {"connect"}, 1, "", "no tpmspaced at "},
        Row{"DoctorOfNobody", {"doctor"}, 1, "problem  no tpmspaced at ", ""}),
    [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace tpmspace::tool
