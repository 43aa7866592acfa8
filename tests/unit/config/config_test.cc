// The configuration: the values read, their precedence, and the error message of each mistake.
#include "config/config.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>

namespace tpmspace::config {
namespace {

Environment machine(bool root, bool device, std::optional<std::string> runtime_dir = std::nullopt) {
  return {root, std::move(runtime_dir), [device](std::string_view path) { return device && path == kDefaultDevice; }};
}

TEST(Config, EverythingCanBeSaid) {
  const auto got = parse_settings(R"(
tpm = "swtpm:path=/x"
socket = "/run/a.sock"
socket_mode = "0660"
log_level = "debug"
[limits]
connections = 100
connections_per_owner = 7
objects = 20
sessions = 8
bytes = 1048576
client_saved_sessions = 0
queue = 30
)",
                                  "f");
  ASSERT_TRUE(got) << got.error();
  EXPECT_EQ(got->tpm, "swtpm:path=/x");
  EXPECT_EQ(got->socket, "/run/a.sock");
  EXPECT_EQ(got->socket_mode, mode_t{0660});
  EXPECT_EQ(got->log_level, log::LogLevel::kDebug);
  const Limits wanted{.connections = 100,
                      .connections_per_owner = 7,
                      .objects = 20,
                      .sessions = 8,
                      .bytes = 1048576,
                      .client_saved_sessions = 0,
                      .queue = 30};
  EXPECT_EQ(got->limits, wanted);
}

TEST(Config, AnEmptyFileSaysNothing) {
  const auto got = parse_settings("# nothing\n", "f");
  ASSERT_TRUE(got);
  EXPECT_FALSE(got->tpm);
  EXPECT_EQ(got->limits, Limits{});
}

TEST(Config, OctalModesAreTaken) {
  EXPECT_EQ(parse_settings("socket_mode = 0o666", "f")->socket_mode, mode_t{0666});
  EXPECT_EQ(parse_mode("600"), mode_t{0600});
  EXPECT_EQ(parse_mode("0600"), mode_t{0600});
  for (const char* wrong : {"", "6", "60", "0800", "1600", "06000", "rw", "-600", " 600"})
    EXPECT_FALSE(parse_mode(wrong)) << wrong;
}

struct Broken {
  const char* text;
  const char* message;
};

TEST(Config, AMistakeIsAnsweredWithItsPlaceAndASentence) {
  const Broken cases[] = {
      Broken{"tpm = \"embedded\"\nsokcet = \"x\"",
             "f.toml:2:1: the key \"sokcet\" is unknown; known here: version, tpm, socket, socket_mode, admin_socket, "
             "ledger, audit, "
             "log_level, "
             "[limits], [idle], [profile], [[rule]], [[namespace]], [[listener]], [[chip]]"},
      Broken{"[limits]\nconections = 3",
             "f.toml:2:1: the key \"limits.conections\" is unknown; known here: connections, connections_per_owner, "
             "objects, sessions, bytes, client_saved_sessions, queue"},
      Broken{"[other]\na = 1",
             "f.toml:1:2: the key \"other\" is unknown; known here: version, tpm, socket, socket_mode, admin_socket, "
             "ledger, audit, "
             "log_level, "
             "[limits], [idle], [profile], [[rule]], [[namespace]], [[listener]], [[chip]]"},
      Broken{"tpm = 3", "f.toml:1:7: \"tpm\" must be a string that is not empty"},
      Broken{"tpm = \"\"", "f.toml:1:7: \"tpm\" must be a string that is not empty"},
      Broken{"tpm = \"embedded,latency=tomorrow\"",
             "f.toml:1:7: \"tpm\": no latency figures for 'tomorrow': write latency=slb9670 or latency=st33ktpm2x"},
      Broken{"socket = \"a\\u0000b\"", "f.toml:1:10: \"socket\" must not contain a zero byte"},
      Broken{"version = 2", "f.toml:1:11: \"version\" must be 1: this tpmspaced knows no other version"},
      Broken{"audit = \"log\"",
             "f.toml:1:9: \"audit\" must be \"journal\", an absolute path, or \"\" for lines of the log"},
      Broken{"socket_mode = 660",
             "f.toml:1:15: \"socket_mode\" must be permission bits in octal, such as \"0660\" or 0o660"},
      Broken{"socket_mode = 0o1777",
             "f.toml:1:15: \"socket_mode\" must be permission bits in octal, such as \"0660\" or 0o660"},
      Broken{"socket_mode = \"0888\"",
             "f.toml:1:15: \"socket_mode\" must be permission bits in octal, such as \"0660\" or 0o660"},
      Broken{"log_level = \"loud\"",
             "f.toml:1:13: \"log_level\" must be \"error\", \"warning\", \"notice\", \"info\" or \"debug\""},
      Broken{"log_level = true",
             "f.toml:1:13: \"log_level\" must be \"error\", \"warning\", \"notice\", \"info\" or \"debug\""},
      Broken{"limits = 3", "f.toml:1:10: \"limits\" must be a table: write [limits] on a line of its own"},
      Broken{"[limits]\nobjects = -1", "f.toml:2:11: \"limits.objects\" must be a whole number from 1 to 4294967295"},
      Broken{"[limits]\nobjects = 0", "f.toml:2:11: \"limits.objects\" must be a whole number from 1 to 4294967295"},
      Broken{"[limits]\nqueue = 4294967296",
             "f.toml:2:9: \"limits.queue\" must be a whole number from 1 to 4294967295"},
      Broken{"[limits]\nsessions = 1.5",
             "f.toml:2:12: \"limits.sessions\" must be a whole number from 1 to 4294967295"},
      Broken{"[limits]\nconnections = \"10\"",
             "f.toml:2:15: \"limits.connections\" must be a whole number from 0 to 4294967295"},
      Broken{"[limits]\nbytes = 1",
             "f.toml:2:9: \"limits.bytes\" must be a whole number from 65536 to 9223372036854775807"},
      // The first of several.
      Broken{"z = 1\na = 1\ntpm = 3",
             "f.toml:1:1: the key \"z\" is unknown; known here: version, tpm, socket, socket_mode, admin_socket, "
             "ledger, audit, "
             "log_level, [limits], [idle], "
             "[profile], [[rule]], [[namespace]], [[listener]], [[chip]]"}};
  for (const auto& broken : cases) {
    const auto got = parse_settings(broken.text, "f.toml");
    ASSERT_FALSE(got) << broken.text;
    EXPECT_EQ(got.error(), broken.message);
  }
}

TEST(Config, AFileThatIsNotTomlIsReportedWithThePlace) {
  const auto got = parse_settings("tpm = \"a\"\nsocket = \n", "f.toml");
  ASSERT_FALSE(got);
  EXPECT_TRUE(got.error().starts_with("f.toml:2:")) << got.error();
  EXPECT_NE(got.error().find("this is not TOML"), std::string::npos) << got.error();
  EXPECT_FALSE(parse_settings("tpm = \"a\"\ntpm = \"b\"", "f"));
  EXPECT_FALSE(parse_settings(std::string("\0\xFF\x80", 3), "f"));
}

TEST(Config, TheCommandLineWins) {
  Settings line, file;
  file.tpm = "device:/dev/tpm1";
  file.socket = "/file";
  file.socket_mode = 0666;
  file.log_level = log::LogLevel::kError;
  file.limits.objects = 5;
  line.tpm = "embedded";
  const auto got = settle(line, file, machine(true, true));
  ASSERT_TRUE(got);
  EXPECT_EQ(got->access.chips.at(0).tpm, "embedded");
  EXPECT_EQ(got->socket, "/file");
  EXPECT_FALSE(got->default_socket);
  EXPECT_EQ(got->socket_mode, mode_t{0666});
  EXPECT_EQ(got->log_level, log::LogLevel::kError);
  EXPECT_EQ(got->limits.objects, 5U);
}

TEST(Config, EachChipHasALedgerOfItsOwn) {
  const auto file = parse_settings(
      "[[chip]]\nname = \"a\"\ntpm = \"device:/dev/tpm1\"\n[[chip]]\nname = \"b\"\ntpm = \"embedded\"\n"
      "[[chip]]\nname = \"c\"\ntpm = \"device:/dev/tpm2\"\nledger = \"/a\"",
      "f");
  ASSERT_TRUE(file) << file.error();
  const auto got = settle({}, *file, machine(true, true));
  ASSERT_TRUE(got);
  EXPECT_EQ(got->access.chips,
            (std::vector<guard::Chip>{{"main", "device:/dev/tpm0", "/run/tpmspace/sessions-tpm0", true},
                                      {"a", "device:/dev/tpm1", "/run/tpmspace/sessions-tpm1", true},
                                      {"b", "embedded", "", false},
                                      {"c", "device:/dev/tpm2", "/a", false}}));
  EXPECT_EQ(names_of(got->access.chips), "main, a, b, c");
}

TEST(Config, NoTwoChipsAreTheSameTpm) {
  const auto clash = [](const std::string& main, const std::string& other) {
    Settings line;
    line.tpm = main;
    const auto file = parse_settings("[[chip]]\nname = \"a\"\ntpm = \"" + other + "\"", "f");
    EXPECT_TRUE(file) << file.error();
    const auto got = settle(line, *file, machine(true, true));
    return got ? "" : got.error();
  };
  EXPECT_EQ(clash("device:/dev/tpm0", "device:/dev/tpm1"), "");
  constexpr const char* kSame = " is the same TPM as ";
  EXPECT_NE(clash("swtpm:path=/a/b", "swtpm:path=/a/../a/b,ctrl=/c").find(kSame), std::string::npos);
  EXPECT_NE(clash("device:/dev/tpm0", "device:/dev/tpmrm0").find(kSame), std::string::npos);
  EXPECT_EQ(clash("device:/dev/tpm0", "device:/dev/tpmrm1"), "");
  EXPECT_EQ(clash("device:/dev/tpm0", "device:/other/tpm0"),
            "f:3:7: the chip \"a\" has the ledger of \"main\", /run/tpmspace/sessions-tpm0: give the chip its own with "
            "\"ledger\"");
  EXPECT_EQ(clash("device:/dev/tpm1", "device:/dev/tpm1,latency=slb9670"),
            "f:3:7: the chip \"a\" is the same TPM as \"main\", device:/dev/tpm1: name another TPM");
  EXPECT_EQ(clash("embedded", "embedded:/b"),
            "f:3:7: the chip \"a\" is embedded, and so is \"main\": one tpmspaced can have one embedded TPM; use swtpm "
            "for the other chip");
}

TEST(Config, DefaultsFollowTheMachine) {
  const auto root = settle({}, {}, machine(true, true));
  ASSERT_TRUE(root);
  EXPECT_EQ(root->access.chips,
            std::vector{(guard::Chip{"main", "device:/dev/tpm0", "/run/tpmspace/sessions-tpm0", true})});
  EXPECT_EQ(root->socket, "/run/tpmspace/tpm.sock");
  EXPECT_TRUE(root->default_socket);
  EXPECT_EQ(root->socket_mode, mode_t{0666});

  const auto user = settle({}, {}, machine(false, true, "/run/user/7"));
  ASSERT_TRUE(user);
  EXPECT_EQ(user->socket, "/run/user/7/tpmspace/tpm.sock");
}

// A written default means the same as a missing key.
TEST(Config, TheDefaultSocketIsTheDefaultAlsoWhenItIsNamed) {
  Settings named;
  named.socket = "/run/tpmspace/tpm.sock";
  EXPECT_TRUE(settle(named, {}, machine(true, true))->default_socket);
  EXPECT_TRUE(settle({}, named, machine(true, true))->default_socket);
  EXPECT_FALSE(settle(named, {}, machine(false, true, "/run/user/7"))->default_socket);
  EXPECT_FALSE(settle(named, {}, machine(false, true))->default_socket);
  named.socket = "/run/user/7/tpmspace/tpm.sock";
  EXPECT_TRUE(settle(named, {}, machine(false, true, "/run/user/7"))->default_socket);
}

TEST(Config, WithoutAChipTheErrorNamesTheEmbeddedTpm) {
  const auto got = settle({}, {}, machine(true, false));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error(),
            "there is no /dev/tpm0, so there is no TPM to serve; name a TPM with --tpm SPEC, for example --tpm "
            "embedded, which needs no hardware");
}

