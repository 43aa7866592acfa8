#include "demo/show.h"

#include <fmt/format.h>

#include <iostream>
#include <sstream>

#include "demo/crowd.h"
#include "demo/kit/daemon.h"
#include "demo/kit/interrupt.h"
#include "demo/kit/process.h"
#include "demo/kit/scratch.h"
#include "demo/table.h"

namespace tpmspace::demo {
namespace {

constexpr unsigned kClients = 24, kRounds = 5;
// A bound, not an expectation: a trial takes a second or two.
constexpr seconds kTrialTimeout(60), kStartTimeout(15);

constexpr const char* kOpening =
    R"(tpmspace: many programs share one small TPM, each as if it were alone.

{} programs at the same time, all through ESYS. Each has a signing key, a quoting
key, a secret sealed to a policy and an HMAC session of its own; in {} rounds it
signs, quotes and unseals, and checks each answer with OpenSSL. The TPM (libtpms,
in software, like most chips) has room for 3 objects and 3 sessions: enough for
one of them.

)";

constexpr const char* kSums =
    R"(Of the clients' commands tpmspace answers some without the TPM, such as flushing
a key that is not loaded just now. The others it passes on; to make room it adds
commands that save, load and flush. Passed on and added make the last sum.
)";

using Result = tl::expected<Trial, std::string>;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// All that the clients do, up to where they are done and wait to go home.
tl::expected<Crowd, std::string> run_crowd(const Scratch& scratch, const std::string& socket, unsigned clients) {
  const auto deadline = Clock::now() + kTrialTimeout;
  auto crowd = Crowd::start(clients, tcti_for(socket), kRounds, scratch.file("clients.log"), deadline);
  if (!crowd) return crowd;
  crowd->gather();  // connected
  crowd->let_go();
  crowd->gather();  // set up
  crowd->let_go();
  crowd->gather();  // done
  return crowd;
}

void send_home(Crowd& crowd) {
  crowd.let_go();
  crowd.see_off();
}

Result on_bare_tpm(unsigned clients) {
  const auto scratch = Scratch::make();
  if (!scratch) return tl::unexpected(scratch.error());
  const std::string socket = scratch->file("turns.sock"), log = scratch->file("turns.log");
  auto turns = Child::start({{own_directory() + "/tpmspace-demo", "turns", socket}, {}, log, true});
  if (!turns) return tl::unexpected(turns.error());
  if (turns->read_line(Clock::now() + kStartTimeout) != "ready")
    return tl::unexpected("the bare TPM does not start: " + tail_of(log));

  Trial trial;
  trial.name = "bare TPM";
  const auto start = Clock::now();
  auto crowd = run_crowd(*scratch, socket, clients);
  if (!crowd) return tl::unexpected(crowd.error());
  trial.seconds = seconds_since(start);
  send_home(*crowd);
  trial.outcomes = crowd->outcomes();
  turns->end_of_input();
  std::istringstream sums(turns->read_line(Clock::now() + kStartTimeout).value_or(""));
  if (!(sums >> trial.client_commands >> trial.objects_left >> trial.sessions_left))
    return tl::unexpected("the bare TPM does not say what is left in it: " + tail_of(log));
  return trial;
}

// The objects left in the TPM are known when the daemon has flushed the last client's objects: soon, but not at once.
tl::expected<proto::Status, std::string> status_when_empty(const Daemon& daemon) {
  const auto deadline = Clock::now() + seconds(5);
  for (;;) {
    auto status = daemon.status();
    if (!status || Clock::now() > deadline || interrupted()) return status;
    if (status->spaces_objects_loaded == 0 && status->spaces_sessions == 0) return status;
  }
}

