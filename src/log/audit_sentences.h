// Sentences of audit records on orders, commands and reclaimed sessions, without the full stop.
// Threads: functions of their arguments. Limits: kMostHandles handles are named, further handles are counted. Errors:
// none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "observe/account.h"
#include "proto/sessions.h"
#include "wire/command.h"
#include "wire/rc.h"

namespace tpmspace::log {

inline constexpr std::size_t kMostHandles = 16;

// "flush of the sessions of uid 33"
[[nodiscard]] std::string sentence_of(const proto::SessionOrder& order);
// "flush of the sessions of uid 33: 2 sessions". `code`: the code of a failure. `sessions`: nullopt: the
// number is unknown, since the client left before the end of the order.
[[nodiscard]] std::string sentence_of_end(const std::string& order, wire::Rc code,
                                          const std::optional<std::size_t>& sessions);
// The session of an order to reserve or release a session.
[[nodiscard]] std::optional<std::uint32_t> handle_of(const proto::SessionOrder& order);
// The target of a command that affects all users: the hierarchy, NV index, persistent object or PCR. Nullopt: the whole
// TPM, or it cannot be read.
[[nodiscard]] std::optional<std::uint32_t> handle_of(const wire::Command& command);
// `waiter`: the client or user that waits for a session, in words.
[[nodiscard]] std::string sentence_of(const observe::Reclaimed& session, const std::string& waiter);

}  // namespace tpmspace::log
