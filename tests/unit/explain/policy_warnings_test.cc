// Warnings: each for its mistake, and none for a sensible policy.
#include "explain/policy_warnings.h"

#include <gtest/gtest.h>

#include "../../support/test_accounts.h"
#include "config/config.h"
#include "peer/proc_text.h"

namespace tpmspace::explain {
namespace {

std::vector<Warning> warnings(const std::string& text, bool may_trace = true) {
  const auto settings = config::parse_settings(text, "f", config::test_accounts());
  EXPECT_TRUE(settings) << settings.error();
  const Surroundings around{.may_trace = may_trace,
                            .is_directory = [](const std::string& path) { return path == "/var" || path == "/run"; }};
  return settings ? warnings_of(settings->policy, around) : std::vector<Warning>{};
}

constexpr const char* kUntraced =
    "this rule names an executable or a kernel namespace; without CAP_SYS_PTRACE tpmspaced does not know this fact of "
    "other users' programs, so the rule may match each of these programs and narrows all of them, except root and "
    "tpmspaced's own user: docs/identity.md says what the unit needs";

Warning every_root(int line, const std::string& profile) {
  return {line, "this rule also gives \"" + profile +
                    "\" to the root of every container that may connect; a rule "
                    "before it with container = \"*\" gives containers another profile"};
}
Warning never(int line, const std::string& what, const std::string& condition, const std::string& form) {
  return {line, "this " + what + " never matches: " + condition + " is not " + form};
}
constexpr const char* kContainerId = "a container's id, which is 64 hexadecimal digits, or a pattern of one";
constexpr const char* kPodUid = "a pod's uid, like 1f5b0a4e-1111-2222-3333-444455556666, or a pattern of one";
constexpr const char* kUnit = "a unit's whole name, like nginx.service, or a pattern of one";
Warning crowd(int line, const std::string& what, const std::string& of, const std::string& profile) {
  return {line, "this " + what + " gives every " + of + " \"" + profile + "\", which allows more than \"safe\""};
}

constexpr const char* kNoLocality =
    "all commands of clients of this listener, except administrators, are refused: the listener has locality 2, and no "
    "profile that applies there lists this locality; give the listener a \"profile\" that lists it";

// By a rule on line 1 or wherever.
Warning no_root(int line, const std::string& profile) {
  return {line, "root is not an administrator: on tpmspaced's own socket root gets \"" + profile +
                    "\" from this rule; put a rule for administrators before it"};
}

TEST(PolicyWarnings, EachIsSaidWithItsLine) {
  const struct {
    const char* text;
    std::vector<Warning> wanted;
  } cases[] = {
      {"", {}},
      {"[[rule]]\nprofile = \"safe\"\n[[rule]]\nuser = 0\nprofile = \"admin\"\n",
       {no_root(1, "safe"),
        {3, "this rule is unreachable: its clients match the rule on line 1 first"},
        every_root(3, "admin")}},
      {"[[rule]]\nuser = 0\nprofile = \"admin\"\n[[rule]]\nprofile = \"safe\"\n", {every_root(1, "admin")}},
      {"[[rule]]\ncontainer = \"*\"\nprofile = \"safe\"\n[[rule]]\nuser = 0\nprofile = \"admin\"\n", {}},
      {"[[rule]]\npod = \"*\"\nprofile = \"admin\"\n", {crowd(1, "rule", "pod", "admin")}},
      {"[[rule]]\ncontainer = \"**\"\nprofile = \"admin\"\n", {crowd(1, "rule", "container", "admin")}},
      {"[[rule]]\nunit = \"*\"\nprofile = \"attest\"\n", {crowd(1, "rule", "unit", "attest")}},
      {"[[rule]]\ncgroup = \"/**\"\nprofile = \"attest\"\n", {crowd(1, "rule", "process in any cgroup", "attest")}},
      {"[[rule]]\npod = \"*\"\nprofile = \"safe\"\n", {}},
      {"[[rule]]\npod = \"1f5b0a4e-*\"\nprofile = \"admin\"\n", {}},
      {"[[rule]]\npod = \"*\"\nuser = 3\nprofile = \"admin\"\n", {crowd(1, "rule", "pod", "admin")}},
      {"[[rule]]\npod = \"*-*\"\nuser = 0\nprofile = \"admin\"\n", {crowd(1, "rule", "pod", "admin")}},
      {"[[rule]]\npod = \"*\"\ngroup = 0\nprofile = \"admin\"\n", {crowd(1, "rule", "pod", "admin")}},
      {"[[rule]]\ncontainer = \"*\"\nuser = 0\nprofile = \"provision\"\n",
       {crowd(1, "rule", "container", "provision")}},
      {"[[rule]]\ncgroup = \"/kubepods.slice/**\"\nuser = 0\nprofile = \"admin\"\n",
       {crowd(1, "rule", "container under /kubepods.slice", "admin")}},
      {"[[rule]]\ncgroup = \"/system.slice/docker-*.scope\"\nprofile = \"admin\"\n",
       {crowd(1, "rule", "container under /system.slice", "admin")}},
      {"[[rule]]\ncgroup = \"/kubepods.slice\"\nprofile = \"admin\"\n", {}},
      {"[[rule]]\ncontainer = \"*\"\nunit = \"*.service\"\nprofile = \"safe\"\n[[rule]]\nuser = 0\nprofile = "
       "\"admin\"\n",
       {every_root(5, "admin")}},
      {"[[rule]]\ncgroup = \"/kubepods.slice/a/**\"\nprofile = \"admin\"\n", {}},
      {"[[rule]]\nunit = \"*.service\"\nprofile = \"attest\"\n", {crowd(1, "rule", "unit", "attest")}},
      {"[[rule]]\nunit = \"*.service\"\nuser = 3\nprofile = \"attest\"\n", {}},
      {"[[rule]]\nunit = \"a*.service\"\nprofile = \"attest\"\n", {}},
      {"[[rule]]\npod = \"*\"\nlistener = \"main\"\nprofile = \"admin\"\n", {}},
      {"[[namespace]]\nname = \"a\"\npod = \"*\"\nuser = 0\nprofile = \"admin\"\n",
       {crowd(1, "namespace", "pod", "admin")}},
      {"[[namespace]]\nname = \"a\"\npod = \"*\"\nprofile = \"admin\"\n", {crowd(1, "namespace", "pod", "admin")}},
      {"[[rule]]\ncontainer = \"libpod-abc\"\nprofile = \"safe\"\n",
       {never(1, "rule", "container \"libpod-abc\"", kContainerId)}},
      {"[[rule]]\ncontainer = \"abc\"\nprofile = \"safe\"\n", {never(1, "rule", "container \"abc\"", kContainerId)}},
      {"[[rule]]\ncontainer = \"abc*\"\nprofile = \"safe\"\n", {}},
      {"[[namespace]]\nname = \"a\"\ncontainer = \"web\"\n",
       {never(1, "namespace", "container \"web\"", kContainerId)}},
      {"[[rule]]\npod = \"shop-*\"\nprofile = \"safe\"\n", {never(1, "rule", "pod \"shop-*\"", kPodUid)}},
      {"[[rule]]\npod = \"1f5b0a4e-1111-2222-3333-444455556666\"\nprofile = \"safe\"\n", {}},
      {"[[rule]]\npod = \"0123456789abcdef0123456789abcdef\"\nprofile = \"safe\"\n", {}},
      {"[[rule]]\nunit = \"nginx\"\nprofile = \"safe\"\n", {never(1, "rule", "unit \"nginx\"", kUnit)}},
      {"[[rule]]\nunit = \"nginx*\"\nprofile = \"safe\"\n", {}},
      {"[[rule]]\ncgroup = \"/sys/fs/cgroup/x\"\nprofile = \"safe\"\n",
       {never(1, "rule", "cgroup \"/sys/fs/cgroup/x\"",
              "a path from the root of the hierarchy, like /system.slice/nginx.service")}},
      {"[[namespace]]\nname = \"a\"\nunit = \"a.service\"\nsessions = 3\n",
       {{1,
         "clients that ended before their cgroup could be read have together the quotas of this namespace once more; a "
         "namespace with \"listener\" has no such clients (this warning concerns each namespace by place; see "
         "docs/identity.md)"}}},
      {"[[namespace]]\nname = \"a\"\nunit = \"a.service\"\n[[namespace]]\nname = \"b\"\nunit = \"b.service\"\n"
       "sessions = 3\n[[namespace]]\nname = \"c\"\nunit = \"c.service\"\nsessions = 3\n",
       {{4,
         "clients that ended before their cgroup could be read have together the quotas of this namespace once more; a "
         "namespace with \"listener\" has no such clients (this warning concerns each namespace by place; see "
         "docs/identity.md)"}}},
      {"[[namespace]]\nname = \"a\"\nuser = 3\nsessions = 3\n", {}},
      {"[[rule]]\nuser = \"root\"\nlistener = \"main\"\nprofile = \"storage\"\n", {no_root(1, "storage")}},
      {"[profile.none]\nallow = [\"random\"]\n[[rule]]\nuser = 3\nprofile = \"none\"\n",
       {{3,
         "all commands of clients that match this rule are refused: its profile \"none\" lists no localities; programs "
         "use locality 0"}}},
      {"[[rule]]\nuser = \"1000-1999\"\nprofile = \"safe\"\n[[rule]]\nuser = 1001\ngroup = \"tss\"\nprofile = "
       "\"attest\"\n",
       {{4, "this rule is unreachable: its clients match the rule on line 1 first"}}},
      {"[[rule]]\nprofile = \"attest\"\n",
       {{1, "this rule gives every client \"attest\", which allows more than \"safe\""}, no_root(1, "attest")}},
      {"[[rule]]\nuser = \"0-4294967294\"\nprofile = \"provision\"\n",
       {{1, "this rule gives every client \"provision\", which allows more than \"safe\""}, no_root(1, "provision")}},
      {"[profile.chief]\nbase = \"safe\"\nadminister = true\n[[rule]]\nprofile = \"chief\"\n",
       {{4, "this rule gives every client \"chief\", which allows more than \"safe\""}}},
      {"[profile.small]\nbase = \"safe\"\ndeny = [\"attest\"]\n[[rule]]\nprofile = \"small\"\n", {no_root(4, "small")}},
      {"[profile.idle]\nbase = \"safe\"\n", {{1, "no rule, namespace or listener gives the profile \"idle\""}}},
      {"[profile.base]\nlocalities = 0\n[profile.given]\nbase = \"base\"\n[[rule]]\nuser = 1\nprofile = \"given\"\n",
       {}},
      {"[[listener]]\npath = \"/run/a\"\nprofile = \"admin\"\n",
       {{1,
         "every user may open this listener, and gets \"admin\", which allows more than \"safe\"; set \"owner\", "
         "\"group\" or \"mode\""}}},
      {"[[listener]]\npath = \"/run/a\"\nprofile = \"safe\"\n", {}},
      {"[[listener]]\npath = \"/run/a\"\nowner = \"alice\"\nprofile = \"admin\"\n", {}},
      {"[[rule]]\nprofile = \"safe\"\n[[listener]]\npath = \"/run/a\"\nprofile = \"safe\"\n",
       {no_root(1, "safe"),
        {3, "the profile of this listener is unreachable: its clients match the rule on line 1 first"}}},
      {"[[listener]]\npath = \"/run/a\"\nprofile = \"safe\"\nlocality = 2\n",
       {{1,
         "all commands of clients of this listener are refused: the listener has locality 2, which its profile "
         "\"safe\" does not list"}}},
      {"[profile.two]\nbase = \"safe\"\nlocalities = 2\n[[listener]]\npath = \"/run/a\"\nmode = \"0600\"\nprofile = "
       "\"two\"\n",
       {{4,
         "all commands of clients of this listener are refused: the listener has locality 0, which its profile \"two\" "
         "does not list"}}},
      {"[[namespace]]\nname = \"a\"\nuser = \"1-9\"\n[[namespace]]\nname = \"b\"\nuser = 3\nlistener = \"main\"\n",
       {{4, "this namespace is unreachable: its clients match the namespace on line 1 first"}}},
      {"[[namespace]]\nname = \"a\"\nuser = 3\n[[namespace]]\nname = \"b\"\nuser = \"1-9\"\n", {}},
      {"[[namespace]]\nname = \"a\"\nuser = 3\nprofile = \"p\"\n[profile.p]\n", {}},
      {"[[rule]]\nuser = \"1-9\"\nprofile = \"safe\"\n[[namespace]]\nname = \"a\"\nuser = 3\nprofile = \"safe\"\n",
       {{4, "the profile of this namespace is unreachable: its members match the rule on line 1 first"}}},
      {"[[rule]]\nnamespace = \"a\"\nprofile = \"safe\"\n[[namespace]]\nname = \"a\"\nuser = 3\nprofile = \"safe\"\n",
       {{4, "the profile of this namespace is unreachable: its members match the rule on line 1 first"}}},
      {"[[namespace]]\nname = \"a\"\nuser = 3\npersistent_base = \"0x817f0000\"\n",
       {{1,
         "some of this namespace's persistent handles are the platform's: an owner's keys cannot be made persistent "
         "from "
         "0x81800000 on"}}},
      {"[[listener]]\npath = \"/run/tpmspace/a\"\n",
       {{1,
         "the socket of tpmspaced itself is in the same directory, /run/tpmspace: a container with this directory "
         "mounted reaches both sockets; leave \"path\" out, and tpmspaced makes a directory for this listener alone"}}},
      {"socket = \"/run/s\"\n[[listener]]\npath = \"/run/a\"\n",
       {{2,
         "the socket of tpmspaced itself is in the same directory, /run: a container with this directory mounted "
         "reaches both sockets; leave \"path\" out, and tpmspaced makes a directory for this listener alone"}}},
      {"[[listener]]\npath = \"/run/a\"\n[[listener]]\npath = \"/run/b\"\n[[listener]]\nname = \"c\"\n",
       {{1,
         "the socket of the listener on line 3 is in the same directory, /run: a container with this directory mounted "
         "reaches both sockets; leave \"path\" out, and tpmspaced makes a directory for this listener alone"},
        {3,
         "the socket of the listener on line 1 is in the same directory, /run: a container with this directory mounted "
         "reaches both sockets; leave \"path\" out, and tpmspaced makes a directory for this listener alone"}}},
      {"[[listener]]\npath = \"/vra/a\"\n",
       {{1,
         "the socket of this listener is /vra/a, but the directory /vra does not exist: tpmspaced does not start "
         "without the directory"}}},
      {"[[listener]]\nname = \"a\"\nprofile = \"safe\"\n[[listener]]\nname = \"b\"\ngroup = \"tss\"\nprofile = "
       "\"safe\"\n[[listener]]\nname = \"c\"\n[[listener]]\nname = \"d\"\nprofile = \"safe\"\n",
       {{10,
         "every user may open this listener and the listener on line 1, so a user has a share of wrong authorizations "
         "at each; set \"owner\", \"group\" or \"mode\""}}},
      {"[[listener]]\npath = \"/run/a\"\nlocality = 2\n", {{1, kNoLocality}}},
      {"[[listener]]\npath = \"/run/a\"\nlocality = 0\n", {}},
      {"[profile.two]\nbase = \"safe\"\nlocalities = 2\n[[rule]]\nuser = 3\nprofile = \"two\"\n[[listener]]\npath = "
       "\"/run/a\"\nlocality = 2\n",
       {}},
      {"[profile.two]\nbase = \"safe\"\nlocalities = 2\n[[rule]]\nlistener = \"main\"\nuser = 3\nprofile = "
       "\"two\"\n[[listener]]\n"
       "path = \"/run/a\"\nlocality = 2\n",
       {{8, kNoLocality}}},
      {"[[chip]]\nname = \"a\"\ntpm = \"device:/dev/tpm1\"\n",
       {{1, "no listener, namespace or rule names the chip \"a\": only administrators can use it, with --chip"}}},
      {"[[chip]]\nname = \"a\"\ntpm = \"device:/dev/tpm1\"\n[[namespace]]\nname = \"n\"\nuser = 3\nchip = \"a\"\n", {}},
      {"ledger = \"sessions\"\n",
       {{1,
         "the ledger of the chip \"main\" has the relative path \"sessions\", which depends on the directory in which "
         "tpmspaced starts: begin the path with \"/\""}}},
      {"ledger = \"\"\n", {}},
      {"ledger = \"/var/sessions\"\n", {}},
      {"ledger = \"/run/tpmspace/mine\"\n", {}},
      {"ledger = \"/vra/sessions\"\n",
       {{1,
         "the ledger of the chip \"main\" is /vra/sessions, but the directory /vra does not exist: make the directory "
         "before tpmspaced starts"}}},
      {"tpm = \"embedded\"\n", {}},
      {"tpm = \"embedded:/var/tpm/\"\n", {}},
      {"version = 1\ntpm = \"embedded:tpm\"\n",
       {{2,
         "the state of the chip \"main\" has the relative path \"tpm\", which depends on the directory in which "
         "tpmspaced starts: begin the path with \"/\""}}},
      {"[[rule]]\nchip = \"a\"\nprofile = \"safe\"\n[[chip]]\nname = \"a\"\ntpm = \"embedded:/vra/tpm\"\nledger = "
       "\"b\"\n",
       {{6,
         "the state of the chip \"a\" is /vra/tpm, but the directory /vra does not exist: make the directory before "
         "tpmspaced starts"},
        {7,
         "the ledger of the chip \"a\" has the relative path \"b\", which depends on the directory in which tpmspaced "
         "starts: begin the path with \"/\""}}},
      // By line, of any kind.
      {"[profile.idle]\nbase = \"safe\"\n[[rule]]\nprofile = \"admin\"\n[[rule]]\nuser = 3\nprofile = \"safe\"\n",
       {{1, "no rule, namespace or listener gives the profile \"idle\""},
        {3, "this rule gives every client \"admin\", which allows more than \"safe\""},
        {5, "this rule is unreachable: its clients match the rule on line 3 first"}}},
  };
  for (const auto& [text, wanted] : cases) {
    const auto got = warnings(text);
    ASSERT_EQ(got.size(), wanted.size()) << text;
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i].line, wanted[i].line) << text;
      EXPECT_EQ(got[i].sentence, wanted[i].sentence) << text;
    }
  }
}

