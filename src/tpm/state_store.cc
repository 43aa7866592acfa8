#include "tpm/state_store.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "base/errno_text.h"
#include "base/fd.h"

namespace tpmspace::tpm {
namespace {

using wire::Bytes;
using wire::ByteView;
using Failure = tl::unexpected<std::string>;

constexpr std::size_t kMaxBlob = 1 << 20;
constexpr const char* kLockFile = "lock";

class MemoryStore final : public StateStore {
 public:
  tl::expected<std::optional<Bytes>, std::string> load(std::string_view name) override {
    const auto found = blobs_.find(name);
    if (found == blobs_.end()) return std::optional<Bytes>();
    return std::optional<Bytes>(found->second);
  }
  tl::expected<void, std::string> store(std::string_view name, ByteView blob) override {
    blobs_.insert_or_assign(std::string(name), wire::to_bytes(blob));
    return {};
  }
  tl::expected<bool, std::string> remove(std::string_view name) override {
    const auto found = blobs_.find(name);
    if (found == blobs_.end()) return false;
    blobs_.erase(found);
    return true;
  }
  [[nodiscard]] bool ephemeral() const override { return true; }

 private:
  std::map<std::string, Bytes, std::less<>> blobs_;
};

int open_at(int directory, const std::string& name, int flags) {
  int fd = -1;
  do {
    fd = ::openat(directory, name.c_str(), flags | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
  } while (fd < 0 && errno == EINTR);
  return fd;
}

bool write_all(int fd, ByteView data) {
  while (!data.empty()) {
    const ssize_t written = ::write(fd, data.data(), data.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    data = data.subspan(static_cast<std::size_t>(written));
  }
  return true;
}

// The whole file of `size` bytes; fewer if the file has become shorter meanwhile, nullopt with errno on failure.
std::optional<Bytes> read_all(int fd, std::size_t size) {
  Bytes data(size);
  std::size_t have = 0;
  while (have < size) {
    const ssize_t got = ::read(fd, data.data() + have, size - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::nullopt;
    if (got == 0) break;
    have += static_cast<std::size_t>(got);
  }
  data.resize(have);
  return data;
}

class DirectoryStore final : public StateStore {
 public:
  DirectoryStore(base::Fd directory, base::Fd lock, std::string path)
      : directory_(std::move(directory)), lock_(std::move(lock)), path_(std::move(path)) {}

  tl::expected<std::optional<Bytes>, std::string> load(std::string_view name) override {
    const std::string file = file_of(name);
    const base::Fd fd(open_at(directory_.get(), file, O_RDONLY | O_NONBLOCK));
    if (!fd && errno == ENOENT) return std::optional<Bytes>();
    if (!fd) return cannot("read", file, base::errno_text(errno));
    struct stat status = {};
    if (::fstat(fd.get(), &status) != 0) return cannot("read", file, base::errno_text(errno));
    if (!S_ISREG(status.st_mode)) return cannot("read", file, "it is not a regular file");
    if (status.st_size <= 0 || static_cast<std::size_t>(status.st_size) > kMaxBlob)
      return cannot("read", file, fmt::format("{} bytes cannot be a TPM's state", status.st_size));
    auto blob = read_all(fd.get(), static_cast<std::size_t>(status.st_size));
    if (!blob) return cannot("read", file, base::errno_text(errno));
    return blob;
  }

  // The new blob is on the disk under another name before it replaces the old blob, so a crash at any moment leaves one
  // of the two. The directory's fsync makes the rename permanent.
  tl::expected<void, std::string> store(std::string_view name, ByteView blob) override {
    const std::string file = file_of(name);
    const std::string fresh = file + ".new";
    if (::unlinkat(directory_.get(), fresh.c_str(), 0) != 0 && errno != ENOENT)
      return cannot("write", fresh, base::errno_text(errno));
    const base::Fd fd(open_at(directory_.get(), fresh, O_WRONLY | O_CREAT | O_EXCL));
    if (!fd || !write_all(fd.get(), blob) || ::fsync(fd.get()) != 0)
      return cannot("write", fresh, base::errno_text(errno));
    if (::renameat(directory_.get(), fresh.c_str(), directory_.get(), file.c_str()) != 0 ||
        ::fsync(directory_.get()) != 0)
      return cannot("replace", file, base::errno_text(errno));
    return {};
  }

  tl::expected<bool, std::string> remove(std::string_view name) override {
    const std::string file = file_of(name);
    if (::unlinkat(directory_.get(), file.c_str(), 0) == 0) return true;
    if (errno == ENOENT) return false;
    return cannot("remove", file, base::errno_text(errno));
  }
  [[nodiscard]] bool ephemeral() const override { return false; }

 private:
  static std::string file_of(std::string_view name) { return fmt::format("tpm2-{}.state", name); }
  Failure cannot(const char* what, const std::string& file, const std::string& why) {
    return fail(fmt::format("cannot {} the TPM's state {}/{}: {}", what, path_, file, why));
  }

  const base::Fd directory_;
  const base::Fd lock_;  // the flock is held while the descriptor is open
  const std::string path_;
};

std::string parent_of(const std::string& path) {
  std::filesystem::path whole = std::filesystem::path(path).lexically_normal();
  if (!whole.has_filename()) whole = whole.parent_path();  // "a/b/"
  return whole.parent_path().string();
}

tl::expected<base::Fd, std::string> open_private_directory(const std::string& path) {
  // Creates only the last component: a mistyped parent must not create a tree of folders.
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    if (errno == ENOENT)
      return Failure(fmt::format(
          "the TPM's directory {} cannot be made, because there is no {}: make that directory, or name another", path,
          parent_of(path)));
    return Failure(fmt::format("cannot make the TPM's directory {}: {}", path, base::errno_text(errno)));
  }
  base::Fd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat status = {};
  if (!directory || ::fstat(directory.get(), &status) != 0)
    return Failure(fmt::format("cannot open the TPM's directory {}: {}", path, base::errno_text(errno)));
  if (status.st_uid != ::geteuid())
    return Failure(fmt::format(
        "the TPM's directory {} belongs to the user {}, not to tpmspaced's user ({}): name a directory of this user",
        path, status.st_uid, ::geteuid()));
  if ((status.st_mode & 077) != 0)
    return Failure(fmt::format(
        "the TPM's directory {} holds secret keys and is open to other users (mode {:04o}): run 'chmod 700 {}'", path,
        status.st_mode & 07777, path));
  return directory;
}

}  // namespace

std::unique_ptr<StateStore> memory_store() {
  return std::make_unique<MemoryStore>();
}

tl::expected<std::unique_ptr<StateStore>, std::string> directory_store(const std::string& path) {
  auto directory = open_private_directory(path);
  if (!directory) return Failure(directory.error());
  base::Fd lock(open_at(directory->get(), kLockFile, O_RDWR | O_CREAT));
  if (!lock) return Failure(fmt::format("cannot make the lock {}/{}: {}", path, kLockFile, base::errno_text(errno)));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK)
      return Failure(fmt::format("cannot lock {}/{}: {}", path, kLockFile, base::errno_text(errno)));
    return Failure(
        fmt::format("the TPM in {} is in use by another process ('fuser {}/{}' tells): stop this process, use its "
                    "socket, or name another directory",
                    path, path, kLockFile));
  }
  return std::make_unique<DirectoryStore>(std::move(*directory), std::move(lock), path);
}

}  // namespace tpmspace::tpm
