#include "tool/cli.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <optional>

#include "cli/complaint.h"
#include "tool/exit_code.h"

namespace tpmspace::tool {
namespace {

const std::string kVersion = std::string("tpmspace ") + TPMSPACE_VERSION;

CLI::App* subcommand(CLI::App& app, const std::string& name, const std::string& what) {
  CLI::App* sub = app.add_subcommand(name, what);
  sub->set_version_flag("--version", kVersion);
  return sub;
}

void add_socket(CLI::App* sub, std::string& socket) {
  sub->add_option("--socket", socket,
                  "the manager's socket (default: $TPMSPACE_SOCKET, else $XDG_RUNTIME_DIR/tpmspace/tpm.sock if it is "
                  "there, else /run/tpmspace/tpm.sock)")
      ->type_name("PATH");
}

// CLI11 takes what is wrong with a value as a string that is not empty.
std::string said(const std::string& text) {
  return text.empty() ? "it says nothing" : "";
}

using Words = std::vector<std::string>;

// Where the command of `run` begins in `words`, which follow "run": behind its options, or behind "--". What comes
// later, another "--" included, is the command's own.
std::size_t command_at(const CLI::App* run, const Words& words) {
  std::size_t at = 0;
  while (at < words.size() && words[at] != "--" && words[at].starts_with('-')) {
    const CLI::Option* option = run->get_option_no_throw(words[at]);  // null for --name=value
    const bool has_value = option != nullptr && option->get_items_expected_min() > 0;
    at += has_value ? 2U : 1U;
  }
  return std::min(at, words.size());
}

// "policy", "learn": by which words it is called.
Words path_of(const CLI::App* sub) {
  Words out;
  for (; sub->get_parent() != nullptr; sub = sub->get_parent()) out.insert(out.begin(), sub->get_name());
  return out;
}
bool is_called(const CLI::App* sub, const Words& words) {
  const Words path = path_of(sub);
  return path.size() <= words.size() && std::equal(path.begin(), path.end(), words.begin());
}

// Cuts the command off what CLI11 shall read.
Words take_command_of(const CLI::App* run, Words& words) {
  if (!is_called(run, words)) return {};
  const std::size_t path = path_of(run).size();
  const Words rest(words.begin() + static_cast<std::ptrdiff_t>(path), words.end());
  const std::size_t at = command_at(run, rest);
  words.resize(path + at);
  Words command(rest.begin() + static_cast<std::ptrdiff_t>(at), rest.end());
  if (!command.empty() && command.front() == "--") command.erase(command.begin());
  return command;
}

// The names of all subcommands: "run, connect and status".
std::string list_of(const std::vector<const CLI::App*>& subcommands) {
  std::string out;
  for (std::size_t i = 0; i < subcommands.size(); ++i) {
    if (i != 0) out += i + 1 == subcommands.size() ? " and " : ", ";
    out += subcommands[i]->get_name();
  }
  return out;
}

// A first word that no subcommand has: the sentence to say.
std::optional<std::string> unknown_subcommand(const CLI::App& app, const Words& words) {
  if (words.empty() || words[0].starts_with('-')) return std::nullopt;
  const auto known = app.get_subcommands({});
  if (std::any_of(known.begin(), known.end(), [&](const CLI::App* sub) { return sub->get_name() == words[0]; }))
    return std::nullopt;
  return "there is no subcommand \"" + words[0] + "\"; the subcommands are " + list_of(known);
}

// The command is not CLI11's business, but it belongs in the help.
class HelpWithCommand : public CLI::Formatter {
 public:
  std::string make_usage(const CLI::App* app, std::string) const override {
    std::string out = "Usage: tpmspace ";
    for (const auto& word : path_of(app)) out += word + " ";
    return out + "[OPTIONS] [--] CMD...\n";
  }
};

CLI::App* add_doors(CLI::App& app, DoorOptions& door) {
  CLI::App* door_app = subcommand(app, "door", "the sockets by which clients come in (administrators only)");
  door_app->require_subcommand(1);
  CLI::App* list = subcommand(*door_app, "list", "all of them, and how many connections came by each");
  list->add_flag("--json", door.json, "as JSON");
  CLI::App* add = subcommand(*door_app, "add", "one more, until tpmspaced ends");
  add->add_option("name", door.name, "for rules, and for `door remove`")->required()->type_name("NAME");
  add->add_option("path", door.path, "of the socket")->required()->type_name("PATH");
  add->add_option("--mode", door.mode, "who may connect")->type_name("OCTAL")->capture_default_str();
  add->add_option("--owner", door.owner, "of the socket")->type_name("USER");
  add->add_option("--group", door.group, "of the socket")->type_name("GROUP");
  add->add_option("--profile", door.profile, "of whoever comes by it and no rule names (default: the standard rule's)")
      ->type_name("NAME");
  add->add_option("--locality", door.locality, "of whoever comes by it, unchangeable")->type_name("N");
  add->add_option("--connections", door.connections, "at a time; 0: no limit")->type_name("N");
  CLI::App* remove = subcommand(*door_app, "remove", "one less; who came by it stays connected");
  remove->add_option("name", door.name)->required()->type_name("NAME");
  for (CLI::App* one : {list, add, remove}) add_socket(one, door.socket);
  add->parse_complete_callback([&door] { door.what = DoorOptions::What::kAdd; });
  remove->parse_complete_callback([&door] { door.what = DoorOptions::What::kRemove; });
  return door_app;
}

CLI::App* add_reload(CLI::App& policy, ReloadOptions& reload) {
  CLI::App* out = subcommand(policy, "reload", "have profiles, rules and doors read again (administrators only)");
  add_socket(out, reload.socket);
  return out;
}

CLI::App* add_learn(CLI::App& policy, LearnOptions& learn) {
  CLI::App* out = subcommand(policy, "learn", "run a command, and show the narrowest profile that allows what it does");
  add_socket(out, learn.socket);
  out->add_option("--name", learn.name, "of the profile")->type_name("NAME")->capture_default_str();
  out->add_option("--output", learn.output, "where the profile goes (default: standard output, after the command's)")
      ->type_name("FILE");
  out->formatter(std::make_shared<HelpWithCommand>());
  out->footer(
      "The command finds the connection in TSS2_TCTI, TPM2TOOLS_TCTI and so on: \"space:fd=N\". It may do there what\n"
      "you may; what is refused is learned, too. The exit code is the command's; 125: learning failed, 126: CMD "
      "cannot\n"
      "be executed, 127: it is not there.");
  return out;
}

}  // namespace

Invocation parse_command_line(int argc, char** argv) {
  CLI::App app("Use a TPM through tpmspaced, the TPM 2.0 access broker and resource manager.", "tpmspace");
  app.set_version_flag("--version", kVersion);
  app.require_subcommand(1);
  app.failure_message(cli::complaint);

  RunOptions run;
  CLI::App* run_app = subcommand(app, "run", "run a command with a TPM and a manager of its own");
  run_app->add_option("--tpm", run.tpm, "the TPM, as tpmspaced --tpm takes it")
      ->type_name("SPEC")
      ->capture_default_str();
  run_app->formatter(std::make_shared<HelpWithCommand>());
  run_app->add_option("--tpmspaced", run.daemon, "path of tpmspaced")->group("");
  run_app->footer(
      "The exit code is the command's; 125: run itself failed, 126: CMD cannot be executed, 127: it is not there.");

  ConnectOptions connect;
  CLI::App* connect_app = subcommand(app, "connect",
                                     "standard input and output to the manager's socket; "
                                     "TPM2TOOLS_TCTI=\"cmd:tpmspace connect\"");
  add_socket(connect_app, connect.socket);

  StatusOptions status;
  CLI::App* status_app = subcommand(app, "status", "what the manager has done and holds");
  add_socket(status_app, status.socket);
  status_app->add_flag("--json", status.json, "as JSON");

  SessionsOptions sessions;
  CLI::App* sessions_app =
      subcommand(app, "sessions", "the sessions in the TPM, whose they are, and who waits for one");
  add_socket(sessions_app, sessions.socket);
  sessions_app->add_flag("--json", sessions.json, "as JSON");

  FlushOptions flush;
  CLI::App* flush_app = subcommand(app, "flush", "take sessions away from whoever has them (administrators only)");
  add_socket(flush_app, flush.socket);
  flush_app->add_option("handles", flush.handles, "these sessions, 0x03000000, as `tpmspace sessions` shows them")
      ->type_name("HANDLE");
  flush_app->add_flag("--abandoned", flush.abandoned, "those that were saved by a client that is gone");
  flush_app->add_option("--owner", flush.owner, "those of this user")->type_name("UID");
  flush_app->footer(
      "A client whose session was taken is told so when it uses it: 0x000b0910 or 0x000b0918.\n"
      "The exit code is 0; 1: refused, no manager, or a session named is not there; 2: a usage error.");

  ReserveOptions reserve;
  CLI::App* reserve_app =
      subcommand(app, "reserve", "keep a session loaded under its number, for the kernel say (administrators only)");
  add_socket(reserve_app, reserve.socket);
  reserve_app->add_option("handle", reserve.handle, "0x03000000, as `tpmspace sessions` shows it")
      ->required()
      ->type_name("HANDLE");
  reserve_app->add_flag("--release", reserve.release, "it may be moved and taken again");
  reserve_app->footer(
      "Its program must stay connected. Of three places in the TPM at most two can be kept so, and with each of them\n"
      "commands of other programs can use one session less at a time.\n"
      "The exit code is 0; 1: refused, no manager, or there is no such session; 2: a usage error.");

  OpenOptions open;
  CLI::App* open_app =
      subcommand(app, "open", "run a command with a connection that can do no more than a profile allows");
  add_socket(open_app, open.socket);
  open_app->add_option("--profile", open.profile, "as the configuration names it, or safe, storage, attest, provision")
      ->required()
      ->type_name("NAME");
  open_app->formatter(std::make_shared<HelpWithCommand>());
  open_app->footer(
      "The command finds the connection in TSS2_TCTI, TPM2TOOLS_TCTI and so on: \"space:fd=N\". Nothing can widen it\n"
      "again. The exit code is the command's; 125: open itself failed, 126: CMD cannot be executed, 127: it is not "
      "there.");

  DoorOptions door;
  const CLI::App* door_app = add_doors(app, door);

  PolicyOptions policy;
  CLI::App* policy_app = subcommand(app, "policy", "who may do what, as the configuration says it");
  policy_app->require_subcommand(1);
  CLI::App* check_app = subcommand(*policy_app, "check", "whether the configuration is right, and what in it is odd");
  check_app->add_option("FILE", policy.config, "the configuration (default: /etc/tpmspace/tpmspace.toml)");
  CLI::App* explain_app = subcommand(*policy_app, "explain", "whether somebody may do a command, and by which rule");
  explain_app->add_option("--as", policy.as, "who: uid=33,gid=33,cgroup=/a,exe=/a,door=main,locality=0")
      ->required()
      ->check(said)
      ->type_name("AS");
  explain_app->add_option("--config", policy.config, "the configuration (default: /etc/tpmspace/tpmspace.toml)")
      ->type_name("FILE");
  explain_app->add_option("COMMAND", policy.words, "TPM2_NV_Write 0x01500016, TPM2_PCR_Read pcr=16")->required();
  explain_app->footer("The exit code is 0: allowed; 1: neither can be said; 2: a usage error; 3: refused.");
  for (CLI::App* one : {check_app, explain_app})
    one->add_option("--tpmspaced", policy.daemon, "path of tpmspaced")->group("");
  ReloadOptions reload;
  const CLI::App* reload_app = add_reload(*policy_app, reload);
  LearnOptions learn;
  const CLI::App* learn_app = add_learn(*policy_app, learn);

  DoctorOptions doctor;
  CLI::App* doctor_app = subcommand(app, "doctor", "what TPM there is, who can reach it, what is wrong, what to do");
  add_socket(doctor_app, doctor.socket);

  Words words(argv + std::min(argc, 1), argv + argc);
  if (const auto unknown = unknown_subcommand(app, words)) {
    complain(*unknown);
    return Exit{kExitUsage};
  }
  const bool has_command = is_called(run_app, words) || is_called(open_app, words) || is_called(learn_app, words);
  const int usage_error = has_command ? kExitRunFailed : kExitUsage;
  run.command = take_command_of(run_app, words);
  open.command = take_command_of(open_app, words);
  learn.command = take_command_of(learn_app, words);
  std::reverse(words.begin(), words.end());  // as CLI11 wants them
  try {
    app.parse(std::move(words));
  } catch (const CLI::ParseError& e) {
    return Exit{app.exit(e) == 0 ? kExitOk : usage_error};
  }
  if (connect_app->parsed()) return connect;
  if (status_app->parsed()) return status;
  if (sessions_app->parsed()) return sessions;
  if (flush_app->parsed()) return flush;
  if (reserve_app->parsed()) return reserve;
  if (reload_app->parsed()) return reload;
  if (check_app->parsed() || explain_app->parsed()) return policy;
  if (doctor_app->parsed()) return doctor;
  if (door_app->parsed()) return door;
  if (!run.command.empty()) return run;
  if (!open.command.empty()) return open;
  if (!learn.command.empty()) return learn;
  complain(learn_app->parsed()  ? "policy learn needs a command: tpmspace policy learn [--name NAME] -- CMD..."
           : open_app->parsed() ? "open needs a command: tpmspace open --profile NAME -- CMD..."
                                : "run needs a command: tpmspace run [--tpm SPEC] -- CMD...");
  return Exit{usage_error};
}

}  // namespace tpmspace::tool
