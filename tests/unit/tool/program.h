// For tests of the program as a whole: starts build/bin/tpmspace and waits for it, output and errors in files. No test
// waits for a fixed time: each waits for an event, within a bound that only a broken program meets.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "../client/temp_dir.h"
#include "tool/child.h"
#include "tool/installation.h"

namespace tpmspace::tool {

inline std::string contents(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

template <typename Condition>
[[nodiscard]] bool comes_true(Condition&& condition) {
  for (int i = 0; i < 60'000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

inline bool appears(const std::string& path) {
  return comes_true([&] { return std::filesystem::exists(path); });
}

inline std::string program_path(const std::string& name) {
  return own_directory() + "/" + name;
}

class Program {
 public:
  // `environment`: changes to ours.
  Program(const testing_support::TempDir& dir, const std::vector<std::string>& arguments,
          std::vector<Variable> environment = {}, const std::string& program = program_path("tpmspace"))
      : out_(dir.path("out")), err_(dir.path("err")) {
    Launch launch;
    launch.arguments = {"/bin/sh", "-c", "exec \"$@\" >" + out_ + " 2>" + err_ + " </dev/null", "sh", program};
    launch.arguments.insert(launch.arguments.end(), arguments.begin(), arguments.end());
    launch.environment = std::move(environment);
    sigemptyset(&launch.mask);
    pid_ = spawn(launch).value_or(-1);
    EXPECT_GT(pid_, 0);
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

  [[nodiscard]] pid_t pid() const { return pid_; }
  // Its exit code, or 1000 + the signal that killed it.
  int wait() {
    int status = 0;
    EXPECT_TRUE(comes_true([&] { return waitpid(pid_, &status, WNOHANG) == pid_; }));
    pid_ = -1;
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
  }
  [[nodiscard]] std::string out() const { return contents(out_); }
  [[nodiscard]] std::string err() const { return contents(err_); }

 private:
  std::string out_, err_;
  pid_t pid_ = -1;
};

}  // namespace tpmspace::tool
