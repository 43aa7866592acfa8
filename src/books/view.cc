#include "books/view.h"

namespace tpmspace::space {

bool View::is_possible() const {
  return persistent_base == 0 ||
         (wire::is_persistent(persistent_base) && wire::is_persistent(persistent_base + (kWindow - 1)));
}

std::optional<wire::TpmHandle> persistent_at_tpm(const View* view, wire::ClientHandle handle) {
  if (view == nullptr || view->persistent_base == 0) return wire::TpmHandle{handle.value};
  const std::uint32_t at = handle.value - View::kFirstPersistent;
  if (at >= View::kWindow) return std::nullopt;
  return wire::TpmHandle{view->persistent_base + at};
}

std::optional<wire::ClientHandle> persistent_in_space(const View* view, wire::TpmHandle handle) {
  if (view == nullptr || view->persistent_base == 0) return wire::ClientHandle{handle.value};
  if (handle.value < view->persistent_base || handle.value - view->persistent_base >= View::kWindow)
    return std::nullopt;
  return wire::ClientHandle{View::kFirstPersistent + (handle.value - view->persistent_base)};
}

}  // namespace tpmspace::space
