#include "tool/accounts.h"

#include <grp.h>
#include <pwd.h>

#include <charconv>
#include <system_error>

namespace tpmspace::tool {

std::optional<std::uint32_t> user_named(const std::string& text) {
  const passwd* user = ::getpwnam(text.c_str());  // thread-safe: the program has one thread
  return user != nullptr ? std::optional<std::uint32_t>(user->pw_uid) : number_of(text, 10);
}

std::optional<std::uint32_t> group_named(const std::string& text) {
  const group* found = ::getgrnam(text.c_str());  // thread-safe: the program has one thread
  return found != nullptr ? std::optional<std::uint32_t>(found->gr_gid) : number_of(text, 10);
}

std::optional<std::uint32_t> number_of(std::string_view text, int base) {
  std::uint32_t out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, base);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return out;
}

}  // namespace tpmspace::tool
