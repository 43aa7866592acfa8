// `--explain` gives the guard's decision, and refuses to guess.
#include "explain/explain.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "../../support/test_accounts.h"
#include "../../support/tpm_commands.h"
#include "config/config.h"
#include "explain/sample_command.h"
#include "guard/shipped.h"

namespace tpmspace::explain {
namespace {

namespace cc = wire::cc;
using support::Bytes;
using support::Writer;
using Words = std::vector<std::string>;

constexpr const char* kFile = R"(
[profile.web]
base = "safe"
persistent.use = 0x81000001
pcr.read = "0-7"
[profile.host]
base = "safe"
allow = ["pcr-extend"]
localities = [0, 2]
pcr.extend = 16
[[rule]]
unit = "nginx.service"
profile = "web"
disable = "TPM2_Quote"
[[rule]]
executable = "/usr/bin/*"
profile = "storage"
[[rule]]
group = "measured"
profile = "host"
[[listener]]
name = "two"
path = "/run/two"
profile = "host"
locality = 2
)";

guard::Access access() {
  const auto settings = config::parse_settings(kFile, "f", config::test_accounts());
  EXPECT_TRUE(settings) << settings.error();
  return config::access_of(settings->policy, 120, "/run/main").value();
}

constexpr const char* kNginx = "uid=33,gid=33,cgroup=/system.slice/nginx.service,exe=/usr/sbin/nginx";

Bytes selection(std::uint8_t byte) {
  return Writer().u32(1).u16(support::kSha256).u8(1).u8(byte).take();
}
Bytes with(wire::CommandCode code, std::initializer_list<std::uint32_t> handles, const Bytes& parameters = {}) {
  return support::command(code, handles, support::password(), parameters);
}
Bytes without(wire::CommandCode code, std::initializer_list<std::uint32_t> handles, const Bytes& parameters = {}) {
  return support::command(code, handles, {}, parameters);
}
Bytes in_parameters(int tpm2bs, const Bytes& rest) {
  return Writer().raw(Bytes(static_cast<std::size_t>(2 * tpm2bs))).raw(rest).take();
}

Visitor user(std::uint32_t uid) {
  const auto out =
      visitor_from(fmt::format("uid={}", uid), guard::Access{guard::Policy::standard(0), {}}, config::test_accounts());
  EXPECT_TRUE(out) << out.error();
  return out.value_or(Visitor{});
}

TEST(Explain, AgreesWithTheGuard) {
  const guard::Access all = access();
  const Bytes nv_public = Writer().u16(14).u32(0x01500016).u16(support::kSha256).u32(0).u16(0).u16(0).take();
  const Bytes both = support::join({support::password(), support::password()});
  const struct {
    const char* as;
    Words words;
    Bytes command;
    guard::Reason reason;
  } cases[] = {
      {kNginx,
       {"TPM2_Sign", "0x81000001"},
       with(cc::kSign, {0x81000001}, in_parameters(1, {0, 0x10})),
       guard::Reason::kAllowed},
      {kNginx,
       {"TPM2_Sign", "0x81000002"},
       with(cc::kSign, {0x81000002}, in_parameters(1, {0, 0x10})),
       guard::Reason::kPersistent},
      {kNginx,
       {"Sign", "0x80000000", "scheme=ecdaa"},
       with(cc::kSign, {0x80000000}, in_parameters(1, {0, 0x1A, 0, 0x0B, 0, 0})),
       guard::Reason::kCommitment},
      {kNginx,
       {"TPM2_NV_Write", "0x1500016"},
       with(cc::kNVWrite, {0x01500016, 0x01500016}),
       guard::Reason::kNoSuchCommand},
      {kNginx, {"NV_Read", "0x1500016"}, with(cc::kNVRead, {0x01500016, 0x01500016}), guard::Reason::kAllowed},
      {kNginx,
       {"NV_Read", "owner", "0x1500016"},
       with(cc::kNVRead, {support::kOwner, 0x01500016}),
       guard::Reason::kNvAuthority},
      {kNginx,
       {"Quote", "0x81000001", "pcr=1"},
       with(cc::kQuote, {0x81000001}, in_parameters(1, support::join({{0, 0x10}, selection(2)}))),
       guard::Reason::kDisabled},
      {kNginx, {"PCR_Read", "pcr=1-2", "pcr=7"}, without(cc::kPCRRead, {}, selection(0x86)), guard::Reason::kAllowed},
      {kNginx,
       {"0x17e", "pcr=8"},
       without(cc::kPCRRead, {}, Writer().u32(1).u16(support::kSha256).u8(2).u8(0).u8(1).take()),
       guard::Reason::kPcr},
      {kNginx,
       {"PolicyPCR", "pcr=none"},
       without(cc::kPolicyPCR, {0x03000000}, in_parameters(1, Writer().u32(0).take())),
       guard::Reason::kAllowed},
      {"uid=5,exe=/usr/bin/x",
       {"Certify", "0x80000000", "0x80000001"},
       support::command(cc::kCertify, {0x80000000, 0x80000001}, both, in_parameters(1, {0, 0x10})),
       guard::Reason::kNoSuchCommand},
      {"uid=5,gid=5,gid=measured", {"PCR_Extend", "16"}, with(cc::kPCRExtend, {16}), guard::Reason::kAllowed},
      {"uid=5,gid=5,gid=measured", {"PCR_Extend", "17"}, with(cc::kPCRExtend, {17}), guard::Reason::kPcr},
      {"uid=5,gid=5", {"PCR_Extend", "16"}, with(cc::kPCRExtend, {16}), guard::Reason::kNoSuchCommand},
      {"uid=5,listener=two", {"PCR_Extend", "16"}, with(cc::kPCRExtend, {16}), guard::Reason::kAllowed},
      {"uid=5,locality=2", {"GetRandom"}, without(cc::kGetRandom, {}), guard::Reason::kLocality},
      {"uid=5",
       {"CreatePrimary", "platform", "pcr=none"},
       with(cc::kCreatePrimary, {support::kPlatform}, in_parameters(3, Writer().u32(0).take())),
       guard::Reason::kHierarchy},
      {"uid=5",
       {"Hash", "hierarchy=platform"},
       without(cc::kHash, {}, in_parameters(1, Writer().u16(support::kSha256).u32(support::kPlatform).take())),
       guard::Reason::kHierarchy},
      {"uid=0",
       {"NV_DefineSpace", "owner", "index=0x01500016"},
       with(cc::kNVDefineSpace, {support::kOwner}, in_parameters(1, nv_public)),
       guard::Reason::kAllowed},
      {"uid=120",
       {"EvictControl", "owner", "0x81000001", "persistent=0x81000001"},
       with(cc::kEvictControl, {support::kOwner, 0x81000001}, Writer().u32(0x81000001).take()),
       guard::Reason::kAllowed},
      {"uid=root", {"TPM2_Clear", "lockout"}, with(cc::kClear, {support::kLockout}), guard::Reason::kAllowed},
  };
  for (const auto& [as, words, command, reason] : cases) {
    const auto visitor = visitor_from(as, all, config::test_accounts());
    ASSERT_TRUE(visitor) << visitor.error();
    const auto got = explain(all, *visitor, words);
    ASSERT_TRUE(got) << words[0] << ": " << got.error();
    const auto parsed = wire::Command::parse(command, wire::CommandTable::builtin(), 4096);
    ASSERT_TRUE(parsed) << words[0] << std::hex << parsed.error();
    const auto choice = all.choose(visitor->principal, visitor->listener);
    EXPECT_EQ(got->verdict, guard::judge(choice.profile, *parsed, visitor->locality)) << as << " " << words[0];
    EXPECT_EQ(got->verdict.reason, reason) << as << " " << words[0];
    EXPECT_EQ(got->choice.rules, choice.rules);
  }
}

const char* handle_for(wire::HandleUse use) {
  using wire::HandleUse;
  if (use == HandleUse::kPcrExtend || use == HandleUse::kPcrReset) return "16";
  const bool nv = use == HandleUse::kNvRead || use == HandleUse::kNvWrite || use == HandleUse::kNvLock ||
                  use == HandleUse::kNvDefine;
  return nv ? "0x01500016" : "0x80000000";
}

// So that no row is forgotten: a client that may do everything may send each command, with handles and parameters of
// the right kind.
TEST(Explain, EveryCommandCanBeNamed) {
  const guard::Access all = {guard::Policy::standard(0), {}};
  for (const auto& row : wire::CommandTable::builtin().rows()) {
    Words words = {std::string(row.name)};
    for (unsigned i = 0; i < row.handles; ++i) words.emplace_back(handle_for(row.uses[i]));
    const auto got = explain(all, user(0), words);
    ASSERT_TRUE(got) << got.error();
    EXPECT_TRUE(got->verdict.allowed()) << row.name;
  }
}

// A named parameter reaches the guard: a profile that allows one value judges it.
TEST(Explain, EveryNamedParameterIsRead) {
  using wire::Names;
  guard::Policy::Profiles profiles = {{"one", guard::admin()}, {"none", guard::admin()}};
  for (auto& [name, profile] : profiles) {
    profile.name = name;
    profile.commands = ~wire::Numbers::one(cc::kCommit);
    const bool one = name == "one";
    profile.hierarchies = one ? wire::Numbers::one(support::kOwner) : wire::Numbers{};
    profile.persistent_evict = one ? wire::Numbers{{0x80000000, 0x81000001}} : wire::Numbers::one(0x80000000);
    profile.nv_define = one ? wire::Numbers::one(0x01500016) : wire::Numbers{};
    profile.pcr_read = one ? wire::Numbers::one(16) : wire::Numbers{};
  }
  guard::Rule with_one, with_none;
  with_one.uids = wire::Numbers::one(1);
  with_one.profile = "one";
  with_none.profile = "none";
  const guard::Access all = {guard::Policy::make(profiles, {with_one, with_none}).value(), {}};
  const std::map<Names, Words> said = {{Names::kHierarchy, {"hierarchy=owner"}},
                                       {Names::kHashAndHierarchy, {"hierarchy=owner"}},
                                       {Names::kPersistent, {"persistent=0x81000001"}},
                                       {Names::kNvPublic, {"index=0x01500016"}},
                                       {Names::kNvPublic2, {"index=0x01500016"}},
                                       {Names::kPcrs, {"pcr=16"}},
                                       {Names::kSchemeAndPcrs, {"pcr=16"}}};
  unsigned seen = 0;
  for (const auto& row : wire::CommandTable::builtin().rows()) {
    const auto found = said.find(row.names.what);
    if (found == said.end()) continue;
    ++seen;
    Words words = {std::string(row.name)};
    for (unsigned i = 0; i < row.handles; ++i) words.emplace_back("0x80000000");
    const auto judged = [&](std::uint32_t uid) { return explain(all, user(uid), words); };
    EXPECT_FALSE(judged(1)) << row.name << " without";
    words.insert(words.end(), found->second.begin(), found->second.end());
    ASSERT_TRUE(judged(1)) << judged(1).error();
    EXPECT_TRUE(judged(1)->verdict.allowed()) << row.name;
    ASSERT_TRUE(judged(2)) << judged(2).error();
    EXPECT_FALSE(judged(2)->verdict.allowed()) << row.name;
  }
  EXPECT_GE(seen, 12U);
}

TEST(Explain, MissingParametersAreAskedFor) {
  const guard::Access all = access();
  const struct {
    const char* as;
    Words words;
    const char* message;
  } cases[] = {
      {kNginx, {"PCR_Read"}, "the profile \"web\" judges parameters of TPM2_PCR_Read: add pcr=NUMBER, or pcr=none"},
      {"uid=5", {"Hash"}, "the profile \"safe\" judges parameters of TPM2_Hash: add hierarchy=owner"},
      {"uid=5", {}, "the command is missing: write a command like TPM2_NV_Write 0x01500016"},
      {"uid=5", {"NV_Wriet"}, "\"NV_Wriet\" is not a command: is TPM2_NV_Write meant?"},
      {"uid=5", {"tpm2_nvraed"}, "\"tpm2_nvraed\" is not a command: is TPM2_NV_Read meant?"},
      {"uid=5", {"tpm2_getcap"}, "\"tpm2_getcap\" is not a command: is TPM2_GetCapability meant?"},
      {"uid=5", {"nv-read"}, "\"nv-read\" is a class of commands: name a command of the class, such as TPM2_NV_Read"},
      {"uid=5",
       {"frobnicate"},
       "\"frobnicate\" is not a command: write a name like TPM2_NV_Write or a code like 0x137"},
      {"uid=5",
       {"PCR_Extend 16"},
       "\"PCR_Extend 16\" is more than one word: leave the quotes out, so that the shell separates the words"},
      {"uid=5", {""}, "\"\" is not a command: write a name like TPM2_NV_Write or a code like 0x137"},
      {"uid=5",
       {"0x100000000"},
       "\"0x100000000\" is not a command: write a name like TPM2_NV_Write or a code like 0x137"},
      {"uid=5", {"0x80000001"}, "\"0x80000001\" cannot be the code of a command, or the command has too many handles"},
      {"uid=5",
       {"0x20000001", "1", "2", "3", "4"},
       "\"0x20000001\" cannot be the code of a command, or the command has too many handles"},
      {"uid=5", {"NV_Write"}, "TPM2_NV_Write has 1 or 2 handles, not 0: write TPM2_NV_Write [AUTHORITY] INDEX"},
      {"uid=5",
       {"EvictControl", "owner", "persistent=0x81000001"},
       "TPM2_EvictControl has 2 handles, not 1: write TPM2_EvictControl AUTHORITY HANDLE persistent=0x81000001"},
      {"uid=5", {"GetRandom", "owner"}, "TPM2_GetRandom has no handles, not 1: write TPM2_GetRandom"},
      {"uid=5",
       {"PCR_Extend", "pcr=16"},
       "TPM2_PCR_Extend takes this as a handle, without a name: write TPM2_PCR_Extend 16"},
      {"uid=5", {"PCR_Extend", "pcr=0-7"}, "TPM2_PCR_Extend has 1 handle, not 0: write TPM2_PCR_Extend PCR"},
      {"uid=5",
       {"PCR_Extend", "24x"},
       "\"24x\": this is not a handle: write it as 0x81000001, or owner, endorsement, platform, lockout, null"},
      {"uid=5", {"PCR_Extend", "64"}, "0x00000040 is no PCR (possible are 0-63): write TPM2_PCR_Extend PCR"},
      {"uid=5",
       {"PCR_Extend", "sha256:16"},
       "\"sha256:16\": this is not a handle: write a PCR's number alone, as 16 for a handle or pcr=16 for a parameter"},
      {"uid=5",
       {"NV_Read", "index=0x1500016"},
       "TPM2_NV_Read takes this as a handle, without a name: write TPM2_NV_Read [AUTHORITY] 0x01500016"},
      {"uid=5",
       {"NV_Read", "0x01500016", "owner"},
       "0x40000001 is no NV index (possible are 0x01000000 to 0x01ffffff, 0x11000000 to 0x11ffffff, 0x12000000 to "
       "0x12ffffff): write TPM2_NV_Read [AUTHORITY] INDEX"},
      {"uid=5",
       {"Sign", "persistent=0x81000001"},
       "TPM2_Sign takes this as a handle, without a name: write TPM2_Sign 0x81000001"},
      {"uid=5",
       {"CreatePrimary", "hierarchy=owner"},
       "TPM2_CreatePrimary takes this as a handle, without a name: write TPM2_CreatePrimary 0x40000001 pcr=NUMBER"},
      {"uid=5",
       {"NV_Write", "ownr", "3"},
       "\"ownr\": this is not a handle: write it as 0x81000001, or owner, endorsement, platform, lockout, null"},
      {"uid=5", {"NV_Write", "0x01500016", "pcr=1"}, "the parameters of TPM2_NV_Write name no PCR: leave pcr= out"},
      {"uid=5",
       {"PCR_Read", "pcr=64"},
       "\"pcr=64\": write pcr=16, pcr=0-7 (again for more) or pcr=none; PCRs are 0 to 63"},
      {"uid=5",
       {"PCR_Read", "pcr=7-0"},
       "\"pcr=7-0\": write pcr=16, pcr=0-7 (again for more) or pcr=none; PCRs are 0 to 63"},
      {"uid=5",
       {"PCR_Read", "pcrs=1"},
       "\"pcrs=1\": this is not a parameter that the guard reads: write hierarchy=owner, persistent=0x81000001, "
       "index=0x01500016, pcr=16, pcr=0-7, pcr=none, scheme=null or scheme=ecdaa"},
      {"uid=5",
       {"NV_DefineSpace", "owner", "index=0x81000001"},
       "\"index=0x81000001\": this is no NV index: write index=0x01500016; possible are 0x01000000 to 0x01ffffff, "
       "0x11000000 to 0x11ffffff, 0x12000000 to 0x12ffffff"},
      {"uid=5",
       {"Hash", "hierarchy=ownr"},
       "\"hierarchy=ownr\": write a hierarchy: owner, endorsement, platform, lockout or null"},
      {"uid=5", {"Hash", "hierarchy=owner", "hierarchy=null"}, "\"hierarchy=null\": this is said twice: say it once"},
      {"uid=5",
       {"Sign", "0x81000001", "scheme="},
       "\"scheme=\": write scheme=null, scheme=ecdaa, or an algorithm's number"},
  };
  for (const auto& [as, words, message] : cases) {
    const auto got = explain(all, visitor_from(as, all, config::test_accounts()).value(), words);
    ASSERT_FALSE(got) << message;
    EXPECT_EQ(got.error(), message);
  }
}

TEST(Explain, ACommandIsNamedInAnyCaseAndAsTpm2ToolsNameIt) {
  const guard::Access all = access();
  for (const char* name : {"TPM2_NV_ReadPublic", "NV_ReadPublic", "nv_readpublic", "tpm2_nvreadpublic"}) {
    const auto got = explain(all, user(5), Words{name, "0x01500016"});
    ASSERT_TRUE(got) << got.error();
    EXPECT_EQ(got->command, "TPM2_NV_ReadPublic 0x01500016");
  }
}

TEST(Explain, AnUnknownCommandIsJudgedAsTheChipWouldDescribeIt) {
  const guard::Access all = access();
  const auto judged = [&](const char* as) {
    return explain(all, visitor_from(as, all, config::test_accounts()).value(), Words{"0x20000001", "0x81000001"});
  };
  EXPECT_EQ(judged("uid=5")->verdict.reason, guard::Reason::kNoSuchCommand);
  EXPECT_TRUE(judged("uid=0")->verdict.allowed());
  EXPECT_EQ(judged("uid=0")->command, "0x20000001 0x81000001");
}

TEST(Explain, AVisitorHasTheGivenFacts) {
  const guard::Access all = access();
  const auto got =
      visitor_from(std::string(kNginx) + ",gid=tss,label=a b,user_namespace=7,mount_namespace=8,listener=two", all,
                   config::test_accounts());
  ASSERT_TRUE(got) << got.error();
  auto wanted = guard::Principal::ordinary(33);
  wanted.gids = {33, 114};
  wanted.executable = std::string("/usr/sbin/nginx");
  wanted.cgroup = std::string("/system.slice/nginx.service");
  wanted.unit = std::string("nginx.service");
  wanted.user_namespace = std::uint64_t{7};
  wanted.mount_namespace = std::uint64_t{8};
  wanted.lsm_label = std::string("a b");
  wanted.chip = "main";
  EXPECT_EQ(got->principal, wanted);
  EXPECT_EQ(got->listener, "two");
  EXPECT_EQ(got->locality, 2) << "the listener's";

  auto ordinary = guard::Principal::ordinary(5);
  ordinary.chip = "main";
  EXPECT_EQ(visitor_from("uid=5", all, config::test_accounts())->principal, ordinary) << "the rest is nothing special";

  auto unknown = ordinary;
  unknown.cgroup = unknown.unit = unknown.container = unknown.pod = unknown.executable = {};
  unknown.user_namespace = unknown.mount_namespace = {};
  unknown.is_native = guard::Match::kMaybe;
  EXPECT_EQ(visitor_from("uid=5,cgroup=unknown,exe=unknown,user_namespace=unknown,mount_namespace=unknown", all,
                         config::test_accounts())
                ->principal,
            unknown);
  unknown.is_unidentified = true;
  EXPECT_EQ(visitor_from("uid=5,process=unknown", all, config::test_accounts())->principal, unknown);
}

TEST(Explain, AnUnknownFactIsRefusedWithTheCorrectForm) {
  const guard::Access all = access();
  const std::pair<const char*, const char*> cases[] = {
      {"", "the uid is missing: write uid=33"},
      {"gid=3", "the uid is missing: write uid=33"},
      {"uid=", "\"uid=\": the value is missing: write uid=33, or leave the fact out"},
      {"uid", "\"uid\" has no name: write uid=33, and separate facts by commas"},
      {"root", "\"root\" has no name: write uid=33, and separate facts by commas"},
      {",uid=5", "\"\" has no name: write uid=33, and separate facts by commas"},
      {"uid=nobdy",
       "\"uid=nobdy\": this machine has no user \"nobdy\": write a number, or the name of a user of this machine"},
      {"uid=-1", "\"uid=-1\": this machine has no user \"-1\": write a number, or the name of a user of this machine"},
      {"uid=4294967295", "\"uid=4294967295\": no user has the uid 4294967295"},
      {"uid=5,uid=6", "\"uid=6\": a client has one uid: remove the other"},
      {"uid=5,gid=x",
       "\"gid=x\": this machine has no group \"x\": write a number, or the name of a group of this machine"},
      {"uid=5 gid=5", "\"uid=5 gid=5\": this is more than one fact: separate facts by commas"},
      {"uid=5;gid=5", "\"uid=5;gid=5\": this is more than one fact: separate facts by commas"},
      {"uid=5,exe=nginx", "\"exe=nginx\": the path must begin with a slash: exe=/usr/sbin/nginx"},
      {"uid=5,cgroup=a", "\"cgroup=a\": the path must begin with a slash: cgroup=/system.slice/nginx.service"},
      {"uid=5,locality=9", "\"locality=9\": localities are 0 to 4 and 32 to 255"},
      {"uid=5,locality=256", "\"locality=256\": localities are 0 to 4 and 32 to 255"},
      {"uid=5,locality=x", "\"locality=x\": localities are 0 to 4 and 32 to 255"},
      {"uid=5,listener=three", "there is no listener \"three\"; there are: main, two"},
      {"uid=5,listener=two,listener=two", "\"listener=two\": this is said twice: say it once"},
      {"uid=5,listener=two,locality=0", "the listener \"two\" has the fixed locality 2"},
      {"uid=5,unit=", "\"unit=\": the unit follows from the cgroup: write cgroup=/system.slice/nginx.service"},
      {"user=5", "\"user=5\": write uid=33, or uid= and a user's name"},
      {"uid=5,chip=x", "there is no chip \"x\"; there are: main"},
      {"uid=5,chip=", "\"chip=\": the value is missing: write chip=main, or leave the fact out"},
      {"uid=5,user_namespace=x", "\"user_namespace=x\": the value must be a number, the namespace's inode"},
      {"uid=5,colour=red",
       "\"colour=red\": this is not a fact about a client; the facts are uid=33, gid=33, "
       "cgroup=/system.slice/nginx.service, exe=/usr/sbin/nginx, label=TEXT, user_namespace=4026531837, "
       "mount_namespace=4026531841, process=unknown, listener=main, chip=main, locality=0"},
  };
  for (const auto& [as, sentence] : cases) {
    const auto got = visitor_from(as, all, config::test_accounts());
    ASSERT_FALSE(got) << as;
    EXPECT_EQ(got.error(), sentence);
  }
  for (const char* as : {"uid=5,", "uid=5, gid=3", "uid=5,label=a b=c"})
    EXPECT_TRUE(visitor_from(as, all, config::test_accounts())) << as;
}

constexpr const char* kWithChips = R"(
[[chip]]
name = "build"
tpm = "swtpm:path=/a"
[[listener]]
name = "two"
path = "/run/two"
chip = "build"
[[namespace]]
name = "shop"
user = 33
chip = "build"
)";