// A rule about an executable only narrows, so the rules after it still count.
TEST(PolicyWarnings, ARuleThatNarrowsShadowsNoOther) {
  EXPECT_TRUE(warnings("[[rule]]\nexecutable = \"/usr/bin/*\"\nprofile = \"safe\"\n"
                       "[[rule]]\nexecutable = \"/usr/bin/*\"\nuser = 3\nprofile = \"safe\"\n")
                  .empty());
}

TEST(PolicyWarnings, RulesOnHiddenFactsAreWarnedAbout) {
  for (const char* condition : {"executable = \"/a\"", "user_namespace = 1", "mount_namespace = 1"}) {
    const std::string text = "[[rule]]\n" + std::string(condition) + "\nprofile = \"safe\"\n";
    EXPECT_EQ(warnings(text, false), (std::vector<Warning>{{1, kUntraced}})) << condition;
    EXPECT_TRUE(warnings(text, true).empty()) << condition;
  }
  EXPECT_TRUE(warnings("[[rule]]\ncgroup = \"/a\"\nprofile = \"safe\"\n", false).empty());
  const std::string inside = "[[namespace]]\nname = \"a\"\nuser_namespace = 1\n";
  EXPECT_TRUE(warnings(inside, true).empty());
  ASSERT_EQ(warnings(inside, false).size(), 1U);
  EXPECT_TRUE(warnings(inside, false)[0].sentence.starts_with("this namespace names a user namespace; without"));
}

