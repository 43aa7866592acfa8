// Explains a command-line error in the project's words: CLI11's own are "At Most 1 required but received 2".
//
// Only the two source files that include CLI11 include this header: CLI11's header is the slowest in the project.
// Threads: none. Errors: errors without words of ours keep CLI11's text.
#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

namespace tpmspace::base {

// An error's name can be the name of an option or a subcommand.
inline bool is(const CLI::Error& error, CLI::ExitCodes kind) {
  return error.get_exit_code() == static_cast<int>(kind);
}

// "--socket: At Most 1 required but received 2" -> "--socket".
inline std::string option_in(const std::string& text) {
  return text.substr(0, text.find(':'));
}

inline std::vector<std::string> words_after(const std::string& text, const std::string& mark) {
  const auto at = text.find(mark);
  std::istringstream in(at == std::string::npos ? text : text.substr(at + mark.size()));
  std::vector<std::string> out{std::istream_iterator<std::string>(in), {}};
  if (out.empty()) out.emplace_back();
  return out;
}

// The unexpected word: an option before a plain word, since an option is the likelier mistake.
inline std::string unexpected(const std::vector<std::string>& words) {
  const auto option = std::find_if(words.begin(), words.end(), [](const auto& word) { return word.starts_with('-'); });
  return option != words.end() ? "there is no option " + *option
                               : "\"" + words.front() + "\" is an unexpected argument";
}

// The subcommand whose words were read last: "policy explain".
inline const CLI::App* innermost(const CLI::App* app) {
  for (auto parsed = app->get_subcommands(); !parsed.empty(); parsed = app->get_subcommands()) app = parsed.front();
  return app;
}
inline std::string path_of(const CLI::App* app) {
  std::string out;
  for (; app->get_parent() != nullptr; app = app->get_parent())
    out.insert(0, app->get_name() + (out.empty() ? "" : " "));
  return out;
}

// The names of all subcommands: "run, connect and status".
inline std::string list_of_subcommands(const CLI::App& app) {
  std::string out;
  const auto all = app.get_subcommands({});
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (i != 0) out += i + 1 == all.size() ? " and " : ", ";
    out += all[i]->get_name();
  }
  return out;
}

// "policy needs a subcommand: check, explain, reload and learn".
inline std::string missing_subcommand(const CLI::App& app, const std::vector<std::string>& instead) {
  const CLI::App* where = innermost(&app);
  const std::string list = list_of_subcommands(*where), path = path_of(where);
  if (!instead.empty())
    return (path.empty() ? "there is" : path + " has") + " no subcommand \"" + instead.front() +
           "\"; the subcommands are " + list;
  return (path.empty() ? "a subcommand is needed: " : path + " needs a subcommand: ") + list;
}

// A subcommand's option placed before the subcommand; empty: none.
inline std::string misplaced(const CLI::App& app, const std::vector<std::string>& words) {
  const CLI::App* called = innermost(&app);
  const auto knows = [](const CLI::App* sub, const std::string& option) {
    return sub->get_option_no_throw(option) != nullptr;
  };
  for (const std::string& word : words) {
    if (!word.starts_with("--")) continue;
    const std::string option = word.substr(0, word.find('='));
    const auto all = app.get_subcommands({});
    const bool is_of_some =
        std::any_of(all.begin(), all.end(), [&](const CLI::App* sub) { return knows(sub, option); });
    if (called->get_parent() != nullptr && knows(called, option))
      return fmt::format("{} must follow the subcommand: {} {} {}", option, app.get_name(), path_of(called), option);
    if (called->get_parent() == nullptr && is_of_some)
      return fmt::format("{} must follow a subcommand, as in {} status {}", option, app.get_name(), option);
  }
  return "";
}

// "reserve needs HANDLE: 0x03000000, as ..."; CLI11's text begins with the name of the missing argument.
inline std::string missing(const CLI::App& app, const std::string& text) {
  const CLI::App* where = innermost(&app);
  const CLI::Option* option = where->get_option_no_throw(text.substr(0, text.find(' ')));
  if (option == nullptr || where->get_parent() == nullptr) return text;
  const std::string type = option->get_type_name();
  const bool is_word = option->get_positional() && !type.empty();
  const std::string what = is_word ? type : option->get_name() + (type.empty() ? "" : " " + type);
  return path_of(where) + " needs " + what + ": " + option->get_description();
}

inline std::string sentence(const CLI::App& app, const CLI::Error& error) {
  std::string text = error.what();
  // Without a required subcommand, the word in the subcommand's place is reported; else only the text has the words.
  const auto extra = app.remaining(true);
  const bool is_missing = is(error, CLI::ExitCodes::RequiredError), is_extra = is(error, CLI::ExitCodes::ExtrasError);
  const auto unknown = is_extra ? words_after(text, "expected: ") : extra;
  if (is_missing || is_extra)
    if (std::string out = misplaced(app, unknown); !out.empty()) return out;
  const bool is_option = !extra.empty() && extra.front().starts_with('-');
  if (is_missing && !is_option && innermost(&app)->get_require_subcommand_min() > 0)
    return missing_subcommand(app, extra);
  if (is_missing && !extra.empty()) return unexpected(extra);
  if (is_missing) return missing(app, text);
  if (is_extra) return unexpected(unknown);
  if (!is(error, CLI::ExitCodes::ArgumentMismatch)) return text;
  if (text.find("At Most 1 ") != std::string::npos) return option_in(text) + " is given more than once: give it once";
  if (text.find(" missing") != std::string::npos) return option_in(text) + " needs a value";
  return text;
}

// For CLI::App::failure_message: one line that begins with the program's name, like every message of the program.
inline std::string usage_error(const CLI::App* app, const CLI::Error& error) {
  const std::string program = app->get_name();
  // Our own checks name the right value.
  const bool is_ours = is(error, CLI::ExitCodes::ValidationError);
  const std::string path = path_of(innermost(app));
  const std::string help = program + (path.empty() ? "" : " " + path) + " --help";
  return program + ": " + sentence(*app, error) + (is_ours ? "\n" : "; `" + help + "` tells more\n");
}

}  // namespace tpmspace::base
