#include "tool/cli.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "base/usage_error.h"
#include "tool/exit_code.h"

namespace tpmspace::tool {
namespace {

const std::string kVersion = std::string("tpmspace ") + TPMSPACE_VERSION;

CLI::App* subcommand(CLI::App& app, const std::string& name, const std::string& what) {
  CLI::App* sub = app.add_subcommand(name, what);
  sub->set_version_flag("--version", kVersion);
  return sub;
}

void add_socket(CLI::App* sub, ManagerPlace& manager) {
  sub->add_option("--socket", manager.socket,
                  "socket of tpmspaced (default: $TPMSPACE_SOCKET, else $XDG_RUNTIME_DIR/tpmspace/tpm.sock if it "
                  "exists, else /run/tpmspace/tpm.sock)")
      ->type_name("PATH");
}

void add_place(CLI::App* sub, ManagerPlace& manager) {
  add_socket(sub, manager);
  sub->add_option("--chip", manager.chip, "the TPM to use instead of your own (administrators only)")
      ->type_name("NAME");
}

// CLI11 takes an error text for a value as a string that is not empty.
std::string said(const std::string& text) {
  return text.empty() ? "the value is empty" : "";
}

using Words = std::vector<std::string>;

// Where the command of `run` begins in `words`, which follow "run": after the options, or after "--". All later words,
// another "--" included, belong to the command.
std::size_t command_at(const CLI::App* run, const Words& words) {
  std::size_t at = 0;
  while (at < words.size() && words[at] != "--" && words[at].starts_with('-')) {
    const CLI::Option* option = run->get_option_no_throw(words[at]);  // null for --name=value
    const bool has_value = option != nullptr && option->get_items_expected_min() > 0;
    at += has_value ? 2U : 1U;
  }
  return std::min(at, words.size());
}

// The words that call a subcommand: "policy", "learn".
Words path_of(const CLI::App* sub) {
  Words out;
  for (; sub->get_parent() != nullptr; sub = sub->get_parent()) out.insert(out.begin(), sub->get_name());
  return out;
}
bool is_called(const CLI::App* sub, const Words& words) {
  const Words path = path_of(sub);
  return path.size() <= words.size() && std::equal(path.begin(), path.end(), words.begin());
}

// Cuts the command off from the words for CLI11.
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

// The error sentence for a first word that is not a subcommand.
std::optional<std::string> unknown_subcommand(const CLI::App& app, const Words& words) {
  if (words.empty() || words[0].starts_with('-')) return std::nullopt;
  const auto known = app.get_subcommands({});
  if (std::any_of(known.begin(), known.end(), [&](const CLI::App* sub) { return sub->get_name() == words[0]; }))
    return std::nullopt;
  if (words[0] == "door") return "the subcommand \"door\" is now called \"listener\"";
  return "there is no subcommand \"" + words[0] + "\"; the subcommands are " + base::list_of_subcommands(app);
}

// "help policy explain" is "policy explain --help"; "version" is "--version".
Words without_help_words(Words words) {
  if (words.empty()) return words;
  if (words[0] == "version" && words.size() == 1) return {"--version"};
  if (words[0] != "help") return words;
  words.erase(words.begin());
  words.emplace_back("--help");
  return words;
}

// CLI11 does not parse the command, but help shows it.
class HelpWithCommand : public CLI::Formatter {
 public:
  std::string make_usage(const CLI::App* app, std::string) const override {
    std::string out = "Usage: tpmspace ";
    for (const auto& word : path_of(app)) out += word + " ";
    return out + "[OPTIONS] [--] CMD...\n";
  }
};

constexpr const char* kOwnConnection =
    "The command finds the connection in TSS2_TCTI, TPM2TOOLS_TCTI and so on: \"space:fd=N\".";
constexpr const char* kConfiguration = "configuration file (default: /etc/tpmspace/tpmspace.toml)";

std::string exit_codes(const std::string& ours) {
  return "Exit code: the exit code of CMD; 125 " + ours +
         " failed, 126 CMD cannot be executed, 127 CMD does not exist.";
}

// Every subcommand with its options.
class Grammar {
 public:
  Grammar() {
    app_.set_version_flag("--version", kVersion);
    app_.require_subcommand(1);
    app_.failure_message(base::usage_error);
    app_.footer(
        "If no socket is named and you can reach the listener for administrators\n"
        "(/run/tpmspace-listeners/admin/tpm.sock), requests to tpmspaced itself use it:\n"
        "status, clients, sessions, flush, reserve, listener, policy reload and policy\n"
        "explain --as pid=N.");
    add_run();
    add_connect();
    add_status();
    add_sessions();
    add_flush();
    add_reserve();
    add_clients();
    add_whoami();
    add_open();
    add_listeners();
    add_policy();
    add_doctor();
    add_help();
  }

