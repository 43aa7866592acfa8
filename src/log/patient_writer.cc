#include "log/patient_writer.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <deque>
#include <mutex>
#include <utility>

#include "base/limits.h"

namespace tpmspace::log {
namespace {

std::size_t bytes_of(const PatientWriter::Record& record) {
  std::size_t out = sizeof(PatientWriter::Record);
  for (const auto& part : record) out += part.size();
  return out;
}

}  // namespace

struct PatientWriter::State {
  explicit State(Sink the_sink) : sink(std::move(the_sink)) {}

  struct Item {
    Record record;
    std::uint64_t losses = 0;  // number of lost records that the record reports
  };

  void push(Record record, std::uint64_t losses) {
    bytes += bytes_of(record);
    waiting.push_back({std::move(record), losses});
  }
  void push_loss() {
    if (const auto losses = std::exchange(unsaid, 0); losses != 0) push(sink.loss(losses), losses);
  }
  void note(const Item& item, const std::optional<std::string>& error) {
    bytes -= bytes_of(item.record);
    if (!error) {
      troubled = false;
      return;
    }
    unsaid += item.losses != 0 ? item.losses : 1;
    lost += item.losses != 0 ? 0 : 1;
    if (!std::exchange(troubled, true)) sink.trouble(*error);
  }
  void run();

  const Sink sink;
  std::mutex mutex;
  std::condition_variable work, done;
  // Guarded by mutex.
  std::deque<Item> waiting;
  std::size_t bytes = 0;     // bytes that wait or are being written
  std::uint64_t lost = 0;    // since the start
  std::uint64_t unsaid = 0;  // lost records not reported yet
  bool troubled = false;     // the last record could not be written
  bool ending = false;       // end when all records are written
  bool ended = false;
  bool left = false;  // no caller waits for the thread any more
};

void PatientWriter::State::run() {
  std::unique_lock lock(mutex);
  while (!left) {
    // If no byte can be written now, the failure is reported with the next new record.
    if (waiting.empty() && !troubled) push_loss();
    if (waiting.empty()) {
      done.notify_all();
      if (ending) break;
      work.wait(lock);
      continue;
    }
    const Item item = std::move(waiting.front());
    waiting.pop_front();
    lock.unlock();
    const auto error = sink.write(item.record);
    lock.lock();
    if (!left) note(item, error);
  }
  ended = true;
  done.notify_all();
}

PatientWriter::PatientWriter(Sink sink) : state_(std::make_shared<State>(std::move(sink))) {
  // Other threads handle signals.
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    thread_ = std::thread([state = state_] { state->run(); });
  } catch (...) {
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw;
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

PatientWriter::~PatientWriter() {
  std::unique_lock lock(state_->mutex);
  state_->ending = true;
  state_->work.notify_one();
  state_->done.wait_for(lock, limits::kLastWords, [this] { return state_->ended; });
  state_->left = true;
  const bool ended = state_->ended;
  lock.unlock();
  if (ended)
    thread_.join();
  else
    thread_.detach();
}

void PatientWriter::put(Record record) {
  const std::lock_guard lock(state_->mutex);
  State& state = *state_;
  const std::size_t most = state.unsaid == 0 || state.troubled ? limits::kMaxUnwritten : limits::kMaxUnwritten / 2;
  if (state.bytes + bytes_of(record) > most) {
    ++state.lost;
    ++state.unsaid;
    return;
  }
  state.push_loss();
  state.push(std::move(record), 0);
  state.work.notify_one();
}

void PatientWriter::flush() {
  std::unique_lock lock(state_->mutex);
  state_->done.wait_for(lock, limits::kLastWords, [this] { return state_->bytes == 0; });
}

std::uint64_t PatientWriter::lost() const {
  const std::lock_guard lock(state_->mutex);
  return state_->lost;
}

std::optional<std::string> write_whole(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n > 0) {
      text.remove_prefix(static_cast<std::size_t>(n));
    } else if (n == 0) {
      return "there is no room";
    } else if (errno == EAGAIN) {
      pollfd room{.fd = fd, .events = POLLOUT, .revents = 0};
      ::poll(&room, 1, -1);
    } else if (errno != EINTR) {
      return std::strerror(errno);
    }
  }
  return std::nullopt;
}

}  // namespace tpmspace::log
