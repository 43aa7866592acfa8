// The identity of connected processes by the kernel: of living processes, and of processes that are gone, have changed
// meanwhile, or lie about their paths. Tests that the machine does not allow (namespaces, other users) are skipped and
// say so. The texts of odd kernels come from a directory that looks like /proc.
#include "peer/peer_identity.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace tpmspace::peer {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr uid_t kOther = 65534;
constexpr int kSocketPidfd = 77;  // SO_PEERPIDFD

std::uint64_t inode_of(const std::string& path) {
  struct stat info {};
  EXPECT_EQ(::stat(path.c_str(), &info), 0) << path;
  return info.st_ino;
}

std::string own_executable() {
  return fs::read_symlink("/proc/self/exe");
}

std::string sleep_program() {
  return fs::canonical("/bin/sleep");
}

void touch(const std::string& path) {
  std::ofstream file(path);
  EXPECT_TRUE(file);
}

// A process of ours that ends with the test.
class Child {
 public:
  explicit Child(const std::function<void()>& life) : pid_(::fork()) {
    if (pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    life();
    ::_exit(0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() { end(); }

  [[nodiscard]] pid_t pid() const { return pid_; }
  // Its exit code.
  int wait() {
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  void end() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    wait();
  }
  // Its number is still its own.
  void end_as_zombie() const {
    ::kill(pid_, SIGKILL);
    siginfo_t info{};
    ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT);
  }

 private:
  pid_t pid_ = -1;
};

// Until the other end is closed.
[[noreturn]] void stay(int socket) {
  char byte = 0;
  while (::read(socket, &byte, 1) > 0) continue;
  ::_exit(0);
}

class PeerIdentityTest : public testing::Test {
 protected:
  PeerIdentityTest() {
    char name[] = "/tmp/peerXXXXXX";
    directory_ = ::mkdtemp(name);
    ::chmod(name, 0755);
    address_.sun_family = AF_UNIX;
    const std::string path = directory_ + "/s";
    std::memcpy(address_.sun_path, path.c_str(), path.size() + 1);
    listener_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::bind(listener_.get(), address(), sizeof address_), 0);
    EXPECT_EQ(::listen(listener_.get(), 8), 0);
    ::chmod(path.c_str(), 0666);
  }
  ~PeerIdentityTest() override { fs::remove_all(directory_); }

  [[nodiscard]] const sockaddr* address() const { return reinterpret_cast<const sockaddr*>(&address_); }
  // In a child: leaves it if it cannot.
  [[nodiscard]] int connect() const {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);  // not closed by exec
    if (::connect(fd, address(), sizeof address_) != 0) ::_exit(1);
    return fd;
  }
  [[nodiscard]] base::Fd accept() const { return base::Fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)); }

  // Starts a child that does `before`, connects, does `after` and stays. False: `before` was not possible.
  // Once this returns, the child has done all that, or is the program that `after` executes.
  bool start_peer(const std::function<bool()>& before = nullptr, const std::function<void()>& after = nullptr) {
    int pipe[2] = {-1, -1};
    EXPECT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
    base::Fd hear(pipe[0]), say(pipe[1]);
    child_ = std::make_unique<Child>([&] {
      if (before && !before()) ::_exit(1);
      const int socket = connect();
      if (::write(say.get(), "c", 1) != 1) ::_exit(1);
      if (after) after();
      say.reset();  // as executing something does
      stay(socket);
    });
    say.reset();
    char byte = 0;
    if (::read(hear.get(), &byte, 1) != 1) return false;
    EXPECT_EQ(::read(hear.get(), &byte, 1), 0);
    peer_ = accept();
    EXPECT_TRUE(peer_);
    return true;
  }
  [[nodiscard]] std::string copy_of(const std::string& program, const std::string& name) const {
    fs::copy_file(program, directory_ + "/" + name);
    return directory_ + "/" + name;
  }

  static void execute_sleep(const std::string& path) {
    ::execl(path.c_str(), "sleep", "1000", nullptr);
    ::_exit(1);
  }
  static void expect_process_unknown(const std::optional<PeerIdentity>& who) {
    ASSERT_TRUE(who);
    EXPECT_EQ(who->program, PeerProgram());
    EXPECT_EQ(who->cgroups, CgroupFacts());
    EXPECT_EQ(who->is_in_our_user_namespace, guard::Match::kMaybe);
    EXPECT_NE(who->sight, Sight::kRead);
  }

  std::string directory_;
  sockaddr_un address_{};
  base::Fd listener_;
  std::unique_ptr<Child> child_;
  base::Fd peer_;
};