Result on_tpmspace(unsigned clients) {
  const auto scratch = Scratch::make();
  if (!scratch) return tl::unexpected(scratch.error());
  auto daemon = Daemon::start(*scratch, "embedded");
  if (!daemon) return tl::unexpected(daemon.error());
  const auto before = daemon->status();
  if (!before) return tl::unexpected(before.error());

  Trial trial;
  trial.name = "tpmspace";
  const auto start = Clock::now();
  auto crowd = run_crowd(*scratch, daemon->socket(), clients);
  if (!crowd) return tl::unexpected(crowd.error());
  trial.seconds = seconds_since(start);
  const auto after = daemon->status();
  send_home(*crowd);
  const auto empty = status_when_empty(*daemon);
  if (!after) return tl::unexpected(after.error());
  if (!empty) return tl::unexpected(empty.error());

  trial.outcomes = crowd->outcomes();
  std::cerr << tail_of(scratch->file("clients.log"));  // empty, unless a client broke
  trial.client_commands = after->client_commands_answered - before->client_commands_answered;
  const auto passed_on = after->tpm_commands_client - before->tpm_commands_client;
  trial.without_tpm = trial.client_commands - passed_on;
  trial.added = after->tpm_commands_total - before->tpm_commands_total - passed_on;
  trial.objects_left = empty->spaces_objects_loaded;
  trial.sessions_left = empty->spaces_sessions;
  return trial;
}

// The chip is out of room: the response of a bare TPM that clients share.
bool is_out_of_room(const Outcome& outcome) {
  const TSS2_RC code = outcome.failure.code;
  return outcome.how == Outcome::How::kFailed &&
         (code == TPM2_RC_OBJECT_MEMORY || code == TPM2_RC_SESSION_MEMORY || code == TPM2_RC_MEMORY);
}

bool ran_out_of_room(const Trial& trial) {
  for (const auto& outcome : trial.outcomes)
    if (is_out_of_room(outcome)) return true;
  return false;
}

bool is_perfect(const Trial& trial) {
  for (const auto& o : trial.outcomes)
    if (o.signatures != kRounds || o.quotes != kRounds || o.secrets != kRounds) return false;
  return trial.failures() == 0 && trial.wrong_answers() == 0;
}

// False: something is not as it should be.
bool judge(const Trial& alone, const Trial& shared, const Trial& managed) {
  if (ran_out_of_room(shared))
    std::cout << "How the bare TPM failed " << shared.outcomes.size() << " clients:\n" << how_it_failed(shared) << "\n";
  else
    std::cout << "NOT AS EXPECTED: the bare TPM did not run out of room.\n" << how_it_failed(shared);
  if (!is_perfect(alone))
    std::cout << "NOT AS EXPECTED: one client alone failed on the bare TPM.\n" << how_it_failed(alone);
  const bool empty = managed.objects_left == 0 && managed.sessions_left == 0;
  if (!is_perfect(managed))
    std::cout << "NOT AS EXPECTED: clients failed on tpmspace.\n" << how_it_failed(managed);
  else if (!empty)
    std::cout << "NOT AS EXPECTED: something was left in the TPM under tpmspace.\n";
  return ran_out_of_room(shared) && is_perfect(alone) && is_perfect(managed) && empty;
}

int fail(const std::string& why) {
  std::cerr << "tpmspace-demo: " << (interrupted() ? std::string("interrupted") : why) << "\n";
  return interrupted() ? 130 : 1;
}

}  // namespace

int show() {
  notice_interrupts();
  std::cout << fmt::format(kOpening, kClients, kRounds) << std::flush;
  std::vector<Trial> trials;
  for (const auto& [run, clients] : {std::pair{&on_bare_tpm, 1U}, {&on_bare_tpm, kClients}, {&on_tpmspace, kClients}}) {
    auto trial = run(clients);
    if (!trial || interrupted()) return fail(trial ? "" : trial.error());
    trials.push_back(std::move(*trial));
  }
  std::cout << table(trials) << kSums << "\n";
  if (!judge(trials[0], trials[1], trials[2])) return 1;
  std::cout << "Next: "
            << "build/bin/tpmspace run -- tpm2_getrandom --hex 8\n";
  return 0;
}

}  // namespace tpmspace::demo
