// The messages between a client and the demonstration, a line each.
//
// Idea: a client reports each stage and waits for permission to continue, so that all clients do the same at the same
// time.
//   client                                      demonstration
//   at connected                                go
//   at ready                                    go
//   at done SIGNATURES QUOTES SECRETS WRONG     go (and the client ends)
//   failed CODE COMMAND                         -  (and the client ends; CODE in decimal)
#pragma once

namespace tpmspace::demo {

inline constexpr const char* kAtConnected = "connected";
inline constexpr const char* kAtReady = "ready";
inline constexpr const char* kAtDone = "done";
inline constexpr const char* kGo = "go\n";

}  // namespace tpmspace::demo
