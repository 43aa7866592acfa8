// The response codes with which the daemon itself refuses, with the resource manager's layer.
#pragma once

#include "wire/rc.h"

namespace tpmspace::daemon {

inline constexpr wire::Rc kNoPlace = wire::from_manager(wire::rc::kMemory);
inline constexpr wire::Rc kNoChip = wire::from_manager(wire::rc::kFailure);
inline constexpr wire::Rc kNotAllowed = wire::from_manager(wire::rc::kDisabled);

}  // namespace tpmspace::daemon
