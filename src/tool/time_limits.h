// The longest waits for an answer, in milliseconds. After each, an error names the time.
#pragma once

namespace tpmspace::tool {

inline constexpr int kAnswerMs = 10'000;   // the daemon answers without the TPM
inline constexpr int kChangeMs = 30'000;   // the daemon changes something: a profile, a listener, a TPM
inline constexpr int kCommandMs = 60'000;  // the TPM answers, and other clients wait for it as well
// The order waits for a command at the TPM, and a key generation may take minutes.
inline constexpr int kFlushMs = 600'000;

}  // namespace tpmspace::tool
