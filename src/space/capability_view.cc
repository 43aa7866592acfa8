#include "space/capability_view.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "space/chip_lists.h"
#include "space/pools.h"
#include "wire/response.h"

namespace tpmspace::space {

using wire::HandleKind;
using wire::Reader;
using wire::Writer;

namespace {

constexpr std::size_t kMaxCapHandles = 254;  // MAX_CAP_BUFFER 1024: (1024 - 4 - 4) / 4

// TPM_PT_HR_...: the variable properties that describe room (Part 2, 6.13).
constexpr std::uint32_t kHrLoaded = 0x203, kHrLoadedAvail = 0x204;
constexpr std::uint32_t kHrActive = 0x205, kHrActiveAvail = 0x206;
constexpr std::uint32_t kHrTransientAvail = 0x207;

std::vector<std::uint32_t> transient_handles(const Books& books, SpaceId space, std::uint32_t first) {
  std::vector<std::uint32_t> out;
  const auto& objects = space_of(books, space).objects;
  for (auto it = objects.lower_bound(first); it != objects.end(); ++it) out.push_back(it->first);
  return out;
}

bool usable_in(const Session& session, SpaceId space) {
  return session.space == space && !session.client_saved;
}

// Sorted by number, from the number of `first` on.
std::vector<std::uint32_t> in_order(std::vector<std::uint32_t> handles, std::uint32_t first) {
  std::erase_if(handles, [&](std::uint32_t handle) { return wire::number_of(handle) < wire::number_of(first); });
  std::sort(handles.begin(), handles.end(),
            [](std::uint32_t one, std::uint32_t other) { return wire::number_of(one) < wire::number_of(other); });
  return handles;
}

// Usable sessions with their true type, loaded or not.
std::vector<std::uint32_t> loaded_session_handles(const Books& books, SpaceId space, std::uint32_t first) {
  std::vector<std::uint32_t> out;
  for (const auto& [number, session] : books.sessions)
    if (usable_in(session, space)) out.push_back(session.client.value);
  for (auto it = books.parked.lower_bound({space, 0}); it != books.parked.end() && it->first.space == space; ++it)
    out.push_back(it->second.client.value);
  return in_order(std::move(out), first);
}

// Client-saved sessions of the owner, always as 0x02nnnnnn: tpm2_flushcontext -s depends on this type.
std::vector<std::uint32_t> saved_session_handles(const Books& books, const Space& space, std::uint32_t first) {
  constexpr std::uint32_t kShownAs = 0x02000000;
  std::vector<std::uint32_t> out;
  const auto add = [&](const Session& session) {
    if (session.client_saved && may_take_up(space, session))
      out.push_back(kShownAs | wire::number_of(session.client.value));
  };
  for (const auto& [number, session] : books.sessions) add(session);
  for_each_file(books, space.owner, add);
  out = in_order(std::move(out), first);
  out.erase(std::unique(out.begin(), out.end()), out.end());  // files of parked sessions may have the same number
  return out;
}

std::uint32_t left_of(std::uint32_t limit, std::uint32_t used) {
  return limit > used ? limit - used : 0;
}

std::optional<std::uint32_t> property_in_space(std::uint32_t property, const Books& books, const Chip& chip,
                                               SpaceId id) {
  const Space& space = space_of(books, id);
  const auto usable = static_cast<std::uint32_t>(loaded_session_handles(books, id, 0).size());
  const auto saved = static_cast<std::uint32_t>(saved_session_handles(books, space, 0).size());
  const std::uint32_t active_limit = std::min(space.limits.sessions, chip.active_sessions);
  const RoomInPools pools = room_in_pools(books, chip, id);
  switch (property) {
    case kHrLoaded:
      return usable;
    case kHrLoadedAvail:
    case kHrActiveAvail:
      return std::min(left_of(active_limit, usable + saved), pools.sessions);
    case kHrActive:
      return usable + saved;
    case kHrTransientAvail:
      return std::min(
          left_of(space.limits.objects, static_cast<std::uint32_t>(space.objects.size() + space.taken_objects.size())),
          pools.objects);
    default:
      return std::nullopt;
  }
}

}  // namespace

std::optional<CapabilityQuery> capability_query(const wire::Command& command) {
  if (command.code() != wire::cc::kGetCapability) return std::nullopt;
  Reader in(command.parameters());
  const auto capability = in.u32();
  const auto property = in.u32();
  const auto count = in.u32();
  if (!capability || !property || !count || !in.empty()) return std::nullopt;
  return CapabilityQuery{*capability, *property, *count};
}

bool asks_for_our_handles(const CapabilityQuery& query) {
  if (query.capability != kCapHandles) return false;
  return wire::is_transient(query.property) || wire::is_session(query.property);
}

wire::Bytes handle_list(const CapabilityQuery& query, const Books& books, SpaceId space) {
  std::vector<std::uint32_t> handles;
  switch (wire::kind_of(query.property)) {
    case HandleKind::kTransient:
      handles = transient_handles(books, space, query.property);
      break;
    case HandleKind::kHmacSession:
      handles = loaded_session_handles(books, space, query.property);
      break;
    default:
      handles = saved_session_handles(books, space_of(books, space), query.property);
      break;
  }
  const std::size_t shown = std::min({handles.size(), kMaxCapHandles, static_cast<std::size_t>(query.count)});
  Writer out;
  out.u8(shown < handles.size() ? 1 : 0).u32(kCapHandles).u32(static_cast<std::uint32_t>(shown));
  for (std::size_t i = 0; i < shown; ++i) out.u32(handles[i]);
  return wire::success_response(out.bytes());
}

TpmPort::Result<wire::Bytes> properties_in_space(wire::ByteView parameters, const Books& books, const Chip& chip,
                                                 SpaceId space, TpmPort& port) {
  wire::Bytes out = wire::to_bytes(parameters);
  const View* view = space_of(books, space).limits.view.get();
  std::optional<ChipLists> lists;
  if (view != nullptr) lists.emplace(*view, port);
  Reader in(parameters);
  // moreData, capability, count, then (property, value) pairs
  const auto more = in.u8();
  const auto capability = in.u32();
  const auto count = in.u32();
  if (!more || capability != kCapTpmProperties || !count) return out;
  for (std::uint32_t i = 0; i < *count; ++i) {
    const auto property = in.u32();
    const std::size_t value_at = in.offset();
    if (!property || !in.u32()) break;
    auto value = property_in_space(*property, books, chip, space);
    if (!value && lists) {
      const auto listed = lists->property(*property);
      if (!listed) return tl::unexpected(listed.error());
      value = *listed;
    }
    if (value) wire::put_u32(out, value_at, *value);
  }
  return out;
}

}  // namespace tpmspace::space
