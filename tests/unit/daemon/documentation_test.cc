// What docs/ says of the configuration is what the daemon does: the same keys, the same defaults.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>

#include "daemon/config.h"
#include "proto/status.h"

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

// "limits.objects" -> "1000", as the example has it: lines "[limits]" and "objects = 1000  # why".
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

// The same of the table of keys: lines "| `limits.objects` | `1000` | ...".
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

// "client_commands.by_manager", as the table of status.md has it: lines "| `client_commands.by_manager` | ...".
std::set<std::string> documented_fields() {
  std::set<std::string> out;
  std::istringstream lines(contents("status.md"));
  constexpr std::string_view kBegin = "| `";
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with(kBegin)) out.insert(line.substr(kBegin.size(), line.find('`', kBegin.size()) - kBegin.size()));
  return out;
}

TEST(Documentation, EveryFieldOfTheStatusIsInIt) {
  std::set<std::string> known;
  const proto::Status status;
  proto::for_each_field(status, [&](const proto::StatusField& field, const auto&) {
    known.insert(fmt::format("{}.{}", field.group, field.name));
  });
  const auto documented = documented_fields();
  for (const auto& field : known) EXPECT_TRUE(documented.contains(field)) << field << " is not in docs/status.md";
  for (const auto& field : documented) EXPECT_TRUE(known.contains(field)) << field << " is in docs/status.md alone";
}

TEST(Documentation, TheExampleIsTheDefaults) {
  const auto example = parse_settings(contents("tpmspaced.example.toml"), "the example");
  ASSERT_TRUE(example) << example.error();
  const Environment machine{.is_root = true, .xdg_runtime_dir = {}, .exists = [](std::string_view) { return true; }};
  EXPECT_EQ(settle({}, *example, machine), settle({}, {}, machine));
}

TEST(Documentation, EveryKeyIsInIt) {
  const auto keys = known_keys();
  const auto example = example_values(), documented = documented_values();
  for (const auto& key : keys) EXPECT_TRUE(example.contains(key)) << key << " is not in tpmspaced.example.toml";
  EXPECT_EQ(example, documented) << "the table of configuration.md and the example differ";
  EXPECT_EQ(example.size(), keys.size());
}

}  // namespace
}  // namespace tpmspace::daemon
