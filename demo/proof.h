// Whether the TPM's results are right, judged by OpenSSL and not by the TPM.
//
// Threads: none shared. A proof that cannot be made (a malformed key, say) is no proof: false.
#pragma once

#include "demo/kit/esys.h"

namespace tpmspace::demo {

[[nodiscard]] TPM2B_DIGEST sha256(View data);
// `signature` is this key's over this digest.
[[nodiscard]] bool is_signed_by(const Key& key, const TPM2B_DIGEST& digest, const TPMT_SIGNATURE& signature);
// The quote was made by a TPM, for this nonce, and is signed by this key.
[[nodiscard]] bool is_quote_of(const Key& key, View nonce, const Quote& quote);

}  // namespace tpmspace::demo
