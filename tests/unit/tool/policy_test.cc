// `tpmspace policy`, with tpmspaced behind it.
#include "tool/policy.h"

#include <gtest/gtest.h>

#include <fstream>

#include "program.h"

namespace tpmspace::tool {
namespace {

using testing_support::TempDir;
using Words = std::vector<std::string>;

std::string written(const TempDir& dir, const std::string& text) {
  std::string path = dir.path("policy.toml");
  std::ofstream(path) << text;
  return path;
}

constexpr const char* kConfig =
    "[profile.migration]\nbase = \"safe\"\nallow = \"migrate\"\n"
    "[[rule]]\nuser = 1001\nprofile = \"migration\"\n"
    "[[listener]]\npath = \"/run/a\"\nprofile = \"admin\"\n";

TEST(Policy, TheDaemonIsAskedInItsOwnWords) {
  EXPECT_EQ(daemon_arguments({}), (Words{"tpmspace", "--check-config"}));
  EXPECT_EQ(daemon_arguments({.manager = {}, .daemon = {}, .config = "-f", .as = {}, .words = {}}),
            (Words{"tpmspace", "--config=-f", "--check-config"}));
  EXPECT_EQ(daemon_arguments({.manager = {}, .daemon = {}, .config = {}, .as = "uid=1", .words = {"--x", "1"}}),
            (Words{"tpmspace", "--explain=uid=1", "--", "--x", "1"}));
}

TEST(Policy, CheckCountsThePartsAndWarns) {
  const TempDir dir;
  const auto file = written(dir, kConfig);
  Program program(dir, {"policy", "check", file});
  EXPECT_EQ(program.wait(), 0);
  EXPECT_EQ(program.out(),
            file + ": ok, 1 profile, 1 rule, 0 namespaces, 1 listener, 0 chips\n" + file +
                ":7: warning: every user may open this listener, and gets \"admin\", which allows more than "
                "\"safe\"; set \"owner\", \"group\" or \"mode\"\n");
  EXPECT_EQ(program.err(), "");
}

TEST(Policy, CheckReportsFaultAndPlace) {
  const TempDir dir;
  const auto file = written(dir, "[[rule]]\nprofile = \"saef\"\n");
  Program program(dir, {"policy", "check", file});
  EXPECT_EQ(program.wait(), 1);
  EXPECT_EQ(program.out(), "");
  EXPECT_EQ(program.err(), "tpmspace: " + file +
                               ":2:11: \"rule.profile\" is \"saef\", and there is no such profile; there are: safe, "
                               "storage, attest, provision, admin\n");
}

TEST(Policy, CheckOfAFileThatIsNotThere) {
  const TempDir dir;
  Program program(dir, {"policy", "check", "/nonexistent/policy.toml"});
  EXPECT_EQ(program.wait(), 1);
  EXPECT_EQ(program.err(),
            "tpmspace: the configuration /nonexistent/policy.toml cannot be read: No such file or directory\n");
}

TEST(Policy, ExplainEndsWithTheVerdict) {
  const TempDir dir;
  const auto file = written(dir, kConfig);
  const struct {
    const char* as;
    Words words;
    int code;
    std::string out;
    std::string err;
  } cases[] = {
      {"uid=1001",
       {"TPM2_Duplicate", "0x80000000", "null"},
       0,
       "TPM2_Duplicate 0x80000000 0x40000007: allowed\n  profile  migration\n  rule     " + file +
           ":4: gives \"migration\"\n",
       ""},
      {"uid=1002",
       {"TPM2_Duplicate", "0x80000000", "null"},
       3,
       "TPM2_Duplicate 0x80000000 0x40000007: refused\n"
       "  code     0x000b0143 (resource manager: command code not supported)\n"
       "  reason   the profile does not list this command, which is of the class migrate\n  profile  safe\n"
       "  rule     no rule matches: the standard profile \"safe\" holds (docs/profiles.md)\n",
       ""},
      {"uid=1002",
       {"TPM2_Duplicate"},
       1,
       "",
       "tpmspace: TPM2_Duplicate has 2 handles, not 0: write TPM2_Duplicate HANDLE HANDLE\n"},
      {"gid=1002", {"TPM2_Duplicate"}, 1, "", "tpmspace: the uid is missing: write uid=33\n"},
  };
  for (const auto& [as, words, code, out, err] : cases) {
    Words arguments = {"policy", "explain", "--as", as, "--config", file};
    arguments.insert(arguments.end(), words.begin(), words.end());
    Program program(dir, arguments);
    EXPECT_EQ(program.wait(), code) << as;
    EXPECT_EQ(program.out(), out);
    EXPECT_EQ(program.err(), err);
  }
}

TEST(Policy, WithoutTheDaemonThatIsSaid) {
  const TempDir dir;
  Program program(dir, {"policy", "check", "--tpmspaced", "/nonexistent/tpmspaced"});
  EXPECT_EQ(program.wait(), 1);
  EXPECT_EQ(program.err(), "tpmspace: cannot run /nonexistent/tpmspaced: No such file or directory\n");
}

TEST(Policy, TheDaemonsOwnCommandLine) {
  const struct {
    Words words;
    int code;
    const char* err;
  } cases[] = {
      {{"GetRandom"}, 2, "tpmspaced: \"GetRandom\" is an unexpected argument"},
      {{"--check-config", "GetRandom"}, 2, "tpmspaced: \"GetRandom\" is an unexpected argument"},
      {{"--check-config", "--explain", "uid=1", "GetRandom"}, 2, "tpmspaced: --"},
      {{"--explain"}, 2, "tpmspaced: --explain needs a value"},
      {{"--explain", "uid=1"}, 1, "tpmspaced: the command is missing: write a command like"},
      {{"--explain", "uid=1", "GetRandom"}, 0, ""},
  };
  for (const auto& [words, code, err] : cases) {
    const TempDir dir;
    Words arguments = {"--config=" + written(dir, kConfig)};
    arguments.insert(arguments.end(), words.begin(), words.end());
    Program program(dir, arguments, {}, program_path("tpmspaced"));
    EXPECT_EQ(program.wait(), code) << program.err();
    EXPECT_TRUE(program.err().starts_with(err)) << program.err();
  }
}

}  // namespace
}  // namespace tpmspace::tool