TEST(Explain, OnlyAnAdministratorChoosesAChip) {
  const auto settings = config::parse_settings(kWithChips, "f", config::test_accounts());
  ASSERT_TRUE(settings) << settings.error();
  config::Settings line;
  line.tpm = "embedded";
  line.socket = "/run/main";
  const auto config =
      config::settle(line, *settings, {.is_system = true, .exists = [](auto) { return true; }, .uid = 120});
  ASSERT_TRUE(config) << config.error();
  const guard::Access& all = config->access;
  const auto got = visitor_from("uid=5,chip=build", all, config::test_accounts());
  ASSERT_FALSE(got);
  EXPECT_EQ(
      got.error(),
      "uid 5 cannot choose the chip \"build\", because only administrators choose a chip: the client uses \"main\", "
      "the chip of its listener or namespace; leave chip= out, or name a listener of that chip with listener=");
  EXPECT_FALSE(visitor_from("uid=33,chip=main", all, config::test_accounts())) << "its namespace's is another";
  const auto chip = [&](const std::string& as) {
    const auto visitor = visitor_from(as, all, config::test_accounts());
    if (!visitor) return visitor.error();
    const auto text = text_of(*explain(all, *visitor, Words{"GetRandom"}), all, "/f");
    const auto at = text.find("  chip     ");
    return at == std::string::npos ? text : text.substr(at + 11, text.find('\n', at) - at - 11);
  };
  EXPECT_EQ(chip("uid=5"), "main, because its listener and namespace have no chip");
  EXPECT_EQ(chip("uid=5,chip=main"), "main, because its listener and namespace have no chip");
  EXPECT_EQ(chip("uid=5,listener=two"), "build, of the listener \"two\"");
  EXPECT_EQ(chip("uid=33"), "build, of the namespace \"shop\"");
  EXPECT_EQ(chip("uid=0,chip=build"), "build, chosen by the client, which may administer");
}

