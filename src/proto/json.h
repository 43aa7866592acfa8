// JSON strings; the rest of our JSON is numbers and braces.
// Threads: no state. Source: RFC 8259, 7.
#pragma once

#include <string>
#include <string_view>

namespace tpmspace::proto {

// In quotes, escaped. Bytes that are not UTF-8 become U+FFFD: a TPM's texts are not trusted.
[[nodiscard]] std::string json_string(std::string_view text);

}  // namespace tpmspace::proto
