// Many ESYS clients that hold policy sessions at a time, against one tpmspaced. For tests, and by hand:
//
//   policy_storm MODE [clients=N] [tcti=space:path=SOCKET] [threads=8] [rounds=2] [pause=1] [kind=KIND] ...
//
//   hold        each client starts a session and fulfils its policy; when all have, each opens its secret with it.
//               With more rounds the session is kept, and the policy fulfilled and used again.
//   hold-early  likewise, but all sessions are started before the first policy.
//   storm       `clients` as in hold, half of them at work without a pause, and `hmac` HMAC sessions; meanwhile
//   `others`
//               clients whose sessions cannot be rebuilt come `rounds` times each.
//   pcr         two clients are bound to PCR `select`, then the clients of hold start theirs; then somebody extends PCR
//               `extend`, and all use what they have.
//
// With pause=1 the line "held" is printed when all sessions are held, and a line (or the end) of standard input
// awaited. The last line of output is JSON: how many secrets were right, how many wrong, and what failed by response
// code; exit code 0 if the mode's own clients all succeeded. KIND: of errand, if only one is wanted.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <iostream>
#include <map>
#include <thread>

#include "crowd.h"

namespace tpmspace::storm {
namespace {

struct Settings {
  std::string mode, tcti = "space:", kind;
  std::map<std::string, unsigned, std::less<>> numbers{{"clients", 40}, {"threads", 8}, {"rounds", 2},  {"pause", 0},
                                                       {"others", 26},  {"hmac", 4},    {"select", 10}, {"extend", 10}};

  [[nodiscard]] unsigned operator[](std::string_view name) const { return numbers.find(name)->second; }
};

bool set(Settings& settings, std::string_view argument) {
  const auto equals = argument.find('=');
  if (equals == std::string_view::npos) return false;
  const std::string_view name = argument.substr(0, equals), value = argument.substr(equals + 1);
  if (name == "tcti" || name == "kind") {
    (name == "tcti" ? settings.tcti : settings.kind) = value;
    return true;
  }
  const auto found = settings.numbers.find(name);
  if (found == settings.numbers.end()) return false;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), found->second);
  return error == std::errc() && end == value.data() + value.size();
}

std::string json(const Tally& tally) {
  const auto object = [](const auto& counts, const auto& name_of) {
    std::string out;
    for (const auto& [key, count] : counts)
      out += fmt::format("{}\"{}\": {}", out.empty() ? "" : ", ", name_of(key), count);
    return "{" + out + "}";
  };
  return fmt::format("\"right\": {}, \"wrong\": {}, \"failures\": {}, \"where\": {}", tally.right, tally.wrong,
                     object(tally.failures, hex), object(tally.where, [](const std::string& text) { return text; }));
}

void pause_if(const Settings& settings) {
  if (settings["pause"] == 0) return;
  std::cout << "held" << std::endl;
  std::string line;
  std::getline(std::cin, line);
}

Crowd crowd_of(std::span<const Kind> kinds, unsigned count, unsigned first_number, const Settings& settings) {
  const auto wanted = std::ranges::find(kinds, settings.kind, &Kind::name);
  if (wanted != kinds.end()) kinds = {wanted, 1};
  return {kinds, count, first_number, settings.tcti, settings["threads"]};
}

int hold(const Settings& settings, bool early) {
  const unsigned clients = settings["clients"], rounds = settings["rounds"];
  Crowd crowd = crowd_of(replayable_kinds(), clients, 0, settings);
  crowd.all([](Client& client) { client.prepare(); });
  crowd.all([&](Client& client) {
    client.start();
    if (!early) client.fulfil();
  });
  if (early) crowd.all([](Client& client) { client.fulfil(); });
  pause_if(settings);
  for (unsigned round = 1; round < rounds; ++round) {
    crowd.all([](Client& client) { client.use(true); });
    crowd.all([](Client& client) { client.fulfil(); });
  }
  crowd.all([&](Client& client) {
    if (rounds > 1) client.compare_digest();
    client.use(false);
  });
  crowd.all([](Client& client) { client.finish(); });
  fmt::print("{{\"mode\": \"{}\", \"clients\": {}, \"successes\": {}, {}}}\n", settings.mode, clients,
             crowd.successes(), json(crowd.tally()));
  return crowd.successes() == clients ? 0 : 1;
}

// Clients at work without a pause for as long as this lives, or until all have failed.
class Work {
 public:
  Work(Crowd& crowd, std::size_t count)
      : thread_([&crowd, count](const std::stop_token& stop) {
          std::atomic<bool> worked = true;
          while (!stop.stop_requested() && worked) {
            worked = false;
            crowd.part(0, count, [&](Client& client) {
              client.use(true);
              client.fulfil();
              if (!client.failed()) worked = true;
            });
          }
        }) {}

 private:
  std::jthread thread_;
};

