// `tpmspace run`: exit codes, signals, the command's environment, and that no files or processes are left behind.
#include "tool/run.h"

#include <gtest/gtest.h>

#include "fake_daemon.h"
#include "program.h"
#include "tool/fapi.h"

namespace tpmspace::tool {
namespace {

using testing_support::TempDir;

class RunTest : public testing::Test {
 protected:
  RunTest() { std::filesystem::create_directory(runtime_); }

  [[nodiscard]] FakeDaemon fake(const std::string& behaviour) const { return {behaviour, pid_file_, runtime_}; }
  int run(const std::string& behaviour, const std::vector<std::string>& command) {
    const FakeDaemon daemon = fake(behaviour);
    Program program(dir_, daemon.run(command), daemon.environment);
    const int code = program.wait();
    out_ = program.out();
    err_ = program.err();
    return code;
  }
  [[nodiscard]] bool nothing_is_left() const { return std::filesystem::is_empty(runtime_); }

  TempDir dir_;
  std::string runtime_ = dir_.path("run");
  std::string pid_file_ = dir_.path("pid");
  std::string out_, err_;
};

TEST_F(RunTest, PassesTheExitCodeOn) {
  for (const int code : {0, 1, 7, 125, 255})
    EXPECT_EQ(run("serve", {"sh", "-c", "exit " + std::to_string(code)}), code);
  EXPECT_EQ(err_, "");
  EXPECT_TRUE(nothing_is_left());
}

TEST_F(RunTest, TellsTheSignalThatKilledTheCommand) {
  EXPECT_EQ(run("serve", {"sh", "-c", "kill -KILL $$"}), 128 + SIGKILL);
  EXPECT_EQ(run("serve", {"sh", "-c", "kill -TERM $$"}), 128 + SIGTERM);
}

TEST_F(RunTest, ACommandThatIsNotThereOrCannotBeExecuted) {
  EXPECT_EQ(run("serve", {dir_.path("nothing")}), 127);
  EXPECT_EQ(err_, "tpmspace: cannot run " + dir_.path("nothing") + ": No such file or directory\n");
  EXPECT_EQ(run("serve", {dir_.path()}), 126);
  EXPECT_TRUE(nothing_is_left());
  EXPECT_EQ(contents(pid_file_), "ended");
}

TEST_F(RunTest, ADaemonThatEndsEarlyIsQuoted) {
  EXPECT_EQ(run("die", {"true"}), 125);
  EXPECT_EQ(
      err_,
      "tpmspace: tpmspaced did not start: it exited with code 3; it said:\n  looking for a TPM\n  there is no TPM: "
      "buy one\n");
  EXPECT_TRUE(nothing_is_left());
}

TEST_F(RunTest, NoticesOfAWaitingDaemonArePassedOn) {
  EXPECT_EQ(run("wait", {"true"}), 0);
  EXPECT_EQ(err_, "tpmspace: tpmspaced: waiting for Godot\n");
}

TEST_F(RunTest, ADaemonThatIsNotThere) {
  Program program(dir_, {"run", "--tpmspaced", dir_.path("none"), "--", "true"}, {{"XDG_RUNTIME_DIR", runtime_}});
  EXPECT_EQ(program.wait(), 125);
  EXPECT_EQ(program.err(), "tpmspace: cannot start " + dir_.path("none") + ": No such file or directory\n");
  EXPECT_TRUE(nothing_is_left());
}

TEST_F(RunTest, NotifyIsEnoughToBeReady) {
  EXPECT_EQ(run("notify", {"sh", "-c", "exit 4"}), 4);
}

TEST_F(RunTest, TheDaemonsErrorsAreShown) {
  EXPECT_EQ(run("grumble", {"true"}), 0);
  EXPECT_EQ(err_, "tpmspace: tpmspaced: all is lost\n");
}

TEST_F(RunTest, TheCommandIsGivenAllVariables) {
  ASSERT_EQ(
      run("serve", {"sh", "-c",
                    "echo $TPMSPACE_SOCKET; echo $TPM2TOOLS_TCTI; echo $TPM2OPENSSL_TCTI; echo $TPM2_PKCS11_TCTI; "
                    "echo $TSS2_FAPICONF; echo $LD_LIBRARY_PATH; echo ${NOTIFY_SOCKET-none}; stat -c %a "
                    "${TPMSPACE_SOCKET%/*}; cat $TSS2_FAPICONF"}),
      0);
  std::istringstream lines(out_);
  std::vector<std::string> line(8);
  for (auto& text : line) std::getline(lines, text);
  EXPECT_TRUE(line[0].starts_with(runtime_ + "/tpmspace-run-")) << line[0];
  EXPECT_TRUE(line[0].ends_with("/tpm.sock")) << line[0];
  for (const int i : {1, 2, 3}) EXPECT_EQ(line[static_cast<std::size_t>(i)], "space:path=" + line[0]);
  EXPECT_EQ(line[4], std::filesystem::path(line[0]).parent_path().string() + "/fapi-config.json");
  EXPECT_EQ(line[5].substr(0, line[5].find(':')), std::filesystem::canonical(own_directory() + "/../lib").string());
  EXPECT_EQ(line[6], "none");
  EXPECT_EQ(line[7], "700");
  EXPECT_NE(out_.find("\"tcti\": \"space:path=" + line[0] + "\""), std::string::npos);
  EXPECT_NE(out_.find("\"ek_cert_less\": \"yes\""), std::string::npos);
}

TEST_F(RunTest, ARuntimeDirThatNoSocketFitsIntoIsNotUsed) {
  for (const std::string& name : {std::string(90, 'x'), std::string("a,b")}) {
    runtime_ = dir_.path(name);
    std::filesystem::create_directory(runtime_);
    EXPECT_EQ(run("serve", {"sh", "-c", "echo $TPMSPACE_SOCKET"}), 0);
    EXPECT_TRUE(out_.starts_with("/tmp/tpmspace-run-")) << out_;
    EXPECT_FALSE(std::filesystem::exists(std::filesystem::path(out_).parent_path()));
  }
}

// The command says that it is there, waits until `there` is taken away (with the whole folder, at the latest), and says
// that it is gone.
std::vector<std::string> waiting_command(const TempDir& dir, const std::string& before) {
  const std::string there = dir.path("there");
  return {
      "sh", "-c",
      before + "; echo > " + there + "; while [ -e " + there + " ]; do sleep 0.01; done; echo > " + dir.path("gone")};
}

TEST_F(RunTest, ASignalGoesOnToTheCommand) {
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    const FakeDaemon daemon = fake("serve");
    Program program(dir_, daemon.run(waiting_command(dir_, "trap 'exit 9' TERM INT HUP")), daemon.environment);
    ASSERT_TRUE(appears(dir_.path("there")));
    kill(program.pid(), signal);
    EXPECT_EQ(program.wait(), 9) << signal;
    EXPECT_TRUE(nothing_is_left());
    EXPECT_EQ(contents(pid_file_), "ended");
    std::filesystem::remove(dir_.path("there"));
  }
}

TEST_F(RunTest, ACommandThatDiesOfTheSignalIsToldSo) {
  const FakeDaemon daemon = fake("serve");
  Program program(dir_, daemon.run(waiting_command(dir_, "true")), daemon.environment);
  ASSERT_TRUE(appears(dir_.path("there")));
  kill(program.pid(), SIGTERM);
  EXPECT_EQ(program.wait(), 128 + SIGTERM);
  EXPECT_TRUE(nothing_is_left());
}

TEST_F(RunTest, ASignalBeforeTheDaemonIsReadyEndsItAll) {
  const FakeDaemon daemon = fake("hang");
  Program program(dir_, daemon.run({"true"}), daemon.environment);
  ASSERT_TRUE(appears(pid_file_));
  kill(program.pid(), SIGINT);
  EXPECT_EQ(program.wait(), 128 + SIGINT);
  EXPECT_TRUE(nothing_is_left());
  EXPECT_EQ(contents(pid_file_), "ended");
}

TEST_F(RunTest, TheDaemonDiesWithTheTool) {
  const FakeDaemon daemon = fake("serve");
  Program program(dir_, daemon.run(waiting_command(dir_, "true")), daemon.environment);
  ASSERT_TRUE(appears(dir_.path("there")));
  kill(program.pid(), SIGKILL);
  EXPECT_EQ(program.wait(), 1000 + SIGKILL);
  EXPECT_TRUE(comes_true([&] { return contents(pid_file_) == "ended"; }));
  EXPECT_TRUE(comes_true([&] { return nothing_is_left(); }));
  std::filesystem::remove(dir_.path("there"));  // the command has no parent now; it ends by itself
  EXPECT_TRUE(appears(dir_.path("gone")));
}

TEST_F(RunTest, WithoutTheLibraryNothingIsStarted) {
  if (!find_library().by_itself.empty()) GTEST_SKIP() << "the library is installed";
  std::filesystem::copy(program_path("tpmspace"), dir_.path("tpmspace"));
  const FakeDaemon daemon = fake("serve");
  Program program(dir_, daemon.run({"true"}), daemon.environment, dir_.path("tpmspace"));
  EXPECT_EQ(program.wait(), 125);
  EXPECT_TRUE(program.err().starts_with("tpmspace: libtss2-tcti-space.so.0, the library by which programs "))
      << program.err();
  EXPECT_FALSE(std::filesystem::exists(pid_file_));
}

TEST_F(RunTest, SaysWhenTheDaemonEndsMeanwhile) {
  EXPECT_EQ(run("serve", {"sh", "-c",
                          "kill -USR1 $(cat " + pid_file_ + "); while kill -0 $(cat " + pid_file_ +
                              ") 2>/dev/null; do sleep 0.01; done; exit 6"}),
            6);
  EXPECT_NE(err_.find("tpmspaced exited with code 5 while the command was running"), std::string::npos) << err_;
  EXPECT_TRUE(nothing_is_left());
}

class RealDaemonTest : public RunTest {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(program_path("tpmspaced"))) GTEST_SKIP() << "tpmspaced is not built";
  }
  int run_really(const std::vector<std::string>& command) {
    std::vector<std::string> arguments = {"run", "--"};
    arguments.insert(arguments.end(), command.begin(), command.end());
    Program program(dir_, arguments, {{"XDG_RUNTIME_DIR", runtime_}});
    const int code = program.wait();
    out_ = program.out();
    err_ = program.err();
    return code;
  }
};

