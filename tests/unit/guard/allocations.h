// How often `operator new` was called since this program began: it is replaced here.
#pragma once

#include <cstddef>

namespace tpmspace::guard {

[[nodiscard]] std::size_t allocations();

}  // namespace tpmspace::guard
