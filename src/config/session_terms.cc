#include "config/session_terms.h"

namespace tpmspace::config {

space::SessionTerms session_terms(const guard::SessionTerms& terms) {
  const auto exhaustion = [&] {
    switch (terms.exhaustion) {
      case guard::Exhaustion::kRefuse:
        return space::Exhaustion::kRefuse;
      case guard::Exhaustion::kClose:
        return space::Exhaustion::kClose;
      case guard::Exhaustion::kWait:
        return space::Exhaustion::kWait;
      case guard::Exhaustion::kReclaim:
        break;
    }
    return space::Exhaustion::kReclaim;
  };
  return {.claim = terms.claim,
          .lease = terms.lease,
          .tenure = terms.tenure,
          .deadline = terms.deadline,
          .exhaustion = exhaustion()};
}

}  // namespace tpmspace::config