TEST_F(RealDaemonTest, PassesTheExitCodeOn) {
  EXPECT_EQ(run_really({"sh", "-c", "exit 7"}), 7) << err_;
  EXPECT_EQ(run_really({"sh", "-c", "kill -KILL $$"}), 137) << err_;
  EXPECT_EQ(err_, "");
  EXPECT_TRUE(nothing_is_left());
}

// Such a program is under no sanitizer, so it is only looked at where FAPI's keys would go.
TEST_F(RealDaemonTest, FapiKeysLiveAsLongAsTheTpm) {
  const auto keystore_of = [&](const std::string& tpm) {
    Program program(
        dir_, {"run", "--tpm", tpm, "--", "sh", "-c", "sed -n 's/.*user_dir\": \"\\(.*\\)\".*/\\1/p' $TSS2_FAPICONF"},
        {{"XDG_RUNTIME_DIR", runtime_}});
    EXPECT_EQ(program.wait(), 0) << program.err();
    std::string out = program.out();
    if (!out.empty()) out.pop_back();
    return out;
  };
  EXPECT_EQ(keystore_of("embedded:" + dir_.path("tpm")), dir_.path("tpm/fapi/user"));
  EXPECT_TRUE(std::filesystem::is_directory(dir_.path("tpm/fapi/user")));
  EXPECT_TRUE(keystore_of("embedded").starts_with(runtime_ + "/tpmspace-run-"));
  EXPECT_TRUE(nothing_is_left());
}

