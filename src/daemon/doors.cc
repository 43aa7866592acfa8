#include "daemon/doors.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

namespace tpmspace::daemon {
namespace {

bool same_door(const DoorTerms& a, const DoorTerms& b) {
  return a.name == b.name && a.place.path == b.place.path && a.place.mode == b.place.mode &&
         a.place.owner == b.place.owner && a.place.group == b.place.group && a.profile == b.profile &&
         a.locality == b.locality && a.connections == b.connections;
}

DoorTerms main_door(const Listener& listener) {
  DoorTerms out;
  out.name = kMainDoor;
  out.place = listener.place();
  return out;
}

}  // namespace

Doors::Doors(EventLoop& loop, Log& log, Listener main, OnClient on_client)
    : loop_(loop), log_(log), on_client_(std::move(on_client)) {
  doors_.push_back(std::make_unique<Door>(Door{main_door(main), std::move(main)}));
}

tl::expected<void, std::string> Doors::add(DoorTerms terms) {
  if (find(terms.name) != nullptr)
    return tl::unexpected(fmt::format("there is a door \"{}\" already: give this one another name", terms.name));
  if (doors_.size() > kMaxDoors)
    return tl::unexpected(fmt::format("there are {} doors beside the main one, and no more are possible", kMaxDoors));
  auto listener = Listener::claim(terms.place);
  if (!listener) return tl::unexpected(listener.error());
  doors_.push_back(std::make_unique<Door>(Door{std::move(terms), std::move(*listener)}));
  if (!open_) return {};
  auto ok = let_in(*doors_.back());
  if (!ok) doors_.pop_back();
  return ok;
}

std::optional<DoorTerms> Doors::remove(const std::string& name) {
  const auto found =
      std::find_if(doors_.begin() + 1, doors_.end(), [&](const auto& d) { return d->terms.name == name; });
  if (found == doors_.end()) return std::nullopt;
  DoorTerms out = std::move((*found)->terms);
  doors_.erase(found);
  return out;
}

std::vector<std::string> Doors::replace(const std::vector<DoorTerms>& configured) {
  std::erase_if(doors_, [&](const auto& door) {
    if (door == doors_.front() || door->terms.at_run_time) return false;
    return std::none_of(configured.begin(), configured.end(), [&](const auto& c) { return same_door(c, door->terms); });
  });
  std::vector<std::string> out;
  for (const auto& terms : configured) {
    const Door* there = find(terms.name);
    if (there != nullptr && same_door(there->terms, terms)) continue;
    if (auto ok = add(terms); !ok) out.push_back(fmt::format("the door \"{}\": {}", terms.name, ok.error()));
  }
  return out;
}

tl::expected<void, std::string> Doors::open() {
  open_ = true;
  for (const auto& door : doors_)
    if (auto ok = let_in(*door); !ok) return ok;
  return {};
}

void Doors::close() {
  open_ = false;
  for (const auto& door : doors_) {
    door->acceptor.reset();
    door->listener.withdraw();
  }
}

void Doors::on_descriptor_freed() {
  for (const auto& door : doors_)
    if (door->acceptor) door->acceptor->on_descriptor_freed();
}

tl::expected<void, std::string> Doors::let_in(Door& door) {
  if (auto ok = door.listener.publish(); !ok) return ok;
  door.acceptor.emplace(loop_, log_, door.listener.fd(), [this, &door](posix::Fd client) {
    const std::uint32_t limit = door.terms.connections;
    const bool welcome = limit == 0 || *door.connections < limit;
    on_client_(std::move(client), {door.terms.name, door.terms.locality}, Visit(door.connections), welcome);
  });
  return {};
}

Doors::Door* Doors::find(const std::string& name) {
  const auto found =
      std::find_if(doors_.begin(), doors_.end(), [&](const auto& door) { return door->terms.name == name; });
  return found == doors_.end() ? nullptr : found->get();
}

std::vector<proto::DoorEntry> Doors::list() const {
  std::vector<proto::DoorEntry> out;
  for (const auto& door : doors_) {
    const DoorTerms& terms = door->terms;
    out.push_back({.name = terms.name,
                   .path = door->listener.path(),
                   .mode = terms.place.mode,
                   .uid = terms.place.owner.value_or(proto::kKeep),
                   .gid = terms.place.group.value_or(proto::kKeep),
                   .profile = terms.profile,
                   .locality = terms.locality,
                   .connections = *door->connections,
                   .limit = terms.connections,
                   .at_run_time = terms.at_run_time});
  }
  return out;
}

std::vector<DoorTerms> Doors::terms() const {
  std::vector<DoorTerms> out;
  for (const auto& door : doors_) out.push_back(door->terms);
  return out;
}

std::vector<DoorTerms> Doors::with_run_time(std::vector<DoorTerms> configured) const {
  for (const auto& door : doors_)
    if (door->terms.at_run_time) configured.push_back(door->terms);
  return configured;
}

}  // namespace tpmspace::daemon
