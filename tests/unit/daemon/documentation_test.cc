// The pages of docs/ and the daemon agree: on keys, defaults, fields, classes and examples.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "../../support/test_accounts.h"
#include "config/config.h"
#include "explain/explain.h"
#include "explain/policy_warnings.h"
#include "proto/status.h"
#include "wire/command_table.h"

namespace tpmspace::daemon {
namespace {

std::string contents(const std::string& name) {
  std::ifstream file(std::string(TPMSPACE_DOCS) + "/" + name);
  EXPECT_TRUE(file) << name;
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string trimmed(std::string_view text) {
  while (text.ends_with(' ')) text.remove_suffix(1);
  return std::string(text);
}

// The values of the example's lines "[limits]" and "objects = 1000  # why": "limits.objects" -> "1000".
std::map<std::string, std::string> example_values() {
  std::map<std::string, std::string> out;
  std::istringstream lines(contents("tpmspaced.example.toml"));
  std::string prefix;
  for (std::string line; std::getline(lines, line);) {
    const auto equals = line.find(" = ");
    if (line.starts_with('[')) prefix = line.substr(1, line.find(']') - 1) + ".";
    if (line.starts_with('#') || equals == std::string::npos) continue;
    const std::string value = line.substr(equals + 3);
    out[prefix + line.substr(0, equals)] = trimmed(std::string_view(value).substr(0, value.find('#')));
  }
  return out;
}

// The values of the table of keys, with lines "| `limits.objects` | `1000` | ...".
std::map<std::string, std::string> documented_values() {
  std::map<std::string, std::string> out;
  const std::string text = contents("configuration.md");
  const auto begin = text.find("## The configuration file"), end = text.find("## Which TPM");
  std::istringstream lines(text.substr(begin, end - begin));
  constexpr std::string_view kBegin = "| `", kBetween = "` | `";
  for (std::string line; std::getline(lines, line);) {
    const auto between = line.find(kBetween);
    if (!line.starts_with(kBegin) || between == std::string::npos) continue;
    const std::string value = line.substr(between + kBetween.size());
    out[line.substr(kBegin.size(), between - kBegin.size())] = value.substr(0, value.find('`'));
  }
  return out;
}

// The first cells of a page's tables: lines "| `client_commands.by_manager` | ...".
std::set<std::string> documented(const std::string& page) {
  std::set<std::string> out;
  std::istringstream lines(contents(page));
  constexpr std::string_view kBegin = "| `";
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with(kBegin)) out.insert(line.substr(kBegin.size(), line.find('`', kBegin.size()) - kBegin.size()));
  return out;
}

TEST(Documentation, StatusPageHasEveryField) {
  std::set<std::string> known;
  const proto::Status status;
  proto::for_each_field(status, [&](const proto::StatusField& field, const auto&) {
    known.insert(fmt::format("{}.{}", field.group, field.name));
  });
  const auto told = documented("status.md");
  for (const auto& field : known) EXPECT_TRUE(told.contains(field)) << field << " is not in docs/status.md";
  for (const auto& field : told) EXPECT_TRUE(known.contains(field)) << field << " is in docs/status.md alone";
}

// "NV_DefineSpace" for each command in the section's table.
TEST(Documentation, AuditPageHasEveryAuditedCommand) {
  const std::string page = contents("audit.md");
  const auto begin = page.find("## Commands that affect all users\n");
  ASSERT_NE(begin, std::string::npos);
  const std::string section = page.substr(begin, page.find("\n## ", begin + 1) - begin);
  std::set<std::string> told;
  std::istringstream lines(section);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("| ") || line.starts_with("| Target")) continue;
    std::istringstream words(line.substr(line.find('|', 1) + 1));
    for (std::string word; words >> word;)
      if (word != "|") told.insert(word.substr(0, word.find(',')));
  }
  std::set<std::string> audited;
  for (const auto& row : wire::CommandTable::builtin().rows())
    if (row.affects_others) audited.insert(std::string(row.name.substr(row.name.find('_') + 1)));
  EXPECT_EQ(told, audited);
}

