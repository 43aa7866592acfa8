#include "daemon/rereading.h"

#include <fmt/core.h>

#include <atomic>
#include <system_error>
#include <thread>
#include <utility>

#include "base/mailbox.h"

namespace tpmspace::daemon {

namespace {

std::atomic<unsigned> readings = 0;

Rereading::Result failure(const std::exception& e) {
  return tl::unexpected(fmt::format("the configuration cannot be read: {}", e.what()));
}

Rereading::Result result_of(const Rereading::Reader& reader) {
  try {
    return reader();
  } catch (const std::exception& e) {
    return failure(e);
  }
}

}  // namespace

// Where the thread puts its result.
struct Rereading::Place {
  base::Outbox<Result> results;
};

Rereading::Rereading(loop::EventLoop& loop, Reader reader, Done done)
    : reader_(std::move(reader)),
      done_(std::move(done)),
      place_(std::make_shared<Place>()),
      result_(loop.watch(place_->results.fd(), EPOLLIN, [this](std::uint32_t) { take(); })) {}

bool Rereading::any_left_behind() {
  return readings != 0;
}

void Rereading::ask(host::ClientId client) {
  waiting_.push_back(client);
  if (!under_way_) begin();
}

void Rereading::begin() {
  under_way_ = true;
  for_whom_ = std::exchange(waiting_, {});
  try {
    ++readings;
    std::thread([reader = reader_, place = place_]() mutable {
      place->results.put(result_of(reader));
      reader = nullptr;
      place.reset();
      --readings;
    }).detach();
  } catch (const std::system_error& e) {
    --readings;
    place_->results.put(failure(e));
  }
}

void Rereading::take() {
  for (Result& result : place_->results.take()) {
    under_way_ = false;
    done_(std::move(result), std::exchange(for_whom_, {}));
  }
  if (!under_way_ && !waiting_.empty()) begin();
}

}  // namespace tpmspace::daemon
