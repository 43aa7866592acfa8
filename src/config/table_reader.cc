#include "config/table_reader.h"

#include <charconv>

#include "books/owner.h"
#include "config/names.h"

namespace tpmspace::config {

void Faults::add(Place where, std::string_view sentence) {
  if (first_ && where >= first_->first) return;
  first_ = {where, at(file_, where, sentence)};
}

void Faults::add(const TomlNode& node, std::string_view key, const Wrong& wrong) {
  add(wrong.place.line != 0 ? wrong.place : node.place, fmt::format("\"{}\" {}", key, wrong.what));
}

std::optional<std::string> Faults::first() const {
  return first_ ? std::optional(first_->second) : std::nullopt;
}

std::string joined(const std::vector<std::string>& names) {
  std::string out;
  for (const auto& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

std::string unknown_key(const std::string& prefix, std::string_view key, const std::vector<std::string>& known) {
  // Its name before there was a release.
  if (key == "door" && std::any_of(known.begin(), known.end(),
                                   [](const auto& one) { return one == "listener" || one == "[[listener]]"; }))
    return fmt::format("the key \"{0}door\" is now called \"{0}listener\"", prefix);
  return fmt::format("the key \"{}{}\" is unknown; known here: {}", prefix, key, joined(known));
}

const TomlNode* subtable(const TomlNode& table, std::string_view name, const std::string& full_name, Faults& faults) {
  const TomlNode* node = table.find(name);
  if (node == nullptr || node->is(TomlNode::Kind::kTable)) return node;
  faults.add(node->place, fmt::format("\"{0}\" must be a table: write [{0}] on a line of its own", full_name));
  return nullptr;
}

std::vector<const TomlNode*> tables_of(const TomlNode& table, std::string_view name, std::size_t most, Faults& faults) {
  std::vector<const TomlNode*> out;
  const TomlNode* node = table.find(name);
  if (node == nullptr) return out;
  const bool tables = node->is(TomlNode::Kind::kList) &&
                      std::all_of(node->elements.begin(), node->elements.end(),
                                  [](const TomlNode& one) { return one.is(TomlNode::Kind::kTable); });
  if (!tables) {
    faults.add(node->place, fmt::format("\"{0}\" must be a list of tables: write [[{0}]] on a line of its own", name));
  } else if (node->elements.size() > most) {
    faults.add(node->elements[most].place,
               fmt::format("this is one [[{}]] too many: at most {} are possible", name, most));
  } else {
    for (const TomlNode& one : node->elements) out.push_back(&one);
  }
  return out;
}

Fault take_name(const TomlNode& node, std::string& out) {
  if (!node.is(TomlNode::Kind::kText) || !is_name(node.text)) return Wrong("must be a name: " + name_rule());
  out = node.text;
  return std::nullopt;
}

Fault take_text(const TomlNode& node, std::string& out, std::size_t most) {
  if (!node.is(TomlNode::Kind::kText) || node.text.empty()) return "must be a string that is not empty";
  if (node.text.find('\0') != std::string::npos) return "must not contain a zero byte";
  if (node.text.size() > most)
    return Wrong(fmt::format("is too long: it has {} bytes, at most {} are possible", node.text.size(), most));
  out = node.text;
  return std::nullopt;
}

Fault take_mode(const TomlNode& node, mode_t& out) {
  static constexpr const char* kWanted = "must be permission bits in octal, such as \"0660\" or 0o660";
  if (node.is(TomlNode::Kind::kText)) {
    const auto mode = parse_mode(node.text);
    if (!mode) return kWanted;
    out = *mode;
    return std::nullopt;
  }
  // A plain 660 is decimal and would mean an unwanted mode.
  if (!node.is(TomlNode::Kind::kNumber) || !node.octal || node.number < 0 || node.number > 0777) return kWanted;
  out = static_cast<mode_t>(node.number);
  return std::nullopt;
}

std::optional<mode_t> parse_mode(std::string_view text) {
  if (text.starts_with("0o")) text.remove_prefix(2);
  if (text.size() < 3 || text.size() > 4 || (text.size() == 4 && text.front() != '0')) return std::nullopt;
  mode_t mode = 0;
  for (const char c : text) {
    if (c < '0' || c > '7') return std::nullopt;
    mode = mode * 8 + static_cast<mode_t>(c - '0');
  }
  return mode;
}

Fault take_duration(const TomlNode& node, std::uint64_t& out) {
  constexpr std::uint64_t kMillisecond = 1'000'000, kSecond = 1000 * kMillisecond;
  constexpr std::array<std::pair<std::string_view, std::uint64_t>, 4> kUnits{
      {{"ms", kMillisecond}, {"s", kSecond}, {"m", 60 * kSecond}, {"h", 3600 * kSecond}}};
  constexpr std::size_t kMostDigits = 6;  // a million hours are far from overflowing
  const std::string_view text = node.text;
  if (text == "endless") {
    out = space::SessionTerms::kEndless;
    return std::nullopt;
  }
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  for (const auto& [unit, nanoseconds] : kUnits) {
    if (digits == 0 || digits > kMostDigits || text.substr(digits) != unit) continue;
    std::uint64_t number = 0;
    std::from_chars(text.data(), text.data() + digits, number);
    out = number * nanoseconds;
    return std::nullopt;
  }
  return "must be a time like \"10s\", \"200ms\", \"5m\", \"1h\", or \"endless\"";
}

Fault take_exhaustion(const TomlNode& node, guard::Exhaustion& out) {
  constexpr std::array<std::pair<std::string_view, guard::Exhaustion>, 4> kNames{
      {{"refuse", guard::Exhaustion::kRefuse},
       {"wait", guard::Exhaustion::kWait},
       {"reclaim", guard::Exhaustion::kReclaim},
       {"close", guard::Exhaustion::kClose}}};
  for (const auto& [name, exhaustion] : kNames) {
    if (node.text != name) continue;
    out = exhaustion;
    return std::nullopt;
  }
  return "must be \"refuse\", \"wait\", \"reclaim\" or \"close\"";
}

}  // namespace tpmspace::config