TEST(Config, WithoutARuntimeDirectoryTheErrorNamesTheOption) {
  for (const auto& dir : {std::optional<std::string>(), std::optional<std::string>("")}) {
    const auto got = settle({}, {}, machine(false, true, dir));
    ASSERT_FALSE(got);
    EXPECT_NE(got.error().find("--socket PATH"), std::string::npos);
  }
}

TEST(Config, AFileThatWasNamedMustBeThere) {
  const auto got = read_settings("/nonexistent/tpmspace.toml");
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error(), "the configuration /nonexistent/tpmspace.toml cannot be read: No such file or directory");
  const auto directory = read_settings("/");
  ASSERT_FALSE(directory);
  EXPECT_EQ(directory.error(), "the configuration / is not a file");
}

TEST(Config, AFileIsReadCompletely) {
  const std::string path = testing::TempDir() + "/config_test.toml";
  std::ofstream(path) << "tpm = \"embedded\"\n";
  const auto got = read_settings(path);
  ASSERT_TRUE(got) << got.error();
  EXPECT_EQ(got->tpm, "embedded");
  std::ofstream(path) << std::string(limits::kMaxConfigFile + 1, '#');
  const auto huge = read_settings(path);
  ASSERT_FALSE(huge);
  EXPECT_NE(huge.error().find("is longer than 1048576 bytes"), std::string::npos) << huge.error();
  (void)std::remove(path.c_str());
}

