#include "config/profile_tables.h"

#include <algorithm>

#include "base/limits.h"
#include "config/names.h"
#include "guard/shipped.h"

namespace tpmspace::config {
namespace {

using guard::SessionTerms;

constexpr std::string_view kProfile = "profile", kDefault = "default";

// The base of a table.
struct ProfileDraft {
  guard::Profile profile;
  Numbers allow, deny;
  std::optional<std::string> base;
};

using TermsKey = Key<SessionTerms>;
constexpr std::array kTermKeys{
    TermsKey{"claim", [](const TomlNode& n, SessionTerms& t) { return take_number(n, t.claim, 1U); }},
    TermsKey{"lease", [](const TomlNode& n, SessionTerms& t) { return take_duration(n, t.lease); }},
    TermsKey{"tenure", [](const TomlNode& n, SessionTerms& t) { return take_duration(n, t.tenure); }},
    TermsKey{"deadline", [](const TomlNode& n, SessionTerms& t) { return take_duration(n, t.deadline); }},
    TermsKey{"exhaustion", [](const TomlNode& n, SessionTerms& t) { return take_exhaustion(n, t.exhaustion); }},
};

constexpr std::uint32_t kMostShare = 1'000'000;

using ProfileKey = Key<ProfileDraft>;
constexpr std::array kProfileKeys{
    ProfileKey{"base",
               [](const TomlNode& n, ProfileDraft& d) {
                 return take_into(d.base, [&](std::string& text) { return take_text(n, text); });
               }},
    ProfileKey{"allow", [](const TomlNode& n, ProfileDraft& d) { return take_commands(n, d.allow); }},
    ProfileKey{"deny", [](const TomlNode& n, ProfileDraft& d) { return take_commands(n, d.deny); }},
    ProfileKey{"localities",
               [](const TomlNode& n, ProfileDraft& d) { return take_numbers(n, kLocalities, d.profile.localities); }},
    ProfileKey{"hierarchies",
               [](const TomlNode& n, ProfileDraft& d) {
                 return take_numbers(n, kHierarchies, d.profile.hierarchies, hierarchy_named);
               }},
    ProfileKey{"objects",
               [](const TomlNode& n, ProfileDraft& d) { return take_number(n, d.profile.limits.objects, 1U); }},
    ProfileKey{"sessions",
               [](const TomlNode& n, ProfileDraft& d) { return take_number(n, d.profile.limits.sessions, 1U); }},
    ProfileKey{"connections",
               [](const TomlNode& n, ProfileDraft& d) { return take_number(n, d.profile.limits.connections, 1U); }},
    ProfileKey{"bytes", [](const TomlNode& n,
                           ProfileDraft& d) { return take_number(n, d.profile.limits.bytes, limits::kLeastBytes); }},
    ProfileKey{"share", [](const TomlNode& n,
                           ProfileDraft& d) { return take_number(n, d.profile.limits.share, 1U, kMostShare); }},
    ProfileKey{"priority", [](const TomlNode& n,
                              ProfileDraft& d) { return take_number(n, d.profile.limits.priority, std::uint8_t{0}); }},
    ProfileKey{"administer", [](const TomlNode& n, ProfileDraft& d) { return take_flag(n, d.profile.administer); }},
    ProfileKey{
        "endless_sessions",
        [](const TomlNode& n, ProfileDraft& d) { return take_number(n, d.profile.limits.endless_sessions, 0U); }},
    ProfileKey{"claim", [](const TomlNode& n, ProfileDraft& d) { return take_number(n, d.profile.terms.claim, 1U); }},
    ProfileKey{"lease", [](const TomlNode& n, ProfileDraft& d) { return take_duration(n, d.profile.terms.lease); }},
    ProfileKey{"tenure", [](const TomlNode& n, ProfileDraft& d) { return take_duration(n, d.profile.terms.tenure); }},
    ProfileKey{"deadline",
               [](const TomlNode& n, ProfileDraft& d) { return take_duration(n, d.profile.terms.deadline); }},
    ProfileKey{"exhaustion",
               [](const TomlNode& n, ProfileDraft& d) { return take_exhaustion(n, d.profile.terms.exhaustion); }},
};

// The sets with a separate table: "nv.read" is read in [profile.NAME.nv].
struct SetTable {
  std::string_view name;
  const NumberKind* kind;
};
constexpr SetTable kSetTables[] = {{"persistent", &kPersistentHandles}, {"nv", &kNvIndices}, {"pcr", &kPcrs}};

void read_sets(const TomlNode& table, const SetTable& kind, const std::string& prefix, guard::Profile& out,
               Faults& faults) {
  const std::string begin = std::string(kind.name) + ".";
  for (const TomlMember& member : table.members) {
    const auto found = std::find_if(guard::kSets.begin(), guard::kSets.end(),
                                    [&](const auto& one) { return one.name == begin + member.key; });
    const std::string name = prefix + begin + member.key;
    if (found != guard::kSets.end()) {
      if (const auto wrong = take_numbers(member.node, *kind.kind, out.*found->set))
        faults.add(member.node, name, *wrong);
      continue;
    }
    std::vector<std::string> known;
    for (const auto& one : guard::kSets)
      if (one.name.starts_with(begin)) known.emplace_back(one.name.substr(begin.size()));
    faults.add(member.place, unknown_key(prefix + begin, member.key, known));
  }
}

// Reads each profile once, its base first.
class ProfileReader {
 public:
  ProfileReader(const TomlNode& profiles, PolicyFile& out, Faults& faults)
      : profiles_(profiles), out_(out), faults_(faults) {}

