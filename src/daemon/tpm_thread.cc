#include "daemon/tpm_thread.h"

#include <chrono>
#include <utility>

#include "daemon/limits.h"

namespace tpmspace::daemon {
namespace {

engine::Time now() {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<engine::Time>(std::chrono::nanoseconds(since).count());
}

std::chrono::steady_clock::time_point time_point(engine::Time time) {
  return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(static_cast<std::int64_t>(time)));
}

}  // namespace

// The thread's own side: orders to the engine, steps to events.
class TpmThread::Worker {
 public:
  Worker(TpmThread& owner, engine::Engine& engine) : owner_(owner), engine_(engine) {}

  void run() {
    for (;;) {
      for (auto& order : owner_.orders_.take()) std::visit([this](auto& o) { apply(o); }, order);
      if (stopping_) return;
      const engine::Step step = engine_.step(now());
      report(step);
      if (!step.idle) continue;
      owner_.orders_.wait(step.wake ? std::optional(time_point(*step.wake)) : std::nullopt);
    }
  }

 private:
  struct Client {
    engine::ConnectionId connection = 0;
    JobId job = 0;
  };

  void apply(const Open& order) { clients_[order.client].connection = engine_.open(order.owner, order.limits); }
  void apply(Submit& order) {
    Client& client = clients_.at(order.client);
    client.job = order.job;
    const auto ticket = engine_.submit(client.connection, std::move(order.command), order.locality, now());
    jobs_[ticket] = {order.job, order.client};
    const std::lock_guard lock(owner_.shared_.mutex);
    owner_.shared_.tickets[order.job] = ticket;
  }
  void apply(const Close& order) {
    const auto found = clients_.find(order.client);
    if (found == clients_.end()) return;
    engine_.close(found->second.connection);
    if (const auto ticket = forget(found->second.job)) jobs_.erase(ticket);
    clients_.erase(found);
  }
  void apply(const CancelWaiting& order) {
    engine::Ticket ticket = 0;
    {
      const std::lock_guard lock(owner_.shared_.mutex);
      const auto found = owner_.shared_.tickets.find(order.job);
      if (found != owner_.shared_.tickets.end()) ticket = found->second;
    }
    if (ticket != 0) engine_.cancel(ticket);
  }
  void apply(const Drain&) { draining_ = true; }
  void apply(const Stop&) { stopping_ = true; }

  void report(const engine::Step& step) {
    Stepped event;
    if (step.reply) event.answer = finish(*step.reply);
    event.account = step.account;
    event.snapshot = snapshot_if_due(step);
    if (event.answer || event.account || event.snapshot) owner_.events_.put(std::move(event));
    if (draining_ && engine_.snapshot().queued == 0) {
      draining_ = false;
      owner_.events_.put(Drained{});
    }
  }

  // A snapshot goes through all books, so at most a small part of the time is spent on them; before the thread sleeps
  // there always is one.
  std::optional<engine::Snapshot> snapshot_if_due(const engine::Step& step) {
    if (step.reply || step.account) snapshot_wanted_ = true;
    const engine::Time begin = now();
    if (!snapshot_wanted_ || (!step.idle && begin < next_snapshot_)) return std::nullopt;
    const auto out = engine_.snapshot();
    const engine::Time end = now();
    next_snapshot_ = end + limits::kSnapshotShare * (end - begin);
    snapshot_wanted_ = false;
    return out;
  }

  // nullopt: whoever wanted it is gone.
  std::optional<Answer> finish(const engine::Reply& reply) {
    const auto found = jobs_.find(reply.ticket);
    if (found == jobs_.end()) return std::nullopt;
    const auto [job, client] = found->second;
    jobs_.erase(found);
    forget(job);
    if (const auto it = clients_.find(client); it != clients_.end() && it->second.job == job) it->second.job = 0;
    return Answer{job, reply.response};
  }

  engine::Ticket forget(JobId job) {
    const std::lock_guard lock(owner_.shared_.mutex);
    const auto found = owner_.shared_.tickets.find(job);
    if (found == owner_.shared_.tickets.end()) return 0;
    const auto ticket = found->second;
    owner_.shared_.tickets.erase(found);
    return ticket;
  }

