// What FAPI programs need under `tpmspace run`: a configuration file and the folders that it names.
//
// Idea: FAPI keeps its keys' blobs in files, which are good for one TPM alone. So they live as long as that TPM does:
// beside its state, or in the workplace with a TPM that is gone with it. Event logs are always the workplace's, since
// every start of the TPM resets its PCRs.
// Threads: one. Errors: a sentence.
// Source: fapi-config(5) of tpm2-tss for the configuration's fields.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace tpmspace::tool {

struct FapiPlaces {
  std::string config;    // the file that is written
  std::string keystore;  // a folder; made if it is missing
  std::string scratch;   // a folder; the same
  std::string socket;    // the manager's
};
[[nodiscard]] tl::expected<void, std::string> write_fapi_config(const FapiPlaces& places);

// The folder, absolute, in which the TPM of this specification keeps its state; nullopt: it has none that we know.
// Its text is judged by tpmspaced, which answers for it: DIR of "embedded:DIR", up to a comma.
[[nodiscard]] std::optional<std::string> state_directory(std::string_view tpm);

}  // namespace tpmspace::tool
