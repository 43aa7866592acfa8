// The response codes with which the daemon itself refuses, with the resource manager's layer.
#pragma once

#include <cstdint>
#include <tl/expected.hpp>
#include <utility>

#include "proto/control.h"
#include "wire/rc.h"

namespace tpmspace::daemon {

inline constexpr wire::Rc kNoPlace = wire::from_manager(wire::rc::kMemory);
inline constexpr wire::Rc kNoChip = wire::from_manager(wire::rc::kFailure);
inline constexpr wire::Rc kNotAllowed = wire::from_manager(wire::rc::kDisabled);

[[nodiscard]] inline proto::Refusal refusal_of_request(std::uint32_t type, wire::Rc code) {
  return {.type = type, .code = code, .version = proto::kProtocolVersion};
}

// The reply that has the result in it, or the refusal.
template <typename Reply, typename Result>
[[nodiscard]] proto::Reply reply_or_refusal(proto::MessageType type, tl::expected<Result, wire::Rc> result) {
  if (!result) return refusal_of_request(static_cast<std::uint32_t>(type), result.error());
  return Reply{*std::move(result)};
}

}  // namespace tpmspace::daemon
