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
                  "the manager's socket (default: $TPMSPACE_SOCKET, else $XDG_RUNTIME_DIR/tpmspace/tpm.sock if it is "
                  "there, else /run/tpmspace/tpm.sock)")
      ->type_name("PATH");
}

void add_place(CLI::App* sub, ManagerPlace& manager) {
  add_socket(sub, manager);
  sub->add_option("--chip", manager.chip,
                  "which of the manager's TPMs, if it is another than yours (administrators only)")
      ->type_name("NAME");
}

// CLI11 takes an error text for a value as a string that is not empty.
std::string said(const std::string& text) {
  return text.empty() ? "it says nothing" : "";
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
constexpr const char* kConfiguration = "the configuration (default: /etc/tpmspace/tpmspace.toml)";

std::string exit_codes(const std::string& ours) {
  return "The exit code is the command's; 125: " + ours + " failed, 126: CMD cannot be executed, 127: it is not there.";
}

// Every subcommand with its options.
class Grammar {
 public:
  Grammar() {
    app_.set_version_flag("--version", kVersion);
    app_.require_subcommand(1);
    app_.failure_message(base::usage_error);
    app_.footer(
        "If no socket is named and the listener for administrators is there for you\n"
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
    CLI::App* app = add(app_, "run", "run a command with a TPM and a manager of its own", run_);
    takes_command(app, run_.command, "[--tpm SPEC]");
    app->add_option("--tpm", run_.tpm, "the TPM, as tpmspaced --tpm takes it")
        ->type_name("SPEC")
        ->capture_default_str();
    app->add_option("--tpmspaced", run_.daemon, "path of tpmspaced")->group("");
    app->footer(exit_codes("run itself"));
  }

  void add_connect() {
    add_place(
        add(app_, "connect",
            "standard input and output to the manager's socket; TPM2TOOLS_TCTI=\"cmd:tpmspace connect\"", connect_),
        connect_.manager);
  }

  void add_status() {
    CLI::App* app = add(app_, "status", "what the manager has done and holds", status_);
    add_place(app, status_.manager);
    app->add_flag("--json", status_.json, "as JSON");
  }

  void add_sessions() {
    CLI::App* app = add(app_, "sessions", "the sessions in the TPM, whose they are, and who waits for one", sessions_);
    add_place(app, sessions_.manager);
    app->add_flag("--json", sessions_.json, "as JSON");
  }

  void add_flush() {
    CLI::App* app = add(app_, "flush", "take sessions away from whoever has them (administrators only)", flush_);
    add_place(app, flush_.manager);
    app->add_option("handles", flush_.handles, "these sessions, 0x03000000, as `tpmspace sessions` shows them")
        ->type_name("HANDLE");
    app->add_flag("--abandoned", flush_.abandoned, "those that were saved by a client that is gone");
    app->add_option("--owner", flush_.owner, "those of this user")->type_name("USER");
    app->footer(
        "A client whose session was taken is told so when it uses it: 0x000b0910 or 0x000b0918.\n"
        "The exit code is 0; 1: refused, no manager, or a session named is not there; 2: a usage error.");
  }

  void add_reserve() {
    CLI::App* app = add(app_, "reserve",
                        "keep a session loaded under its number, for the kernel say (administrators only)", reserve_);
    add_place(app, reserve_.manager);
    app->add_option("handle", reserve_.handle, "0x03000000, as `tpmspace sessions` shows it")
        ->required()
        ->type_name("HANDLE");
    app->add_flag("--release", reserve_.release, "it may be moved and taken again");
    app->footer(
        "Its program must stay connected. Of three places in the TPM at most two can be kept so, and with each of "
        "them\n"
        "commands of other programs can use one session less at a time.\n"
        "The exit code is 0; 1: refused, no manager, or there is no such session; 2: a usage error.");
  }

  void add_clients() {
    CLI::App* app = add(app_, "clients", "who is connected, and what they use the TPM for", clients_);
    add_place(app, clients_.manager);
    app->add_flag("--json", clients_.json, "as JSON");
    app->footer(
        "Administrators see all clients, other users their own. Each client has its connection's number (conn), its\n"
        "user and process, the TPM commands that it sent, the time that these took at the TPM, how long it waits for "
        "a\n"
        "response now, and the objects and sessions that it had after its last command.");
  }

  void add_whoami() {
    CLI::App* app = add(app_, "whoami", "what you may do, why, and why your last command was refused", whoami_);
    add_socket(app, whoami_.manager);
    app->add_flag("--json", whoami_.json, "as JSON");
    app->footer("The last refusal is that of any program of yours, for an hour.");
  }

  void add_help() {
    CLI::App* help = subcommand(app_, "help", "this help, or that of a subcommand: help policy explain");
    help->add_option("SUBCOMMAND", help_words_, "what to tell more about");
    subcommand(app_, "version", "the version of this program");
  }

  void add_open() {
    CLI::App* app =
        add(app_, "open", "run a command with a connection that can do no more than a profile allows", open_);
    takes_command(app, open_.command, "--profile NAME");
    add_place(app, open_.manager);
    app->add_option("--profile", open_.profile, "as the configuration names it, or safe, storage, attest, provision")
        ->required()
        ->type_name("NAME");
    app->footer(
        std::string(kOwnConnection) +
        " Nothing can widen it again.\n"
        "CMD and the programs that it starts share this one connection: they see each other's keys and sessions,\n"
        "and only one of them at a time may use it.\n" +
        exit_codes("open itself"));
  }

  void add_listeners() {
    CLI::App* listeners = subcommand(app_, "listener", "the sockets by which clients come in (administrators only)");
    listeners->require_subcommand(1);
    CLI::App* list = add(*listeners, "list", "all of them, and how many connections came by each", listener_);
    list->add_flag("--json", listener_.json, "as JSON");
    CLI::App* make = add(*listeners, "add", "one more, until tpmspaced ends", listener_);
    make->add_option("name", listener_.name, "for rules, and for `listener remove`")->required()->type_name("NAME");
    make->add_option("path", listener_.path,
                     "of the socket, absolute (default: tpm.sock in a directory of its own, which is made: "
                     "/run/tpmspace-listeners/NAME)")
        ->type_name("PATH");
    make->add_option("--mode", listener_.mode,
                     "who may connect (default: with --group 0660, with --owner alone 0600, else 0666)")
        ->type_name("OCTAL");
    make->add_option("--owner", listener_.owner, "of the socket")->type_name("USER");
    make->add_option("--group", listener_.group, "of the socket")->type_name("GROUP");
    make->add_option("--profile", listener_.profile,
                     "of whoever comes by it and no rule names (default: the standard rule's)")
        ->type_name("NAME");
    make->add_option("--locality", listener_.locality, "of whoever comes by it, unchangeable")->type_name("N");
    make->add_option("--chip", listener_.chip,
                     "the TPM of whoever comes by it (default: their namespace's, or the main one)")
        ->type_name("NAME");
    make->add_option("--connections", listener_.connections, "at a time; 0: no limit")->type_name("N");
    make->add_flag("--separate-users", listener_.separate_users,
                   "its users cannot be one another, as those of a container can: each has shares of his own");
    CLI::App* remove = add(*listeners, "remove", "one less; who came by it stays connected", listener_);
    remove->add_option("name", listener_.name)->required()->type_name("NAME");
    for (CLI::App* one : {list, make, remove}) add_socket(one, listener_.manager);
    make->parse_complete_callback([this] { listener_.what = ListenerOptions::What::kAdd; });
    remove->parse_complete_callback([this] { listener_.what = ListenerOptions::What::kRemove; });
  }

  void add_policy() {
    CLI::App* policy = subcommand(app_, "policy", "who may do what, as the configuration says it");
    policy->require_subcommand(1);
    CLI::App* check = add(*policy, "check", "whether the configuration is right, and what in it is odd", policy_);
    check->add_option("FILE", policy_.config, kConfiguration);
    CLI::App* explain = add(*policy, "explain", "whether somebody may do a command, and by which rule", policy_);
    explain
        ->add_option(
            "--as", policy_.as,
            "who: uid=33,gid=33,cgroup=/a,exe=/a,listener=main,locality=0; or pid=N, a process that is connected")
        ->required()
        ->check(said)
        ->type_name("AS");
    explain->add_option("--config", policy_.config, kConfiguration)->type_name("FILE");
    explain->add_option("COMMAND", policy_.words,
                        "TPM2_NV_Write 0x01500016, TPM2_PCR_Read pcr=16; may be left out with pid=N");
    add_socket(explain, policy_.manager);
    explain->footer("The exit code is 0: allowed; 1: neither can be said; 2: a usage error; 3: refused.");
    for (CLI::App* one : {check, explain})
      one->add_option("--tpmspaced", policy_.daemon, "path of tpmspaced")->group("");
    add_socket(add(*policy, "reload", "have profiles, rules, namespaces and listeners read again (administrators only)",
                   reload_),
               reload_.manager);
    add_learn(*policy);
  }

  void add_learn(CLI::App& policy) {
    CLI::App* app =
        add(policy, "learn", "run a command, and show the narrowest profile that allows what it does", learn_);
    takes_command(app, learn_.command, "[--name NAME]");
    add_place(app, learn_.manager);
    app->add_option("--name", learn_.name, "of the profile")->type_name("NAME")->capture_default_str();
    app->add_option("--output", learn_.output, "where the profile goes (default: standard output, after the command's)")
        ->type_name("FILE");
    app->footer(std::string(kOwnConnection) + "\nIt may do there what you may; what is refused is learned, too.\n" +
                exit_codes("learning"));
  }

  void add_doctor() {
    CLI::App* app = add(app_, "doctor", "what TPM there is, who can reach it, what is wrong, what to do", doctor_);
    add_socket(app, doctor_.manager);
    app->add_flag("--json", doctor_.json, "as JSON");
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