// With the pidfd of the socket, and as before Linux 6.5. A kept descriptor means the same process for ever, and the
// facts read stay.
TEST_F(PeerIdentityTest, FactsOfAProcessThatIsGoneSinceStay) {
  ASSERT_TRUE(start_peer());
  const PeerReader reader;
  base::Fd process;
  const auto who = reader.read_first(peer_.get(), since_boot(), process);
  ASSERT_TRUE(who && process);
  child_->end();
  EXPECT_EQ(who->sight, Sight::kRead);
  EXPECT_TRUE(who->cgroups.cgroup.is_known());
  EXPECT_EQ(reader.read_program(process), PeerProgram());
}

class PeerOfEitherKernel : public PeerIdentityTest, public testing::WithParamInterface<bool> {
 protected:
  const PeerReader reader_{{.pidfd_of_socket = GetParam()}};
};
INSTANTIATE_TEST_SUITE_P(Pidfd, PeerOfEitherKernel, testing::Values(true, false),
                         [](const auto& mode) { return mode.param ? "OfTheSocket" : "ByNumber"; });

TEST_P(PeerOfEitherKernel, IsKnownWhileItLives) {
  ASSERT_TRUE(start_peer());
  const auto who = reader_.read(peer_.get());
  ASSERT_TRUE(who);
  EXPECT_EQ(who->uid, ::geteuid());
  EXPECT_EQ(who->gid, ::getegid());
  EXPECT_EQ(who->pid, child_->pid());
  EXPECT_EQ(who->program.executable.value(), own_executable());
  EXPECT_EQ(who->program.user_namespace.value(), inode_of("/proc/self/ns/user"));
  EXPECT_EQ(who->program.mount_namespace.value(), inode_of("/proc/self/ns/mnt"));
  EXPECT_EQ(who->sight, Sight::kRead);
  EXPECT_EQ(who->is_in_our_user_namespace, guard::Match::kYes);
  std::ifstream file("/proc/self/cgroup");
  const auto ours = parse_cgroups(std::string(std::istreambuf_iterator<char>(file), {})).value();
  EXPECT_EQ(who->cgroups, facts_of(ours, ours));
  EXPECT_EQ(who->cgroups.is_contained, guard::Match::kNo) << "where we are is everybody else at home, too";

  std::vector<gid_t> groups(65536);
  groups.resize(static_cast<std::size_t>(::getgroups(static_cast<int>(groups.size()), groups.data())));
  std::sort(groups.begin(), groups.end());
  EXPECT_EQ(who->groups, groups);
}

TEST_P(PeerOfEitherKernel, IsItsIdsOnceItIsGone) {
  ASSERT_TRUE(start_peer());
  const pid_t pid = child_->pid();
  child_->end();
  const auto who = reader_.read(peer_.get());
  expect_process_unknown(who);
  EXPECT_EQ(who->uid, ::geteuid());
  EXPECT_EQ(who->pid, pid);
  EXPECT_TRUE(who->groups);
}

TEST_P(PeerOfEitherKernel, IsUnknownAsAZombie) {
  ASSERT_TRUE(start_peer());
  child_->end_as_zombie();
  expect_process_unknown(reader_.read(peer_.get()));
}

TEST_P(PeerOfEitherKernel, IsNotTheProcessThatWasGivenTheSocket) {
  ASSERT_TRUE(start_peer(nullptr, [] {
    if (::fork() != 0) ::_exit(0);
  }));
  const pid_t pid = child_->pid();
  child_->wait();
  const auto who = reader_.read(peer_.get());
  expect_process_unknown(who);
  EXPECT_EQ(who->pid, pid);
}