  Invocation parse(Words words) {
    words = without_help_words(std::move(words));
    if (const auto unknown = unknown_subcommand(app_, words)) {
      print_error(*unknown);
      return Exit{kExitUsage};
    }
    int exit_code = kExitUsage;
    for (const WithCommand& one : with_command_) {
      if (is_called(one.app, words)) exit_code = kExitRunFailed;
      *one.command = take_command_of(one.app, words);
    }
    std::reverse(words.begin(), words.end());  // as CLI11 wants them
    try {
      app_.parse(std::move(words));
    } catch (const CLI::ParseError& e) {
      return Exit{app_.exit(e) == 0 ? kExitOk : exit_code};
    }
    for (const WithCommand& one : with_command_) {
      if (!one.app->parsed() || !one.command->empty()) continue;
      print_error(one.without_it);
      return Exit{exit_code};
    }
    const auto called = std::find_if(calls_.begin(), calls_.end(), [](const Call& one) { return one.app->parsed(); });
    return called == calls_.end() ? Exit{exit_code} : called->invocation();
  }

 private:
  struct Call {
    const CLI::App* app = nullptr;
    std::function<Invocation()> invocation;
  };
  struct WithCommand {
    const CLI::App* app = nullptr;
    Words* command = nullptr;
    std::string without_it;  // printed without a command
  };

  // The option values are in `options` after the parse.
  template <typename Options>
  CLI::App* add(CLI::App& to, const std::string& name, const std::string& what, Options& options) {
    CLI::App* out = subcommand(to, name, what);
    calls_.push_back({out, [&options] { return options; }});
    return out;
  }
  // The rest of the line is a command. `usage`: the options before the command, "[--tpm SPEC]".
  void takes_command(CLI::App* app, Words& command, const std::string& usage) {
    app->formatter(std::make_shared<HelpWithCommand>());
    std::string name;
    for (const std::string& word : path_of(app)) name += word + " ";
    with_command_.push_back({app, &command, name + "needs a command: tpmspace " + name + usage + " -- CMD..."});
  }

  void add_run() {
    CLI::App* app = add(app_, "run", "run a command with a private TPM and a private tpmspaced", run_);
    takes_command(app, run_.command, "[--tpm SPEC]");
    app->add_option("--tpm", run_.tpm, "TPM, as for tpmspaced --tpm")->type_name("SPEC")->capture_default_str();
    app->add_option("--tpmspaced", run_.daemon, "path of tpmspaced")->group("");
    app->footer(exit_codes("run itself"));
  }

  void add_connect() {
    CLI::App* app =
        add(app_, "connect",
            "connect standard input and output to tpmspaced, for TPM2TOOLS_TCTI=\"cmd:tpmspace connect\"", connect_);
    add_place(app, connect_.manager);
    app->footer("");
  }

  void add_status() {
    CLI::App* app = add(app_, "status", "show counters and usage", status_);
    add_place(app, status_.manager);
    app->add_flag("--json", status_.json, "print JSON");
  }

  void add_sessions() {
    CLI::App* app =
        add(app_, "sessions", "list the sessions in the TPM, their users, and the clients that wait for a session",
            sessions_);
    add_place(app, sessions_.manager);
    app->add_flag("--json", sessions_.json, "print JSON");
  }

