// The program's exit codes, and its error messages.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>

namespace tpmspace::tool {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitRefused = 3;  // `policy explain`: the command would be refused
// Only for `run`, as env(1): failure of the tool (a usage error too, since 2 may be the command's code), a command that
// cannot be executed, a missing command, death by a signal.
inline constexpr int kExitRunFailed = 125;
inline constexpr int kExitCannotExecute = 126;
inline constexpr int kExitNotFound = 127;
inline constexpr int kExitSignalBase = 128;

// When the manager treats root as an ordinary user, and which command shows the reason.
inline constexpr std::string_view kWhenRootIsNone =
    "root is not an administrator in a container or in another user namespace than tpmspaced, if tpmspaced cannot "
    "identify the process, or if a rule, namespace or listener of the configuration gives root another profile; "
    "`tpmspace whoami` shows the reason";

// The text for an order that the manager refuses as DISABLED.
[[nodiscard]] inline std::string only_administrators() {
  return ": only administrators may do this: clients whose profile has administer = true, which are root (use sudo) "
         "and the user that tpmspaced runs as; " +
         std::string(kWhenRootIsNone) + ". If the configuration is wrong, correct it and send SIGHUP to tpmspaced";
}

// Prints a sentence to stderr.
inline void print_error(const std::string& sentence) {
  (void)std::fprintf(stderr, "tpmspace: %s\n", sentence.c_str());
}

// Prints the sentence; returns the exit code.
inline int fail(const std::string& sentence, int code = kExitFailure) {
  print_error(sentence);
  return code;
}

// Prints the requested text on stdout. False: stdout cannot be written; the error was printed.
[[nodiscard]] inline bool print(const std::string& text) {
  if (std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0) return true;
  print_error("cannot write to standard output");
  return false;
}

}  // namespace tpmspace::tool