TEST_P(PeerOfEitherKernel, IsUnknownIfItStartedAfterTheSocketWasAccepted) {
  const auto before = since_boot() - 1min;  // clock ticks are coarse
  ASSERT_TRUE(start_peer());
  expect_process_unknown(reader_.read(peer_.get(), before));
  EXPECT_TRUE(reader_.read(peer_.get())->program.mount_namespace.value());
}

TEST_P(PeerOfEitherKernel, ExecutesSomethingElseAndIsThatFromThenOnOnly) {
  ASSERT_TRUE(start_peer(nullptr, [] { execute_sleep(sleep_program()); }));
  const auto who = reader_.read(peer_.get());
  ASSERT_TRUE(who);
  // The executable is read after the connect: a quick program is taken for the program that it executes then. See
  // docs/identity.md.
  EXPECT_EQ(who->program.executable.value(), sleep_program());
}

TEST_P(PeerOfEitherKernel, HasNoExecutableOnceItsFileIsDeleted) {
  const std::string program = copy_of(sleep_program(), "mine");
  ASSERT_TRUE(start_peer(nullptr, [&] { execute_sleep(program); }));
  EXPECT_EQ(reader_.read(peer_.get())->program.executable.value(), program);
  fs::remove(program);
  const auto who = reader_.read(peer_.get());
  EXPECT_EQ(who->program.executable.value(), std::nullopt);
  EXPECT_TRUE(who->program.mount_namespace.value());
  // Nor if another one is there now, or one that has the kernel's words in its name.
  touch(program);
  touch(program + " (deleted)");
  EXPECT_EQ(reader_.read(peer_.get())->program.executable.value(), std::nullopt);
}

TEST_P(PeerOfEitherKernel, IsNoOtherProgramByMountingItsOwnOverIt) {
  const std::string program = copy_of(sleep_program(), "mine"), victim = directory_ + "/victim";
  touch(victim);
  const auto mounted = [&] {
    if (::unshare(::geteuid() == 0 ? CLONE_NEWNS : CLONE_NEWNS | CLONE_NEWUSER) != 0) return false;
    return ::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
           ::mount(program.c_str(), victim.c_str(), nullptr, MS_BIND, nullptr) == 0;
  };
  if (!start_peer(mounted, [&] { execute_sleep(victim); })) GTEST_SKIP() << "no mount namespaces here";
  const std::string link = "/proc/" + std::to_string(child_->pid()) + "/exe";
  ASSERT_EQ(fs::read_symlink(link), victim) << "the attack is none any more";
  const auto who = reader_.read(peer_.get());
  EXPECT_EQ(who->program.executable.value(), std::nullopt);
  EXPECT_TRUE(who->program.mount_namespace.value());
  EXPECT_NE(who->program.mount_namespace.value(), inode_of("/proc/self/ns/mnt"));
}

// A user that can mount a file system where we see it could otherwise stop the daemon.
TEST_P(PeerOfEitherKernel, IsNotWaitedForIfItsPathLeadsToAFileSystemThatDoesNotAnswer) {
  const base::Fd fuse(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (::geteuid() != 0 || !fuse) GTEST_SKIP() << "no file systems in user space here";
  const std::string directory = directory_ + "/d", program = directory + "/mine";
  fs::create_directory(directory);
  fs::copy_file(sleep_program(), program);
  ASSERT_TRUE(start_peer(nullptr, [&] { execute_sleep(program); }));
  EXPECT_EQ(reader_.read(peer_.get())->program.executable.value(), program);
  const std::string options = "fd=" + std::to_string(fuse.get()) + ",rootmode=40000,user_id=0,group_id=0,allow_other";
  Child reader([&] {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("silent", directory.c_str(), "fuse", MS_NOSUID | MS_NODEV, options.c_str()) != 0)
      ::_exit(77);
    ::alarm(20);  // long before any answer
    const auto who = PeerReader({.pidfd_of_socket = GetParam()}).read(peer_.get());
    ::_exit(who && !who->program.executable.value() && who->program.mount_namespace.value() ? 0 : 1);
  });
  const int code = reader.wait();
  if (code == 77) GTEST_SKIP() << "no file systems in user space here";
  EXPECT_EQ(code, 0);
}

