#include "loop/listeners.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>
#include <utility>

#include "base/limits.h"

namespace tpmspace::loop {
namespace {

// Ignores the line in the file.
bool is_same(guard::Listener a, const guard::Listener& b) {
  a.line = b.line;
  return a == b;
}

ListeningSocket::Place place_of(const guard::Listener& listener) {
  return {.path = listener.path,
          .mode = listener.mode,
          .owner = listener.owner,
          .group = listener.group,
          .make_directories = listener.default_path ? 2U : 0U,
          .careful = true};
}

std::string name_is_taken(const std::string& name) {
  return fmt::format("there is a listener \"{}\" already: give this one another name", name);
}

std::string too_many() {
  return fmt::format("there are {} listeners beside the main one, and no more are possible", limits::kListeners);
}

// Another listener is to have this name.
bool has_other(const std::vector<guard::Listener>& listeners, const std::string& name, const guard::Listener& than) {
  return std::any_of(listeners.begin(), listeners.end(),
                     [&](const guard::Listener& one) { return one.name == name && &one != &than; });
}

guard::Listener main_listener(const ListeningSocket& socket) {
  guard::Listener out;
  out.name = guard::kMainListener;
  out.path = socket.path();
  out.mode = socket.place().mode;
  return out;
}

}  // namespace

Listeners::Listeners(EventLoop& loop, log::Log& log, ListeningSocket main, OnClient on_client,
                     std::function<bool()> may_accept)
    : loop_(loop), log_(log), on_client_(std::move(on_client)), may_accept_(std::move(may_accept)) {
  listeners_.push_back(std::make_unique<Open>(Open{main_listener(main), false, std::move(main)}));
}

tl::expected<void, std::string> Listeners::add(const guard::Listener& listener, bool at_run_time) {
  if (find(listener.name) != nullptr) return tl::unexpected(name_is_taken(listener.name));
  static_assert(limits::kListeners + 1 == proto::kMaxListeners);
  if (listeners_.size() > limits::kListeners) return tl::unexpected(too_many());
  return make(listener, at_run_time).map([](const Open*) {});
}

tl::expected<Listeners::Open*, std::string> Listeners::make(const guard::Listener& listener, bool at_run_time) {
  if (is_taken_at_run_time(listener.name)) return tl::unexpected(name_is_taken(listener.name));
  auto socket = ListeningSocket::claim(place_of(listener));
  if (!socket) return tl::unexpected(socket.error());
  listeners_.push_back(std::make_unique<Open>(Open{listener, at_run_time, std::move(*socket)}));
  if (open_)
    if (auto ok = let_in(*listeners_.back()); !ok) {
      listeners_.pop_back();
      return tl::unexpected(ok.error());
    }
  return listeners_.back().get();
}

tl::expected<void, std::string> Listeners::change(Open& one, const guard::Listener& listener) {
  if (is_same(listener, one.listener)) return {};
  if (is_taken_at_run_time(listener.name)) return tl::unexpected(name_is_taken(listener.name));
  const bool other_rights = listener.mode != one.listener.mode || listener.owner != one.listener.owner ||
                            listener.group != one.listener.group;
  if (other_rights) {
    const auto former = one.socket.replace(place_of(listener));
    if (!former) return tl::unexpected(former.error());
    if (one.acceptor) one.acceptor->finish();
    one.acceptor.reset();
  }
  one.listener = listener;
  return open_ && other_rights ? let_in(one) : tl::expected<void, std::string>();
}

bool Listeners::remove(const std::string& name) {
  const auto found = std::find_if(listeners_.begin() + 1, listeners_.end(),
                                  [&](const auto& one) { return one->listener.name == name; });
  if (found == listeners_.end()) return false;
  listeners_.erase(found);
  return true;
}

std::vector<std::string> Listeners::replace(const std::vector<guard::Listener>& configured) {
  std::vector<std::string> troubles;
  std::set<const Open*> wanted;
  const auto keep = [&](const Open& one, const std::string& why) {
    wanted.insert(&one);
    troubles.push_back(fmt::format("the listener \"{}\" stays as it was: {}", one.listener.name, why));
  };
  const auto give_up = [&](const guard::Listener& listener, const std::string& why) {
    auto trouble = fmt::format("the listener \"{}\": {}", listener.name, why);
    if (listener.dispensable)
      log_.warning("{}", trouble);
    else
      troubles.push_back(std::move(trouble));
  };
  std::vector<const guard::Listener*> elsewhere;
  for (const guard::Listener& listener : configured) {
    Open* there = find_at(listener.path);
    if (there == nullptr) {
      elsewhere.push_back(&listener);
    } else if (const auto changed = change(*there, listener); changed) {
      wanted.insert(there);
    } else if (has_other(configured, there->listener.name, listener)) {
      give_up(listener, changed.error());
    } else {
      keep(*there, changed.error());
    }
  }
  for (const guard::Listener* listener : elsewhere) {
    const Open* former = find(listener->name);
    if (former != nullptr && (!is_configured(*former) || wanted.contains(former))) former = nullptr;
    const bool has_place = wanted.size() + count_at_run_time() < limits::kListeners;
    const auto made = has_place ? make(*listener, false) : tl::unexpected(too_many());
    if (made)
      wanted.insert(*made);
    else if (former != nullptr && has_place)
      keep(*former, made.error());
    else
      give_up(*listener, made.error());
  }
  std::erase_if(listeners_, [&](const auto& one) { return is_configured(*one) && !wanted.contains(one.get()); });
  return troubles;
}

tl::expected<void, std::string> Listeners::open() {
  open_ = true;
  for (const auto& one : listeners_)
    if (auto ok = let_in(*one); !ok) return ok;
  return {};
}

void Listeners::close() {
  open_ = false;
  for (const auto& one : listeners_) {
    one->acceptor.reset();
    one->socket.withdraw();
  }
}

void Listeners::on_room() {
  for (const auto& one : listeners_)
    if (one->acceptor) one->acceptor->on_room();
}

tl::expected<void, std::string> Listeners::let_in(Open& one) {
  if (auto ok = one.socket.publish(); !ok) return ok;
  one.acceptor.emplace(
      loop_, log_, one.socket.fd(),
      [this, &one](base::Fd client) {
        on_client_(std::move(client), guard::entrance_of(one.listener), {one.connections, one.listener.connections});
      },
      may_accept_);
  return {};
}

Listeners::Open* Listeners::find(const std::string& name) {
  const auto found =
      std::find_if(listeners_.begin(), listeners_.end(), [&](const auto& one) { return one->listener.name == name; });
  return found == listeners_.end() ? nullptr : found->get();
}

Listeners::Open* Listeners::find_at(const std::string& path) {
  const auto found = std::find_if(listeners_.begin(), listeners_.end(),
                                  [&](const auto& one) { return is_configured(*one) && one->listener.path == path; });
  return found == listeners_.end() ? nullptr : found->get();
}

bool Listeners::is_taken_at_run_time(const std::string& name) const {
  return std::any_of(listeners_.begin(), listeners_.end(),
                     [&](const auto& one) { return one->at_run_time && one->listener.name == name; });
}

std::size_t Listeners::count_at_run_time() const {
  return static_cast<std::size_t>(
      std::count_if(listeners_.begin(), listeners_.end(), [](const auto& one) { return one->at_run_time; }));
}

std::vector<proto::ListenerEntry> Listeners::list() const {
  std::vector<proto::ListenerEntry> out;
  for (const auto& one : listeners_) {
    const guard::Listener& listener = one->listener;
    out.push_back({.name = listener.name,
                   .path = listener.path,
                   .mode = listener.mode,
                   .uid = listener.owner.value_or(proto::kKeep),
                   .gid = listener.group.value_or(proto::kKeep),
                   .profile = listener.profile.value_or(""),
                   .locality = listener.locality,
                   .connections = *one->connections,
                   .limit = listener.connections,
                   .at_run_time = one->at_run_time,
                   .chip = listener.chip.value_or(""),
                   .separate_users = listener.separate_users});
  }
  return out;
}

}  // namespace tpmspace::loop
