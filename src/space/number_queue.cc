#include "space/number_queue.h"

#include <algorithm>

#include "base/invariant.h"

namespace tpmspace::space {

namespace {

// Kinds are numbers; no TPM has this number (Part 2, 7.2: a number has 24 bits).
constexpr std::uint64_t kAny = UINT64_MAX;

}  // namespace

void NumberQueue::add(const Guest& guest) {
  queue_.add({.id = guest.id,
              .space = guest.space,
              .owner = guest.owner,
              .since = guest.since,
              .deadline = guest.deadline,
              .kind = {.what = guest.number ? *guest.number : kAny}});
}

std::optional<NumberQueue::Id> NumberQueue::expired(std::uint64_t now) {
  queue_.advance(now);
  return queue_.late();
}

std::optional<std::uint64_t> NumberQueue::due_at(const SessionBook& book, const Heads& heads) const {
  const auto& [shelf, by_turn] = heads;
  if (!TPMSPACE_HOLDS(!by_turn.empty())) return std::nullopt;
  const OwnerId asker = by_turn.begin()->owner;
  if (shelf.kind.what == kAny) return book.number_at(queue_.guests().begin()->second.since, asker, std::nullopt);
  return book.number_at(queue_.first_of(shelf.kind).since, asker, static_cast<std::uint32_t>(shelf.kind.what));
}

std::optional<NumberQueue::Id> NumberQueue::next(const SessionBook& book, std::uint64_t now) {
  queue_.advance(now);
  const WaitQueue::Head* first = nullptr;
  for (const Heads& heads : queue_.shelves()) {
    ++looked_at_;
    const auto at = due_at(book, heads);
    const WaitQueue::Head& head = *heads.second.begin();
    if (at && *at <= now && (first == nullptr || head < *first)) first = &head;
  }
  return first == nullptr ? std::nullopt : std::optional(queue_.at(first->arrival).id);
}

std::uint64_t NumberQueue::look_again(const SessionBook& book) const {
  std::uint64_t out = queue_.next_change();
  for (const Heads& heads : queue_.shelves()) out = std::min(out, due_at(book, heads).value_or(UINT64_MAX));
  return out;
}

}  // namespace tpmspace::space