TEST_P(PeerOfEitherKernel, HasAUserNamespace) {
  if (!start_peer([] { return ::unshare(CLONE_NEWUSER) == 0; })) GTEST_SKIP() << "no user namespaces here";
  const auto who = reader_.read(peer_.get());
  EXPECT_EQ(who->uid, ::geteuid());
  EXPECT_EQ(who->program.user_namespace.value(), inode_of("/proc/" + std::to_string(child_->pid()) + "/ns/user"));
  EXPECT_NE(who->program.user_namespace.value(), inode_of("/proc/self/ns/user"));
}

TEST_P(PeerOfEitherKernel, HasItsOwnIdsAndAllItsGroups) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root has other users";
  std::vector<gid_t> groups(1000);
  for (std::size_t i = 0; i < groups.size(); ++i) groups[i] = static_cast<gid_t>(10'000 - i);
  ASSERT_TRUE(start_peer(
      [&] { return ::setgroups(groups.size(), groups.data()) == 0 && ::setgid(4711) == 0 && ::setuid(kOther) == 0; }));
  const auto who = reader_.read(peer_.get());
  EXPECT_EQ(who->uid, kOther);
  EXPECT_EQ(who->gid, 4711U);
  std::sort(groups.begin(), groups.end());
  EXPECT_EQ(who->groups, groups);
}

TEST_P(PeerOfEitherKernel, OfRootIsNotLookedAtWithoutTheCapability) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can be root's peer and another's reader";
  ASSERT_TRUE(start_peer());
  const auto cgroup = reader_.read(peer_.get())->cgroups.cgroup;
  Child other([&] {
    if (::setgroups(0, nullptr) != 0 || ::setgid(kOther) != 0 || ::setuid(kOther) != 0) ::_exit(1);
    const auto who = PeerReader({.pidfd_of_socket = GetParam()}).read(peer_.get());
    if (!who || who->uid != 0 || !who->pid) ::_exit(2);
    if (who->program.executable.value() || who->program.mount_namespace.value()) ::_exit(3);
    // All users may read its uid_map, which is the same.
    if (who->program.user_namespace.value() != inode_of("/proc/self/ns/user")) ::_exit(5);
    ::_exit(who->cgroups.cgroup == cgroup ? 0 : 4);
  });
  EXPECT_EQ(other.wait(), 0);
}

TEST_P(PeerOfEitherKernel, OfAnotherIsNotSeenInAProcThatHidesIt) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can be root's peer and another's reader";
  ASSERT_TRUE(start_peer());
  Child other([&] {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("proc", "/proc", "proc", 0, "hidepid=invisible") != 0)
      ::_exit(77);
    const PeerReader reader({.pidfd_of_socket = GetParam()});
    if (!reader.read(peer_.get())->program.executable.value()) ::_exit(1);
    if (::setgroups(0, nullptr) != 0 || ::setgid(kOther) != 0 || ::setuid(kOther) != 0) ::_exit(2);
    const auto who = reader.read(peer_.get());
    ::_exit(who && who->uid == 0 && who->pid && !who->program.executable.value() && !who->cgroups.cgroup.value() ? 0
                                                                                                                 : 3);
  });
  const int code = other.wait();
  if (code == 77) GTEST_SKIP() << "no mount namespaces here, or nothing can be hidden";
  EXPECT_EQ(code, 0);
}

