#include "proto/json.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>

namespace tpmspace::proto {
namespace {

bool continues(char c) {
  return (static_cast<std::uint8_t>(c) & 0xC0) == 0x80;
}

// How many octets the UTF-8 character at the start of `text` has; 0 if there is none. Overlong forms and surrogates are
// told by the second octet.
std::size_t character_size(std::string_view text) {
  const auto first = static_cast<std::uint8_t>(text[0]);
  if (first < 0x80) return 1;
  if (first < 0xC2 || first > 0xF4) return 0;
  const std::size_t size = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  if (text.size() < size || !std::all_of(text.begin() + 1, text.begin() + static_cast<std::ptrdiff_t>(size), continues))
    return 0;
  const auto second = static_cast<std::uint8_t>(text[1]);
  const bool bad = (first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) ||
                   (first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F);
  return bad ? 0 : size;
}

std::string escaped(char c) {
  switch (c) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\n':
      return "\\n";
    default: {
      std::array<char, 8> text{};
      (void)std::snprintf(text.data(), text.size(), "\\u%04x", static_cast<std::uint8_t>(c));
      return text.data();
    }
  }
}

}  // namespace

std::string json_string(std::string_view text) {
  std::string out(1, '"');
  while (!text.empty()) {
    const std::size_t size = character_size(text);
    if (size == 0) {
      out += "\\ufffd";
    } else if (const char c = text[0]; size == 1 && (c == '"' || c == '\\' || static_cast<std::uint8_t>(c) < 0x20)) {
      out += escaped(c);
    } else {
      out += text.substr(0, size);
    }
    text.remove_prefix(std::max<std::size_t>(size, 1));
  }
  out += '"';
  return out;
}

}  // namespace tpmspace::proto
