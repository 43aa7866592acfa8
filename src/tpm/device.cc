#include "tpm/device.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>

#include <cerrno>
#include <system_error>

#include "base/errno_text.h"

namespace tpmspace::tpm {
namespace {

std::string why_not(const std::string& path, int number) {
  switch (number) {
    case EBUSY:
      return fmt::format(
          "{} is in use by another program, and only one program can open the device: perhaps tpm2-abrmd, another "
          "tpmspaced, a virtual machine or a tool with the device transport ('fuser {}' tells). Stop this program, or "
          "let it use tpmspaced's socket",
          path, path);
    case ENOENT:
    case ENXIO:
    case ENODEV:
      return fmt::format(
          "there is no TPM at {}: switch the TPM on in the firmware's setup, name another device, or use --tpm "
          "embedded, which needs no hardware",
          path);
    case EACCES:
    case EPERM:
      return fmt::format(
          "no permission to open {}: run as root, or as a member of the group of the device (often 'tss')", path);
    default:
      return fmt::format("cannot open {}: {}", path, base::errno_text(number));
  }
}

}  // namespace

tl::expected<std::unique_ptr<DeviceTpm>, std::string> DeviceTpm::open(const std::string& path) {
  int raw = -1;
  do {
    raw = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  } while (raw < 0 && errno == EINTR);
  if (raw < 0) return tl::unexpected(why_not(path, errno));
  base::Fd fd(raw);
  struct stat status = {};
  if (::fstat(fd.get(), &status) != 0 || !S_ISCHR(status.st_mode))
    return tl::unexpected(fmt::format("{} is not a character device: name a TPM such as /dev/tpm0", path));
  return adopt(std::move(fd), fmt::format("the TPM at {}", path));
}

tl::expected<std::unique_ptr<DeviceTpm>, std::string> DeviceTpm::adopt(base::Fd fd, std::string name) {
  auto stream = Stream::open(std::move(fd), std::move(name));
  if (!stream) return tl::unexpected(stream.error());
  return std::unique_ptr<DeviceTpm>(new DeviceTpm(std::move(*stream)));
}

wire::Tpm::Answer DeviceTpm::transact(wire::ByteView command, std::uint8_t locality) {
  if (locality != 0)
    return tl::unexpected(Error{Error::Kind::kNotPossible,
                                fmt::format("{} works in locality 0 only, not in {}", stream_->name(), locality)});
  return stream_->exchange(command);
}

}  // namespace tpmspace::tpm
