#include "demo/kit/scratch.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace tpmspace::demo {

tl::expected<Scratch, std::string> Scratch::make() {
  std::string name = "/tmp/tpmspace-XXXXXX";
  if (::mkdtemp(name.data()) == nullptr)
    return tl::unexpected("cannot make a directory in /tmp: " + std::string(std::strerror(errno)));
  return Scratch(std::move(name));
}

Scratch::~Scratch() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

std::string tail_of(const std::string& path, std::size_t bytes) {
  std::ifstream file(path);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  return text.size() > bytes ? text.substr(text.size() - bytes) : text;
}

}  // namespace tpmspace::demo
