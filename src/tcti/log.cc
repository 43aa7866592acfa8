#include "tcti/log.h"

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace tpmspace::tcti {
namespace {

// TSS2_LOG is a list "module+level,module+level"; modules that are not named log warnings and errors.
bool wanted() {
  const char* text = std::getenv("TSS2_LOG");
  const std::string_view levels = text == nullptr ? "" : text;
  const bool off =
      levels.find("tcti+none") != std::string_view::npos || levels.find("tcti+NONE") != std::string_view::npos;
  const bool all_off =
      levels.find("all+none") != std::string_view::npos || levels.find("all+NONE") != std::string_view::npos;
  return !off && (!all_off || levels.find("tcti+") != std::string_view::npos);
}

}  // namespace

void log_error(const std::string& sentence) {
  if (wanted()) (void)std::fprintf(stderr, "ERROR:tcti:space: %s\n", sentence.c_str());
}

}  // namespace tpmspace::tcti