// The text between the first `begin` after `heading` and the next `end`.
std::string between(const std::string& text, std::string_view heading, std::string_view begin, std::string_view end) {
  const auto at = text.find(begin, text.find(heading));
  if (at == std::string::npos) {
    ADD_FAILURE() << heading << " is not there";
    return "";
  }
  return text.substr(at + begin.size(), text.find(end, at + begin.size()) - at - begin.size());
}

// An example of policy.md.
guard::Access example(std::string_view heading) {
  const auto text = between(contents("policy.md"), heading, "```toml\n", "```");
  const auto settings = config::parse_settings(text, "example", config::test_accounts());
  EXPECT_TRUE(settings) << settings.error();
  if (!settings) return {};
  for (const auto& warning :
       explain::warnings_of(settings->policy, {.may_trace = false, .is_directory = [](const auto&) { return true; }}))
    // The only warning about a namespace with a condition on the place of its members.
    EXPECT_NE(warning.sentence.find("clients that ended before their cgroup could be read"), std::string::npos)
        << warning.sentence;
  return config::access_of(settings->policy, 120, "/run/main").value_or(guard::Access{});
}

// Whether the client `as` may send the command `words`.
bool may(const guard::Access& access, std::string_view as, const std::vector<std::string>& words) {
  const auto visitor = explain::visitor_from(as, access, config::test_accounts());
  EXPECT_TRUE(visitor) << visitor.error();
  const auto got = explain::explain(access, *visitor, words);
  EXPECT_TRUE(got) << got.error();
  return got && got->verdict.allowed();
}

TEST(Documentation, PolicyPagesHaveEveryKeyOfPolicies) {
  std::set<std::string> on_pages;
  for (const auto* page : {"profiles", "rules", "namespaces", "listeners", "chips"})
    on_pages.merge(documented(fmt::format("policy-{}.md", page)));
  const auto keys = config::known_policy_keys();
  EXPECT_EQ(on_pages, std::set<std::string>(keys.begin(), keys.end()));
}

TEST(Documentation, PolicyPageHasEveryClassOfCommands) {
  std::istringstream text(between(contents("policy-profiles.md"), "**Commands** are", "The classes:", ". "));
  std::set<std::string> documented, known = {std::string(wire::name_of(wire::PermissionClass::kVendor))};
  for (std::string word; text >> word;) documented.insert(word.substr(1, word.rfind('`') - 1));
  for (const auto& row : wire::CommandTable::builtin().rows()) known.emplace(wire::name_of(row.permission));
  EXPECT_EQ(documented, known);
}

TEST(Documentation, ALaptopsUserHasTheirOwnListener) {
  const guard::Access all = example("### A laptop's single user");
  ASSERT_EQ(all.listeners.size(), 1U);
  EXPECT_EQ(all.listeners[0].mode, mode_t{0600});
  EXPECT_EQ(all.listeners[0].owner, uid_t{1000});
  EXPECT_TRUE(may(all, "uid=1000,listener=alice", {"TPM2_Clear", "lockout"}));
  EXPECT_FALSE(may(all, "uid=1000", {"TPM2_Clear", "lockout"}));
}

TEST(Documentation, AContainerHasATpmOfItsOwn) {
  const guard::Access all = example("### A container with a TPM of its own");
  EXPECT_EQ(config::names_of(all.chips), "main, build");
  ASSERT_EQ(all.listeners.size(), 1U);
  EXPECT_EQ(all.listeners[0].chip, "build");
  EXPECT_TRUE(may(all, "uid=0,listener=build", {"TPM2_Clear", "lockout"}));
  const guard::Principal root = guard::Principal::ordinary(0);
  EXPECT_FALSE(all.choose(root, "build").profile.administer) << "of that TPM alone, not of tpmspaced";
}

