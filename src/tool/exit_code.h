// What the program's exit codes mean, and how it says what went wrong.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>

namespace tpmspace::tool {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitRefused = 3;  // `policy explain`: the command would be refused
// `run` alone, as env(1): its own failure (a usage error too, since 2 may be the command's), a command that cannot be
// executed, one that is not there, killed by a signal.
inline constexpr int kExitRunFailed = 125;
inline constexpr int kExitCannotExecute = 126;
inline constexpr int kExitNotFound = 127;
inline constexpr int kExitSignalBase = 128;

// When the manager treats root as an ordinary user, and what tells which of these it is.
inline constexpr std::string_view kWhenRootIsNone =
    "root is no administrator if it is in a container or in another user namespace than tpmspaced, if tpmspaced cannot "
    "tell whose process it is, or if a rule, namespace or listener of the configuration gives it another profile; "
    "`tpmspace whoami` says which of these it is";

// What to say of an order that the manager refuses as DISABLED.
[[nodiscard]] inline std::string only_administrators() {
  return ": only an administrator may do that, that is whose profile has administer = true: root (use sudo) and the "
         "user that tpmspaced runs as; " +
         std::string(kWhenRootIsNone) + ". If the configuration is wrong, correct it and send SIGHUP to tpmspaced";
}

// A sentence on stderr: what, why, what to do.
inline void print_error(const std::string& sentence) {
  (void)std::fprintf(stderr, "tpmspace: %s\n", sentence.c_str());
}

// The sentence is said; returns the exit code.
inline int fail(const std::string& sentence, int code = kExitFailure) {
  print_error(sentence);
  return code;
}

// What was asked for, on stdout. False: it cannot be written, which was said.
[[nodiscard]] inline bool print(const std::string& text) {
  if (std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0) return true;
  print_error("cannot write to standard output");
  return false;
}

}  // namespace tpmspace::tool
