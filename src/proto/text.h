// A string in a control message: UINT16 length + UTF-8. Threads: functions of their arguments.
// Sizes: at most 65535 octets are written; what is longer is cut. Errors: nullopt for octets that end too soon.
#pragma once

#include <algorithm>
#include <optional>
#include <string>

#include "wire/bytes.h"

namespace tpmspace::proto {

inline void put_string(wire::Writer& out, const std::string& text) {
  const std::size_t size = std::min<std::size_t>(text.size(), 0xFFFF);
  out.u16(static_cast<std::uint16_t>(size));
  for (std::size_t i = 0; i < size; ++i) out.u8(static_cast<std::uint8_t>(text[i]));
}

[[nodiscard]] inline std::optional<std::string> get_string(wire::Reader& reader) {
  const auto body = reader.tpm2b();
  if (!body) return std::nullopt;
  std::string text;
  for (const std::uint8_t c : *body) text.push_back(static_cast<char>(c));
  return text;
}

// A record that begins with another version is none that we can read.
[[nodiscard]] inline bool has_version(wire::Reader& reader, std::uint16_t version) {
  const auto read = reader.u16();
  return read && *read == version;
}

}  // namespace tpmspace::proto
