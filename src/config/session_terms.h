// Converts the terms of sessions to the type of the room that manages sessions.
//
// Threads: a function of its argument. Units: nanoseconds.
#pragma once

#include "books/owner.h"
#include "guard/profile.h"

namespace tpmspace::config {

[[nodiscard]] space::SessionTerms session_terms(const guard::SessionTerms& terms);

}  // namespace tpmspace::config