TEST(Documentation, AWebServerMayUseItsKeyAndNothingElse) {
  const guard::Access all = example("### A web server");
  constexpr std::string_view kServer = "uid=0,gid=0,cgroup=/system.slice/nginx.service";
  EXPECT_TRUE(may(all, kServer, {"Sign", "0x81000001"}));
  EXPECT_TRUE(may(all, kServer, {"ReadPublic", "0x81000001"}));
  EXPECT_TRUE(may(all, kServer, {"StartAuthSession", "0x81000001", "null"}));
  EXPECT_TRUE(may(all, kServer, {"StartAuthSession", "null", "null"}));
  for (const std::vector<std::string>& words : {std::vector<std::string>{"Sign", "0x81000002"},
                                                {"ReadPublic", "0x81000002"},
                                                {"NV_Read", "0x01500016"},
                                                {"PCR_Read", "pcr=0"},
                                                {"CreatePrimary", "owner", "pcr=none"},
                                                {"RSA_Decrypt", "0x81000001"},
                                                {"StartAuthSession", "null", "lockout"},
                                                {"EvictControl", "owner", "0x81000001", "persistent=0x81000001"}})
    EXPECT_FALSE(may(all, kServer, words)) << words[0];
  EXPECT_FALSE(may(all, "uid=33", {"Sign", "0x81000001"})) << "outside of the unit";
}

TEST(Documentation, OneUserMayMigrate) {
  const guard::Access all = example("### One user may migrate");
  EXPECT_TRUE(may(all, "uid=1001", {"Duplicate", "0x80000000", "0x80000001"}));
  EXPECT_FALSE(may(all, "uid=1000", {"Duplicate", "0x80000000", "0x80000001"}));
}

TEST(Documentation, OrchestrationExtendsAndGuestsDoNot) {
  const guard::Access all = example("### Orchestration");
  EXPECT_TRUE(may(all, "uid=0,cgroup=/system.slice/orchestrator.service", {"PCR_Extend", "16"}));
  EXPECT_FALSE(may(all, "uid=0,cgroup=/system.slice/orchestrator.service", {"PCR_Extend", "7"}));
  const std::string guest = "uid=100000,cgroup=/system.slice/docker-" + std::string(64, 'a') + ".scope";
  EXPECT_FALSE(may(all, guest, {"PCR_Extend", "16"}));
  EXPECT_TRUE(may(all, guest, {"PCR_Read", "pcr=16"}));
}

TEST(Documentation, ALocalityForAGroup) {
  const guard::Access all = example("### Locality 2");
  ASSERT_EQ(all.listeners.size(), 1U);
  EXPECT_EQ(all.listeners[0].mode, mode_t{0660});
  EXPECT_EQ(all.listeners[0].group, gid_t{115});
  EXPECT_TRUE(may(all, "uid=1000,listener=locality-2", {"PCR_Reset", "20"}));
  EXPECT_FALSE(may(all, "uid=1000,listener=locality-2", {"PCR_Reset", "16"}));
  EXPECT_FALSE(may(all, "uid=1000", {"PCR_Reset", "20"}));
}

TEST(Documentation, TwoPodsWithTheirOwnKeys) {
  const guard::Access all = example("### Two pods");
  ASSERT_EQ(all.policy.namespaces().size(), 2U);
  const auto pod = [](const std::string& uid) {
    return "uid=0,cgroup=/kubepods.slice/kubepods-pod" + uid + ".slice/cri-containerd-" + std::string(64, 'a') +
           ".scope";
  };
  const std::string shop = pod("1f5b0a4e_0000_4000_8000_000000000001");
  const std::string bank = pod("77aa31c0_0000_4000_8000_000000000002");
  for (const auto& [member, own, others] :
       {std::tuple(shop, "0x01600000", "0x01600100"), std::tuple(bank, "0x01600100", "0x01600000")}) {
    EXPECT_TRUE(may(all, member, {"EvictControl", "owner", "0x80000000", "persistent=0x81000001"}));
    EXPECT_TRUE(may(all, member, {"Sign", "0x81000001"}));
    EXPECT_TRUE(may(all, member, {"NV_DefineSpace", "owner", std::string("index=") + own}));
    EXPECT_FALSE(may(all, member, {"NV_DefineSpace", "owner", std::string("index=") + others}));
    EXPECT_FALSE(may(all, member, {"NV_Read", others}));
    EXPECT_FALSE(may(all, member, {"Clear", "lockout"}));
  }
  EXPECT_NE(all.policy.namespaces()[0].window, all.policy.namespaces()[1].window);
  EXPECT_TRUE(may(all, "uid=5", {"ReadPublic", "0x81000001"}));
  EXPECT_FALSE(may(all, "uid=5", {"ReadPublic", "0x81200001"})) << "a pod's";
  EXPECT_TRUE(may(all, "uid=0", {"ReadPublic", "0x81200001"}));
}

