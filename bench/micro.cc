#include "bench/micro.h"

#include <benchmark/benchmark.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>

#include "base/fd.h"
#include "engine/engine.h"
#include "guard/shipped.h"
#include "guard/verdict.h"
#include "peer/peer_identity.h"
#include "tests/support/tpm_commands.h"
#include "wire/command.h"
#include "wire/response.h"

namespace tpmspace::bench {
namespace {

using wire::Bytes;
constexpr std::size_t kMaxCommand = 4096;

// Answers at once: with a handle where one is due, with nothing else.
class InstantTpm : public wire::Tpm {
 public:
  Answer transact(wire::ByteView command, std::uint8_t) override {
    const auto code = wire::read_header(command)->code;
    if (code == wire::cc::kGetRandom) return wire::success_response(wire::Writer().tpm2b(Bytes(8, 1)).take());
    if (code == wire::cc::kStartAuthSession)
      return wire::success_response(wire::Writer().u32(0x03000000).tpm2b(Bytes(16, 1)).take());
    return wire::success_response({});
  }
};

void parse(benchmark::State& state) {
  const Bytes command = support::sign(0x80000000);
  for (auto _ : state) {
    auto parsed = wire::Command::parse(command, wire::CommandTable::builtin(), kMaxCommand);
    benchmark::DoNotOptimize(parsed);
  }
}

std::uint64_t next_time() {
  static std::uint64_t now = 0;
  return ++now;
}

// Submits a command and steps until it is answered.
void engine_command(benchmark::State& state, const Bytes& bytes) {
  InstantTpm tpm;
  engine::Engine engine(tpm, wire::CommandTable::builtin(), space::Chip{}, engine::Config{}, next_time);
  const auto connection = engine.open(space::OwnerId{1}, space::SpaceLimits{});
  const auto start = wire::Command::parse(support::start_session(support::SessionType::kPolicy),
                                          wire::CommandTable::builtin(), kMaxCommand);
  (void)engine.submit(connection, *start, 0, next_time());
  while (!engine.step(next_time()).reply) {
  }
  const auto command = wire::Command::parse(bytes, wire::CommandTable::builtin(), kMaxCommand);
  for (auto _ : state) {
    (void)engine.submit(connection, *command, 0, next_time());
    std::optional<engine::Reply> reply;
    while (!reply) reply = engine.step(next_time()).reply;
    benchmark::DoNotOptimize(reply);
  }
}
void engine_random(benchmark::State& state) {
  engine_command(state, support::get_random());
}
void engine_policy(benchmark::State& state) {
  engine_command(state, support::policy_command_code(0x03000000, wire::cc::kUnseal));
}

// A quote: a handle, a scheme and a selection of PCRs to judge; a dozen ranges of commands to find it in.
void verdict(benchmark::State& state) {
  const Bytes pcrs = wire::Writer().u32(1).u16(support::kSha256).u8(3).u8(0xFF).u8(0).u8(0).take();
  const Bytes bytes = support::command(wire::cc::kQuote, {0x80000000}, support::password(),
                                       wire::Writer().tpm2b(Bytes(20)).u16(support::kAlgNull).raw(pcrs).take());
  const auto command = wire::Command::parse(bytes, wire::CommandTable::builtin(), kMaxCommand);
  for (auto _ : state) benchmark::DoNotOptimize(guard::judge(guard::safe(), *command, 0));
}

// A connection over a Unix socket, whose client is a process of our own user: this one.
class Connected {
 public:
  Connected() {
    std::string directory = "/tmp/tpmspace-bench-XXXXXX";
    if (::mkdtemp(directory.data()) == nullptr) throw std::runtime_error("cannot make a directory in /tmp");
    const std::string path = directory + "/socket";
    connect(path);
    ::unlink(path.c_str());
    ::rmdir(directory.c_str());
    if (!server_) throw std::runtime_error("cannot connect to a socket of our own");
  }
  [[nodiscard]] int server() const { return server_.get(); }

 private:
  void connect(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    const auto* at = reinterpret_cast<const sockaddr*>(&address);
    const base::Fd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    client_ = base::Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::bind(listener.get(), at, sizeof address) != 0 || ::listen(listener.get(), 1) != 0) return;
    if (::connect(client_.get(), at, sizeof address) == 0)
      server_ = base::Fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  }

  base::Fd client_, server_;
};

void identity(benchmark::State& state) {
  const Connected connection;
  const peer::PeerReader reader;
  for (auto _ : state) {
    const auto who = reader.read(connection.server());
    if (!who || !who->program.executable.value()) state.SkipWithError("the peer's process is not known");
    benchmark::DoNotOptimize(who);
  }
}

BENCHMARK(parse)->Name("parse a Sign command");
BENCHMARK(verdict)->Name("guard: a verdict on a Quote");
BENCHMARK(identity)->Name("the identity of a peer, as it is read at connect");
BENCHMARK(engine_random)->Name("engine: GetRandom");
BENCHMARK(engine_policy)->Name("engine: a command with a session's handle");

class Collector : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const auto& run : runs) {
      if (run.error_occurred) throw std::runtime_error(run.run_name.function_name + ": " + run.error_message);
      rows.push_back({run.run_name.function_name, run.GetAdjustedRealTime()});
    }
  }
  std::vector<MicroRow> rows;
};

}  // namespace

std::vector<MicroRow> measure_micro() {
  Collector collector;
  benchmark::RunSpecifiedBenchmarks(&collector);
  return collector.rows;
}

}  // namespace tpmspace::bench
