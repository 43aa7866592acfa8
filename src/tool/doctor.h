// `tpmspace doctor`: finds the TPMs, their server, possible users, contents, problems and remedies.
//
// Idea: examination (machine.h, capabilities.h) is separate from judgement: each `judge_` turns values into findings of
// one line, a problem with its remedy in the same line.
// Threads: one.
// Errors: exit code 0 without a problem, 1 with a problem; a fact that cannot be examined is a finding as well.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "proto/status.h"
#include "tool/machine.h"

namespace tpmspace::tool {

struct Finding {
  enum class Level : std::uint8_t { kOk, kNote, kProblem };
  Level level = Level::kOk;
  std::string text;
};
using Findings = std::vector<Finding>;

// `server`: the pid of the tpmspaced at the socket, 0 if none answers.
void judge_machine(const Machine& machine, pid_t server, Findings& findings);
void judge_status(const proto::Status& status, Findings& findings);
// Variable properties by TPM_PT.
void judge_lockout(const std::map<std::uint32_t, std::uint32_t>& properties, Findings& findings);

// The facts that decide which manager, if any, programs started here would use.
struct Surroundings {
  std::string socket;               // the examined socket
  std::string default_socket;       // for clients without a configured socket
  std::optional<std::string> tcti;  // TPM2TOOLS_TCTI
  bool library_found = false;       // "space:" works
  std::string program;              // how to call the tool: "tpmspace" if found in PATH, otherwise a path
  std::function<bool(const std::string& program)> can_be_run;  // a name in PATH, or a path
};
// A sentence if programs that read `variable` ("TSS2_TCTI") with the value `tcti` use another manager than the one at
// `socket`. Nullopt: the programs use that manager.
[[nodiscard]] std::optional<std::string> note_of_other_manager(std::string_view variable, std::string_view tcti,
                                                               const std::string& default_socket,
                                                               const std::string& socket);
void judge_tcti(const Surroundings& around, Findings& findings);

// {"ok": false, "findings": [{"level": "problem", "text": "..."}]}
[[nodiscard]] std::string findings_json(const Findings& findings);
// "ok       text" and so on, one line each.
[[nodiscard]] std::string findings_text(const Findings& findings);

// Looks at the machine below `root` ("" for this one) and at the manager at `socket`; prints; returns the exit code.
[[nodiscard]] int examine(const std::string& socket, const std::string& root, bool json);

}  // namespace tpmspace::tool
