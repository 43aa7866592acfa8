// The rules of the listening socket's place in the file system.
#include "loop/listening_socket.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

#include "base/fd.h"
#include "base/limits.h"
#include "proto/socket_path.h"

namespace tpmspace::loop {
namespace {

class ListeningSocketTest : public testing::Test {
 protected:
  ListeningSocketTest() {
    char name[] = "/tmp/listenerXXXXXX";
    directory_ = ::mkdtemp(name);
  }
  ~ListeningSocketTest() override { std::filesystem::remove_all(directory_); }

  [[nodiscard]] std::string path(const std::string& name) const { return directory_ + "/" + name; }

  static sockaddr_un address(const std::string& path) {
    sockaddr_un out{};
    out.sun_family = AF_UNIX;
    std::memcpy(out.sun_path, path.c_str(), path.size() + 1);
    return out;
  }
  static base::Fd bound(const std::string& path, int type, bool listening) {
    base::Fd fd(::socket(AF_UNIX, type, 0));
    const auto to = address(path);
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
    if (listening) {
      EXPECT_EQ(::listen(fd.get(), 1), 0);
    }
    return fd;
  }
  static bool can_connect(const std::string& path) {
    const base::Fd fd(::socket(AF_UNIX, SOCK_STREAM, 0));
    const auto to = address(path);
    return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
  }
  // Connections to the socket that the kernel queues; nobody accepts them.
  static int queued(const std::string& path) {
    std::vector<base::Fd> out;
    const auto to = address(path);
    for (;;) {
      out.emplace_back(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
      if (::connect(out.back().get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) break;
    }
    EXPECT_EQ(errno, EAGAIN);
    return static_cast<int>(out.size()) - 1;
  }
  static std::string refusal(const std::string& path) {
    auto got = ListeningSocket::claim({.path = path, .mode = 0600});
    return got ? "claimed" : got.error();
  }
  [[nodiscard]] std::size_t files() const {
    std::size_t n = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory_)) ++n;
    return n;
  }