TEST(Fapi, TheStatesFolderIsKnownForAnEmbeddedTpm) {
  EXPECT_EQ(state_directory("embedded:/a/b"), "/a/b");
  EXPECT_EQ(state_directory("embedded:/a/../b,latency=slb9670"), "/b");
  EXPECT_EQ(state_directory("embedded:b"), std::filesystem::current_path().string() + "/b");
  for (const char* other : {"embedded", "embedded:", "embedded,latency=slb9670", "swtpm:path=/a", "device:/dev/tpm0"})
    EXPECT_FALSE(state_directory(other)) << other;
}

TEST_F(RealDaemonTest, TellsItsStatus) {
  ASSERT_EQ(run_really({program_path("tpmspace"), "status"}), 0) << err_;
  EXPECT_NE(out_.find("backend embedded"), std::string::npos) << out_;
  ASSERT_EQ(run_really({program_path("tpmspace"), "status", "--json"}), 0) << err_;
  EXPECT_NE(out_.find("\"connections\": {\"now\": 1"), std::string::npos) << out_;
}

TEST_F(RealDaemonTest, TheDoctorListsTheContentsOfTheTpm) {
  (void)run_really({program_path("tpmspace"), "doctor"});  // the machine's own TPM may well have a problem
  EXPECT_NE(out_.find("ok       persistent objects: none"), std::string::npos) << out_ << err_;
  EXPECT_NE(out_.find("authorization failures are counted"), std::string::npos) << out_;
}

TEST_F(RealDaemonTest, ConnectCarriesACommandWhoseInputEnds) {
  const std::string get_random = "'\\200\\001\\000\\000\\000\\014\\000\\000\\001\\173\\000\\010'";
  ASSERT_EQ(run_really({"sh", "-c", "printf " + get_random + " | " + program_path("tpmspace") + " connect | wc -c"}),
            0);
  EXPECT_EQ(std::stoi(out_), 20) << err_;
}

TEST_F(RealDaemonTest, AnUnknownTpmIsQuoted) {
  Program program(dir_, {"run", "--tpm", "nonsense", "--", "true"}, {{"XDG_RUNTIME_DIR", runtime_}});
  EXPECT_EQ(program.wait(), 125);
  EXPECT_NE(program.err().find("nonsense"), std::string::npos) << program.err();
  EXPECT_TRUE(nothing_is_left());
}

}  // namespace
}  // namespace tpmspace::tool