// Root without the capability is not enough for another user's process either.
TEST_P(PeerOfEitherKernel, OfAnotherIsNotLookedAtByRootWithoutTheCapability) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root has other users";
  ASSERT_TRUE(start_peer([] { return ::setgid(kOther) == 0 && ::setuid(kOther) == 0; },
                         [] { execute_sleep(sleep_program()); }));
  if (!reader_.read(peer_.get())->program.executable.value()) GTEST_SKIP() << "root has not got it here";
  Child bare([&] {
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> sets{};
    if (::syscall(SYS_capget, &header, sets.data()) != 0) ::_exit(1);
    sets[0].effective &= ~(1U << CAP_SYS_PTRACE);
    if (::syscall(SYS_capset, &header, sets.data()) != 0) ::_exit(2);
    const auto who = reader_.read(peer_.get());
    ::_exit(who && who->uid == kOther && !who->program.executable.value() && !who->program.mount_namespace.value() &&
                    who->program.user_namespace.value() == inode_of("/proc/self/ns/user")
                ? 0
                : 3);
  });
  EXPECT_EQ(bare.wait(), 0);
}

TEST_P(PeerOfEitherKernel, InAnotherPidNamespaceHasNoNumber) {
  ASSERT_TRUE(start_peer());
  Child outer([&] {
    if (::unshare(CLONE_NEWPID) != 0) ::_exit(77);
    Child inner([&] {
      const auto who = PeerReader({.pidfd_of_socket = GetParam()}).read(peer_.get());
      ::_exit(who && who->uid == ::geteuid() && !who->pid && !who->program.executable.value() &&
                      !who->cgroups.cgroup.value()
                  ? 0
                  : 1);
    });
    ::_exit(inner.wait());
  });
  const int code = outer.wait();
  if (code == 77) GTEST_SKIP() << "no pid namespaces here";
  EXPECT_EQ(code, 0);
}

TEST_P(PeerOfEitherKernel, IsNotSoughtInTheProcOfAnotherPidNamespace) {
  Child outer([&] {
    if (::unshare(CLONE_NEWPID) != 0) ::_exit(77);
    Child inner([&] {
      Child peer([&] { stay(connect()); });
      const auto fd = accept();
      const auto who = PeerReader({.pidfd_of_socket = GetParam()}).read(fd.get());
      ::_exit(who && who->pid == peer.pid() && !who->program.executable.value() && !who->cgroups.cgroup.value() &&
                      !who->program.user_namespace.value()
                  ? 0
                  : 1);
    });
    ::_exit(inner.wait());
  });
  const int code = outer.wait();
  if (code == 77) GTEST_SKIP() << "no pid namespaces here";
  EXPECT_EQ(code, 0);
}

TEST_P(PeerOfEitherKernel, IsNotTheProcessThatGotItsNumberLater) {
  Child outer([&] {
    if (::unshare(CLONE_NEWPID | CLONE_NEWNS) != 0) ::_exit(77);
    Child inner([&] {
      if (::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
          ::mount("proc", "/proc", "proc", 0, nullptr) != 0)
        ::_exit(77);
      Child peer([&] { stay(connect()); });
      const pid_t pid = peer.pid();
      const auto fd = accept();
      int pidfd = -1;
      socklen_t size = sizeof pidfd;
      const auto accepted = since_boot();
      const PeerReader reader({.pidfd_of_socket = GetParam()});
      if (!reader.read(fd.get(), accepted)->program.executable.value()) ::_exit(1);
      peer.end();
      std::this_thread::sleep_for(50ms);  // some clock ticks: before Linux 6.5 nothing else tells them apart
      if (!(std::ofstream("/proc/sys/kernel/ns_last_pid") << pid - 1).flush()) ::_exit(77);
      Child next([] { ::pause(); });
      if (next.pid() != pid) ::_exit(77);
      if (!fs::exists("/proc/" + std::to_string(pid) + "/exe")) ::_exit(2);
      const auto who = reader.read(fd.get(), accepted);
      if (!who || who->pid != pid || who->program.executable.value() || who->cgroups.cgroup.value() ||
          who->program.user_namespace.value())
        ::_exit(3);
      // Asked too late, a number is no proof; the socket's own pidfd is.
      const bool sure = GetParam() && ::getsockopt(fd.get(), SOL_SOCKET, kSocketPidfd, &pidfd, &size) == 0;
      ::_exit(sure && reader.read(fd.get())->program.executable.value() ? 4 : 0);
    });
    ::_exit(inner.wait());
  });
  const int code = outer.wait();
  if (code == 77) GTEST_SKIP() << "no pid namespaces here, or numbers cannot be chosen";
  EXPECT_EQ(code, 0);
}

