// From a spec to a TPM that answers: the back end with everything around it.
//
// Idea: what a caller gets is a chain: retry → latency (if asked for) → back end. Each link owns the next one.
// Threads: as backend.h says. Only one embedded TPM can be open in a process.
// Errors: a sentence: what could not be opened, why, and what to do.
#pragma once

#include <memory>
#include <string>
#include <tl/expected.hpp>

#include "tpm/backend.h"
#include "tpm/news.h"
#include "tpm/spec.h"

namespace tpmspace::tpm {

// The TPM is reachable, nothing more: `bring_up` is next.
[[nodiscard]] tl::expected<std::unique_ptr<BackEnd>, std::string> open_tpm(const Spec& spec, const News& news = {});

}  // namespace tpmspace::tpm
