#include "daemon/doors.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>
#include <utility>

#include "daemon/limits.h"

namespace tpmspace::daemon {
namespace {

// Wherever in the file it stands now.
bool is_same(Door a, const Door& b) {
  a.line = b.line;
  return a == b;
}

Listener::Place place_of(const Door& door) {
  return {.path = door.path,
          .mode = door.mode,
          .owner = door.owner,
          .group = door.group,
          .make_directories = door.default_path ? 2U : 0U,
          .careful = true};
}

std::string name_is_taken(const std::string& name) {
  return fmt::format("there is a door \"{}\" already: give this one another name", name);
}

std::string too_many() {
  return fmt::format("there are {} doors beside the main one, and no more are possible", limits::kDoors);
}

// Another one of them is to have this name.
bool has_other(const std::vector<Door>& doors, const std::string& name, const Door& than) {
  return std::any_of(doors.begin(), doors.end(), [&](const Door& one) { return one.name == name && &one != &than; });
}

Door main_door(const Listener& listener) {
  Door out;
  out.name = kMainDoor;
  out.path = listener.path();
  out.mode = listener.place().mode;
  return out;
}

}  // namespace

Doors::Doors(EventLoop& loop, Log& log, Listener main, OnClient on_client, std::function<bool()> may_accept)
    : loop_(loop), log_(log), on_client_(std::move(on_client)), may_accept_(std::move(may_accept)) {
  doors_.push_back(std::make_unique<Open>(Open{main_door(main), false, std::move(main)}));
}

tl::expected<void, std::string> Doors::add(const Door& door, bool at_run_time) {
  if (find(door.name) != nullptr) return tl::unexpected(name_is_taken(door.name));
  static_assert(limits::kDoors + 1 == proto::kMaxDoors);
  if (doors_.size() > limits::kDoors) return tl::unexpected(too_many());
  return make(door, at_run_time).map([](const Open*) {});
}

tl::expected<Doors::Open*, std::string> Doors::make(const Door& door, bool at_run_time) {
  if (is_taken_at_run_time(door.name)) return tl::unexpected(name_is_taken(door.name));
  auto listener = Listener::claim(place_of(door));
  if (!listener) return tl::unexpected(listener.error());
  doors_.push_back(std::make_unique<Open>(Open{door, at_run_time, std::move(*listener)}));
  if (open_)
    if (auto ok = let_in(*doors_.back()); !ok) {
      doors_.pop_back();
      return tl::unexpected(ok.error());
    }
  return doors_.back().get();
}

tl::expected<void, std::string> Doors::change(Open& one, const Door& door) {
  if (is_same(door, one.door)) return {};
  if (is_taken_at_run_time(door.name)) return tl::unexpected(name_is_taken(door.name));
  const bool other_rights = door.mode != one.door.mode || door.owner != one.door.owner || door.group != one.door.group;
  if (other_rights) {
    const auto former = one.listener.replace(place_of(door));
    if (!former) return tl::unexpected(former.error());
    if (one.acceptor) one.acceptor->finish();
    one.acceptor.reset();
  }
  one.door = door;
  return open_ && other_rights ? let_in(one) : tl::expected<void, std::string>();
}

bool Doors::remove(const std::string& name) {
  const auto found =
      std::find_if(doors_.begin() + 1, doors_.end(), [&](const auto& one) { return one->door.name == name; });
  if (found == doors_.end()) return false;
  doors_.erase(found);
  return true;
}

std::vector<std::string> Doors::replace(const std::vector<Door>& configured) {
  std::vector<std::string> troubles;
  std::set<const Open*> wanted;
  const auto keep = [&](const Open& one, const std::string& why) {
    wanted.insert(&one);
    troubles.push_back(fmt::format("the door \"{}\" stays as it was: {}", one.door.name, why));
  };
  const auto give_up = [&](const Door& door, const std::string& why) {
    auto trouble = fmt::format("the door \"{}\": {}", door.name, why);
    if (door.dispensable)
      log_.warning("{}", trouble);
    else
      troubles.push_back(std::move(trouble));
  };
  std::vector<const Door*> elsewhere;
  for (const Door& door : configured) {
    Open* there = find_at(door.path);
    if (there == nullptr) {
      elsewhere.push_back(&door);
    } else if (const auto changed = change(*there, door); changed) {
      wanted.insert(there);
    } else if (has_other(configured, there->door.name, door)) {
      give_up(door, changed.error());
    } else {
      keep(*there, changed.error());
    }
  }
  for (const Door* door : elsewhere) {
    const Open* former = find(door->name);
    if (former != nullptr && (!is_configured(*former) || wanted.contains(former))) former = nullptr;
    const bool has_place = wanted.size() + count_at_run_time() < limits::kDoors;
    const auto made = has_place ? make(*door, false) : tl::unexpected(too_many());
    if (made)
      wanted.insert(*made);
    else if (former != nullptr && has_place)
      keep(*former, made.error());
    else
      give_up(*door, made.error());
  }
  std::erase_if(doors_, [&](const auto& one) { return is_configured(*one) && !wanted.contains(one.get()); });
  return troubles;
}

tl::expected<void, std::string> Doors::open() {
  open_ = true;
  for (const auto& one : doors_)
    if (auto ok = let_in(*one); !ok) return ok;
  return {};
}

void Doors::close() {
  open_ = false;
  for (const auto& one : doors_) {
    one->acceptor.reset();
    one->listener.withdraw();
  }
}

void Doors::on_room() {
  for (const auto& one : doors_)
    if (one->acceptor) one->acceptor->on_room();
}

tl::expected<void, std::string> Doors::let_in(Open& one) {
  if (auto ok = one.listener.publish(); !ok) return ok;
  one.acceptor.emplace(
      loop_, log_, one.listener.fd(),
      [this, &one](posix::Fd client) {
        on_client_(std::move(client), entrance_of(one.door), {one.connections, one.door.connections});
      },
      may_accept_);
  return {};
}

Doors::Open* Doors::find(const std::string& name) {
  const auto found =
      std::find_if(doors_.begin(), doors_.end(), [&](const auto& one) { return one->door.name == name; });
  return found == doors_.end() ? nullptr : found->get();
}

Doors::Open* Doors::find_at(const std::string& path) {
  const auto found = std::find_if(doors_.begin(), doors_.end(),
                                  [&](const auto& one) { return is_configured(*one) && one->door.path == path; });
  return found == doors_.end() ? nullptr : found->get();
}

bool Doors::is_taken_at_run_time(const std::string& name) const {
  return std::any_of(doors_.begin(), doors_.end(),
                     [&](const auto& one) { return one->at_run_time && one->door.name == name; });
}

std::size_t Doors::count_at_run_time() const {
  return static_cast<std::size_t>(
      std::count_if(doors_.begin(), doors_.end(), [](const auto& one) { return one->at_run_time; }));
}

std::vector<proto::DoorEntry> Doors::list() const {
  std::vector<proto::DoorEntry> out;
  for (const auto& one : doors_) {
    const Door& door = one->door;
    out.push_back({.name = door.name,
                   .path = door.path,
                   .mode = door.mode,
                   .uid = door.owner.value_or(proto::kKeep),
                   .gid = door.group.value_or(proto::kKeep),
                   .profile = door.profile.value_or(""),
                   .locality = door.locality,
                   .connections = *one->connections,
                   .limit = door.connections,
                   .at_run_time = one->at_run_time,
                   .chip = door.chip.value_or(""),
                   .separate_users = door.separate_users});
  }
  return out;
}

}  // namespace tpmspace::daemon
