// The meaning of the texts of /proc, and odd texts without one.
#include "peer/proc_text.h"

#include <gtest/gtest.h>

#include <climits>
#include <string>
#include <string_view>
#include <vector>

#include "guard/principal.h"

namespace tpmspace::peer {
namespace {

using namespace std::string_view_literals;

// Fields 3 to 23, the 22nd is the start.
std::string stat_of(const std::string& name, const std::string& start = "4711") {
  return "42 (" + name + ") S 1 42 42 0 -1 4194560 113 0 0 0 0 1 2 3 20 0 1 0 " + start + " 2326528 195 0\n";
}

TEST(ProcText, StatHasTheStartForAnyProgramName) {
  const ProcessStat expected{.pid = 42, .ticks = 4711};
  for (const std::string name :
       {"sleep", "", "a b", ")", "((", ") S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 99 ", "1 (init) S 0 1 1 0",
        "x\ny", " (", "\xFF\x01"})
    EXPECT_EQ(parse_stat(stat_of(name)), expected) << name;
  EXPECT_EQ(parse_stat(stat_of("x", "18446744073709551615")), (ProcessStat{.pid = 42, .ticks = UINT64_MAX}));
}

TEST(ProcText, StatTellsWhetherTheMainThreadExits) {
  std::string text = stat_of("sleep");
  text.replace(text.find("4194560"), 7, "4194564");
  EXPECT_EQ(parse_stat(text), (ProcessStat{.pid = 42, .ticks = 4711, .is_exiting = true}));
  text.replace(text.find("4194564"), 7, "x");
  EXPECT_EQ(parse_stat(text), std::nullopt);
}

TEST(ProcText, AnInvalidStatHasNoStart) {
  const std::string whole = stat_of("sleep");
  for (std::size_t length = 0; length <= whole.find("4711") + 4; ++length)
    EXPECT_EQ(parse_stat(whole.substr(0, length)), std::nullopt) << length;
  for (const std::string& text :
       {stat_of("x", "18446744073709551616"), stat_of("x", "-1"), stat_of("x", "+1"), stat_of("x", "0x1"),
        stat_of("x", ""), "0" + stat_of("x").substr(2), "-1" + stat_of("x").substr(2), " " + stat_of("x"),
        "99999999999" + stat_of("x").substr(2), stat_of("x").substr(3), std::string(") (\n"), std::string(" () ")})
    EXPECT_EQ(parse_stat(text), std::nullopt) << text;
}

TEST(ProcText, StatusTellsTheEffectiveIds) {
  const std::string head = "Name:\tx\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t42\n";
  EXPECT_EQ(parse_status(head + "Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nFDSize:\t64\nGro"), (EffectiveIds{2, 6}));
  EXPECT_EQ(parse_status("Uid:\t0\t4294967294\t0\t0\nGid:\t0\t0\t0\t0\n"), (EffectiveIds{4294967294, 0}));
  for (const std::string_view text :
       {""sv, "Uid:\t1\t2\t3\t4\n"sv, "Gid:\t5\t6\t7\t8\n"sv, "Gid:\t5\t6\t7\t8\nUid:\t1\t2\t3\t4\n"sv,
        "Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8"sv, "Uid:\t1\nGid:\t5\t6\t7\t8\n"sv, "Uid: 1 2 3 4\nGid:\t5\t6\t7\t8\n"sv,
        "Uid:\t1\t-2\t3\t4\nGid:\t5\t6\t7\t8\n"sv, "Uid:\t1\t4294967296\t3\t4\nGid:\t5\t6\t7\t8\n"sv,
        "xUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n"sv, "Uid:\t1\t2\t3\t4\nGid:\t\t\t\t\n"sv})
    EXPECT_EQ(parse_status(text), std::nullopt) << text;
}

using Paths = std::vector<CgroupPath>;

TEST(ProcText, CgroupsAreOnePathForEachHierarchy) {
  const std::string longest = "/" + std::string(PATH_MAX - 2, 'x');
  const std::pair<std::string, Paths> cases[] = {
      {"0::/system.slice/nginx.service\n", {{"", "/system.slice/nginx.service"}}},
      {"0::/\n", {{"", "/"}}},
      // Hybrid: v1 hierarchies stand before it.
      {"9:name=systemd:/old\n1:cpu,cpuacct:/\n0::/new\n",
       {{"name=systemd", "/old"}, {"cpu,cpuacct", "/"}, {"", "/new"}}},
      {"5:devices:/\n", {{"devices", "/"}}},
      {"0::/a (deleted)\n", {{"", "/a (deleted)"}}},  // a living process is in no deleted cgroup: one is called so
      {"0::/a b:c\\x2d\x01\xFF\n", {{"", "/a b:c\\x2d\x01\xFF"}}},
      {"0::/...\n", {{"", "/..."}}},
      {"0::" + longest + "\n", {{"", longest}}},
      // A cgroup namespace shows paths outside of it in this way.
      {"0::/../sibling\n", {{"", "/../sibling"}}},
      {"0::/..\n", {{"", "/.."}}},
      {"0::/../../a\n", {{"", "/../../a"}}},
      {"", {}},
  };
  for (const auto& [text, paths] : cases) EXPECT_EQ(parse_cgroups(text), paths) << text.substr(0, 100);
  for (const std::string& text :
       {std::string("0::/a/../b\n"), std::string("0::/a/..\n"), std::string("0::/./a\n"), std::string("0::/cut"),
        std::string("0::\n"), std::string("0::relative\n"), std::string("0::/a//b\n"), std::string("0::/a/\n"),
        "0::" + longest + "x\n", std::string("0::/a\0b\n", 8), std::string(" 0::/a\n"), std::string("0:/a\n"),
        std::string("/a\n"), std::string("x::/a\n"), std::string("\n"), std::string("5:devices:/\n0::/cut"),
        std::string("0::/a\n0::/b\n")})
    EXPECT_EQ(parse_cgroups(text), std::nullopt) << text.substr(0, 100);
}

TEST(ProcText, AUidMapIsCompleteIfItHasAllUids) {
  EXPECT_TRUE(is_whole_uid_map("         0          0 4294967295\n"));
  for (const std::string_view text : {""sv, "0 100000 65536\n"sv, "0 0 4294967294\n"sv, "1 1 4294967295\n"sv,
                                      "0 0 1\n1 1 4294967294\n"sv, "0 0 4294967295 1\n"sv})
    EXPECT_FALSE(is_whole_uid_map(text)) << text;
}

TEST(ProcText, Executable) {
  EXPECT_EQ(parse_executable("/usr/bin/tpm2"), "/usr/bin/tpm2");
  EXPECT_EQ(parse_executable("/a (deleted)/b"), "/a (deleted)/b");
  for (const std::string& text :
       {std::string(), std::string("x"), std::string("/usr/bin/tpm2 (deleted)"), std::string("/memfd:x (deleted)"),
        std::string("/a\0b", 4), std::string(PATH_MAX, '/')})
    EXPECT_EQ(parse_executable(text), std::nullopt) << text.substr(0, 100);
}

TEST(ProcText, Label) {
  EXPECT_EQ(parse_label("system_u:system_r:httpd_t:s0\0"sv), "system_u:system_r:httpd_t:s0");
  EXPECT_EQ(parse_label("unconfined"), "unconfined");
  EXPECT_EQ(parse_label("/usr/sbin/nginx (enforce)\n"), "/usr/sbin/nginx (enforce)");
  EXPECT_EQ(parse_label(std::string(guard::kMaxLabel, 'x')), std::string(guard::kMaxLabel, 'x'));
  for (const std::string& text : {std::string(), std::string(1, '\0'), std::string("\n"), std::string("a\0b", 3),
                                  std::string("a\nb"), std::string("a\x7F"), std::string(guard::kMaxLabel + 1, 'x')})
    EXPECT_EQ(parse_label(text), std::nullopt) << text.substr(0, 100);
}

}  // namespace
}  // namespace tpmspace::peer
