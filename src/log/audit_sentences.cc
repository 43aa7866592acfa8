#include "log/audit_sentences.h"

#include <fmt/format.h>

#include <algorithm>
#include <variant>

namespace tpmspace::log {
namespace {

std::string handle_text(std::uint32_t handle) {
  return fmt::format("0x{:08x}", handle);
}

struct OrderText {
  std::string operator()(const proto::FlushThese& these) const {
    std::string out = "flush of";
    const std::size_t named = std::min(these.handles.size(), kMostHandles);
    for (std::size_t i = 0; i < named; ++i)
      out += fmt::format("{} {}", i == 0 ? "" : ",", handle_text(these.handles[i]));
    if (named < these.handles.size()) out += fmt::format(" and {} more", these.handles.size() - named);
    return out;
  }
  std::string operator()(const proto::FlushAbandoned&) const { return "flush of the abandoned sessions"; }
  std::string operator()(const proto::FlushOwner& owner) const {
    return fmt::format("flush of the sessions of uid {}", owner.uid);
  }
  std::string operator()(const proto::ReserveThis& one) const {
    return fmt::format("{} of {}", one.reserved ? "reservation" : "release", handle_text(one.handle));
  }
};

}  // namespace

std::string sentence_of(const proto::SessionOrder& order) {
  return std::visit(OrderText{}, order);
}

std::string sentence_of_end(const std::string& order, wire::Rc code, const std::optional<std::size_t>& sessions) {
  if (code != wire::rc::kSuccess) return fmt::format("{}: the order failed: {}", order, wire::describe(code));
  if (!sessions) return order + ": the client disconnected before the end of the order";
  if (*sessions == 0) return order + ": no such session existed";
  return fmt::format("{}: {} session{}", order, *sessions, *sessions == 1 ? "" : "s");
}

std::optional<std::uint32_t> handle_of(const proto::SessionOrder& order) {
  const auto* one = std::get_if<proto::ReserveThis>(&order);
  return one == nullptr ? std::nullopt : std::optional(one->handle);
}

namespace {

// The parameter that names the made or switched thing, after so many TPM2Bs.
std::optional<std::uint32_t> named_in_parameters(const wire::Command& command) {
  const auto [what, after] = command.row().names;
  wire::Reader in(command.parameters());
  for (unsigned i = 0; i < after; ++i)
    if (!in.tpm2b()) return std::nullopt;
  switch (what) {
    case wire::Names::kHierarchy:
    case wire::Names::kPersistent:
      return in.u32();
    case wire::Names::kNvPublic:
      return in.u16() ? in.u32() : std::nullopt;
    case wire::Names::kNvPublic2:
      return in.u16() && in.u8() ? in.u32() : std::nullopt;
    default:
      return std::nullopt;
  }
}

bool only_authorizes(wire::HandleUse use) {
  return use == wire::HandleUse::kAuthority || use == wire::HandleUse::kNvAuthority;
}

}  // namespace

std::optional<std::uint32_t> handle_of(const wire::Command& command) {
  if (const auto named = named_in_parameters(command)) return named;
  for (std::size_t i = 0; i < command.handle_count(); ++i)
    if (!only_authorizes(command.row().uses[i])) return command.handle(i).value;
  return command.handle_count() == 0 ? std::nullopt : std::optional(command.handle(0).value);
}

std::string sentence_of(const observe::Reclaimed& session, const std::string& waiter) {
  using Why = observe::Taker::Why;
  const std::string left_behind = session.space == 0 ? ", and its connection is closed" : "";
  switch (session.by.why) {
    case Why::kLease:
      return fmt::format("the session was idle for longer than its lease, and {} waits for a session{}", waiter,
                         left_behind);
    case Why::kShare:
      return fmt::format("the session's owner has more than the fair share, and {} has waited for a session{}", waiter,
                         left_behind);
    case Why::kPool:
      return fmt::format(
          "the session's connection is closed, the lease is over, and a quota with this session was full for {}",
          waiter);
    case Why::kRoom:
      return fmt::format(
          "the object was idle for longer than its lease, its owner holds the most bytes of keys, and there was no "
          "room for {}",
          waiter);
    case Why::kOrder:
      return "by order of an administrator";
    case Why::kNotSame:
      return "the session was parked and could not be rebuilt: the state that its policy checked has changed";
    case Why::kLost:
      return "the TPM no longer has the session";
    case Why::kLeft:
      return "the session's connection is closed, and its owner left too many sessions behind";
    case Why::kAllLeft:
      return "the session's connection is closed, and all owners together left too many sessions behind";
  }
  return "";
}

}  // namespace tpmspace::log
