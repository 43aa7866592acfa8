#include "explain/explain.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "explain/argument_error.h"
#include "explain/sample_command.h"
#include "guard/start_and_exit.h"
#include "peer/cgroup_names.h"
#include "peer/principal_of_peer.h"
#include "wire/rc.h"

namespace tpmspace::explain {
namespace {

template <typename T>
using Result = tl::expected<T, std::string>;

using Text = guard::Known<std::string>;
using Inode = guard::Known<std::uint64_t>;

// The parts of AS, before the check of the whole.
struct ClientDraft {
  std::optional<std::uint32_t> uid;
  std::vector<std::uint32_t> gids;  // the first group is the primary group
  std::optional<Text> cgroup, executable, label;
  std::optional<Inode> user_namespace, mount_namespace;
  bool is_unidentified = false;
  std::optional<std::string> listener, chip;
  std::optional<std::uint32_t> locality;
};

UsageError take_uid(const std::string& value, const config::Accounts& accounts, ClientDraft& out) {
  const auto number = config::number_in(value);
  const auto uid = number ? number : accounts.user(value);
  if (!uid)
    return fmt::format("this machine has no user \"{}\": write a number, or the name of a user of this machine", value);
  if (*uid == UINT32_MAX) return fmt::format("no user has the uid {}", *uid);
  if (out.uid) return "a client has one uid: remove the other";
  out.uid = uid;
  return std::nullopt;
}

UsageError take_gid(const std::string& value, const config::Accounts& accounts, ClientDraft& out) {
  const auto number = config::number_in(value);
  const auto gid = number ? number : accounts.group(value);
  if (!gid)
    return fmt::format("this machine has no group \"{}\": write a number, or the name of a group of this machine",
                       value);
  if (*gid == UINT32_MAX) return fmt::format("no group has the gid {}", *gid);
  out.gids.push_back(*gid);
  return std::nullopt;
}

// The unknown attributes.
constexpr std::string_view kUnknownWord = "unknown";

UsageError take_text(const std::string& value, std::optional<Text>& out) {
  return take_once(std::optional(value == kUnknownWord ? Text() : Text(value)), "", out);
}

UsageError take_path(const std::string& value, std::string_view example, std::optional<Text>& out) {
  if (value.front() != '/' && value != kUnknownWord)
    return fmt::format("the path must begin with a slash: {}", example);
  return take_text(value, out);
}

UsageError take_inode(const std::string& value, std::optional<Inode>& out) {
  if (value == kUnknownWord) return take_once(std::optional(Inode()), "", out);
  const auto number = config::number_in(value);
  return take_once(number ? std::optional(Inode(*number)) : std::nullopt,
                   "the value must be a number, the namespace's inode", out);
}

UsageError take_process(const std::string& value, ClientDraft& out) {
  if (value != kUnknownWord)
    return "the only value is process=unknown: the process was gone before tpmspaced could read its facts";
  out.is_unidentified = true;
  return std::nullopt;
}

UsageError take_locality(const std::string& value, std::optional<std::uint32_t>& out) {
  auto number = config::number_in(value);
  if (number && !config::is_possible(config::kLocalities, {*number, *number})) number.reset();
  return take_once(number, "localities are 0 to 4 and 32 to 255", out);
}

struct Word {
  std::string_view name, example;
  UsageError (*take)(const std::string& value, const config::Accounts& accounts, ClientDraft& out);
};
constexpr std::array kWords{
    Word{"uid", "uid=33", take_uid},
    Word{"gid", "gid=33", take_gid},
    Word{"cgroup", "cgroup=/system.slice/nginx.service",
         [](const std::string& v, const config::Accounts&, ClientDraft& d) {
           return take_path(v, "cgroup=/system.slice/nginx.service", d.cgroup);
         }},
    Word{"exe", "exe=/usr/sbin/nginx",
         [](const std::string& v, const config::Accounts&, ClientDraft& d) {
           return take_path(v, "exe=/usr/sbin/nginx", d.executable);
         }},
    Word{"label", "label=TEXT",
         [](const std::string& v, const config::Accounts&, ClientDraft& d) { return take_text(v, d.label); }},
    Word{"user_namespace", "user_namespace=4026531837",
         [](const std::string& v, const config::Accounts&, ClientDraft& d) { return take_inode(v, d.user_namespace); }},
    Word{
        "mount_namespace", "mount_namespace=4026531841",
        [](const std::string& v, const config::Accounts&, ClientDraft& d) { return take_inode(v, d.mount_namespace); }},
    Word{"process", "process=unknown",
         [](const std::string& v, const config::Accounts&, ClientDraft& d) { return take_process(v, d); }},
    Word{"listener", "listener=main",
         [](const std::string& v, const config::Accounts&, ClientDraft& d) {
           return take_once(std::optional(v), "", d.listener);
         }},
    Word{"chip", "chip=main",
         [](const std::string& v, const config::Accounts&, ClientDraft& d) {
           return take_once(std::optional(v), "", d.chip);
         }},
    Word{"locality", "locality=0",
         [](const std::string& v, const config::Accounts&, ClientDraft& d) { return take_locality(v, d.locality); }},
};

// Likely spellings, and their meanings.
struct OtherWord {
  std::string_view name, instead;
};
constexpr std::array kOtherWords{
    OtherWord{"user", "write uid=33, or uid= and a user's name"},
    OtherWord{"group", "write gid=33, or gid= and a group's name"},
    OtherWord{"executable", "write exe=/usr/sbin/nginx"},
    OtherWord{"unit", "the unit follows from the cgroup: write cgroup=/system.slice/nginx.service"},
    OtherWord{"container", "the container follows from the cgroup: write cgroup=/system.slice/docker-ID.scope"},
    OtherWord{"pod", "the pod follows from the cgroup: write cgroup= and its path"},
    OtherWord{"namespace",
              "the namespace follows from the other facts: leave it out, and the answer names the namespace"},
    OtherWord{"profile", "the profile follows from the other facts: leave it out, and the answer names the profile"},
};

std::string unknown_argument(std::string_view name) {
  for (const OtherWord& other : kOtherWords)
    if (other.name == name) return std::string(other.instead);
  std::vector<std::string> examples;
  examples.reserve(kWords.size());
  for (const Word& word : kWords) examples.emplace_back(word.example);
  return fmt::format("this is not a fact about a client; the facts are {}", config::joined(examples));
}

UsageError take(std::string_view name, const std::string& value, const config::Accounts& accounts, ClientDraft& out) {
  const auto found = std::find_if(kWords.begin(), kWords.end(), [&](const Word& word) { return word.name == name; });
  if (found == kWords.end()) return unknown_argument(name);
  if (value.empty()) return fmt::format("the value is missing: write {}, or leave the fact out", found->example);
  // "uid=33 gid=33": a label may contain such a text.
  if (name != "label" && value.find_first_of(" ;") < value.find('=') && value.find('=') != std::string::npos)
    return "this is more than one fact: separate facts by commas";
  return found->take(value, accounts, out);
}

Result<ClientDraft> draft_from(std::string_view as, const config::Accounts& accounts) {
  ClientDraft out;
  while (!as.empty()) {
    std::string_view word = as.substr(0, as.find(','));
    as.remove_prefix(std::min(word.size() + 1, as.size()));
    word.remove_prefix(std::min(word.find_first_not_of(' '), word.size()));
    const auto equals = word.find('=');
    if (equals == std::string_view::npos)
      return tl::unexpected(fmt::format("\"{}\" has no name: write uid=33, and separate facts by commas", word));
    if (const auto wrong = take(word.substr(0, equals), std::string(word.substr(equals + 1)), accounts, out))
      return tl::unexpected(fmt::format("\"{}\": {}", word, *wrong));
  }
  if (!out.uid) return tl::unexpected(std::string("the uid is missing: write uid=33"));
  return out;
}

std::string line_of(const guard::Rule& rule, const std::string& file) {
  if (rule.line == 0)
    return fmt::format("the standard rule for root and tpmspaced's own user (assumed to be {})",
                       rule.uids->ranges().back().last);
  return fmt::format("{}:{}", file, rule.line);
}

std::string names_of(const std::vector<guard::Listener>& listeners) {
  std::vector<std::string> names = {std::string(guard::kMainListener)};
  for (const guard::Listener& listener : listeners) names.push_back(listener.name);
  return config::joined(names);
}

// Another chip than the client's own is for administrators.
UsageError choose_chip(const std::string& name, const guard::Access& access, Visitor& visitor) {
  std::optional<std::string>& chip = visitor.principal.chip;
  if (std::none_of(access.chips.begin(), access.chips.end(), [&](const guard::Chip& one) { return one.name == name; }))
    return fmt::format("there is no chip \"{}\"; there are: {}", name, config::names_of(access.chips));
  if (!access.choose(visitor.principal, visitor.listener).profile.administer)
    return fmt::format(
        "uid {} cannot choose the chip \"{}\", because only administrators choose a chip: the client uses \"{}\", the "
        "chip of its listener or namespace; leave chip= out, or name a listener of that chip with listener=",
        visitor.principal.uid, name, *chip);
  chip = name;
  visitor.chose_chip = true;
  return std::nullopt;
}

// An omitted attribute is known to be ordinary.
guard::Principal principal_of(const ClientDraft& draft) {
  auto out = guard::Principal::ordinary(*draft.uid);
  out.tpm_namespace = {};
  out.gids = draft.gids;
  if (draft.label) out.lsm_label = *draft.label;
  if (draft.is_unidentified) {
    out.cgroup = out.unit = out.container = out.pod = out.executable = Text();
    out.user_namespace = out.mount_namespace = Inode();
    out.is_native = guard::Match::kMaybe;
    out.is_unidentified = true;
    return out;
  }
  if (draft.executable) out.executable = *draft.executable;
  if (draft.user_namespace) out.user_namespace = *draft.user_namespace;
  if (draft.mount_namespace) out.mount_namespace = *draft.mount_namespace;
  if (draft.cgroup) peer::set_cgroups(out, peer::facts_of(*draft.cgroup));
  return out;
}

// The source of the chip.
std::string origin_of_chip(const Visitor& visitor, const guard::Access& access, const guard::Namespace* home) {
  const guard::Listener* listener = access.listener(visitor.listener);
  if (visitor.chose_chip) return "chosen by the client, which may administer";
  if (listener != nullptr && listener->chip) return fmt::format("of the listener \"{}\"", listener->name);
  if (home != nullptr && home->chip) return fmt::format("of the namespace \"{}\"", home->name);
  return "because its listener and namespace have no chip";
}

}  // namespace

Result<Visitor> visitor_from(std::string_view as, const guard::Access& access, const config::Accounts& accounts) {
  auto draft = draft_from(as, accounts);
  if (!draft) return tl::unexpected(draft.error());
  Visitor out;
  out.principal = principal_of(*draft);
  out.listener = draft->listener.value_or(out.listener);
  const guard::Listener* listener = access.listener(out.listener);
  if (listener == nullptr && out.listener != guard::kMainListener)
    return tl::unexpected(
        fmt::format("there is no listener \"{}\"; there are: {}", out.listener, names_of(access.listeners)));
  const std::optional<std::uint8_t> fixed = listener == nullptr ? std::nullopt : listener->locality;
  if (fixed && draft->locality.value_or(*fixed) != *fixed)
    return tl::unexpected(fmt::format("the listener \"{}\" has the fixed locality {}", out.listener, *fixed));
  out.locality = fixed.value_or(static_cast<std::uint8_t>(draft->locality.value_or(0)));
  const auto homes = access.policy.homes_of(out.principal, out.listener);
  const auto* home = homes.front();
  if (homes.size() == 1) out.principal.tpm_namespace = home != nullptr ? Text(home->name) : Text::none();
  out.principal.chip = guard::chip_of(listener == nullptr ? guard::Entrance{} : guard::entrance_of(*listener), home);
  if (!draft->chip || *draft->chip == out.principal.chip) return out;
  if (auto wrong = choose_chip(*draft->chip, access, out)) return tl::unexpected(*std::move(wrong));
  return out;
}

Result<Explanation> explain_choice(guard::Choice choice, std::uint8_t locality, std::span<const std::string> words,
                                   wire::CommandTable table) {
  auto sample = sample_command(words, table);
  if (!sample) return tl::unexpected(sample.error());
  Explanation out;
  out.choice = std::move(choice);
  out.verdict = guard::judge(out.choice.profile, sample->command, locality);
  if (!out.verdict.allowed()) out.answer = guard::sentence_of_answer(sample->command.code(), out.verdict.reason);
  out.answered = !out.answer.empty() && guard::commands_of_everybody().contains(sample->command.code());
  if (out.verdict.reason == guard::Reason::kUnreadable && !sample->wanted.empty())
    return tl::unexpected(fmt::format("the profile \"{}\" judges parameters of {}: add {}", out.choice.profile.name,
                                      sample->text, sample->wanted));
  out.pins = guard::tried_indices(sample->command) - out.choice.profile.nv_pin;
  out.command = std::move(sample->text);
  return out;
}

Result<Explanation> explain(const guard::Access& access, const Visitor& visitor, std::span<const std::string> words) {
  auto out = explain_choice(access.choose(visitor.principal, visitor.listener), visitor.locality, words,
                            wire::CommandTable::builtin());
  if (!out) return out;
  out->by_listener = visitor.listener;
  if (const auto& name = visitor.principal.tpm_namespace.value()) out->home = access.policy.namespace_named(*name);
  out->chip = visitor.principal.chip.value_or(std::string(guard::kMainChip));
  out->chip_from = origin_of_chip(visitor, access, out->home);
  out->no_administrator = why_no_administrator(visitor.principal, out->choice, access.policy, out->home).value_or("");
  return out;
}

std::string verdict_text(const Explanation& explanation) {
  const guard::Verdict& verdict = explanation.verdict;
  const char* word = explanation.answered ? "answered" : explanation.succeeds() ? "allowed" : "refused";
  std::string out = fmt::format("{}: {}\n", explanation.command, word);
  if (!explanation.answer.empty()) out += fmt::format("  answer   {}\n", explanation.answer);
  if (!explanation.succeeds())
    out += fmt::format("  code     {}\n  reason   {}\n", wire::describe(wire::from_manager(verdict.rc)),
                       guard::sentence(verdict));
  if (verdict.allowed() && !explanation.pins.empty())
    out += fmt::format("  unless   {:#010x} is a PIN Fail index: the profile does not list it under nv.pin\n",
                       explanation.pins.ranges().front().first);
  return out;
}

std::vector<std::string> reasons_of(const guard::Choice& choice, const guard::Access& access,
                                    const guard::Namespace* home, const guard::Entrance& entrance,
                                    const std::string& file) {
  std::vector<std::string> out;
  for (const auto place : choice.rules) {
    const guard::Rule& rule = access.policy.rules()[place];
    out.push_back(
        fmt::format("{}: {} \"{}\"", line_of(rule, file), rule.only_narrows() ? "narrows to" : "gives", rule.profile));
  }
  if (choice.by_namespace && home != nullptr)
    out.push_back(
        fmt::format("{}:{}, the profile of the namespace: gives \"{}\"", file, home->line, home->profile.value_or("")));
  if (choice.by_listener) {
    const guard::Listener* listener = access.listener(entrance.listener);
    const std::string where = listener != nullptr ? fmt::format("{}:{}", file, listener->line) : "made at run time";
    out.push_back(fmt::format("{}, the profile of the listener \"{}\": gives \"{}\"", where, entrance.listener,
                              entrance.profile));
  }
  for (const auto place : choice.by_namespace ? choice.homes : std::vector<std::size_t>())
    if (const guard::Namespace& one = access.policy.namespaces()[place]; one.profile)
      out.push_back(fmt::format("{}:{}, the profile of the namespace: gives \"{}\"", file, one.line, *one.profile));
  if (choice.by_default)
    out.push_back(fmt::format("no rule {}: the standard profile \"safe\" holds (docs/profiles.md)",
                              choice.rules.empty() ? "matches" : "gives a profile"));
  return out;
}

std::optional<std::string> why_no_administrator(const guard::Principal& principal, const guard::Choice& choice,
                                                const guard::Policy& policy, const guard::Namespace* home) {
  const bool is_named = std::any_of(policy.rules().begin(), policy.rules().end(), [&](const guard::Rule& rule) {
    return rule.line == 0 && rule.uids && rule.uids->contains(principal.uid);
  });
  const bool is_left_to_it = choice.by_default || (choice.in_doubt && !choice.by_listener);
  if (!is_named || !is_left_to_it || choice.profile.administer) return std::nullopt;
  const std::string user = principal.uid == 0 ? "root" : "tpmspaced's own user";
  const auto none = [&](std::string_view where) { return fmt::format("{} {} is not an administrator", user, where); };
  if (principal.is_unidentified || principal.is_native == guard::Match::kMaybe)
    return fmt::format(
        "{} is an administrator only if the process is known to be the machine's own, which is unknown of this process",
        user);
  if (principal.container.value() || principal.pod.value()) return none("in a container or pod");
  if (principal.is_native == guard::Match::kNo) {
    if (!principal.cgroup.is_known()) return none("in another user namespace than tpmspaced's, or in a container,");
    const bool is_contained = peer::facts_of(principal.cgroup).is_contained == guard::Match::kYes;
    return none(is_contained ? "in a container" : "in another user namespace than tpmspaced's");
  }
  if (home == nullptr) return std::nullopt;
  return none(fmt::format("in the namespace \"{}\", which has a condition on the place of its members,", home->name));
}

std::string text_of(const Explanation& explanation, const guard::Access& access, const std::string& file) {
  const guard::Namespace* home = explanation.home;
  std::string out = verdict_text(explanation);
  const guard::Choice& choice = explanation.choice;
  if (choice.in_doubt) out += "  doubt    an unknown fact decides: the client gets the least of all possible results\n";
  for (const auto place : choice.homes)
    out += fmt::format("  perhaps  member of the namespace \"{}\", {}:{}\n", access.policy.namespaces()[place].name,
                       file, access.policy.namespaces()[place].line);
  if (home != nullptr) out += fmt::format("  member   of the namespace \"{}\", {}:{}\n", home->name, file, home->line);
  if (access.chips.size() > 1) out += fmt::format("  chip     {}, {}\n", explanation.chip, explanation.chip_from);
  out += fmt::format("  profile  {}\n", explanation.choice.profile.name);
  const guard::Listener* listener = access.listener(explanation.by_listener);
  const guard::Entrance entrance =
      listener != nullptr ? guard::entrance_of(*listener) : guard::Entrance{.listener = explanation.by_listener};
  for (const std::string& reason : reasons_of(explanation.choice, access, home, entrance, file))
    out += fmt::format("  rule     {}\n", reason);
  if (!explanation.no_administrator.empty()) out += fmt::format("  because  {}\n", explanation.no_administrator);
  return out;
}

}  // namespace tpmspace::explain
