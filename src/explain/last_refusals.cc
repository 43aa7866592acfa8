#include "explain/last_refusals.h"

#include <fmt/format.h>

#include <utility>

namespace tpmspace::explain {

std::string_view reason_of(wire::Rc code) {
  const wire::Rc base = wire::base_code(code);
  const auto is_reference = [&](wire::Rc first) { return base >= first && base < first + 7; };
  if (base == wire::rc::kHandle || is_reference(wire::rc::kReferenceH0) || is_reference(wire::rc::kReferenceS0))
    return "the connection has no object or session of this handle: another connection made it, or it was flushed or "
           "reclaimed";
  switch (base) {
    case wire::rc::kObjectMemory:
      return "a limit of objects, or of saved contexts, is reached: of the space, the user, the namespace or the "
             "profile";
    case wire::rc::kSessionMemory:
    case wire::rc::kSessionHandles:
      return "no session was free in time, or a limit of sessions is reached: `tpmspace sessions` lists the sessions";
    case wire::rc::kMemory:
      return "too many commands of this user are queued, or a limit of connections is reached";
    case wire::rc::kFailure:
      return "the TPM does not answer: `tpmspace doctor` says more";
    case wire::rc::kCommandCode:
      return "the TPM has no such command";
    default:
      return "tpmspaced answered the command without the TPM: docs/transparency.md lists such commands with the "
             "reasons";
  }
}

std::string sentence_of_lockout(bool by_own_share, std::uint32_t interval) {
  return fmt::format(
      "this client has no try of an authorization left: {}; one try comes back after each {} s without a failure, and "
      "`{}` as root gives back all tries",
      by_own_share ? "its owner's share is used up" : "the common share of all users without privileges is used up",
      interval, "tpm2_dictionarylockout -c");
}

void LastRefusals::note(const space::Holder& who, Refusal refusal) {
  const auto [owner, is_new] = owners_.try_emplace(who.owner);
  OfOwner& known = owner->second;
  if (is_new)
    known.place = order_.insert(order_.end(), who.owner);
  else
    order_.splice(order_.end(), order_, known.place);
  std::erase_if(known.users, [&](const OfUser& one) { return one.user == who.part.user; });
  if (known.users.size() == kUsers) known.users.erase(known.users.begin());
  known.users.push_back({who.part.user, std::move(refusal)});
  if (owners_.size() > kOwners) {
    owners_.erase(order_.front());
    order_.pop_front();
  }
}

const Refusal* LastRefusals::of(const space::Holder& who, Clock::time_point now) const {
  const auto owner = owners_.find(who.owner);
  if (owner == owners_.end()) return nullptr;
  for (const OfUser& one : owner->second.users)
    if (one.user == who.part.user && now - one.refusal.at < kKept) return &one.refusal;
  return nullptr;
}

}  // namespace tpmspace::explain