// --- The listener for administrators.

TEST(Config, AdministratorsHaveAListenerWhereTheSocketHasItsSystemDefault) {
  const auto admin = [](const std::string& text, bool is_system) -> const guard::Listener* {
    static Config config;
    config = settle({}, parse_settings(text, "f").value(), machine(is_system, true, "/run/user/7")).value();
    return config.access.listener(guard::kAdminListener);
  };
  const guard::Listener* standard = admin("", true);
  ASSERT_NE(standard, nullptr);
  EXPECT_EQ(standard->path, "/run/tpmspace-listeners/admin/tpm.sock");
  EXPECT_EQ(standard->mode, mode_t{0600});
  EXPECT_TRUE(standard->default_path);
  EXPECT_TRUE(standard->dispensable);
  EXPECT_FALSE(standard->profile);
  EXPECT_EQ(admin("", false), nullptr) << "a user's own";
  EXPECT_EQ(admin("socket = \"/a/s\"", true), nullptr);
  EXPECT_EQ(admin("admin_socket = \"\"", true), nullptr);
  const guard::Listener* asked_for = admin("socket = \"/a/s\"\nadmin_socket = \"/b/s\"", true);
  ASSERT_NE(asked_for, nullptr);
  EXPECT_EQ(asked_for->path, "/b/s");
  EXPECT_FALSE(asked_for->default_path);
  EXPECT_FALSE(asked_for->dispensable);
}