  // Null: no such profile.
  const guard::Profile* profile(const std::string& name) {
    if (const auto known = out_.profiles.find(name); known != out_.profiles.end()) return &known->second.profile;
    if (const auto* shipped = guard::shipped_profile(name)) {
      guard::Profile copy = *shipped;
      copy.terms = out_.terms;
      copy.limits = out_.limits;
      return &shipped_.insert_or_assign(name, std::move(copy)).first->second;
    }
    const TomlNode* table = name == kDefault ? nullptr : profiles_.find(name);
    if (table == nullptr || !table->is(TomlNode::Kind::kTable)) return nullptr;
    begun_.push_back(name);
    PolicyFile::Own own = read(name, *table);
    begun_.pop_back();
    return &out_.profiles.insert_or_assign(name, std::move(own)).first->second.profile;
  }

 private:
  PolicyFile::Own read(const std::string& name, const TomlNode& table) {
    PolicyFile::Own own;
    own.line = static_cast<int>(table.place.line);
    own.profile.terms = out_.terms;
    own.profile.limits = out_.limits;
    if (const TomlNode* base = table.find("base"); base != nullptr && base->is(TomlNode::Kind::kText))
      if (const auto* found = this->base(name, *base)) own.profile = *found;

    ProfileDraft draft;
    draft.profile = std::move(own.profile);
    draft.profile.name = name;
    const std::string prefix = fmt::format("profile.{}.", name);
    read_table(table, kProfileKeys, draft, prefix, faults_, {{"persistent"}, {"nv"}, {"pcr"}});
    for (const SetTable& one : kSetTables)
      if (const auto* sets = subtable(table, one.name, prefix + std::string(one.name), faults_))
        read_sets(*sets, one, prefix, draft.profile, faults_);
    draft.profile.commands = (draft.profile.commands | draft.allow) - draft.deny;
    own.profile = std::move(draft.profile);
    own.base = std::move(draft.base);
    return own;
  }

  const guard::Profile* base(const std::string& name, const TomlNode& node) {
    if (const auto again = std::find(begun_.begin(), begun_.end(), node.text); again != begun_.end()) {
      std::vector<std::string> circle(again, begun_.end());
      circle.push_back(node.text);
      faults_.add(node.place,
                  fmt::format("\"profile.{}.base\" leads back to the profile itself: {}", name, joined(circle)));
      return nullptr;
    }
    const auto* found = profile(node.text);
    if (found == nullptr)
      faults_.add(node.place, fmt::format("\"profile.{}.base\" is \"{}\", and there is no such profile{}", name,
                                          node.text, node.text == kDefault ? ": \"default\" has only terms" : ""));
    return found;
  }

  const TomlNode& profiles_;
  PolicyFile& out_;
  Faults& faults_;
  std::map<std::string, guard::Profile> shipped_;
  std::vector<std::string> begun_;
};

}  // namespace

const NumberKind* kind_of(const guard::SetOfProfile& set) {
  if (set.set == &guard::Profile::localities) return &kLocalities;
  if (set.set == &guard::Profile::hierarchies) return &kHierarchies;
  for (const SetTable& table : kSetTables)
    if (set.name.starts_with(std::string(table.name) + ".")) return table.kind;
  return nullptr;
}

void read_profiles(const TomlNode& root, PolicyFile& out, Faults& faults) {
  const auto* profiles = subtable(root, kProfile, "profile.NAME", faults);
  if (profiles == nullptr) return;
  if (profiles->members.size() > limits::kProfiles)
    return faults.add(profiles->place, fmt::format("there are {} profiles, at most {} are possible",
                                                   profiles->members.size(), limits::kProfiles));
  ProfileReader reader(*profiles, out, faults);
  for (const auto& [name, place, node] : profiles->members) {
    if (name == kDefault) continue;
    if (!is_name(name))
      faults.add(place, fmt::format("\"{}\" cannot be the name of a profile: {} are possible", name, name_rule()));
    else if (guard::shipped_profile(name) != nullptr)
      faults.add(place, fmt::format("the profile \"{}\" is built in; give yours another name", name));
    else if (!node.is(TomlNode::Kind::kTable))
      faults.add(node.place,
                 fmt::format("\"profile.{0}\" must be a table: write [profile.{0}] on a line of its own", name));
    else
      (void)reader.profile(name);
  }
}

guard::SessionTerms read_default_terms(const TomlNode& root, Faults& faults) {
  SessionTerms out;
  const auto* profiles = root.find(kProfile);
  if (profiles == nullptr) return out;
  if (const auto* terms = subtable(*profiles, kDefault, "profile.default", faults))
    read_table(*terms, kTermKeys, out, "profile.default.", faults);
  return out;
}

std::vector<std::string> known_term_keys() {
  std::vector<std::string> out;
  out.reserve(kTermKeys.size());
  for (const auto& key : kTermKeys) out.push_back(fmt::format("profile.default.{}", key.name));
  return out;
}

std::vector<std::string> known_profile_keys() {
  std::vector<std::string> out;
  out.reserve(kProfileKeys.size() + guard::kSets.size());
  for (const auto& key : kProfileKeys) out.push_back(fmt::format("profile.NAME.{}", key.name));
  for (const auto& set : guard::kSets)
    for (const SetTable& table : kSetTables)
      if (set.name.starts_with(std::string(table.name) + ".")) out.push_back(fmt::format("profile.NAME.{}", set.name));
  return out;
}

}  // namespace tpmspace::config