TEST(Explain, TheTextNamesTheNamespace) {
  const auto settings = config::parse_settings(
      "[[namespace]]\nname = \"shop\"\nuser = 33\nprofile = \"storage\"\nnv = 0x01500016\n"
      "persistent_base = \"0x81200000\"\n[[namespace]]\nname = \"bare\"\nlistener = \"main\"\n",
      "f", config::test_accounts());
  ASSERT_TRUE(settings) << settings.error();
  const guard::Access all = config::access_of(settings->policy, 120, "/run/main").value();
  const auto text = [&](const std::string& as, const Words& words) {
    return text_of(*explain(all, visitor_from(as, all, config::test_accounts()).value(), words), all, "/f");
  };
  EXPECT_EQ(text("uid=33", {"NV_Write", "0x1500017"}),
            "TPM2_NV_Write 0x01500017 0x01500017: refused\n"
            "  code     0x000b0149 (resource manager: not allowed for this NV index)\n"
            "  reason   the profile does not list this NV index under nv.write\n"
            "  member   of the namespace \"shop\", /f:1\n"
            "  profile  storage\n"
            "  rule     /f:1, the profile of the namespace: gives \"storage\"\n");
  EXPECT_EQ(text("uid=5", {"GetRandom"}),
            "TPM2_GetRandom: allowed\n"
            "  member   of the namespace \"bare\", /f:7\n"
            "  profile  safe\n"
            "  rule     no rule matches: the standard profile \"safe\" holds (docs/profiles.md)\n");
}

