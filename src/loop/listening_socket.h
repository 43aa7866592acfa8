// The listening socket: its creation in the file system, and its removal.
//
// Idea: `claim` proves early that PATH is free (no process serves it, no other file is there) and holds a lock beside
// PATH, so that two daemons starting together do not race. When the daemon is ready, `publish` makes the socket appear
// at once, complete, with its mode: the socket is made as PATH.new and renamed. `replace` does the same over our own
// socket, so the rights change without a moment without a socket. `withdraw` removes the socket only if it is still
// ours. A socket that systemd hands over (`inherit`) is systemd's: nothing is claimed, published or removed.
// Threads: one.
// Errors: one sentence with the failure, the reason and the remedy.
// Limits: proto::kMaxSocketPath bytes of path.
// Source: unix(7), sd_listen_fds(3).
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
  // The path, and the users allowed to connect.
  struct Place {
    std::string path = {};
    mode_t mode = 0600;
    std::optional<uid_t> owner = {};  // other than ours
    std::optional<gid_t> group = {};
    // For our own default path: `publish` makes up to this many of the path's last directories if they are missing. The
    // directories stay when the socket goes: a container with one of them mounted finds the next socket in it.
    unsigned make_directories = 0;
    bool careful = false;  // only root and we may be able to replace the socket
  };
  [[nodiscard]] static tl::expected<ListeningSocket, std::string> claim(const Place& place);
  // The descriptor must be a listening Unix stream socket; the result owns the descriptor.
  [[nodiscard]] static tl::expected<ListeningSocket, std::string> inherit(int fd);

  ListeningSocket(ListeningSocket&&) = default;
  ListeningSocket& operator=(ListeningSocket&&) = delete;
  ~ListeningSocket();

  // From here on clients can connect.
  [[nodiscard]] tl::expected<void, std::string> publish();
  // Changes the rights now, or at publication if that is still to come. On failure the socket stays unchanged. On
  // success the caller gets the former socket, on which clients may still wait to be accepted. Precondition: the same
  // path.
  [[nodiscard]] tl::expected<base::Fd, std::string> replace(const Place& place);
  // No new clients. The lock is kept until the listener is destroyed.
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
  // Returns the former socket.
  [[nodiscard]] tl::expected<base::Fd, std::string> change_to(const Place& place);
  [[nodiscard]] bool is_there() const;

  Place place_;
  base::Fd lock_;  // none: inherited
  base::Fd socket_;
  std::optional<Inode> published_as_;  // the inode that we renamed onto the path
};

}  // namespace tpmspace::loop