  std::string directory_;
};

TEST_F(ListeningSocketTest, AppearsOnPublishAndLeavesNothing) {
  {
    auto socket = ListeningSocket::claim({.path = path("s"), .mode = 0640});
    ASSERT_TRUE(socket) << socket.error();
    EXPECT_FALSE(std::filesystem::exists(path("s")));
    ASSERT_TRUE(socket->publish());
    EXPECT_TRUE(can_connect(path("s")));
    struct stat info {};
    ASSERT_EQ(::lstat(path("s").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0640U);
    EXPECT_FALSE(std::filesystem::exists(path("s.new")));
  }
  EXPECT_EQ(files(), 0U);
}

TEST_F(ListeningSocketTest, AClaimKeepsASecondOneOut) {
  auto first = ListeningSocket::claim({.path = path("s"), .mode = 0600});
  ASSERT_TRUE(first);
  EXPECT_EQ(refusal(path("s")),
            "another tpmspaced (pid " + std::to_string(::getpid()) + ") is starting or stopping at " + path("s"));
  ASSERT_TRUE(first->publish());
  EXPECT_EQ(refusal(path("s")), "another tpmspaced (pid " + std::to_string(::getpid()) + ") serves " + path("s"));
  EXPECT_TRUE(can_connect(path("s")));
}

TEST_F(ListeningSocketTest, ALiveSocketWithoutALockIsLeftAlone) {
  const base::Fd other = bound(path("s"), SOCK_STREAM, true);
  EXPECT_EQ(refusal(path("s")), "another tpmspaced (pid " + std::to_string(::getpid()) + ") serves " + path("s"));
  EXPECT_EQ(files(), 1U);
}

TEST_F(ListeningSocketTest, AStaleSocketIsReplaced) {
  bound(path("s"), SOCK_STREAM, true).reset();
  bound(path("s.new"), SOCK_STREAM, false).reset();
  std::ofstream(path("s.lock")) << "1\n";
  auto socket = ListeningSocket::claim({.path = path("s"), .mode = 0600});
  ASSERT_TRUE(socket) << socket.error();
  ASSERT_TRUE(socket->publish());
  EXPECT_TRUE(can_connect(path("s")));
}

TEST_F(ListeningSocketTest, AFileThatIsNoSocketOfOursIsRefused) {
  std::ofstream(path("file")) << "x";
  EXPECT_EQ(refusal(path("file")), path("file") + " exists and is not a socket: remove the file, or name another path");
  EXPECT_EQ(refusal(directory_ + "/."),
            directory_ + "/. exists and is not a socket: remove the file, or name another path");
  ASSERT_EQ(::symlink("/dev/null", path("link").c_str()), 0);
  EXPECT_EQ(refusal(path("link")), path("link") + " exists and is not a socket: remove the file, or name another path");
  const base::Fd datagram = bound(path("d"), SOCK_DGRAM, false);
  EXPECT_EQ(refusal(path("d")), "another program listens on " + path("d") + " with a socket of another kind");
  EXPECT_TRUE(std::filesystem::exists(path("file")));
}

TEST_F(ListeningSocketTest, AFileThatAppearsMeanwhileIsNotOverwritten) {
  auto socket = ListeningSocket::claim({.path = path("s"), .mode = 0600});
  ASSERT_TRUE(socket);
  std::ofstream(path("s")) << "precious";
  const auto published = socket->publish();
  ASSERT_FALSE(published);
  EXPECT_EQ(published.error(), path("s") + " exists and is not a socket: remove the file, or name another path");
  EXPECT_FALSE(std::filesystem::exists(path("s.new")));
}

TEST_F(ListeningSocketTest, AnotherProgramsSocketIsNotRemoved) {
  auto socket = ListeningSocket::claim({.path = path("s"), .mode = 0600});
  ASSERT_TRUE(socket);
  ASSERT_TRUE(socket->publish());
  ASSERT_EQ(::unlink(path("s").c_str()), 0);
  const base::Fd other = bound(path("s"), SOCK_STREAM, true);
  socket->withdraw();
  EXPECT_TRUE(can_connect(path("s")));
}

TEST_F(ListeningSocketTest, TheLimitOfThePathIsSaid) {
  const std::string longest = path(std::string(proto::kMaxSocketPath - directory_.size() - 1, 'a'));
  {
    auto socket = ListeningSocket::claim({.path = longest, .mode = 0600});
    ASSERT_TRUE(socket) << socket.error();
    ASSERT_TRUE(socket->publish());
    EXPECT_TRUE(can_connect(longest));
  }
  EXPECT_EQ(refusal(longest + "b"), "the socket's path is too long: it has 104 bytes, at most 103 are possible: " +
                                        longest + "b; name another path with --socket PATH");
  EXPECT_EQ(refusal(""), "the socket's path is empty: name a path with --socket PATH");
}

TEST_F(ListeningSocketTest, OnlyTheDefaultDirectoryIsMade) {
  EXPECT_EQ(refusal(path("no/s")), "the directory " + path("no") + " does not exist, so the socket " + path("no/s") +
                                       " cannot be made: make the directory, or name another path");
  {
    auto socket = ListeningSocket::claim({.path = path("no/s"), .mode = 0600, .make_directories = 1});
    ASSERT_TRUE(socket) << socket.error();
    ASSERT_TRUE(socket->publish());
  }
  EXPECT_TRUE(ListeningSocket::claim({.path = path("no/s"), .mode = 0600, .make_directories = 1}));
  std::ofstream(path("file")) << "x";
  EXPECT_EQ(refusal(path("file/s")),
            path("file") + " is not a directory, so the socket " + path("file/s") + " cannot be made");
}

TEST_F(ListeningSocketTest, AnInheritedSocketIsNotOursToRemove) {
  {
    base::Fd fd = bound(path("s"), SOCK_STREAM, true);
    auto socket = ListeningSocket::inherit(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3));
    ASSERT_TRUE(socket) << socket.error();
    EXPECT_EQ(socket->path(), path("s"));
    ASSERT_TRUE(socket->publish());
    EXPECT_GE(socket->fd(), 0);
  }
  EXPECT_EQ(files(), 1U);
  base::Fd not_listening = bound(path("t"), SOCK_STREAM, false);
  EXPECT_FALSE(ListeningSocket::inherit(::fcntl(not_listening.get(), F_DUPFD_CLOEXEC, 3)));
}

TEST_F(ListeningSocketTest, AnInheritedSocketGetsTheSameQueueInTheKernel) {
  auto own = ListeningSocket::claim({.path = path("own"), .mode = 0600});
  ASSERT_TRUE(own && own->publish());
  const base::Fd systemds = bound(path("systemds"), SOCK_STREAM, false);
  ASSERT_EQ(::listen(systemds.get(), 1), 0);
  auto inherited = ListeningSocket::inherit(::fcntl(systemds.get(), F_DUPFD_CLOEXEC, 3));
  ASSERT_TRUE(inherited);
  const int most = queued(path("own"));
  EXPECT_GT(most, 200);  // as many as net.core.somaxconn allows
  EXPECT_EQ(queued(path("systemds")), most);
}

TEST_F(ListeningSocketTest, DirectoriesOfADefaultPlaceAreMadeAndStay) {
  const ListeningSocket::Place place{.path = path("l/n/s"), .mode = 0600, .make_directories = 2, .careful = true};
  {
    auto socket = ListeningSocket::claim(place);
    ASSERT_TRUE(socket) << socket.error();
    ASSERT_TRUE(socket->publish());
  }
  struct stat info {};
  ASSERT_EQ(::stat(path("l/n").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0755U);
  EXPECT_NE(::stat(path("l/n/s").c_str(), &info), 0) << "the socket goes";
  EXPECT_TRUE(ListeningSocket::claim(place));
}

TEST_F(ListeningSocketTest, ADirectoryOfADefaultPlaceThatOthersMayExchangeIsRefused) {
  ASSERT_EQ(::mkdir(path("l").c_str(), 0700), 0);
  ASSERT_EQ(::chmod(path("l").c_str(), 0777), 0);
  const ListeningSocket::Place place{.path = path("l/n/s"), .mode = 0600, .make_directories = 2, .careful = true};
  const auto socket = ListeningSocket::claim(place);
  ASSERT_FALSE(socket);
  EXPECT_EQ(socket.error(), "other users may write in " + path("l") + ", so the socket " + place.path +
                                " would not be safe there: name another path");
}

}  // namespace
}  // namespace tpmspace::loop
