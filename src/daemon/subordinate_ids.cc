#include "daemon/subordinate_ids.h"

#include <fcntl.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <map>

#include "posix/fd.h"

namespace tpmspace::daemon {
namespace {

std::optional<std::uint32_t> number(std::string_view text) {
  std::uint32_t out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return out;
}

// Takes what stands before `separator` off the front of `text`; all of it if there is none.
std::string_view cut(std::string_view& text, char separator) {
  const std::size_t at = std::min(text.find(separator), text.size());
  const std::string_view out = text.substr(0, at);
  text.remove_prefix(std::min(at + 1, text.size()));
  return out;
}

std::optional<std::uint32_t> uid_of_name(const std::string& name) {
  std::array<char, 4096> buffer{};
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr)
    return std::nullopt;
  return found->pw_uid;
}

std::string read_file(const char* path, std::size_t limit) {
  const posix::Fd file(::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  std::string out(limit, '\0');
  std::size_t used = 0;
  while (file && used < out.size()) {
    const auto n = ::read(file.get(), out.data() + used, out.size() - used);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    used += static_cast<std::size_t>(n);
  }
  out.resize(used);
  return out;
}

}  // namespace

SubordinateIds SubordinateIds::parse(std::string_view text, const UidOf& uid_of) {
  SubordinateIds out;
  std::map<std::string, std::optional<std::uint32_t>> known;  // a name is asked for once
  for (std::size_t lines = 0; !text.empty() && lines < kMaxLoans; ++lines) {
    std::string_view line = cut(text, '\n');
    const std::string name(cut(line, ':'));
    const auto first = number(cut(line, ':'));
    const auto count = number(line);
    if (name.empty() || !first || !count || *first == 0 || *count == 0 || *count - 1 > UINT32_MAX - *first) continue;
    const auto asked = known.find(name);
    const auto holder = number(name) ? number(name) : asked != known.end() ? asked->second : uid_of(name);
    known.emplace(name, holder);
    if (holder && *holder != 0) out.loans_.push_back({*first, *first + (*count - 1), *holder});
  }
  return out;
}

SubordinateIds SubordinateIds::of_this_machine() {
  return parse(read_file("/etc/subuid", kMaxFile), uid_of_name);
}

std::uint32_t SubordinateIds::holder_of(std::uint32_t uid) const {
  const auto found = std::find_if(loans_.begin(), loans_.end(),
                                  [uid](const Loan& loan) { return loan.first <= uid && uid <= loan.last; });
  return found == loans_.end() ? uid : found->holder;
}

}  // namespace tpmspace::daemon