TEST(Explain, TheTextSaysWhyRootIsNoAdministrator) {
  const guard::Access standard{guard::Policy::standard(120), {}};
  const std::string id(64, 'a');
  const auto text_for = [&](const std::string& as, const guard::Access& access) {
    const auto visitor = visitor_from(as, access, config::test_accounts());
    EXPECT_TRUE(visitor) << visitor.error();
    return text_of(explain(access, *visitor, Words{"GetRandom"}).value(), access, "f");
  };
  const struct {
    std::string as, why;
  } cases[] = {
      {"uid=0,cgroup=/system.slice/docker-" + id + ".scope", "root in a container or pod is not an administrator"},
      {"uid=0,cgroup=/machine.slice/x.scope", "root in a container is not an administrator"},
      {"uid=0,process=unknown",
       "root is an administrator only if the process is known to be the machine's own, which is unknown of this "
       "process"},
      {"uid=120,cgroup=/machine.slice/x.scope", "tpmspaced's own user in a container is not an administrator"},
  };
  for (const auto& [as, why] : cases)
    EXPECT_TRUE(text_for(as, standard).ends_with("  because  " + why + "\n")) << as << "\n" << text_for(as, standard);
  for (const char* as : {"uid=0", "uid=5", "uid=5,process=unknown"})
    EXPECT_EQ(text_for(as, standard).find("because"), std::string::npos) << as;

  auto away = guard::Principal::ordinary(0);
  away.cgroup = guard::Known<std::string>("/system.slice/x.service");
  away.is_native = guard::Match::kNo;
  EXPECT_EQ(why_no_administrator(away, standard.choose(away, guard::kMainListener), standard.policy, nullptr),
            "root in another user namespace than tpmspaced's is not an administrator");
  away.cgroup = {};
  EXPECT_EQ(why_no_administrator(away, standard.choose(away, guard::kMainListener), standard.policy, nullptr),
            "root in another user namespace than tpmspaced's, or in a container, is not an administrator");

  const auto placed =
      config::parse_settings("[[namespace]]\nname = \"web\"\nunit = \"nginx.service\"\n", "f", config::test_accounts());
  const guard::Access with_namespace = config::access_of(placed->policy, 120, "/run/main").value();
  EXPECT_TRUE(text_for("uid=0,cgroup=/system.slice/nginx.service", with_namespace)
                  .ends_with("  because  root in the namespace \"web\", which has a condition on the place of its "
                             "members, is not an administrator\n"));
}