  TpmThread& owner_;
  engine::Engine& engine_;
  std::unordered_map<ClientId, Client> clients_;
  std::unordered_map<engine::Ticket, std::pair<JobId, ClientId>> jobs_;
  bool draining_ = false;
  bool stopping_ = false;
  bool snapshot_wanted_ = false;
  engine::Time next_snapshot_ = 0;
};

TpmThread::TpmThread(TpmSource source, const engine::Config& config)
    : thread_([this, source = std::move(source), config] { run(source, config); }) {}

TpmThread::~TpmThread() {
  bool ended = false;
  {
    const std::lock_guard lock(shared_.mutex);
    ended = shared_.ended;
  }
  if (!ended) {
    stop();
    hang_up();
  }
  thread_.join();
}

void TpmThread::run(const TpmSource& source, const engine::Config& config) {
  auto opened = source.open();
  if (opened) {
    {
      const std::lock_guard lock(shared_.mutex);
      shared_.back_end = opened->get();
      if (shared_.hung_up) shared_.back_end->hang_up();
    }
    auto report = source.bring_up(**opened);
    if (report)
      serve(**opened, std::move(*report), config);
    else
      events_.put(Failed{report.error()});
  } else {
    events_.put(Failed{opened.error()});
  }
  const std::lock_guard lock(shared_.mutex);
  shared_.back_end = nullptr;
  shared_.ended = true;
}

void TpmThread::serve(wire::Tpm& tpm, ChipReport report, const engine::Config& config) {
  table_ = std::make_unique<const wire::CommandTable>(report.table);
  engine::Engine engine(tpm, *table_, report.chip, config, now);
  {
    const std::lock_guard lock(shared_.mutex);
    shared_.gate = &engine.gate();
  }
  events_.put(Ready{std::move(report)});
  Worker(*this, engine).run();
  auto account = engine.flush_all(true);
  {
    const std::lock_guard lock(shared_.mutex);
    shared_.gate = nullptr;
  }
  events_.put(Stopped{std::move(account)});
}

void TpmThread::open(ClientId client, space::OwnerId owner, const space::SpaceLimits& limits) {
  orders_.put(Open{client, owner, limits});
}

void TpmThread::submit(ClientId client, JobId job, wire::Command command, std::uint8_t locality) {
  {
    const std::lock_guard lock(shared_.mutex);
    shared_.tickets[job] = 0;
  }
  orders_.put(Submit{client, job, std::move(command), locality});
}

void TpmThread::close(ClientId client) {
  orders_.put(Close{client});
}
void TpmThread::cancel_waiting(JobId job) {
  orders_.put(CancelWaiting{job});
}
void TpmThread::drain() {
  orders_.put(Drain{});
}
void TpmThread::stop() {
  orders_.put(Stop{});
}

TpmThread::CancelResult TpmThread::cancel_at_tpm(JobId job) {
  const std::lock_guard lock(shared_.mutex);
  const auto found = shared_.tickets.find(job);
  if (shared_.gate == nullptr || found == shared_.tickets.end()) return CancelResult::kDone;
  return found->second != 0 && shared_.gate->cancel(found->second) ? CancelResult::kAsked : CancelResult::kNotYet;
}

void TpmThread::abandon(JobId job) {
  const std::lock_guard lock(shared_.mutex);
  const auto found = shared_.tickets.find(job);
  if (shared_.gate != nullptr && found != shared_.tickets.end() && found->second != 0)
    shared_.gate->abandon(found->second);
}

std::optional<engine::Gate::Running> TpmThread::running() const {
  const std::lock_guard lock(shared_.mutex);
  return shared_.gate == nullptr ? std::nullopt : shared_.gate->running();
}

void TpmThread::hang_up() {
  const std::lock_guard lock(shared_.mutex);
  shared_.hung_up = true;
  if (shared_.back_end != nullptr) shared_.back_end->hang_up();
}

}  // namespace tpmspace::daemon
