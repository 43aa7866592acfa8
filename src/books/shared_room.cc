#include "books/shared_room.h"

#include <algorithm>

#include "base/invariant.h"

namespace tpmspace::space {

namespace {

std::uint64_t left_of(std::uint64_t limit, std::uint64_t used) {
  return limit > used ? limit - used : 0;
}

}  // namespace

ShareRule ShareRule::of(std::uint64_t size, std::uint64_t least) {
  constexpr std::uint64_t kForAdministrators = 16, kAtMost = 4, kForMinimums = 2;
  ShareRule out;
  out.size = size;
  out.for_administrators = std::min(std::max(size / kForAdministrators, least), size / kAtMost);
  const std::uint64_t for_minimums = std::max(size / kForMinimums, std::min(least, size - out.for_administrators));
  out.minimum = std::max(for_minimums / kOwners, least);
  out.owners = out.minimum == 0 ? 0 : std::min(kOwners, for_minimums / out.minimum);
  return out;
}

SharedRoom SharedRoom::by(const ShareRule& rule) const {
  SharedRoom out(rule);
  for (const auto& [payer, amount] : held_) out.take(payer, amount);
  return out;
}

std::uint64_t SharedRoom::taken(const Payer& payer) const {
  const auto found = held_.find(payer);
  return found == held_.end() ? 0 : found->second;
}

bool SharedRoom::admits(const Payer& payer, std::uint64_t more) const {
  const std::uint64_t own = taken(payer), minimum = rule_.minimum_of(payer);
  const std::uint64_t minimums = rule_.minimum * rule_.owners;
  std::uint64_t within = left_of(minimum, own);
  if (!payer.administers) within = std::min(within, left_of(minimums, in_minimums_));
  if (more <= within) return true;
  // For owners that came after all minimums were taken, the whole amount is in the common part.
  const std::uint64_t free = left_of(rule_.common(), beyond_ + left_of(in_minimums_, minimums));
  const std::uint64_t beyond = more - within;
  return beyond <= free && left_of(own, minimum) + beyond <= free;
}

void SharedRoom::change(const Payer& payer, std::uint64_t from, std::uint64_t to) {
  const std::uint64_t minimum = rule_.minimum_of(payer);
  std::uint64_t& within = payer.administers ? of_administrators_ : in_minimums_;
  within = within - std::min(from, minimum) + std::min(to, minimum);
  beyond_ = beyond_ - left_of(from, minimum) + left_of(to, minimum);
  if (to == 0)
    held_.erase(payer);
  else
    held_[payer] = to;
  if (payer.administers) return;
  by_amount_.erase({from, payer.owner});
  if (to != 0) by_amount_.insert({to, payer.owner});
}

void SharedRoom::take(const Payer& payer, std::uint64_t more) {
  const std::uint64_t own = taken(payer);
  change(payer, own, own + more);
}

void SharedRoom::give_back(const Payer& payer, std::uint64_t less) {
  const std::uint64_t own = taken(payer);
  if (!TPMSPACE_HOLDS(own >= less)) return;
  change(payer, own, own - less);
}

std::optional<Payer> SharedRoom::largest() const {
  if (by_amount_.empty()) return std::nullopt;
  return Payer{by_amount_.rbegin()->second, false};
}

}  // namespace tpmspace::space