TEST(Explain, TheTextNamesThePinFailIndex) {
  const guard::Access all = access();
  const auto text = [&](const Words& words) {
    return text_of(*explain(all, visitor_from("uid=5", all, config::test_accounts()).value(), words), all, "/f");
  };
  EXPECT_EQ(text({"NV_Read", "0x1500016"}),
            "TPM2_NV_Read 0x01500016 0x01500016: allowed\n"
            "  unless   0x01500016 is a PIN Fail index: the profile does not list it under nv.pin\n"
            "  profile  safe\n"
            "  rule     no rule matches: the standard profile \"safe\" holds (docs/profiles.md)\n");
  EXPECT_EQ(text({"NV_ReadPublic", "0x1500016"}).find("unless"), std::string::npos);
  EXPECT_EQ(text({"NV_Write", "0x1500016"}).find("unless"), std::string::npos) << "it is refused anyway";
}

TEST(Explain, TheTextNamesTpmspacedsOwnAnswers) {
  const guard::Access all = access();
  const auto text = [&](const Words& words) {
    return text_of(*explain(all, visitor_from("uid=5", all, config::test_accounts()).value(), words), all, "/f");
  };
  EXPECT_EQ(text({"Startup"}),
            "TPM2_Startup: answered\n"
            "  answer   tpmspaced answers 0x00000100 in place of the TPM, which is running already\n"
            "  profile  safe\n"
            "  rule     no rule matches: the standard profile \"safe\" holds (docs/profiles.md)\n");
  EXPECT_TRUE(text({"Shutdown"}).starts_with("TPM2_Shutdown: answered\n"));
  EXPECT_TRUE(text({"SelfTest"}).starts_with("TPM2_SelfTest: refused\n  answer   "));
  EXPECT_EQ(text({"Clear", "lockout"}).find("  answer   "), std::string::npos);
}

