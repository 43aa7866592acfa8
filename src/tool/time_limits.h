// How long an answer may take, in milliseconds. Behind each is an error that names the time.
#pragma once

namespace tpmspace::tool {

inline constexpr int kAnswerMs = 10'000;   // the daemon alone knows it
inline constexpr int kChangeMs = 30'000;   // the daemon changes something: a profile, a listener, a TPM
inline constexpr int kCommandMs = 60'000;  // the TPM answers, and others wait for it as well
inline constexpr int kFlushMs =
    600'000;  // the order waits for a command at the TPM, and a key generation may take minutes

}  // namespace tpmspace::tool