TEST_P(PeerOfEitherKernel, CanBeAskedForAsOftenAsOneLikes) {
  ASSERT_TRUE(start_peer());
  const auto first = reader_.read(peer_.get());
  const auto descriptors = [] {
    return std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator());
  };
  const auto before = descriptors();
  for (int i = 0; i < 200; ++i) ASSERT_EQ(reader_.read(peer_.get()), first);
  EXPECT_EQ(descriptors(), before);
}

TEST_F(PeerIdentityTest, WithoutASecurityModuleHasNoLabel) {
  ASSERT_TRUE(start_peer());
  char text[4096];
  socklen_t size = sizeof text;
  if (::getsockopt(peer_.get(), SOL_SOCKET, SO_PEERSEC, text, &size) == 0) GTEST_SKIP() << "there is one here";
  EXPECT_EQ(PeerReader().read(peer_.get())->label, guard::Known<std::string>::none());
}

TEST_F(PeerIdentityTest, OfAFileThatIsNoSocketIsUnknown) {
  const base::Fd file(::open("/dev/null", O_RDONLY));
  EXPECT_EQ(PeerReader().read(file.get()), std::nullopt);
  EXPECT_EQ(PeerReader().read(-1), std::nullopt);
  EXPECT_EQ(peer_credentials(-1), std::nullopt);
}

// --- A directory that looks like /proc -------------------------------------------------------------------------------

class PeerInAnyProc : public PeerIdentityTest {
 protected:
  void SetUp() override {
    ASSERT_TRUE(start_peer());
    process_ = proc_ + "/" + std::to_string(child_->pid());
    fs::create_directories(process_ + "/ns");
    fs::create_directories(proc_ + "/" + std::to_string(::getpid()));
    fs::create_symlink(std::to_string(::getpid()), proc_ + "/self");
    write(process_ + "/stat", stat_of(child_->pid(), 1));
    write(process_ + "/status", status_of(::geteuid(), ::getegid()));
    write(process_ + "/cgroup", "3:pids:/old\n0::/system.slice/nginx.service\n");
    write(process_ + "/ns/user", "");
    write(process_ + "/ns/mnt", "");
    fs::create_symlink(own_executable(), process_ + "/exe");
  }

  static void write(const std::string& path, const std::string& text) { std::ofstream(path) << text; }
  static std::string stat_of(pid_t pid, std::uint64_t ticks) {
    return std::to_string(pid) + " (x) S 1 2 3 0 -1 4194560 113 0 0 0 0 1 2 3 20 0 1 0 " + std::to_string(ticks) +
           " 2326528 195\n";
  }
  static std::string status_of(uid_t uid, gid_t gid) {
    return "Name:\tx\nUid:\t1\t" + std::to_string(uid) + "\t1\t1\nGid:\t1\t" + std::to_string(gid) + "\t1\t1\n";
  }
  [[nodiscard]] std::optional<PeerIdentity> read(bool pidfd_of_socket = true) const {
    return PeerReader({.proc = proc_, .pidfd_of_socket = pidfd_of_socket}).read(peer_.get());
  }
  void exe_is(const std::string& target) const {
    fs::remove(process_ + "/exe");
    fs::create_symlink(target, process_ + "/exe");
  }

  const std::string proc_ = directory_ + "/proc";
  std::string process_;
};

TEST_F(PeerInAnyProc, IsReadFromThere) {
  for (const bool pidfd_of_socket : {true, false}) {
    const auto who = read(pidfd_of_socket);
    ASSERT_TRUE(who);
    EXPECT_EQ(who->cgroups.cgroup.value(), "/system.slice/nginx.service");
    EXPECT_EQ(who->program.executable.value(), own_executable());
    EXPECT_EQ(who->program.user_namespace.value(), inode_of(process_ + "/ns/user"));
    EXPECT_EQ(who->program.mount_namespace.value(), inode_of(process_ + "/ns/mnt"));
  }
}