TEST(Explain, TheTextNamesCodeReasonProfileAndRules) {
  const guard::Access all = access();
  const auto text = [&](const std::string& as, const Words& words) {
    return text_of(*explain(all, visitor_from(as, all, config::test_accounts()).value(), words), all, "/f");
  };
  EXPECT_EQ(text(kNginx, {"NV_Write", "0x1500016"}),
            "TPM2_NV_Write 0x01500016 0x01500016: refused\n"
            "  code     0x000b0143 (resource manager: command code not supported)\n"
            "  reason   the profile does not list this command, which is of the class nv-write\n"
            "  profile  web\n"
            "  rule     /f:11: gives \"web\"\n");
  EXPECT_EQ(text("uid=5,exe=/usr/bin/x", {"PCR_Read", "pcr=1"}),
            "TPM2_PCR_Read pcr=1: allowed\n"
            "  profile  storage & safe\n"
            "  rule     /f:15: narrows to \"storage\"\n"
            "  rule     no rule gives a profile: the standard profile \"safe\" holds (docs/profiles.md)\n");
  EXPECT_EQ(text("uid=0,listener=two", {"GetRandom"}),
            "TPM2_GetRandom: allowed\n"
            "  profile  host\n"
            "  rule     /f:21, the profile of the listener \"two\": gives \"host\"\n");
  EXPECT_EQ(text("uid=0", {"GetRandom"}),
            "TPM2_GetRandom: allowed\n  profile  admin\n  rule     the standard rule for root and tpmspaced's own user "
            "(assumed to be 120): gives \"admin\"\n");
}

}  // namespace
}  // namespace tpmspace::explain
