// The chip's lists as a space's view shows them: commands, persistent objects, NV indices, and whether PCRs exist.
//
// Idea: the manager asks the TPM from the client's start value on, filters the response, and asks for more until the
// client's count is reached and the manager knows whether more entries follow: `moreData` is about entries that the
// space sees. If the view hides nothing of a list, the list is passed on. A space that may read no PCR sees no
// allocated PCR. A space that may read some PCRs sees all banks unchanged, since the banks describe the chip (and
// systemd ignores a bank without all 24 PCRs).
// Threads: with the manager. Limits: `kMaxPages` pages of the TPM for one list. Errors: FAILURE for a list that is
// unordered, of the wrong kind or endless.
// Source: Part 3, 30.2; Part 2, 6.12, 6.13 and 8.9.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "books/view.h"
#include "space/capability_view.h"
#include "space/tpm_port.h"
#include "wire/bytes.h"

namespace tpmspace::space {

// Whether the view hides or renumbers possible entries of the response. If so, the chip's response must not be passed
// on, and under a session, whose HMAC covers the response, no other response is possible. Properties do not count: only
// their numbers are known.
[[nodiscard]] bool hides(const View* view, const CapabilityQuery& query);

// The parameters of the first request to the TPM. Precondition: hides(query).
[[nodiscard]] wire::Bytes question(const View& view, const CapabilityQuery& query);

class ChipLists {
 public:
  ChipLists(const View& view, TpmPort& port) : view_(view), port_(port) {}

  // The response parameters for the client. `first`: the parameters of the TPM's response to the first request.
  // Precondition: hides(query).
  TpmPort::Result<wire::Bytes> parameters(const CapabilityQuery& query, wire::ByteView first);

  // The value of a TPM_PT that counts listed entities, if the view hides some of these. Nullopt: the chip's value is
  // right.
  TpmPort::Result<std::optional<std::uint32_t>> property(std::uint32_t property);

 private:
  using Words = std::vector<std::uint32_t>;

  TpmPort::Result<Words> sift(const CapabilityQuery& query, CapabilityPage page, std::size_t wanted);
  TpmPort::Result<Words> all(const CapabilityQuery& query);
  // The word as the client sees it; nullopt: hidden.
  [[nodiscard]] std::optional<std::uint32_t> shown(const CapabilityQuery& query, std::uint32_t word) const;

  const View& view_;
  TpmPort& port_;
  std::optional<Words> commands_;  // three properties count them
};

}  // namespace tpmspace::space
