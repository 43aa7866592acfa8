// JSON strings; all else that we write in JSON is numbers and braces.
// Threads: no state. Source: RFC 8259, 7.
#pragma once

#include <string>
#include <string_view>

namespace tpmspace::proto {

// In quotes, escaped. Octets that are no UTF-8 become U+FFFD: what comes from a TPM is not ours to trust.
[[nodiscard]] std::string json_string(std::string_view text);

}  // namespace tpmspace::proto