// A security module may hide one process alone: that is no reason to go by its uid.
TEST_F(PeerInAnyProc, IsHiddenOnlyWhereNoOtherProcessIsShown) {
  fs::remove_all(process_);
  EXPECT_EQ(read()->sight, Sight::kHidden);
  fs::create_directories(proc_ + "/1");
  write(proc_ + "/1/stat", stat_of(1, 1));
  EXPECT_EQ(read()->sight, Sight::kGone);
}

TEST_F(PeerInAnyProc, HasNoCgroupThatIsNotOurs) {
  for (const std::string text : {"0::/../other\n", "0::/cut", "nonsense\n"}) {
    write(process_ + "/cgroup", text);
    EXPECT_FALSE(read()->cgroups.cgroup.is_known()) << text;
  }
  EXPECT_TRUE(read()->program.executable.value());
  for (const std::string text : {"3:pids:/old\n", ""}) {
    write(process_ + "/cgroup", text);
    EXPECT_EQ(read()->cgroups.cgroup, guard::Known<std::string>::none()) << text;
    EXPECT_EQ(read()->cgroups.is_contained, guard::Match::kNo) << text;
  }
  fs::remove(process_ + "/cgroup");  // as on a kernel without cgroups
  EXPECT_EQ(read()->cgroups.cgroup, guard::Known<std::string>::none());
  EXPECT_EQ(read()->cgroups.is_contained, guard::Match::kNo);
}

// While the main thread exits v1 says "/" of it, wherever it was; v2 does not.
TEST_F(PeerInAnyProc, HasNoCgroupInV1WhileItsMainThreadExits) {
  std::string stat = stat_of(child_->pid(), 1);
  stat.replace(stat.find("4194560"), 7, "4194564");
  write(process_ + "/cgroup", "3:pids:/\n0::/\n");
  EXPECT_EQ(read()->cgroups.is_contained, guard::Match::kNo);
  write(process_ + "/stat", stat);
  EXPECT_EQ(read()->cgroups, CgroupFacts());
  write(process_ + "/cgroup", "0::/system.slice/nginx.service\n");
  EXPECT_EQ(read()->cgroups.unit.value(), "nginx.service");
}

TEST_F(PeerInAnyProc, IsInOurUserNamespaceByNumberOrByMap) {
  const auto ours = [&] { return read()->is_in_our_user_namespace; };
  const std::string self = proc_ + "/self/";
  fs::create_directories(self + "ns");
  const auto link = [](const std::string& target, const std::string& name) {
    fs::remove(name);
    fs::create_symlink(target, name);
  };
  link("/proc/self/ns/user", self + "ns/user");
  EXPECT_EQ(ours(), guard::Match::kNo);  // another file
  link("/proc/self/ns/user", process_ + "/ns/user");
  EXPECT_EQ(ours(), guard::Match::kYes);
  // As without CAP_SYS_PTRACE.
  fs::remove(process_ + "/ns/user");
  EXPECT_EQ(ours(), guard::Match::kMaybe);
  write(self + "uid_map", "0 0 4294967295\n");
  write(process_ + "/uid_map", "0 0 4294967295\n");
  EXPECT_EQ(ours(), guard::Match::kYes);
  EXPECT_EQ(read()->program.user_namespace.value(), inode_of("/proc/self/ns/user"));
  for (const std::string map : {"", "0 0 1\n", "0 1000 65536\n"}) {
    write(process_ + "/uid_map", map);
    EXPECT_EQ(ours(), guard::Match::kNo) << map;
    EXPECT_FALSE(read()->program.user_namespace.is_known());
  }
}

