// The terms of sessions in the words of the room that keeps them.
//
// Threads: a function of its argument. Units: nanoseconds.
#pragma once

#include "books/owner.h"
#include "guard/profile.h"

namespace tpmspace::config {

[[nodiscard]] space::SessionTerms session_terms(const guard::SessionTerms& terms);

}  // namespace tpmspace::config
