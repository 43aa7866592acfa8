// Opens the TPM of a spec: the back end with its decorators.
//
// Idea: the caller gets a chain: known crashes → retry → latency (if requested) → back end. Each link owns the next.
// Threads: as backend.h. Limits: a process can open only one embedded TPM.
// Errors: a sentence with the failure, the reason and the remedy.
#pragma once

#include <memory>
#include <stop_token>
#include <string>
#include <tl/expected.hpp>

#include "tpm/backend.h"
#include "tpm/news.h"
#include "tpm/spec.h"

namespace tpmspace::tpm {

// The TPM is reachable, but not yet started: `bring_up` is next. `given_up`: the caller no longer needs the TPM, so
// waiting ends. A device opens at once, or the kernel refuses.
[[nodiscard]] tl::expected<std::unique_ptr<BackEnd>, std::string> open_tpm(const Spec& spec, const News& news = {},
                                                                           const std::stop_token& given_up = {});

}  // namespace tpmspace::tpm