  void add_flush() {
    CLI::App* app = add(app_, "flush", "end sessions of any user (administrators only)", flush_);
    add_place(app, flush_.manager);
    app->add_option("handles", flush_.handles, "session handles, such as 0x03000000, as `tpmspace sessions` shows them")
        ->type_name("HANDLE");
    app->add_flag("--abandoned", flush_.abandoned, "sessions saved by clients that have disconnected");
    app->add_option("--owner", flush_.owner, "sessions of this user")->type_name("USER");
    app->footer(
        "If a client uses an ended session, the client's command fails with 0x000b0910 or 0x000b0918.\n"
        "Exit code: 0 success; 1 refused, no tpmspaced, or a named session does not exist; 2 usage error.");
  }

  void add_reserve() {
    CLI::App* app =
        add(app_, "reserve", "keep a session loaded under its number, for example for the kernel (administrators only)",
            reserve_);
    add_place(app, reserve_.manager);
    app->add_option("handle", reserve_.handle, "session handle, such as 0x03000000, as `tpmspace sessions` shows it")
        ->required()
        ->type_name("HANDLE");
    app->add_flag("--release", reserve_.release, "stop keeping the session loaded");
    app->footer(
        "The program of the session must stay connected. At most two of three session slots can be kept. For each\n"
        "kept slot, a command of another program can use one session less.\n"
        "Exit code: 0 success; 1 refused, no tpmspaced, or the session does not exist; 2 usage error.");
  }

  void add_clients() {
    CLI::App* app = add(app_, "clients", "list the connected clients and their use of the TPM", clients_);
    add_place(app, clients_.manager);
    app->add_flag("--json", clients_.json, "print JSON");
    app->footer(
        "Administrators see all clients, other users their own clients. The columns: number of the connection\n"
        "(conn), user, process, TPM commands sent, time of these commands in the TPM, time since the client began\n"
        "to wait for its current response, and objects and sessions after its last command.");
  }

  void add_whoami() {
    CLI::App* app =
        add(app_, "whoami", "show your permissions, their origin, and why your last command was refused", whoami_);
    add_socket(app, whoami_.manager);
    app->add_flag("--json", whoami_.json, "print JSON");
    app->footer("The last refusal is the newest refusal of any of your programs within an hour.");
  }

  void add_help() {
    CLI::App* help = subcommand(app_, "help", "show this help, or the help of a subcommand: help policy explain");
    help->add_option("SUBCOMMAND", help_words_, "the subcommand to describe");
    subcommand(app_, "version", "show the version");
  }

  void add_open() {
    CLI::App* app = add(app_, "open", "run a command with a connection narrowed to a profile", open_);
    takes_command(app, open_.command, "--profile NAME");
    add_place(app, open_.manager);
    app->add_option("--profile", open_.profile, "a profile of the configuration, or safe, storage, attest, provision")
        ->required()
        ->type_name("NAME");
    app->footer(std::string(kOwnConnection) +
                " The narrowing is permanent.\n"
                "CMD and its child processes share this one connection: they see the same keys and sessions,\n"
                "and only one process at a time may use the connection.\n" +
                exit_codes("open itself"));
  }

  void add_listeners() {
    CLI::App* listeners = subcommand(app_, "listener", "list, add and remove listening sockets (administrators only)");
    listeners->require_subcommand(1);
    CLI::App* list = add(*listeners, "list", "list the listening sockets and their connections", listener_);
    list->add_flag("--json", listener_.json, "print JSON");
    CLI::App* make = add(*listeners, "add", "add a listening socket until tpmspaced exits", listener_);
    make->add_option("name", listener_.name, "name for rules and for `listener remove`")->required()->type_name("NAME");
    make->add_option(
            "path", listener_.path,
            "absolute path of the socket (default: /run/tpmspace-listeners/NAME/tpm.sock; its directory is created)")
        ->type_name("PATH");
    make->add_option("--mode", listener_.mode,
                     "permission bits of the socket (default: with --group 0660, with --owner alone 0600, else 0666)")
        ->type_name("OCTAL");
    make->add_option("--owner", listener_.owner, "owner of the socket")->type_name("USER");
    make->add_option("--group", listener_.group, "group of the socket")->type_name("GROUP");
    make->add_option("--profile", listener_.profile,
                     "profile for clients that match no rule (default: the profile by the standard rule)")
        ->type_name("NAME");
    make->add_option("--locality", listener_.locality, "fixed locality of the listener's clients")->type_name("N");
    make->add_option("--chip", listener_.chip,
                     "TPM of the listener's clients (default: the TPM of their namespace, else the main TPM)")
        ->type_name("NAME");
    make->add_option("--connections", listener_.connections, "largest number of simultaneous connections; 0: no limit")
        ->type_name("N");
    make->add_flag("--separate-users", listener_.separate_users,
                   "account each uid separately (not for containers, whose root can become any uid)");
    CLI::App* remove = add(*listeners, "remove", "remove a listening socket; its connections are kept", listener_);
    remove->add_option("name", listener_.name, "name of the listener")->required()->type_name("NAME");
    for (CLI::App* one : {list, make, remove}) add_socket(one, listener_.manager);
    make->parse_complete_callback([this] { listener_.what = ListenerOptions::What::kAdd; });
    remove->parse_complete_callback([this] { listener_.what = ListenerOptions::What::kRemove; });
  }

