#include "guard/needs.h"

#include <algorithm>
#include <cstddef>

namespace tpmspace::guard {
namespace {

using wire::HandleUse;
using wire::Names;
using Sets = std::vector<SetMember>;

// Only these commands take any entity as the authorizing handle; other commands take a hierarchy.
bool takes_any_authority(const wire::CommandRow& row) {
  return row.permission == wire::PermissionClass::kSessions;
}

bool is_about_nv(const wire::CommandRow& row) {
  return row.name.starts_with("TPM2_NV_");
}

Sets sets_of_authority(const wire::CommandRow& row, std::size_t place) {
  if (!takes_any_authority(row)) return {&Profile::hierarchies};
  Sets out = {&Profile::hierarchies, &Profile::nv_authorize, &Profile::nv_pin, &Profile::pcr_read};
  // As in the verdict: binding a session to a key counts as use as a parent.
  out.push_back(place < row.auth_handles ? &Profile::persistent_use : &Profile::persistent_parent);
  return out;
}

Sets sets_of_use(const wire::CommandRow& row, std::size_t place) {
  switch (row.uses[place]) {
    case HandleUse::kUnknown: {
      Sets all;
      for (const SetOfProfile& one : kSets)
        if (one.set != &Profile::commands && one.set != &Profile::localities) all.push_back(one.set);
      return all;
    }
    case HandleUse::kOwn:
      return {};
    case HandleUse::kPublic:
      return {is_about_nv(row) ? &Profile::nv_public : &Profile::persistent_public};
    case HandleUse::kUse:
      return {&Profile::persistent_use, &Profile::hierarchies};
    case HandleUse::kParent:
      return {&Profile::persistent_parent, &Profile::hierarchies};
    case HandleUse::kSaltKey:
      return {&Profile::persistent_salt};
    case HandleUse::kAuthority:
      return sets_of_authority(row, place);
    case HandleUse::kNvAuthority:
      return {&Profile::hierarchies, &Profile::nv_by_owner, &Profile::nv_authorize, &Profile::nv_pin};
    case HandleUse::kNvRead:
      return {&Profile::nv_read};
    case HandleUse::kNvWrite:
      return {&Profile::nv_write};
    case HandleUse::kNvLock:
      return {&Profile::nv_lock};
    case HandleUse::kNvLockAll:
      return {&Profile::nv_lock, &Profile::hierarchies};
    case HandleUse::kNvDefine:
      return place < row.auth_handles ? Sets{&Profile::nv_define, &Profile::nv_pin} : Sets{&Profile::nv_define};
    case HandleUse::kPcrExtend:
      return {&Profile::pcr_extend};
    case HandleUse::kPcrReset:
      return {&Profile::pcr_reset};
    case HandleUse::kEvict:
      return {&Profile::persistent_evict};
  }
  return {};
}

Sets sets_of_names(Names names) {
  switch (names) {
    case Names::kNothing:
    case Names::kScheme:
      return {};
    case Names::kHierarchy:
    case Names::kHashAndHierarchy:
      return {&Profile::hierarchies};
    case Names::kPersistent:
      return {&Profile::persistent_evict};
    case Names::kNvPublic:
    case Names::kNvPublic2:
      return {&Profile::nv_define};
    case Names::kPcrs:
    case Names::kSchemeAndPcrs:
      return {&Profile::pcr_read};
  }
  return {};
}

// Only an index or a PCR can stand in this place, and the command concerns no other thing.
bool needs_what_is_there(const wire::CommandRow& row, std::size_t place) {
  switch (row.uses[place]) {
    case HandleUse::kNvRead:
    case HandleUse::kNvWrite:
    case HandleUse::kNvLock:
    case HandleUse::kNvLockAll:
    case HandleUse::kNvDefine:
    case HandleUse::kPcrReset:
    case HandleUse::kEvict:
      return true;
    case HandleUse::kPcrExtend:
      return row.handles == 1;
    case HandleUse::kPublic:
      return is_about_nv(row);
    default:
      return false;
  }
}

bool needs_what_is_named(const wire::CommandRow& row) {
  const Names names = row.names.what;
  const bool is_always_named = names == Names::kPersistent || names == Names::kNvPublic || names == Names::kNvPublic2;
  return is_always_named || row.permission == wire::PermissionClass::kPcrRead;
}

void add(Sets& out, const Sets& more) {
  for (const SetMember set : more)
    if (std::find(out.begin(), out.end(), set) == out.end()) out.push_back(set);
}

}  // namespace

std::vector<SetMember> sets_used_by(const wire::CommandRow& row) {
  Sets out = sets_of_names(row.names.what);
  for (std::size_t i = 0; i < row.handles; ++i) add(out, sets_of_use(row, i));
  return out;
}

std::vector<SetMember> sets_needed_by(const wire::CommandRow& row) {
  Sets out = needs_what_is_named(row) ? sets_of_names(row.names.what) : Sets();
  for (std::size_t i = 0; i < row.handles; ++i)
    if (needs_what_is_there(row, i)) add(out, {sets_of_use(row, i).front()});
  return out;
}

bool needs(const wire::CommandRow& row, SetMember set) {
  const Sets needed = sets_needed_by(row);
  return std::find(needed.begin(), needed.end(), set) != needed.end();
}

bool uses(const wire::CommandRow& row, SetMember set) {
  const Sets used = sets_used_by(row);
  return std::find(used.begin(), used.end(), set) != used.end();
}

const SetOfProfile* main_set_of(wire::PermissionClass permission) {
  const auto rows = wire::CommandTable::builtin().rows();
  const auto is_in_class = [&](const wire::CommandRow& row) { return row.permission == permission; };
  const auto all = std::count_if(rows.begin(), rows.end(), is_in_class);
  for (const SetOfProfile& one : kSets) {
    const auto count = std::count_if(
        rows.begin(), rows.end(), [&](const wire::CommandRow& row) { return is_in_class(row) && needs(row, one.set); });
    if (2 * count > all) return &one;
  }
  return nullptr;
}

}  // namespace tpmspace::guard
