#include "config/toml_tree.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <utility>

namespace tpmspace::config {
namespace {

Place place_of(const toml::source_region& region) {
  return {region.begin.line, region.begin.column};
}

TomlNode copied(const toml::node& node) {
  TomlNode out;
  out.place = place_of(node.source());
  if (const auto* text = node.as_string()) {
    out.kind = TomlNode::Kind::kText;
    out.text = text->get();
  } else if (const auto* number = node.as_integer()) {
    out.kind = TomlNode::Kind::kNumber;
    out.number = number->get();
    out.octal = (number->flags() & toml::value_flags::format_as_octal) != toml::value_flags::none;
  } else if (const auto* flag = node.as_boolean()) {
    out.kind = TomlNode::Kind::kFlag;
    out.flag = flag->get();
  } else if (const auto* table = node.as_table()) {
    out.kind = TomlNode::Kind::kTable;
    for (const auto& [key, value] : *table)
      out.members.push_back({std::string(key.str()), place_of(key.source()), copied(value)});
  } else if (const auto* list = node.as_array()) {
    out.kind = TomlNode::Kind::kList;
    for (const auto& value : *list) out.elements.push_back(copied(value));
  }
  return out;
}

}  // namespace

std::string at(const std::string& name, Place where, std::string_view sentence) {
  return fmt::format("{}:{}:{}: {}", name, where.line, where.column, sentence);
}

const TomlNode* TomlNode::find(std::string_view key) const {
  for (const auto& member : members)
    if (member.key == key) return &member.node;
  return nullptr;
}

tl::expected<TomlNode, std::string> parse_toml(std::string_view text, const std::string& name) {
  try {
    return copied(toml::parse(text));
  } catch (const toml::parse_error& e) {
    return tl::unexpected(at(name, place_of(e.source()), fmt::format("this is not TOML: {}", e.description())));
  }
}

}  // namespace tpmspace::config
