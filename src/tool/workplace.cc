#include "tool/workplace.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/fd.h"
#include "proto/socket_path.h"

namespace tpmspace::tool {
namespace {

constexpr const char* kPattern = "/tpmspace-run-XXXXXX";
constexpr const char* kLongestSocket = "/notify.sock";

bool serves(const std::string& base) {
  return base.starts_with('/') && base.find(',') == std::string::npos &&
         (base + kPattern + kLongestSocket).size() <= proto::kMaxSocketPath && access(base.c_str(), W_OK | X_OK) == 0;
}

std::string base_directory() {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  return runtime != nullptr && serves(runtime) ? runtime : "/tmp";
}

}  // namespace

tl::expected<Workplace, std::string> Workplace::make() {
  std::string name = base_directory() + kPattern;
  if (mkdtemp(name.data()) == nullptr)
    return tl::make_unexpected("cannot make the directory " + name + ": " + std::strerror(errno) +
                               "; set XDG_RUNTIME_DIR to a writable directory");
  auto cleanup_process = CleanupProcess::start(name);
  if (!cleanup_process) {
    rmdir(name.c_str());
    return tl::make_unexpected(std::move(cleanup_process.error()));
  }
  Workplace workplace(std::move(name), std::move(*cleanup_process));
  const std::string config = workplace.daemon_config();
  if (!base::Fd(open(config.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)))
    return tl::make_unexpected("cannot write " + config + ": " + std::strerror(errno));
  return workplace;
}

}  // namespace tpmspace::tool