TEST(Config, NoOtherListenerIsWhereTheOneForAdministratorsIs) {
  const auto error_of = [](const std::string& text) {
    return settle({}, parse_settings(text, "f").value(), machine(true, true)).error();
  };
  EXPECT_EQ(error_of("[[listener]]\npath = \"/run/tpmspace-listeners/./admin/tpm.sock\""),
            "the listener on line 1 of the configuration has the path of the listener for administrators, "
            "/run/tpmspace-listeners/admin/tpm.sock: give it another \"path\", or change \"admin_socket\"");
  EXPECT_EQ(error_of("socket = \"/a/s\"\nadmin_socket = \"/a/./s\""),
            "\"admin_socket\" is tpmspaced's own socket, /a/s: give it another path, or \"\" for none");
}

TEST(Config, AnInheritedSocketHasAListenerForAdministratorsOnlyAtTheSystemDefault) {
  const auto config_with = [](const std::string& inherited, const std::string& text) {
    Environment environment = machine(true, true);
    environment.inherited_socket = inherited;
    return settle({}, parse_settings(text, "f").value(), environment).value();
  };
  EXPECT_NE(config_with("/run/tpmspace/tpm.sock", "").access.listener(guard::kAdminListener), nullptr);
  EXPECT_NE(config_with("/run/tpmspace/tpm.sock", "socket = \"/a/s\"").access.listener(guard::kAdminListener), nullptr)
      << "`socket` means nothing then";
  EXPECT_EQ(config_with("/tmp/x.sock", "").access.listener(guard::kAdminListener), nullptr);
  EXPECT_EQ(config_with("", "").access.listener(guard::kAdminListener), nullptr) << "an abstract name";
  const Config asked_for = config_with("/tmp/x.sock", "admin_socket = \"/b/s\"");
  ASSERT_NE(asked_for.access.listener(guard::kAdminListener), nullptr);
  EXPECT_EQ(asked_for.access.listener(guard::kAdminListener)->path, "/b/s");
  const Config listeners = config_with("/tmp/x/x.sock", "[[listener]]\nname = \"a\"");
  EXPECT_EQ(listeners.socket, "/tmp/x/x.sock");
  EXPECT_EQ(listeners.access.listener("a")->path, "/tmp/x-listeners/a/tpm.sock") << "beside the socket that is served";
}

