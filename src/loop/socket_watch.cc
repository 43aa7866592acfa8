#include "loop/socket_watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <utility>

namespace tpmspace::loop {

SocketWatch::SocketWatch(EventLoop& loop, std::string path, std::function<void()> appeared)
    : loop_(loop), path_(std::move(path)), appeared_(std::move(appeared)), pause_(loop.timer([this] { look(); })) {}

void SocketWatch::start() {
  if (path_.empty() || inotify_) return;
  inotify_.reset(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!inotify_) return;
  events_ = loop_.idle_watch(inotify_.get(), EPOLLIN, [this](std::uint32_t) { on_event(); });
  seen_.reset();
  pause_.arm(std::chrono::milliseconds(0));
}

void SocketWatch::stop() {
  if (!inotify_) return;
  events_.stop();
  pause_.disarm();
  inotify_.reset();
  watched_ = -1;
}

void SocketWatch::watch_directory() {
  if (watched_ >= 0) ::inotify_rm_watch(inotify_.get(), std::exchange(watched_, -1));
  constexpr std::uint32_t kWhat = IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
  std::filesystem::path directory = std::filesystem::path(path_).parent_path();
  if (directory.empty()) directory = ".";
  for (;;) {
    watched_ = ::inotify_add_watch(inotify_.get(), directory.c_str(), kWhat);
    if (watched_ >= 0 || !directory.has_relative_path()) return;
    directory = directory.parent_path();
    if (directory.empty()) directory = ".";
  }
}

void SocketWatch::on_event() {
  events_.stop();  // until the pause is over
  pause_.arm(kPause);
}

// The look comes after the directory is watched, so no new socket is missed in between.
void SocketWatch::look() {
  // A bounded number of reads: a directory that fills faster than we read wakes the loop once more.
  std::array<char, 16'384> unread{};
  for (int i = 0; i < 16 && ::read(inotify_.get(), unread.data(), unread.size()) > 0; ++i) continue;
  watch_directory();
  (void)events_.start();
  const auto now = identity();
  const bool is_new = now && now != seen_;
  seen_ = now;
  if (is_new) appeared_();
}

std::optional<SocketWatch::Identity> SocketWatch::identity() const {
  struct stat found {};
  if (::stat(path_.c_str(), &found) != 0 || !S_ISSOCK(found.st_mode)) return std::nullopt;
  return Identity{found.st_dev, found.st_ino, found.st_ctim.tv_sec, found.st_ctim.tv_nsec};
}

}  // namespace tpmspace::loop
