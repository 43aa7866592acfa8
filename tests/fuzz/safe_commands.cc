// Commands allowed by `safe` must not end, hang or disable a TPM.
//
// A random client (safe_client.h) sends commands that the profile `safe` allows to an swtpm process of its own, through
// what tpmspaced has in front of it: the parser, the guard and the filter of known crashes. It proves that swtpm lives,
// answers, and is not in failure mode after each command.
// First it proves that it would notice: a command that is known to end swtpm is sent past the filter.
// Input: none; the seed decides what is sent, but for what the TPM makes at random.
//   fuzz_safe_commands [-seed=N] [-max_total_time=SECONDS] [-artifact_prefix=DIR/] [-embedded=1] [FILE]
// Other arguments are for libFuzzer's fuzzers and mean nothing here. -embedded=1: libtpms in this process, to be used
// with a libtpms that has sanitizers. FILE: the commands of a finding, once more.
// A finding is a file of hexadecimal commands, each with its response behind a #; the last one did it. The exit code is
// then 1.
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "../support/tpm_commands.h"
#include "guard/shipped.h"
#include "safe_client.h"
#include "tpm/bring_up.h"
#include "tpm/crash_filter.h"
#include "tpm/embedded.h"
#include "tpm/swtpm.h"

namespace tpmspace::fuzz {
namespace {

namespace cc = wire::cc;
using namespace support;
using Clock = std::chrono::steady_clock;

struct Options {
  std::uint64_t seed = 1;
  std::chrono::seconds time{10};
  std::string artifacts = "./";
  std::string replay;
  bool embedded = false;
};

// An swtpm in a directory of its own, that ends with this object.
class SwtpmProcess {
 public:
  SwtpmProcess() {
    std::string name = (std::filesystem::temp_directory_path() / "tpmspace-fuzz-XXXXXX").string();
    directory_ = ::mkdtemp(name.data());
    std::filesystem::create_directory(directory_ / "state");
    const std::string state = "dir=" + (directory_ / "state").string(), server = "type=unixio,path=" + path(),
                      control = "type=unixio,path=" + path() + ".ctrl";
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::execlp("swtpm", "swtpm", "socket", "--tpm2", "--tpmstate", state.c_str(), "--server", server.c_str(), "--ctrl",
               control.c_str(), "--flags", "not-need-init", static_cast<char*>(nullptr));
      ::_exit(127);
    }
  }
  SwtpmProcess(const SwtpmProcess&) = delete;
  SwtpmProcess& operator=(const SwtpmProcess&) = delete;
  ~SwtpmProcess() {
    if (pid_ > 0) ::kill(pid_, SIGKILL);
    if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
    std::filesystem::remove_all(directory_);
  }

