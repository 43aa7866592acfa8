#include "log/audit_file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

namespace tpmspace::log {
namespace {

// Opening does not wait. A named pipe is also opened for reading, so opening succeeds without a reader.
base::Fd open_file(const std::string& path) {
  struct stat info {};
  const bool is_pipe = ::lstat(path.c_str(), &info) == 0 && S_ISFIFO(info.st_mode);
  const int access = is_pipe ? O_RDWR : O_WRONLY | O_CREAT | O_APPEND;
  return base::Fd(::open(path.c_str(), access | O_NONBLOCK | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW, 0600));
}

}  // namespace

AuditFile::AuditFile(std::string path, base::Fd file, base::Fd opened_anew)
    : path_(std::move(path)),
      opened_anew_(std::move(opened_anew)),
      file_(std::make_shared<const base::Fd>(std::move(file))) {}

tl::expected<std::shared_ptr<AuditFile>, std::string> AuditFile::open(std::string path) {
  base::Fd file = open_file(path);
  if (!file) return tl::unexpected(std::string(std::strerror(errno)));
  base::Fd opened_anew(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!opened_anew) return tl::unexpected(std::string(std::strerror(errno)));
  return std::make_shared<AuditFile>(std::move(path), std::move(file), std::move(opened_anew));
}

std::optional<std::string> AuditFile::open_anew() {
  base::Fd file = open_file(path_);
  if (!file) return std::strerror(errno);
  const std::lock_guard lock(mutex_);
  file_ = std::make_shared<const base::Fd>(std::move(file));
  constexpr std::uint64_t kOnce = 1;
  // Fails only if the eventfd is readable already.
  (void)!::write(opened_anew_.get(), &kOnce, sizeof kOnce);
  return std::nullopt;
}

std::shared_ptr<const base::Fd> AuditFile::newest() {
  const std::lock_guard lock(mutex_);
  std::uint64_t times = 0;
  (void)!::read(opened_anew_.get(), &times, sizeof times);
  return file_;
}

std::optional<std::string> AuditFile::write(std::string_view line) {
  auto file = newest();
  // The rest of a line that found no room must not spoil this line.
  const std::string on_a_line_of_its_own = "\n" + std::string(line);
  const auto whole = [&] { return torn_ == file ? std::string_view(on_a_line_of_its_own) : line; };
  std::string_view rest = whole();
  const auto fail = [&](std::string why) {
    if (rest.size() != whole().size()) torn_ = file;
    return why;
  };
  while (!rest.empty()) {
    const ssize_t n = ::write(file->get(), rest.data(), rest.size());
    if (n > 0) {
      rest.remove_prefix(static_cast<std::size_t>(n));
    } else if (n == 0) {
      return fail("there is no room");
    } else if (errno == EAGAIN) {
      std::array<pollfd, 2> either{{{.fd = file->get(), .events = POLLOUT, .revents = 0},
                                    {.fd = opened_anew_.get(), .events = POLLIN, .revents = 0}}};
      ::poll(either.data(), either.size(), -1);
      if (either[1].revents == 0) continue;
      file = newest();
      rest = whole();
    } else if (errno != EINTR) {
      return fail(std::strerror(errno));
    }
  }
  if (torn_ == file) torn_ = nullptr;
  return std::nullopt;
}

}  // namespace tpmspace::log