// --- Changes that a reload does not make.

Config settled(const std::string& text) {
  const auto settings = parse_settings(text, "f");
  EXPECT_TRUE(settings) << text << ": " << settings.error();
  const auto config = settle({}, *settings, machine(true, true));
  EXPECT_TRUE(config) << text << ": " << config.error();
  return config.value_or(Config{});
}

TEST(Config, EveryKeyThatNeedsARestartIsNamed) {
  const std::map<std::string, std::string> others = {
      {"tpm", "\"embedded\""},          {"socket", "\"/run/other.sock\""},
      {"socket_mode", "\"0600\""},      {"ledger", "\"/run/other-ledger\""},
      {"audit", "\"journal\""},         {"log_level", "\"debug\""},
      {"idle.put_away", "\"77s\""},     {"idle.save_objects", "\"77s\""},
      {"idle.save_sessions", "\"77s\""}};
  for (const std::string& key : known_keys()) {
    // It has one value; they take effect at once.
    if (key == "version" || key == "admin_socket" || key.starts_with("profile.")) continue;
    const auto other = others.find(key);
    const std::string value = other == others.end() ? "77777" : other->second;
    const auto dot = key.find('.');
    const std::string text = dot == std::string::npos
                                 ? fmt::format("{} = {}", key, value)
                                 : fmt::format("[{}]\n{} = {}", key.substr(0, dot), key.substr(dot + 1), value);
    const auto pending = pending_keys(settled(""), settled(text));
    EXPECT_TRUE(std::any_of(pending.begin(), pending.end(), [&](const PendingKey& one) { return one.key == key; }))
        << key;
  }
}

TEST(Config, APendingKeyIsReportedWithBothValues) {
  const auto pending =
      pending_keys(settled("audit = \"\"\n[limits]\nqueue = 5"), settled("audit = \"/a\"\n[limits]\nqueue = 6"));
  EXPECT_EQ(text_of(pending),
            "audit (\"\" is in force, the file says /a), limits.queue (5 is in force, the file says 6)");
}

TEST(Config, AChipThatChangesNeedsARestartAndProfilesDoNot) {
  const std::string one = "[[chip]]\nname = \"a\"\ntpm = \"swtpm:path=/a\"\n";
  const std::string other = "[[chip]]\nname = \"a\"\ntpm = \"swtpm:path=/b\"\n";
  EXPECT_EQ(text_of(pending_keys(settled(one), settled(other))), "[[chip]] \"a\"");
  EXPECT_EQ(text_of(pending_keys(settled(one), settled(""))), "[[chip]] \"a\"");
  EXPECT_EQ(text_of(pending_keys(settled(""), settled(other))), "[[chip]] \"a\"");
  EXPECT_EQ(text_of(pending_keys(settled(""), settled("[profile.default]\nclaim = 9\n[profile.p]\n"
                                                      "[[rule]]\nprofile = \"p\""))),
            "");
}

TEST(Config, AfterAReloadProfilesHaveTheLimitsThatAreInForce) {
  const std::string profile = "[profile.p]\nbase = \"safe\"\n";
  const Limits in_force = settled("[limits]\nobjects = 5").limits;
  const auto read = parse_settings("[limits]\nobjects = 9\n" + profile, "f", system_accounts(), &in_force);
  ASSERT_TRUE(read) << read.error();
  EXPECT_EQ(read->policy.profiles.at("p").profile.limits.objects, 5U);
  EXPECT_EQ(read->limits.objects, 9U);
}

}  // namespace
}  // namespace tpmspace::config