  [[nodiscard]] std::string path() const { return (directory_ / "sock").string(); }
  // How it ended, if it has. Waits a moment: it may still be ending.
  std::optional<std::string> end() {
    for (int i = 0; i < 100 && pid_ > 0; ++i) {
      int status = 0;
      if (::waitpid(pid_, &status, WNOHANG) == pid_) {
        pid_ = -1;
        if (WIFSIGNALED(status)) return fmt::format("swtpm was ended by signal {}", WTERMSIG(status));
        return fmt::format("swtpm ended with code {}", WEXITSTATUS(status));
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return std::nullopt;
  }

 private:
  std::filesystem::path directory_;
  pid_t pid_ = -1;
};

// A TPM with an administrator's entities: an NV index that all users may read, and a storage key.
class Target {
 public:
  explicit Target(bool embedded) {
    std::unique_ptr<tpm::BackEnd> opened = embedded ? open_embedded() : open_swtpm();
    raw_ = opened.get();
    filter_ = std::make_unique<tpm::CrashFilter>(std::move(opened));
    const auto facts = tpm::bring_up(*filter_, tpm::Kind::kSwtpm, {});
    if (!facts) fail(facts.error());
    provide();
  }

  wire::Tpm::Answer ask(ByteView command) { return filter_->transact(command, 0); }
  wire::Tpm::Answer ask_past_the_filter(ByteView command) { return raw_->transact(command, 0); }
  std::optional<std::string> end() { return process_ ? process_->end() : std::nullopt; }
  // The TPM's report on the failure: of libtpms the function's address, the line and the kind. Empty: no failure.
  [[nodiscard]] Bytes failure() {
    const auto answer = ask(command(cc::kGetTestResult, {}, {}, {}));
    const bool failed =
        !answer || answer->size() < 14 || wire::Reader(ByteView(*answer).last(4)).u32() == wire::rc::kFailure;
    return failed && answer ? *answer : Bytes();
  }
  // Wrong authorizations of DA-protected keys count; a client of `safe` would be stopped before.
  void reset_lockout() { (void)ask(command(cc::kDictionaryAttackLockReset, {kLockout}, password(), {})); }

  static constexpr std::uint32_t kNvIndex = 0x01500000, kStorageKey = 0x81000001;

 private:
  [[noreturn]] static void fail(const std::string& why) {
    fmt::print(stderr, "cannot begin: {}\n", why);
    std::exit(2);
  }
  static std::unique_ptr<tpm::BackEnd> open_embedded() {
    auto opened = tpm::EmbeddedTpm::open("");
    if (!opened) fail(opened.error());
    return std::move(*opened);
  }
  std::unique_ptr<tpm::BackEnd> open_swtpm() {
    process_ = std::make_unique<SwtpmProcess>();
    for (int i = 0; i < 500; ++i) {
      auto opened = tpm::SwtpmTpm::open(tpm::SwtpmUnixSpec{process_->path(), process_->path() + ".ctrl"});
      if (opened) return std::move(*opened);
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    fail("swtpm does not come up; is it installed?");
  }
  void provide() {
    const Bytes nv = Writer().u32(kNvIndex).u16(kSha256).u32(0x42072004).u16(0).u16(64).take();
    (void)ask(command(cc::kNVDefineSpace, {kOwner}, password(), Writer().u16(0).tpm2b(nv).bytes()));
    (void)ask(command(cc::kNVWrite, {kNvIndex, kNvIndex}, password(), Writer().tpm2b(Bytes(64, 5)).u16(0).bytes()));
    (void)ask(create_primary(kOwner));
    (void)ask(command(cc::kEvictControl, {kOwner, 0x80000000}, password(), Writer().u32(kStorageKey).bytes()));
    (void)ask(command(cc::kFlushContext, {}, {}, Writer().u32(0x80000000).bytes()));
  }

  std::unique_ptr<SwtpmProcess> process_;
  tpm::BackEnd* raw_ = nullptr;
  std::unique_ptr<tpm::CrashFilter> filter_;
};

std::string hex(ByteView data) {
  std::string out;
  for (const auto one : data) out += fmt::format("{:02x}", one);
  return out;
}
Bytes from_hex(const std::string& text) {
  Bytes out;
  for (std::size_t i = 0; i + 1 < text.size() && text[i] != ' '; i += 2)
    out.push_back(static_cast<std::uint8_t>(std::stoul(text.substr(i, 2), nullptr, 16)));
  return out;
}

class Run {
 public:
  explicit Run(const Options& options) : options_(options), target_(options.embedded) {}

  // Whether nothing was found.
  bool send(const Bytes& bytes) {
    last_.push_back(bytes);
    if (last_.size() > kKept) last_.pop_front();
    if (options_.embedded) note(bytes);
    const auto began = Clock::now();
    const auto answer = target_.ask(bytes);
    if (!answer) return found(target_.end().value_or(answer.error().what));
    if (Clock::now() - began > kPatience) return found("it took too long");
    const auto header = wire::read_header(*answer);
    if (!header) return found("the answer has no header");
    ++codes_[header->code];
    answer_ = *answer;
    answers_.push_back(answer_);
    if (answers_.size() > kKept) answers_.pop_front();
    if (header->code == wire::rc::kFailure)
      if (const Bytes why = target_.failure(); !why.empty()) return found("failure mode: " + hex(why));
    return true;
  }
  [[nodiscard]] const Bytes& answer() const { return answer_; }
  void reset_lockout() { target_.reset_lockout(); }
  void report(std::uint64_t commands) const {
    fmt::print("{} commands, {} succeeded, {} different codes; swtpm lives\n", commands,
               codes_.contains(0) ? codes_.at(0) : 0, codes_.size());
  }

 private:
  static constexpr std::size_t kKept = 2000;
  static constexpr std::chrono::seconds kPatience{120};

  [[nodiscard]] std::string file() const { return options_.artifacts + "safe-commands"; }
  // A sanitizer that ends this process leaves no time for `keep`: so each command is written before it is sent. The
  // file begins anew after kKept, and the one before stays beside it.
  void note(ByteView bytes) {
    if (noted_++ % kKept == 0) {
      notes_.close();
      std::error_code none_yet;
      std::filesystem::rename(file(), file() + ".before", none_yet);
      notes_.open(file(), std::ios::trunc);
    }
    notes_ << hex(bytes) << std::endl;
  }
  std::string keep() const {
    std::ofstream out(file());
    for (std::size_t i = 0; i < last_.size(); ++i)
      out << hex(last_[i]) << (i < answers_.size() ? " # " + hex(answers_[i]) : "") << "\n";
    return file();
  }
  bool found(const std::string& what) {
    fmt::print(stderr, "FOUND: {} after\n  {}\nthe last {} commands are in {}\n", what, hex(last_.back()), last_.size(),
               keep());
    return false;
  }

  const Options& options_;
  Target target_;
  std::deque<Bytes> last_, answers_;
  std::ofstream notes_;
  std::uint64_t noted_ = 0;
  Bytes answer_;
  std::map<wire::Rc, std::uint64_t> codes_;
};

// CertifyX509 with no signing key and a certificate that is one: docs/known-crashes.md. True: it ended swtpm.
bool would_be_noticed() {
  Target target(false);
  if (!target.ask(create_primary(kOwner, ecc_signing_template()))) return false;
  const Bytes name = {0x30, 0x0C, 0x31, 0x0A, 0x30, 0x08, 0x06, 0x03, 0x55, 0x04, 0x03, 0x0C, 0x01, 0x61};
  const Bytes validity = from_hex("301e170d3230303130313030303030305a170d3239303130313030303030305a");
  const Bytes usage = from_hex("a3123010300e0603551d0f0101ff040403020780");
  const Bytes body = Writer().raw(name).raw(validity).raw(name).raw(usage).take();
  const Bytes certificate = Writer().u8(0x30).u8(static_cast<std::uint8_t>(body.size())).raw(body).take();
  const Bytes bad = command(cc::kCertifyX509, {0x80000000, kNull}, join({password(), password()}),
                            Writer().u16(0).u16(kAlgNull).tpm2b(certificate).bytes());
  return !target.ask_past_the_filter(bad) && target.end().has_value();
}

bool fuzz(const Options& options) {
  if (!options.embedded && !would_be_noticed())
    fmt::print(
        "this libtpms does not fall by CertifyX509 without a key: nothing shows that a death would be noticed\n");
  Run run(options);
  SafeClient client(options.seed, guard::safe(), {Target::kNvIndex}, {Target::kStorageKey});
  const auto end = Clock::now() + options.time;
  std::uint64_t commands = 0;
  for (; Clock::now() < end; ++commands) {
    if (commands % 500 == 0) run.reset_lockout();
    const Bytes bytes = client.next();
    if (!run.send(bytes)) return false;
    const auto parsed = wire::Command::parse(bytes, wire::CommandTable::builtin(), 4096);
    if (parsed) client.learn(*parsed, run.answer());
  }
  run.report(commands);
  return true;
}

bool replay(const Options& options) {
  Run run(options);
  std::ifstream in(options.replay);
  std::uint64_t commands = 0;
  for (std::string line; std::getline(in, line); ++commands)
    if (!run.send(from_hex(line))) return false;
  run.report(commands);
  return true;
}

Options options_of(int argc, char** argv) {
  Options out;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const auto value = word.substr(std::min(word.size(), word.find('=') + 1));
    if (word.starts_with("-seed=")) out.seed = std::stoull(value);
    if (word.starts_with("-max_total_time=")) out.time = std::chrono::seconds(std::stoll(value));
    if (word.starts_with("-artifact_prefix=")) out.artifacts = value;
    if (word == "-embedded=1") out.embedded = true;
    if (word[0] != '-' && std::filesystem::is_regular_file(word)) out.replay = word;
  }
  return out;
}

}  // namespace
}  // namespace tpmspace::fuzz

int main(int argc, char** argv) {
  const auto options = tpmspace::fuzz::options_of(argc, argv);
  const bool clean = options.replay.empty() ? tpmspace::fuzz::fuzz(options) : tpmspace::fuzz::replay(options);
  return clean ? 0 : 1;
}
