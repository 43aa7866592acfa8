#include "config/chip_table.h"

#include <array>
#include <utility>

#include "base/limits.h"
#include "tpm/spec.h"

namespace tpmspace::config {
namespace {

Fault take_chip_name(const TomlNode& node, std::string& out) {
  if (node.is(TomlNode::Kind::kText) && node.text == guard::kMainChip)
    return "is \"main\", the name of the TPM that \"tpm\" names; choose another name";
  return take_name(node, out);
}

Fault take_spec(const TomlNode& node, std::string& out) {
  if (auto wrong = take_text(node, out)) return wrong;
  const auto spec = tpm::parse_spec(out);
  return spec ? Fault() : Fault(Wrong("must be a TPM: " + spec.error()));
}

using ChipKey = Key<ChipTable>;
constexpr std::array kChipKeys{
    ChipKey{"name", [](const TomlNode& n, ChipTable& c) { return take_chip_name(n, c.name); }},
    ChipKey{"tpm", [](const TomlNode& n, ChipTable& c) { return take_spec(n, c.tpm); }},
    ChipKey{"ledger", [](const TomlNode& n, ChipTable& c) { return take_ledger(n, c.ledger); }},
};

}  // namespace

std::string names_of(const std::vector<guard::Chip>& chips) {
  std::vector<std::string> names;
  names.reserve(chips.size());
  for (const guard::Chip& chip : chips) names.push_back(chip.name);
  return joined(names);
}

Fault take_ledger(const TomlNode& node, std::optional<std::string>& out) {
  if (!node.is(TomlNode::Kind::kText)) return "must be a string: a path, or \"\" for none";
  out = node.text;
  return std::nullopt;
}

std::vector<ChipTable> read_chips(const TomlNode& root, Faults& faults) {
  std::vector<ChipTable> out;
  for (const TomlNode* table : tables_of(root, "chip", limits::kChips, faults)) {
    ChipTable chip;
    read_table(*table, kChipKeys, chip, "chip.", faults);
    chip.line = static_cast<int>(table->place.line);
    if (const TomlNode* tpm = table->find("tpm")) chip.tpm_place = tpm->place;
    if (const TomlNode* ledger = table->find("ledger")) chip.ledger_place = ledger->place;
    if (table->find("name") == nullptr)
      faults.add(table->place, "this chip has no \"name\": listeners, namespaces and rules need the name");
    else if (table->find("tpm") == nullptr)
      faults.add(table->place, "this chip has no \"tpm\": name its TPM, such as \"device:/dev/tpm1\"");
    for (const ChipTable& other : out)
      if (!chip.name.empty() && other.name == chip.name)
        faults.add(table->find("name")->place,
                   fmt::format("the chip on line {} has the same name: each chip needs its own name", other.line));
    out.push_back(std::move(chip));
  }
  return out;
}

std::vector<std::string> known_chip_keys() {
  std::vector<std::string> out;
  out.reserve(kChipKeys.size());
  for (const auto& key : kChipKeys) out.push_back(fmt::format("chip.{}", key.name));
  return out;
}

}  // namespace tpmspace::config
