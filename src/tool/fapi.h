// The environment of FAPI programs under `tpmspace run`: a configuration file and its folders.
//
// Idea: FAPI keeps the blobs of its keys in files, which only one TPM can use. So the files live as long as the TPM:
// beside its state, or in the workplace for a TPM without lasting state. Event logs are always in the workplace, since
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
  std::string config;    // the file to write
  std::string keystore;  // a folder; created if missing
  std::string scratch;   // a folder; created if missing
  std::string socket;    // the manager's
};
[[nodiscard]] tl::expected<void, std::string> write_fapi_config(const FapiPlaces& places);

// The absolute folder with the state of the TPM of this specification; nullopt: no known folder. tpmspaced, which
// defines the specification's text, checks it: DIR of "embedded:DIR", up to a comma.
[[nodiscard]] std::optional<std::string> state_directory(std::string_view tpm);

}  // namespace tpmspace::tool