// The policy in the example's comments.
TEST(Documentation, ThePolicyInTheExamplesCommentsIsValid) {
  std::istringstream lines(contents("tpmspaced.example.toml"));
  std::string text;
  bool policy = false;
  for (std::string line; std::getline(lines, line);) {
    policy = policy || line.starts_with("# [[listener]]");
    if (policy && line.size() > 2) text += line.substr(2) + "\n";
  }
  const auto got = config::parse_settings(text, "example", config::test_accounts());
  ASSERT_TRUE(got) << got.error();
  EXPECT_EQ(got->policy.listeners.size(), 2U);
  EXPECT_EQ(got->policy.chips.size(), 1U);
  EXPECT_EQ(got->policy.profiles.size(), 1U);
  EXPECT_EQ(got->policy.rules.size(), 1U);
  EXPECT_EQ(got->policy.namespaces.size(), 1U);
}

TEST(Documentation, TheExampleHasTheDefaults) {
  const auto example = config::parse_settings(contents("tpmspaced.example.toml"), "the example");
  ASSERT_TRUE(example) << example.error();
  const config::Environment machine{
      .is_system = true, .xdg_runtime_dir = {}, .exists = [](std::string_view) { return true; }};
  EXPECT_EQ(config::settle({}, *example, machine), config::settle({}, {}, machine));
}

TEST(Documentation, ConfigurationPageHasEveryKey) {
  const auto keys = config::known_keys();
  const auto example = example_values(), documented = documented_values();
  for (const auto& key : keys) EXPECT_TRUE(example.contains(key)) << key << " is not in tpmspaced.example.toml";
  EXPECT_EQ(example, documented) << "the table of configuration.md and the example differ";
  EXPECT_EQ(example.size(), keys.size());
}

// Only the pages are installed, not the source.
std::vector<std::filesystem::path> pages() {
  std::vector<std::filesystem::path> out;
  for (const auto& one : std::filesystem::recursive_directory_iterator(TPMSPACE_DOCS))
    if (one.path().extension() == ".md") out.push_back(one.path());
  return out;
}

TEST(Documentation, LinksLeadToInstalledFiles) {
  const std::filesystem::path docs(TPMSPACE_DOCS);
  for (const auto& page : pages()) {
    const std::string text = contents(std::filesystem::relative(page, docs).string());
    constexpr std::string_view kLink = "](";
    for (auto at = text.find(kLink); at != std::string::npos; at = text.find(kLink, at + 1)) {
      const auto begin = at + kLink.size();
      std::string target = text.substr(begin, text.find(')', begin) - begin);
      target.resize(std::min(target.size(), target.find('#')));
      if (target.empty() || target.find("://") != std::string::npos) continue;
      const auto file = (page.parent_path() / target).lexically_normal();
      EXPECT_TRUE(std::filesystem::exists(file)) << page << ": " << target;
      EXPECT_FALSE(std::filesystem::relative(file, docs).string().starts_with("..")) << page << ": " << target;
    }
  }
}

TEST(Documentation, TheIndexNamesEveryPage) {
  const std::string index = contents("README.md");
  for (const auto& page : pages()) {
    if (page.parent_path() != std::filesystem::path(TPMSPACE_DOCS) || page.filename() == "README.md") continue;
    EXPECT_NE(index.find("](" + page.filename().string() + ")"), std::string::npos) << page;
  }
}

}  // namespace
}  // namespace tpmspace::daemon
