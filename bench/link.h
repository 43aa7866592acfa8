// A connection to a TPM as raw bytes through a TCTI, the basis of every client library.
//
// Idea: the same few lines reach a bare swtpm, tpmspace and tpm2-abrmd, so that no difference is ours. A failure ends
// the measurement: it throws std::runtime_error with a sentence.
// Threads: an object is used by one thread at a time.
#pragma once

#include <tss2/tss2_tcti.h>

#include <optional>
#include <string>

#include "wire/bytes.h"

namespace tpmspace::bench {

class Link {
 public:
  explicit Link(const std::string& tcti);
  // Nullopt instead of a throw: no server is there (yet).
  [[nodiscard]] static std::optional<Link> try_open(const std::string& tcti);
  Link(Link&& other) noexcept;
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;
  Link& operator=(Link&&) = delete;
  ~Link();

  // The response's bytes; it must be a success.
  wire::Bytes run(wire::ByteView command);
  // The handle of a response that has one.
  [[nodiscard]] std::uint32_t run_for_handle(wire::ByteView command);
  // The part after a response's header (and parameter size, if the command had authorizations).
  [[nodiscard]] wire::Bytes run_for_parameters(wire::ByteView command);

 private:
  Link() = default;
  TSS2_TCTI_CONTEXT* tcti_ = nullptr;
};

}  // namespace tpmspace::bench