TEST_F(PeerInAnyProc, IsReadInTwoSteps) {
  const PeerReader reader({.proc = proc_});
  base::Fd process;
  auto who = reader.read_first(peer_.get(), since_boot(), process);
  ASSERT_TRUE(who && process);
  EXPECT_EQ(who->program, PeerProgram());
  EXPECT_EQ(who->cgroups.unit.value(), "nginx.service");
  who->program = reader.read_program(process);
  EXPECT_EQ(who, reader.read(peer_.get()));
}

TEST_F(PeerInAnyProc, HasNoCgroupInATextWithoutEnd) {
  std::string text;
  for (int i = 0; text.size() < 200'000; ++i) text += fmt::format("3:pids{}:/{}\n", i, std::string(1000, 'x'));
  write(process_ + "/cgroup", text + "0::/x\n");
  EXPECT_EQ(read()->cgroups.cgroup.value(), std::nullopt);
  write(process_ + "/cgroup", text.substr(text.find('\n', 80'000) + 1) + "0::/x\n");
  EXPECT_EQ(read()->cgroups.cgroup.value(), "/x");
}

TEST_F(PeerInAnyProc, HasNoExecutableThatDoesNotLeadToItsFile) {
  for (const std::string& target :
       {own_executable() + " (deleted)", directory_ + "/nowhere", std::string("relative")}) {
    exe_is(target);
    EXPECT_EQ(read()->program.executable.value(), std::nullopt) << target;
  }
  // A link in the path: not the kernel's path of a running program.
  fs::create_symlink(own_executable(), directory_ + "/link");
  EXPECT_TRUE(std::ifstream(directory_ + "/link"));  // the kernel has it in memory now
  exe_is(directory_ + "/link");
  EXPECT_EQ(read()->program.executable.value(), std::nullopt);
}

TEST_F(PeerInAnyProc, IsUnknownIfAnotherHasItsNumberNow) {
  // The first reading gets one start, the second another. Each pipe is written by the time the next takes its place.
  const auto swap = [&](bool same) {
    const std::string path = process_ + "/stat", second = path + "2";
    fs::remove(path);
    EXPECT_EQ(::mkfifo(path.c_str(), 0600), 0);
    EXPECT_EQ(::mkfifo(second.c_str(), 0600), 0);
    std::thread writer([&] {
      std::ofstream first(path);  // opens once the reader does
      fs::rename(second, path);
      first << stat_of(child_->pid(), 1);
      first.close();
      write(path, stat_of(child_->pid(), same ? 1 : 2));
    });
    auto who = read();
    writer.join();
    return who;
  };
  EXPECT_EQ(swap(true)->sight, Sight::kRead);
  expect_process_unknown(swap(false));
}

TEST_F(PeerInAnyProc, IsUnknownIfItsTextsAreOfAnother) {
  write(process_ + "/stat", stat_of(child_->pid() + 1, 1));
  expect_process_unknown(read());
  write(process_ + "/stat", "nonsense");
  expect_process_unknown(read());
  write(process_ + "/stat", stat_of(child_->pid(), UINT64_MAX));
  expect_process_unknown(read());
  write(process_ + "/stat", std::string(100'000, ' '));
  expect_process_unknown(read());
  fs::remove(process_ + "/stat");
  expect_process_unknown(read());
}

TEST_F(PeerInAnyProc, IsUnknownIfTheProcessOfItsNumberHasOtherIds) {
  write(process_ + "/status", status_of(::geteuid() + 1, ::getegid()));
  expect_process_unknown(read(false));
  write(process_ + "/status", status_of(::geteuid(), ::getegid() + 1));
  expect_process_unknown(read(false));
  fs::remove(process_ + "/status");
  expect_process_unknown(read(false));
}

TEST_F(PeerInAnyProc, IsUnknownInAProcThatIsNotOurs) {
  fs::remove(proc_ + "/self");
  expect_process_unknown(read());
  fs::create_symlink(std::to_string(child_->pid()), proc_ + "/self");
  expect_process_unknown(read());
  expect_process_unknown(PeerReader({.proc = "/nowhere"}).read(peer_.get()));
}

}  // namespace
}  // namespace tpmspace::peer