Warning no_handles(const std::string& commands, const std::string& set) {
  const bool is_one = commands.find(" and ") == std::string::npos;
  return {1, "the profile \"p\" allows " + commands + (is_one ? ", which is" : ", which are") +
                 " refused all the same, because \"" + set + "\" is empty: list there the handles that " +
                 (is_one ? "it" : "they") + " may use"};
}
Warning no_commands(const std::string& set, const std::string& remedy) {
  return {1, "the profile \"p\" lists handles under \"" + set + "\", but allows no command that uses the set: add " +
                 remedy + " to \"allow\""};
}

TEST(PolicyWarnings, HalfAPermissionIsSaid) {
  const struct {
    const char* text;
    std::vector<Warning> wanted;
  } cases[] = {
      // A command, and nothing that it may be used for.
      {"base = \"safe\"\nallow = \"nv-write\"", {no_handles("TPM2_NV_Increment and 3 more", "nv.write")}},
      {"base = \"safe\"\nallow = \"TPM2_NV_Write\"", {no_handles("TPM2_NV_Write", "nv.write")}},
      {"base = \"safe\"\nallow = \"TPM2_NV_ChangeAuth\"", {no_handles("TPM2_NV_ChangeAuth", "nv.define")}},
      {"base = \"safe\"\nallow = \"nv-define\"", {no_handles("TPM2_NV_UndefineSpaceSpecial and 3 more", "nv.define")}},
      {"base = \"safe\"\nallow = \"nv-lock\"", {no_handles("TPM2_NV_GlobalWriteLock and 2 more", "nv.lock")}},
      {"base = \"safe\"\nallow = \"pcr-extend\"", {no_handles("TPM2_PCR_Event and 1 more", "pcr.extend")}},
      {"base = \"safe\"\nallow = \"pcr-reset\"", {no_handles("TPM2_PCR_Reset", "pcr.reset")}},
      {"base = \"safe\"\nallow = \"evict\"", {no_handles("TPM2_EvictControl", "persistent.evict")}},
      {"localities = 0\nallow = [\"nv-read\", \"pcr-read\"]",
       {no_handles("TPM2_NV_Read", "nv.read"), no_handles("TPM2_PCR_Read", "pcr.read")}},
      {"localities = 0\nallow = \"TPM2_NV_Certify\"", {no_handles("TPM2_NV_Certify", "nv.read")}},
      // A use, and no command.
      {"base = \"safe\"\nnv.write = 0x01500016", {no_commands("nv.write", "\"nv-write\"")}},
      {"base = \"safe\"\nnv.define = 0x01500016", {no_commands("nv.define", "\"nv-define\"")}},
      {"base = \"safe\"\npcr.extend = 16", {no_commands("pcr.extend", "\"pcr-extend\"")}},
      {"base = \"safe\"\npcr.reset = 16", {no_commands("pcr.reset", "\"pcr-reset\"")}},
      {"base = \"safe\"\npersistent.evict = 0x81000001", {no_commands("persistent.evict", "\"evict\"")}},
      {"localities = 0\nallow = \"TPM2_GetRandom\"\npersistent.salt-key = 0x81000001",
       {no_commands("persistent.salt-key", "\"sessions\"")}},
      // Both, or meant so.
      {"base = \"safe\"\nallow = \"nv-write\"\nnv.write = 0x01500016", {}},
      {"base = \"safe\"\nallow = \"TPM2_EventSequenceComplete\"\npcr.extend = 16",
       {no_commands("pcr.extend", "\"pcr-extend\"")}},
      {"localities = 0\nallow = \"TPM2_EventSequenceComplete\"\npcr.extend = 16", {}},
      {"base = \"safe\"\nnv.read = []", {}},
      {"base = \"safe\"\nnv.read = 0x01500016", {}},
      {"base = \"safe\"\ndeny = \"nv-read\"", {}},
      {"base = \"safe\"\nnv.pin = 0x01500020", {}},
      {"base = \"safe\"\npersistent.use = 0x81000001", {}},
      {"base = \"admin\"\nallow = \"all\"", {}},
      {"localities = 0\nallow = \"sessions\"", {}},
      {"localities = 0\nallow = [\"read-public\", \"attest\", \"platform\"]", {}},
      {"localities = 0\nallow = \"sessions\"\nnv.read = 0x01500016", {}},
      {"localities = 0\nallow = \"0x2000010a\"\nnv.write = 0x01500016", {}},
      {"localities = 0\nallow = \"all\"",
       {no_handles("TPM2_EvictControl", "persistent.evict"), no_handles("TPM2_NV_Read", "nv.read"),
        no_handles("TPM2_NV_Increment and 3 more", "nv.write"),
        no_handles("TPM2_NV_GlobalWriteLock and 2 more", "nv.lock"),
        no_handles("TPM2_NV_UndefineSpaceSpecial and 3 more", "nv.define"), no_handles("TPM2_PCR_Read", "pcr.read"),
        no_handles("TPM2_PCR_Event and 1 more", "pcr.extend"), no_handles("TPM2_PCR_Reset", "pcr.reset")}},
  };
  for (const auto& [text, wanted] : cases)
    EXPECT_EQ(warnings("[profile.p]\n" + std::string(text) + "\n[[rule]]\nuser = 7\nprofile = \"p\"\n"), wanted)
        << text;
  // A part of other profiles.
  EXPECT_EQ(warnings("[profile.p]\nbase = \"safe\"\nnv.write = 0x01500016\n[profile.q]\nbase = \"p\"\nallow = "
                     "\"nv-write\"\n[[rule]]\nuser = 7\nprofile = \"q\"\n"),
            std::vector<Warning>{});
}

TEST(PolicyWarnings, CapabilitiesAreTheEffectiveOnes) {
  constexpr std::string_view kText =
      "CapPrm:\t000001ffffffffff\nCapEff:\t0000000000080000\nCapBnd:\t000001ffffffffff\n";
  EXPECT_EQ(peer::parse_capabilities(kText), std::uint64_t{1} << 19);
  EXPECT_EQ(peer::parse_capabilities("CapEff:\tx\n"), std::nullopt);
  EXPECT_EQ(peer::parse_capabilities("CapEff:\t00"), std::nullopt) << "not whole";
  EXPECT_EQ(peer::parse_capabilities(""), std::nullopt);
}

}  // namespace
}  // namespace tpmspace::explain