  void add_policy() {
    CLI::App* policy = subcommand(app_, "policy", "check, explain, learn and reload the policy");
    policy->require_subcommand(1);
    CLI::App* check = add(*policy, "check", "check the configuration for errors and likely mistakes", policy_);
    check->add_option("FILE", policy_.config, kConfiguration);
    check->footer("Exit code: 0 correct; 1 wrong; 2 usage error.");
    CLI::App* explain =
        add(*policy, "explain", "show whether a client may send a TPM command, and the deciding rule", policy_);
    explain
        ->add_option(
            "--as", policy_.as,
            "the client: uid=33,gid=33,cgroup=/a,exe=/a,listener=main,locality=0; or pid=N, a connected process")
        ->required()
        ->check(said)
        ->type_name("AS");
    explain->add_option("--config", policy_.config, kConfiguration)->type_name("FILE");
    explain->add_option("COMMAND", policy_.words,
                        "TPM2_NV_Write 0x01500016, TPM2_PCR_Read pcr=16; optional with pid=N");
    add_socket(explain, policy_.manager);
    explain->footer("Exit code: 0 allowed; 1 unknown; 2 usage error; 3 refused.");
    for (CLI::App* one : {check, explain})
      one->add_option("--tpmspaced", policy_.daemon, "path of tpmspaced")->group("");
    add_socket(
        add(*policy, "reload", "read profiles, rules, namespaces and listeners again (administrators only)", reload_),
        reload_.manager);
    add_learn(*policy);
  }

  void add_learn(CLI::App& policy) {
    CLI::App* app =
        add(policy, "learn", "run a command and print the narrowest profile that allows its TPM commands", learn_);
    takes_command(app, learn_.command, "[--name NAME]");
    add_place(app, learn_.manager);
    app->add_option("--name", learn_.name, "name of the profile")->type_name("NAME")->capture_default_str();
    app->add_option("--output", learn_.output,
                    "file for the profile (default: standard output, after the output of the command)")
        ->type_name("FILE");
    app->footer(std::string(kOwnConnection) +
                "\nThe command has your permissions. Refused commands are learned, too.\n" + exit_codes("learning"));
  }

  void add_doctor() {
    CLI::App* app = add(app_, "doctor", "diagnose the TPM and tpmspaced, and say what to do", doctor_);
    add_socket(app, doctor_.manager);
    app->add_flag("--json", doctor_.json, "print JSON");
  }

  CLI::App app_{"Use a TPM through tpmspaced, the TPM 2.0 access broker and resource manager.", "tpmspace"};
  std::vector<Call> calls_;
  std::vector<WithCommand> with_command_;

  RunOptions run_;
  ConnectOptions connect_;
  StatusOptions status_;
  SessionsOptions sessions_;
  FlushOptions flush_;
  ReserveOptions reserve_;
  OpenOptions open_;
  ListenerOptions listener_;
  PolicyOptions policy_;
  ReloadOptions reload_;
  LearnOptions learn_;
  DoctorOptions doctor_;
  ClientsOptions clients_;
  WhoamiOptions whoami_;
  Words help_words_;
};

}  // namespace

Invocation parse_command_line(int argc, char** argv) {
  return Grammar().parse(Words(argv + std::min(argc, 1), argv + argc));
}

}  // namespace tpmspace::tool
