#include "daemon/doors.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "daemon/limits.h"

namespace tpmspace::daemon {
namespace {

// Wherever in the file it stands now.
bool is_same(Door a, const Door& b) {
  a.line = b.line;
  return a == b;
}

Door main_door(const Listener& listener) {
  Door out;
  out.name = kMainDoor;
  out.path = listener.path();
  out.mode = listener.place().mode;
  return out;
}

}  // namespace

Doors::Doors(EventLoop& loop, Log& log, Listener main, OnClient on_client)
    : loop_(loop), log_(log), on_client_(std::move(on_client)) {
  doors_.push_back(std::make_unique<Open>(Open{main_door(main), false, std::move(main)}));
}

tl::expected<void, std::string> Doors::add(const Door& door, bool at_run_time) {
  if (find(door.name) != nullptr)
    return tl::unexpected(fmt::format("there is a door \"{}\" already: give this one another name", door.name));
  static_assert(limits::kDoors + 1 == proto::kMaxDoors);
  if (doors_.size() > limits::kDoors)
    return tl::unexpected(
        fmt::format("there are {} doors beside the main one, and no more are possible", limits::kDoors));
  auto listener = Listener::claim(
      {.path = door.path, .mode = door.mode, .owner = door.owner, .group = door.group, .careful = true});
  if (!listener) return tl::unexpected(listener.error());
  doors_.push_back(std::make_unique<Open>(Open{door, at_run_time, std::move(*listener)}));
  if (!open_) return {};
  auto ok = let_in(*doors_.back());
  if (!ok) doors_.pop_back();
  return ok;
}

bool Doors::remove(const std::string& name) {
  const auto found =
      std::find_if(doors_.begin() + 1, doors_.end(), [&](const auto& one) { return one->door.name == name; });
  if (found == doors_.end()) return false;
  doors_.erase(found);
  return true;
}

std::vector<std::string> Doors::replace(const std::vector<Door>& configured) {
  std::erase_if(doors_, [&](const auto& one) {
    if (one == doors_.front() || one->at_run_time) return false;
    return std::none_of(configured.begin(), configured.end(),
                        [&](const Door& door) { return is_same(door, one->door); });
  });
  std::vector<std::string> out;
  for (const Door& door : configured) {
    const Open* there = find(door.name);
    if (there != nullptr && is_same(door, there->door)) continue;
    if (auto ok = add(door, false); !ok) out.push_back(fmt::format("the door \"{}\": {}", door.name, ok.error()));
  }
  return out;
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

void Doors::on_descriptor_freed() {
  for (const auto& one : doors_)
    if (one->acceptor) one->acceptor->on_descriptor_freed();
}

tl::expected<void, std::string> Doors::let_in(Open& one) {
  if (auto ok = one.listener.publish(); !ok) return ok;
  one.acceptor.emplace(loop_, log_, one.listener.fd(), [this, &one](posix::Fd client) {
    const Door& door = one.door;
    const bool welcome = door.connections == 0 || *one.connections < door.connections;
    on_client_(std::move(client), entrance_of(door), one.connections, welcome);
  });
  return {};
}

Doors::Open* Doors::find(const std::string& name) {
  const auto found =
      std::find_if(doors_.begin(), doors_.end(), [&](const auto& one) { return one->door.name == name; });
  return found == doors_.end() ? nullptr : found->get();
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
                   .chip = door.chip.value_or("")});
  }
  return out;
}

}  // namespace tpmspace::daemon
