// The listening socket: taking its place in the file system, and leaving it.
//
// Idea: `claim` proves early that PATH may be ours (nobody serves it, nothing else lies there) and holds a lock beside
// it, so that two daemons that start together do not race; `publish` makes the socket appear at once, complete, with
// its mode, when the daemon is ready: it is made as PATH.new and renamed. `replace` does the same over our own socket,
// so other rights come without a moment in which there is none. `withdraw` removes it only if it is still ours. A
// socket that systemd hands over (`inherit`) is systemd's: nothing is claimed, published or removed. Threads: one.
// Errors: one sentence: what, why, what to do. Limits: proto::kMaxSocketPath octets of path. Source: unix(7),
// sd_listen_fds(3).
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <optional>
#include <string>
#include <tl/expected.hpp>

#include "base/fd.h"

namespace tpmspace::loop {

class ListeningSocket {
 public:
  // Where, and who may connect.
  struct Place {
    std::string path = {};
    mode_t mode = 0600;
    std::optional<uid_t> owner = {};  // other than ours
    std::optional<gid_t> group = {};
    // It is our own default: so many of the last directories of its path are made if they are missing. They stay when
    // the socket goes: a container that has one of them mounted finds the next socket in it.
    unsigned make_directories = 0;
    bool careful = false;  // nobody but root and us may put something else there
  };
  [[nodiscard]] static tl::expected<ListeningSocket, std::string> claim(const Place& place);
  // The descriptor must be a listening Unix stream socket; it is owned from now on.
  [[nodiscard]] static tl::expected<ListeningSocket, std::string> inherit(int fd);

  ListeningSocket(ListeningSocket&&) = default;
  ListeningSocket& operator=(ListeningSocket&&) = delete;
  ~ListeningSocket();

  // From here on clients can connect.
  [[nodiscard]] tl::expected<void, std::string> publish();
  // With other rights, from now on or as soon as it is published. If that cannot be, the socket stays as it was; else
  // the caller has the former one, in which some may wait to be accepted. Precondition: the same path.
  [[nodiscard]] tl::expected<base::Fd, std::string> replace(const Place& place);
  // No new clients. The lock is kept until the listener is gone.
  void withdraw();

  [[nodiscard]] int fd() const { return socket_.get(); }
  [[nodiscard]] const std::string& path() const { return place_.path; }
  [[nodiscard]] const Place& place() const { return place_; }

 private:
  struct Inode {
    dev_t device = 0;
    ino_t number = 0;
    bool operator==(const Inode&) const = default;
  };
  ListeningSocket(Place place, base::Fd lock) : place_(std::move(place)), lock_(std::move(lock)) {}

  struct Published {
    base::Fd socket;
    Inode inode;
  };
  // A new socket at the path, listening.
  [[nodiscard]] tl::expected<Published, std::string> put(const Place& place) const;
  // What was there before.
  [[nodiscard]] tl::expected<base::Fd, std::string> change_to(const Place& place);
  [[nodiscard]] bool is_there() const;

  Place place_;
  base::Fd lock_;  // none: inherited
  base::Fd socket_;
  std::optional<Inode> published_as_;  // what we renamed onto its path
};

}  // namespace tpmspace::loop
