// Which sets a command needs: by class, and in agreement with the verdict.
#include "guard/needs.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>
#include <string>

#include "guard/verdict.h"
#include "profiles.h"

namespace tpmspace::guard {
namespace {

std::string set_of_class(std::string_view name) {
  for (const auto& row : wire::CommandTable::builtin().rows())
    if (wire::name_of(row.permission) == name) {
      const auto* set = main_set_of(row.permission);
      return set == nullptr ? "" : std::string(set->name);
    }
  return "no such class";
}

TEST(Needs, AClassNamesItsSet) {
  const std::map<std::string, std::string> wanted = {{"nv-read", "nv.read"},     {"nv-write", "nv.write"},
                                                     {"nv-lock", "nv.lock"},     {"nv-define", "nv.define"},
                                                     {"pcr-read", "pcr.read"},   {"pcr-extend", "pcr.extend"},
                                                     {"pcr-reset", "pcr.reset"}, {"evict", "persistent.evict"}};
  for (const auto& row : wire::CommandTable::builtin().rows()) {
    const std::string name(wire::name_of(row.permission));
    const auto found = wanted.find(name);
    EXPECT_EQ(set_of_class(name), found == wanted.end() ? "" : found->second) << name;
  }
}

TEST(Needs, ANeededSetIsUsed) {
  for (const auto& row : wire::CommandTable::builtin().rows())
    for (const SetMember set : sets_needed_by(row)) EXPECT_TRUE(uses(row, set)) << row.name;
}

TEST(Needs, EverySetIsUsedBySomeCommand) {
  const auto rows = wire::CommandTable::builtin().rows();
  for (const SetOfProfile& one : kSets) {
    if (one.set == &Profile::commands || one.set == &Profile::localities) continue;
    EXPECT_TRUE(std::any_of(rows.begin(), rows.end(), [&](const auto& row) { return uses(row, one.set); })) << one.name;
  }
}

// Of authorities, which may be any entity though only a hierarchy makes sense, nothing is said.
RC_GTEST_PROP(Needs, TheSetThatRefusesACommandIsUsedByIt, ()) {
  const wire::Command command = any_command();
  const Verdict verdict = judge(any_profile(), command, 0);
  const bool is_about_a_set = verdict.reason == Reason::kNv || verdict.reason == Reason::kEveryNv ||
                              verdict.reason == Reason::kNvAuthority || verdict.reason == Reason::kPcr;
  if (!is_about_a_set) return;
  const auto set = std::find_if(kSets.begin(), kSets.end(), [&](const auto& one) { return one.name == verdict.key; });
  RC_ASSERT(set != kSets.end());
  if (set->set == &Profile::nv_authorize || set->set == &Profile::pcr_read) return;
  const auto& row = command.row();
  const bool is_public = std::find(row.uses.begin(), row.uses.end(), wire::HandleUse::kPublic) != row.uses.end();
  if (is_public && !row.name.starts_with("TPM2_NV_")) return;
  RC_ASSERT(uses(row, set->set));
}

}  // namespace
}  // namespace tpmspace::guard
