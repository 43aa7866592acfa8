#include "guard/learned.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "guard/verdict.h"
#include "wire/handle.h"

namespace tpmspace::guard {
namespace {

using Range = Numbers::Range;
using Candidates = std::vector<std::uint32_t>;

// The possible members of a set in the configuration, in the order of kSets' names.
struct Kind {
  std::string_view begin;  // prefix of the set's name
  Range every;
};
constexpr Kind kKinds[] = {
    {"hierarchies", {0x40000000, 0x40FFFFFF}},
    {"persistent.", {0x81000000, 0x81FFFFFF}},
    {"nv.", {0x01000000, 0x01FFFFFF}},
    {"pcr.", {0, 63}},  // a selection has at most eight bytes (guard/verdict.cc)
};
const Kind* kind_of(const SetOfProfile& set) {
  const auto* found = std::find_if(std::begin(kKinds), std::end(kKinds),
                                   [&](const Kind& one) { return set.name.starts_with(one.begin); });
  return found == std::end(kKinds) ? nullptr : found;
}

// Every number that may be a handle, wherever it stands. In the parameters, a handle follows shortly after the TPM2Bs
// that the row counts; `judge` could not read a handle elsewhere.
Candidates handles_in(const wire::Command& command) {
  constexpr std::size_t kOffsets = 8;  // size and kind of TPMT_NV_PUBLIC_2, a hash before a hierarchy: at most three
  Candidates out;
  for (std::size_t i = 0; i < command.handle_count(); ++i) out.push_back(command.handle(i).value);
  wire::Reader in(command.parameters());
  for (unsigned i = 0; i < command.row().names.after; ++i)
    if (!in.tpm2b()) return out;
  const auto rest = in.rest();
  for (std::size_t at = 0; at < std::min(rest.size(), kOffsets); ++at)
    if (const auto number = wire::Reader(rest.subspan(at)).u32()) out.push_back(*number);
  return out;
}

Candidates candidates(const SetOfProfile& set, const wire::Command& command, std::uint8_t locality) {
  // A scheme that spends a commitment needs Commit, too.
  if (set.set == &Profile::commands) return {command.code(), wire::cc::kCommit};
  if (set.set == &Profile::localities) return {locality};
  Candidates out = handles_in(command);
  const Kind* kind = kind_of(set);
  if (kind == nullptr) return out;
  if (set.name.starts_with("pcr."))
    for (std::uint32_t pcr = kind->every.first; pcr <= kind->every.last; ++pcr) out.push_back(pcr);
  std::erase_if(out, [&](std::uint32_t one) {
    const bool nv = set.name.starts_with("nv.") && wire::is_nv(one);
    return !nv && (one < kind->every.first || one > kind->every.last);
  });
  return out;
}

// Settles one set after the other.
class Lesson {
 public:
  Lesson(const Profile& so_far, const wire::Command& command, std::uint8_t locality)
      : command_(command), locality_(locality), trial_(so_far) {
    for (const auto& one : kSets) trial_.*one.set = Numbers::all();
  }

  void settle(const SetOfProfile& set, Numbers& numbers) {
    if (!allowed_with(set, numbers)) grow(set, numbers);
    trial_.*set.set = numbers;
  }

 private:
  [[nodiscard]] bool allowed_with(const SetOfProfile& set, const Numbers& numbers) {
    trial_.*set.set = numbers;
    return judge(trial_, command_, locality_).allowed();
  }

  void grow(const SetOfProfile& set, Numbers& numbers) {
    Candidates added = candidates(set, command_, locality_);
    std::sort(added.begin(), added.end());
    added.erase(std::unique(added.begin(), added.end()), added.end());
    std::erase_if(added, [&](std::uint32_t one) { return numbers.contains(one); });
    std::vector<Range> ranges;
    ranges.reserve(added.size());
    for (const auto one : added) ranges.push_back({one, one});
    Numbers grown = numbers | Numbers(std::move(ranges));
    if (!allowed_with(set, grown)) return take_whole(set, numbers);
    for (const auto one : added) {
      Numbers without = grown - Numbers::one(one);
      if (allowed_with(set, without)) grown = std::move(without);
    }
    numbers = std::move(grown);
  }

  void take_whole(const SetOfProfile& set, Numbers& numbers) {
    if (const Kind* kind = kind_of(set)) {
      Numbers every = numbers | Numbers{kind->every};
      if (allowed_with(set, every)) {
        numbers = std::move(every);
        return;
      }
    }
    numbers = Numbers::all();
  }

  const wire::Command& command_;
  const std::uint8_t locality_;
  Profile trial_;  // settled sets as they are, all other sets full
};

}  // namespace

Profile learn(Profile so_far, const wire::Command& command, std::uint8_t locality) {
  if (const Numbers tried = tried_indices(command); !tried.empty()) so_far.nv_pin = so_far.nv_pin | tried;
  if (judge(so_far, command, locality).allowed()) return so_far;
  Lesson lesson(so_far, command, locality);
  for (const auto& one : kSets) lesson.settle(one, so_far.*one.set);
  return so_far;
}

bool has_room(const Profile& learned) {
  std::size_t all = 0;
  for (const auto& one : kSets) {
    std::size_t entries = (learned.*one.set).ranges().size();
    if (one.set == &Profile::commands) {
      std::uint64_t codes = 0;
      for (const Range& range : learned.commands.ranges()) codes += std::uint64_t{range.last} - range.first + 1;
      entries = static_cast<std::size_t>(std::min<std::uint64_t>(codes, SIZE_MAX));
    }
    if (entries > kMostEntries) return false;
    all += entries;
  }
  return all <= kMostEntriesInAll;
}

}  // namespace tpmspace::guard
