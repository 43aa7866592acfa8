// What the chip lists, as a space's view shows it: commands, persistent objects, NV indices, and whether there are
// PCRs.
//
// Idea: the TPM is asked from the same place on for as much as it gives, the answer is sifted, and the TPM is asked for
// more until the client has what it asked for and it is known whether something comes after it: `moreData` speaks of
// what the space sees. A view that hides nothing of a list leaves it alone. A space that may read no PCR sees none
// allocated; one that may read some sees the banks as they are, since they say what the chip has (and systemd passes
// over a bank without all 24).
// Threads: with the manager. Limits: `kMaxPages` pages of the TPM's for one list. Errors: FAILURE for a list that is
// out of order, of another kind or without end. Source: Part 3, 30.2; Part 2, 6.12, 6.13 and 8.9.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "books/view.h"
#include "space/capability_view.h"
#include "space/tpm_port.h"
#include "wire/bytes.h"

namespace tpmspace::space {

// Whether the view hides, or numbers otherwise, what the answer could have: then it must not be the chip's, and it
// cannot be another one under a session, whose HMAC covers it. Properties are not meant: their numbers alone are known.
[[nodiscard]] bool hides(const View* view, const CapabilityQuery& query);

// The parameters of what the TPM is to be asked: its first page. Precondition: hides(query).
[[nodiscard]] wire::Bytes question(const View& view, const CapabilityQuery& query);

class ChipLists {
 public:
  ChipLists(const View& view, TpmPort& port) : view_(view), port_(port) {}

  // The answer's parameters for the client. `first`: the parameters of the TPM's answer to the question. Precondition:
  // hides(query).
  TpmPort::Result<wire::Bytes> parameters(const CapabilityQuery& query, wire::ByteView first);

  // TPM_PT that count what is listed, as far as the view hides some of it. Nullopt: the chip's number is right.
  TpmPort::Result<std::optional<std::uint32_t>> property(std::uint32_t property);

 private:
  using Words = std::vector<std::uint32_t>;

  TpmPort::Result<Words> sift(const CapabilityQuery& query, CapabilityPage page, std::size_t wanted);
  TpmPort::Result<Words> all(const CapabilityQuery& query);
  // As the client is told it; nullopt: not at all.
  [[nodiscard]] std::optional<std::uint32_t> shown(const CapabilityQuery& query, std::uint32_t word) const;

  const View& view_;
  TpmPort& port_;
  std::optional<Words> commands_;  // three properties count them
};

}  // namespace tpmspace::space
