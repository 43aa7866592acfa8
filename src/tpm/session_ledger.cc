#include "tpm/session_ledger.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "base/fd.h"
#include "wire/handle.h"

namespace tpmspace::tpm {

namespace {

constexpr std::string_view kTitle = "tpmspace sessions 1\n";
constexpr std::size_t kMostHandles = 1024;
constexpr std::size_t kLargestFile = 16'384;

std::string text_of(const HeldSessions& held) {
  std::string out = fmt::format("{}reset {}\nrestart {}\n", kTitle, held.reset_count, held.restart_count);
  for (const std::uint32_t handle : held.handles) out += fmt::format("{:08x}\n", handle);
  return out;
}

template <typename Number>
bool take_line(std::string_view& text, Number& out, int base) {
  const auto end = text.find('\n');
  if (end == std::string_view::npos) return false;
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end + 1);
  const auto [stop, error] = std::from_chars(line.data(), line.data() + line.size(), out, base);
  return error == std::errc() && stop == line.data() + line.size();
}

// Returns no handles unless the whole file is valid.
HeldSessions parse(std::string_view text) {
  constexpr std::string_view kReset = "reset ", kRestart = "restart ";
  HeldSessions out;
  if (!text.starts_with(kTitle)) return {};
  text.remove_prefix(kTitle.size());
  if (!text.starts_with(kReset)) return {};
  text.remove_prefix(kReset.size());
  if (!take_line(text, out.reset_count, 10)) return {};
  if (!text.starts_with(kRestart)) return {};
  text.remove_prefix(kRestart.size());
  if (!take_line(text, out.restart_count, 10)) return {};
  while (!text.empty()) {
    std::uint32_t handle = 0;
    if (!take_line(text, handle, 16) || !wire::is_session(handle) || out.handles.size() >= kMostHandles) return {};
    out.handles.push_back(handle);
  }
  return out;
}

}  // namespace

HeldSessions SessionLedger::read() const {
  const base::Fd fd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd) return {};
  std::string text(kLargestFile, '\0');
  const ssize_t n = ::read(fd.get(), text.data(), text.size());
  if (n <= 0) return {};
  return parse(std::string_view(text).substr(0, static_cast<std::size_t>(n)));
}

tl::expected<void, std::string> SessionLedger::write(const HeldSessions& held) {
  if (written_ == held) return {};
  const std::string text = text_of(held), fresh = path_ + ".new";
  const auto fault = [&] {
    return tl::unexpected(fmt::format(
        "{} cannot be written ({}), so if tpmspaced is killed, its sessions stay in the TPM until it is reset", path_,
        std::strerror(errno)));
  };
  ::unlink(fresh.c_str());
  const base::Fd fd(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd || ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) return fault();
  if (std::rename(fresh.c_str(), path_.c_str()) != 0) return fault();
  written_ = held;
  return {};
}

}  // namespace tpmspace::tpm
