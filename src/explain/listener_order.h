// A listener that an administrator makes at run time: from the order to the listener, and the sentence about it.
//
// Idea: the rules for names, paths and localities are those of the configuration, and each mistake gets a sentence. A
// listener that can be made and is hardly meant gets a warning, as `policy check` would give one.
// Threads: functions of their arguments. Limits: as in config/names.h. Errors: one sentence with the failure and the
// remedy. Source: docs/policy.md.
#pragma once

#include <string>
#include <tl/expected.hpp>

#include "guard/listener.h"
#include "guard/rules.h"
#include "proto/listener_messages.h"

namespace tpmspace::explain {

// `main_path`: the main listener's path, beside which listeners without a path lie. Whether the chip exists is not
// checked here.
[[nodiscard]] tl::expected<guard::Listener, std::string> listener_of(const proto::ListenerEntry& entry,
                                                                     const guard::Policy& policy,
                                                                     const std::string& main_path);
// "the listener "two" is at /run/x, mode 0666", with warnings. Precondition: `made` is listener_of(entry, ...).
[[nodiscard]] std::string description_of(const proto::ListenerEntry& entry, const guard::Listener& made,
                                         const guard::Policy& policy);

}  // namespace tpmspace::explain
