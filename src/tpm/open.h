// From a spec to a TPM that answers: the back end with everything around it.
//
// Idea: what a caller gets is a chain: known crashes → retry → latency (if asked for) → back end. Each link owns the
// next one. Threads: as backend.h says. Only one embedded TPM can be open in a process. Errors: a sentence: what could
// not be opened, why, and what to do.
#pragma once

#include <memory>
#include <stop_token>
#include <string>
#include <tl/expected.hpp>

#include "tpm/backend.h"
#include "tpm/news.h"
#include "tpm/spec.h"

namespace tpmspace::tpm {

// The TPM is reachable, nothing more: `bring_up` is next.
// `given_up`: nobody wants it any more, so whatever is waited for is left. A device opens at once, or the kernel
// refuses.
[[nodiscard]] tl::expected<std::unique_ptr<BackEnd>, std::string> open_tpm(const Spec& spec, const News& news = {},
                                                                           const std::stop_token& given_up = {});

}  // namespace tpmspace::tpm
