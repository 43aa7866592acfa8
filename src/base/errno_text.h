// The text of a system error number: "No such file or directory".
// Threads: a pure function, unlike strerror(3).
#pragma once

#include <string>
#include <system_error>

namespace tpmspace::base {

[[nodiscard]] inline std::string errno_text(int number) {
  return std::generic_category().message(number);
}

}  // namespace tpmspace::base