// Sessions that cannot be rebuilt come and go: `rounds` times, with any result of the last round.
void come_and_go(Crowd& others, unsigned rounds) {
  for (unsigned round = 0; round < rounds; ++round) {
    others.all([](Client& client) { client.start(); });
    others.all([](Client& client) { client.fulfil(); });
    others.all([](Client& client) { client.use(false); });
    others.all([](Client& client) { client.renew(); });
  }
}

int storm(const Settings& settings) {
  const unsigned clients = settings["clients"], hmacs = settings["hmac"];
  Crowd held = crowd_of(replayable_kinds(), clients, 0, settings);
  Crowd hmac = crowd_of({&hmac_kind(), 1}, hmacs, clients, settings);
  Crowd others = crowd_of(unreplayable_kinds(), settings["others"], clients + hmacs, settings);
  for (Crowd* crowd : {&held, &hmac, &others}) crowd->all([](Client& client) { client.prepare(); });
  for (Crowd* crowd : {&held, &hmac})
    crowd->all([](Client& client) {
      client.start();
      client.fulfil();
    });
  pause_if(settings);
  {
    const Work work(held, clients / 2);
    come_and_go(others, settings["rounds"]);
  }
  for (Crowd* crowd : {&held, &hmac}) crowd->all([](Client& client) { client.use(false); });
  held.all([](Client& client) { client.finish(); });
  fmt::print(
      "{{\"mode\": \"storm\", \"clients\": {}, \"successes\": {}, \"held\": {{{}}}, \"hmac\": {{{}}}, \"others\": "
      "{{{}}}, "
      "\"lockout_counter\": {}}}\n",
      clients, held.successes(), json(held.tally()), json(hmac.tally()), json(others.tally()),
      Tpm(settings.tcti).lockout_counter());
  return held.successes() == clients ? 0 : 1;
}

int pcr(const Settings& settings) {
  constexpr Kind kBound{"bound to a PCR", nullptr};
  std::vector<std::unique_ptr<Client>> bound;
  for (const Cipher cipher : {Cipher::kNone, Cipher::kAes})
    bound.push_back(
        std::make_unique<Client>(kBound, make_pcr_errand(settings["select"], cipher), bound.size(), settings.tcti));
  const auto each = [&](const std::function<void(Client&)>& step) {
    for (const auto& client : bound) step(*client);
  };
  const auto tally_of_bound = [&] {
    Tally out;
    each([&](Client& client) { out.add(client.take_tally()); });
    return out;
  };
  each([](Client& client) { client.prepare(), client.start(), client.fulfil(); });

  Crowd crowd = crowd_of(replayable_kinds(), settings["clients"], 2, settings);
  crowd.all([](Client& client) { client.prepare(), client.start(), client.fulfil(); });
  pause_if(settings);

  Tpm other(settings.tcti);
  const std::uint32_t before = other.pcr_update_counter();
  other.extend_pcr(settings["extend"]);
  const bool moved = other.pcr_update_counter() != before;

  each([](Client& client) { client.use(true); });
  const Tally first = tally_of_bound();
  each([](Client& client) { client.go_on(), client.restart_policy(), client.fulfil(), client.use(false); });
  const Tally again = tally_of_bound();
  crowd.all([](Client& client) { client.use(false), client.finish(); });
  fmt::print(
      "{{\"mode\": \"pcr\", \"clients\": {}, \"moved\": {}, \"first\": {{{}}}, \"again\": {{{}}}, "
      "\"crowd\": {{{}}}}}\n",
      settings["clients"], moved, json(first), json(again), json(crowd.tally()));
  return 0;
}

void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

bool is_kind(const std::string& name) {
  const auto in = [&](std::span<const Kind> kinds) {
    return std::ranges::find(kinds, name, &Kind::name) != kinds.end();
  };
  return in(replayable_kinds()) || in(unreplayable_kinds());
}

int run(const Settings& settings) {
  if (!settings.kind.empty() && !is_kind(settings.kind)) return 2;
  if (settings.mode == "hold" || settings.mode == "hold-early") return hold(settings, settings.mode == "hold-early");
  if (settings.mode == "storm") return storm(settings);
  if (settings.mode == "pcr") return pcr(settings);
  return 2;
}

}  // namespace
}  // namespace tpmspace::storm

int main(int argc, char** argv) {
  using namespace tpmspace::storm;
  Settings settings;
  bool good = argc > 1;
  if (good) settings.mode = argv[1];
  for (int i = 2; i < argc; ++i) good = good && set(settings, argv[i]);
  raise_descriptor_limit();
  int code = 2;
  try {
    if (good) code = run(settings);
  } catch (const Failure& failure) {
    std::cerr << "policy_storm: " << failure.command << ": " << hex(failure.code) << "\n";
    return 1;
  }
  if (code == 2)
    std::cerr << "usage: policy_storm hold|hold-early|storm|pcr [tcti=TCTI] [clients=N] [threads=N] [rounds=N] "
                 "[pause=1] [kind=KIND] [others=N] [hmac=N] [select=PCR] [extend=PCR]\n";
  return code;
}
