#include "demo/table.h"

#include <fmt/format.h>

#include <functional>
#include <map>

namespace tpmspace::demo {
namespace {

std::string counted(std::uint64_t n, const char* thing) {
  return fmt::format("{} {}{}", n, thing, n == 1 ? "" : "s");
}

unsigned sum(const Trial& trial, unsigned Outcome::*what) {
  unsigned out = 0;
  for (const auto& outcome : trial.outcomes) out += outcome.*what;
  return out;
}

std::string per_client_command(const Trial& trial) {
  if (trial.client_commands == 0) return "-";
  return fmt::format("{:.2f}", static_cast<double>(trial.added) / static_cast<double>(trial.client_commands));
}

struct Row {
  const char* name;
  std::function<std::string(const Trial&)> cell;
};

const std::vector<Row>& rows() {
  using std::to_string;
  static const std::vector<Row> all{
      {"clients", [](const Trial& t) { return to_string(t.outcomes.size()); }},
      {"clients that finished", [](const Trial& t) { return to_string(t.finished()); }},
      {"signatures, quotes, secrets",
       [](const Trial& t) {
         return fmt::format("{}, {}, {}", sum(t, &Outcome::signatures), sum(t, &Outcome::quotes),
                            sum(t, &Outcome::secrets));
       }},
      {"commands of the clients", [](const Trial& t) { return to_string(t.client_commands); }},
      {"  answered without the TPM", [](const Trial& t) { return to_string(t.without_tpm); }},
      {"  passed on to the TPM", [](const Trial& t) { return to_string(t.passed_on()); }},
      {"  added by swapping", [](const Trial& t) { return to_string(t.added); }},
      {"commands at the TPM", [](const Trial& t) { return to_string(t.tpm_commands()); }},
      {"  added for each client command", per_client_command},
      {"seconds", [](const Trial& t) { return fmt::format("{:.1f}", t.seconds); }},
      {"objects left in the TPM", [](const Trial& t) { return to_string(t.objects_left); }},
      {"sessions left in the TPM", [](const Trial& t) { return to_string(t.sessions_left); }},
      {"wrong answers", [](const Trial& t) { return to_string(t.wrong_answers()); }},
      {"failures", [](const Trial& t) { return to_string(t.failures()); }},
  };
  return all;
}

}  // namespace

unsigned Trial::finished() const {
  unsigned out = 0;
  for (const auto& outcome : outcomes) out += outcome.how == Outcome::How::kDone ? 1 : 0;
  return out;
}
unsigned Trial::failures() const {
  return static_cast<unsigned>(outcomes.size()) - finished();
}
unsigned Trial::wrong_answers() const {
  return sum(*this, &Outcome::wrong);
}

std::string table(const std::vector<Trial>& trials) {
  constexpr std::size_t kName = 34, kColumn = 15;
  const std::string rule(kName + kColumn * trials.size(), '-');
  std::string out = fmt::format("{:{}}", "", kName);
  for (const auto& trial : trials) out += fmt::format("{:>{}}", trial.name, kColumn);
  out += "\n" + rule + "\n";
  for (const auto& row : rows()) {
    out += fmt::format("{:{}}", row.name, kName);
    for (const auto& trial : trials) out += fmt::format("{:>{}}", row.cell(trial), kColumn);
    out += "\n";
  }
  return out + rule + "\n";
}

std::string how_it_failed(const Trial& trial) {
  std::map<std::string, std::uint64_t> ways;
  for (const auto& outcome : trial.outcomes) {
    if (outcome.how == Outcome::How::kFailed)
      ++ways[outcome.failure.command + ": " + in_words(outcome.failure.code)];
    else if (outcome.how != Outcome::How::kDone)
      ++ways["no word from it any more"];
  }
  std::string out;
  for (const auto& [way, n] : ways) out += fmt::format("  {:>10} at {}\n", counted(n, "client"), way);
  return out;
}

}  // namespace tpmspace::demo
