#include "space/pin_indices.h"

namespace tpmspace::space {

bool may_change_indices(const wire::CommandRow& row) {
  using P = wire::PermissionClass;
  switch (row.permission) {
    case P::kNvDefine:
    case P::kHierarchy:  // Clear
    case P::kPlatform:
    case P::kFirmware:
    case P::kPower:
    case P::kVendor:
      return true;
    default:
      return false;
  }
}

TpmPort::Result<bool> PinIndices::is_one(std::uint32_t index) {
  if (wire::kind_of(index) != wire::HandleKind::kNvIndex) return true;
  const auto known = known_.find(index);
  if (known != known_.end() && !(known->second && chip_.has_other_users())) return known->second;
  const auto attributes = port_.attributes_of(index);
  if (!attributes) {
    if (!says_it_is_not_there(attributes.error())) return tl::unexpected(attributes.error());
    known_.erase(index);
    return false;
  }
  if (known_.size() >= kMaxKnown) known_.clear();
  return known_.insert_or_assign(index, is_pin_fail(*attributes)).first->second;
}

void PinIndices::doubt(std::uint32_t index) {
  if (chip_.has_other_users()) known_.erase(index);
}

}  // namespace tpmspace::space
