#include "host/tpm_thread.h"

#include <chrono>
#include <ctime>
#include <map>
#include <utility>

#include "base/round_robin.h"
#include "host/sleep_clock.h"

namespace tpmspace::host {
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
  using Remember = std::function<void(const engine::Engine::HeldSessions&)>;
  Worker(TpmThread& owner, engine::Engine& engine, Remember remember)
      : owner_(owner), engine_(engine), remember_(std::move(remember)) {}

  void run() {
    for (;;) {
      // The clock first: the end of an earlier sleep must not undo an order to prepare for the next sleep.
      if (sleep_clock_.since_last_look()) engine_.wake_up();
      take_orders();
      if (stopping_) return;
      const engine::Step step = engine_.step(now());
      if (remember_ && step.account) remember_(engine_.held_sessions());
      report(step);
      if (!step.idle || waiting_.size() > 0) continue;
      owner_.orders_.wait(step.wake ? std::optional(time_point(*step.wake)) : std::nullopt);
    }
  }

  [[nodiscard]] engine::SessionList sessions(const std::optional<space::Holder>& only) const {
    engine::SessionList out = engine_.sessions(only);
    name_clients(out);
    return out;
  }

 private:
  struct Client {
    engine::ConnectionId connection = 0;
    engine::Ticket ticket = 0;  // of the client's job; 0: none
  };

  // Takes so few orders at a time that a waiting client does not notice the number of other clients.
  void take_orders() {
    for (Order& order : owner_.orders_.take()) {
      if (const auto owner = order.owner)
        waiting_.put(*owner, std::move(order));
      else
        take(order);
    }
    std::map<space::Payer, std::size_t> taken;
    for (std::size_t i = 0; i < limits::kOrdersPerStep; ++i) {
      auto order = waiting_.next();
      if (!order) break;
      take(*order);
      if (order->counted) ++taken[*order->counted];
    }
    if (!taken.empty()) owner_.events_.put(Taken{{taken.begin(), taken.end()}});
  }
  void take(Order& order) {
    std::visit([&](auto& what) { apply(what); }, order.what);
    changed_ = true;
  }

  void apply(const Open& order) {
    const auto connection = engine_.open(order.owner, order.limits);
    clients_[order.client].connection = connection;
    client_of_[connection] = order.client;
  }
  void apply(const SetLimits& order) { engine_.set_limits(clients_.at(order.client).connection, order.limits); }
  void apply(Submit& order) {
    begin(order, [&](engine::ConnectionId connection) {
      return engine_.submit(connection, std::move(order.command), order.locality, now(), order.number);
    });
  }
  void apply(const Inherit& order) {
    const auto parent = clients_.find(order.from);
    begin(order, [&](engine::ConnectionId connection) {
      return engine_.inherit(connection, parent == clients_.end() ? connection : parent->second.connection, order.known,
                             now());
    });
  }
  // The client's job gets a ticket of the engine, unless the job was withdrawn.
  template <typename Order, typename Submit>
  void begin(const Order& order, Submit submit) {
    Client& client = clients_.at(order.client);
    const std::lock_guard lock(owner_.shared_.mutex);
    const auto entry = owner_.shared_.tickets.find(order.job);
    if (entry == owner_.shared_.tickets.end()) return;
    client.ticket = submit(client.connection);
    entry->second = client.ticket;
    jobs_[client.ticket] = {order.job, order.client};
  }
  void apply(const Close& order) {
    const auto found = clients_.find(order.client);
    if (found == clients_.end()) return;
    engine_.close(found->second.connection);
    forget(found->second);
    client_of_.erase(found->second.connection);
    clients_.erase(found);
  }
  void apply(const Drop& order) {
    const auto found = clients_.find(order.client);
    if (found != clients_.end() && found->second.ticket == order.ticket) drop_withdrawn(found->second);
  }
  void apply(AboutSessions& order) { engine_.order_sessions(order.order, std::move(order.what)); }
  void apply(const AskForSessions& order) { engine_.ask_for_sessions(order.query); }
  void apply(const PrepareForSleep&) { engine_.prepare_for_sleep(); }
  void apply(const WakeUp&) { engine_.wake_up(); }
  void apply(const Drain&) { draining_ = true; }
  void apply(const Stop&) { stopping_ = true; }

  // The job has not started, but waits in a queue.
  void drop_withdrawn(Client& client) {
    if (client.ticket == 0) return;
    engine_.cancel(client.ticket);
    forget(client);
  }

  void report(const engine::Step& step) {
    if (!step.idle || changed_) {
      Stepped event;
      if (step.reply) event.answer = finish(*step.reply);
      event.account = step.account;
      if (event.account) event.account->connection = client_of(event.account->connection);
      event.order_done = step.order_done;
      if (event.order_done) name_clients(event.order_done->sessions);
      event.sessions = step.sessions;
      if (event.sessions) name_clients(event.sessions->list);
      event.snapshot = engine_.snapshot();
      owner_.events_.put(std::move(event));
      changed_ = false;
    }
    if (step.away) owner_.events_.put(Away{});
    if (draining_ && waiting_.size() == 0 && engine_.snapshot().queued == 0) {
      draining_ = false;
      owner_.events_.put(Drained{});
    }
  }

  // Replaces connections by the loop's ClientIds.
  void name_clients(engine::SessionList& list) const {
    name_clients(list.sessions);
    name_clients(list.waiting);
  }
  template <typename View>
  void name_clients(std::vector<View>& views) const {
    for (auto& view : views) view.connection = client_of(view.connection);
  }
  // 0: the client is gone.
  [[nodiscard]] ClientId client_of(engine::ConnectionId connection) const {
    const auto found = client_of_.find(connection);
    return found == client_of_.end() ? 0 : found->second;
  }

  // nullopt: the client is gone.
  std::optional<Answer> finish(const engine::Reply& reply) {
    const auto found = jobs_.find(reply.ticket);
    if (found == jobs_.end()) return std::nullopt;
    const auto [job, client] = found->second;
    forget(clients_.at(client));
    return Answer{job, reply.response};
  }

  // The client's job is over.
  void forget(Client& client) {
    const auto found = jobs_.find(client.ticket);
    client.ticket = 0;
    if (found == jobs_.end()) return;
    const std::lock_guard lock(owner_.shared_.mutex);
    owner_.shared_.tickets.erase(found->second.first);
    jobs_.erase(found);
  }

  TpmThread& owner_;
  engine::Engine& engine_;
  const Remember remember_;
  std::unordered_map<ClientId, Client> clients_;
  std::unordered_map<engine::ConnectionId, ClientId> client_of_;
  std::unordered_map<engine::Ticket, std::pair<JobId, ClientId>> jobs_;
  SleepClock sleep_clock_;
  base::RoundRobin<space::OwnerId, Order> waiting_;  // orders not taken yet
  bool draining_ = false;
  bool stopping_ = false;
  bool changed_ = false;  // by orders, since the last report
};

TpmThread::TpmThread(Events& events, TpmSource source, const engine::Config& config, bool again)
    : events_(events), thread_([this, source = std::move(source), config, again] { run(source, config, again); }) {}

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

void TpmThread::run(const TpmSource& source, const engine::Config& config, bool again) {
  Event last = use(source, config, again);
  {
    const std::lock_guard lock(shared_.mutex);
    shared_.ended = true;
  }
  events_.put(std::move(last));
}

TpmThread::Event TpmThread::use(const TpmSource& source, const engine::Config& config, bool again) {
  const Opening opening{give_up_.get_token(), again};
  const auto opened = source.open(opening);
  if (!opened) return Failed{opened.error()};
  {
    const std::lock_guard lock(shared_.mutex);
    shared_.back_end = opened->get();
    if (give_up_.stop_requested()) shared_.back_end->hang_up();
  }
  auto report = source.bring_up(**opened, opening);
  Event last = report ? serve(**opened, std::move(*report), config, source) : Failed{report.error()};
  const std::lock_guard lock(shared_.mutex);
  shared_.back_end = nullptr;
  return last;
}

TpmThread::Event TpmThread::serve(wire::Tpm& tpm, ChipReport report, const engine::Config& config,
                                  const TpmSource& source) {
  table_ = std::make_shared<const wire::CommandTable>(report.table);
  engine::Engine engine(tpm, *table_, report.chip, config, now);
  Worker worker(*this, engine, source.remember);
  {
    const std::lock_guard lock(shared_.mutex);
    shared_.gate = &engine.gate();
    shared_.worker = &worker;
  }
  events_.put(Ready{std::move(report)});
  if (source.remember) source.remember(engine.held_sessions());
  worker.run();
  auto account = engine.flush_all(true);
  if (source.remember) source.remember(engine.held_sessions());
  const std::lock_guard lock(shared_.mutex);
  shared_.gate = nullptr;
  shared_.worker = nullptr;
  return Stopped{std::move(account)};
}

std::vector<TpmThread::Event> TpmThread::take_events() {
  auto out = events_.take();
  for (const Event& event : out)
    if (const auto* taken = std::get_if<Taken>(&event))
      for (const auto& [payer, orders] : taken->orders) room_.give_back(payer, orders);
  return out;
}

void TpmThread::open(space::OwnerId owner, const space::Payer& payer, ClientId client,
                     const space::SpaceLimits& limits) {
  put_counted(owner, payer, Open{client, owner, limits});
}

void TpmThread::set_limits(space::OwnerId owner, const space::Payer& payer, ClientId client,
                           const space::SpaceLimits& limits) {
  put_counted(owner, payer, SetLimits{client, limits});
}

void TpmThread::expect(JobId job) {
  const std::lock_guard lock(shared_.mutex);
  shared_.tickets[job] = 0;
}

void TpmThread::submit(space::OwnerId owner, const space::Payer& payer, ClientId client, JobId job,
                       wire::Command command, std::uint8_t locality, std::uint64_t number) {
  expect(job);
  put_counted(owner, payer, Submit{client, job, std::move(command), locality, number});
}

void TpmThread::inherit(space::OwnerId owner, const space::Payer& payer, ClientId client, JobId job, ClientId from,
                        std::uint64_t known) {
  expect(job);
  put_counted(owner, payer, Inherit{client, job, from, known});
}

void TpmThread::close(space::OwnerId owner, ClientId client) {
  orders_.put(Order{owner, {}, Close{client}});
}
void TpmThread::ask_for_sessions(const space::Payer& payer, const engine::SessionsQuery& query) {
  put_counted(query.payer, payer, AskForSessions{query});
}
void TpmThread::order(std::uint64_t order, engine::SessionOrder what) {
  orders_.put(Order{{}, {}, AboutSessions{order, std::move(what)}});
}
void TpmThread::prepare_for_sleep() {
  orders_.put(Order{{}, {}, PrepareForSleep{}});
}
void TpmThread::wake_up() {
  orders_.put(Order{{}, {}, WakeUp{}});
}
void TpmThread::drain() {
  orders_.put(Order{{}, {}, Drain{}});
}
void TpmThread::stop() {
  orders_.put(Order{{}, {}, Stop{}});
}

bool TpmThread::withdraw(space::OwnerId owner, ClientId client, JobId job) {
  engine::Ticket ticket = 0;
  {
    const std::lock_guard lock(shared_.mutex);
    const auto found = shared_.tickets.find(job);
    if (found == shared_.tickets.end()) return false;
    ticket = found->second;
    if (ticket != 0 && (shared_.gate == nullptr || !shared_.gate->withdraw(ticket))) return false;
    shared_.tickets.erase(found);
  }
  if (ticket != 0) orders_.put(Order{owner, {}, Drop{client, ticket}});
  return true;
}

bool TpmThread::cancel(JobId job) {
  const std::lock_guard lock(shared_.mutex);
  const auto found = shared_.tickets.find(job);
  return shared_.gate != nullptr && found != shared_.tickets.end() && shared_.gate->cancel(found->second);
}

bool TpmThread::abandon(space::OwnerId owner, ClientId client, JobId job) {
  if (withdraw(owner, client, job)) return true;
  const std::lock_guard lock(shared_.mutex);
  const auto found = shared_.tickets.find(job);
  return shared_.gate != nullptr && found != shared_.tickets.end() && shared_.gate->abandon(found->second);
}

std::optional<engine::Gate::Running> TpmThread::running() const {
  const std::lock_guard lock(shared_.mutex);
  return shared_.gate == nullptr ? std::nullopt : shared_.gate->running();
}

std::optional<engine::SessionList> TpmThread::sessions_meanwhile(const std::optional<space::Holder>& only) const {
  const std::lock_guard lock(shared_.mutex);
  std::optional<engine::SessionList> out;
  if (shared_.gate != nullptr) shared_.gate->while_at_tpm([&] { out = shared_.worker->sessions(only); });
  return out;
}

void TpmThread::hang_up() {
  give_up_.request_stop();
  const std::lock_guard lock(shared_.mutex);
  if (shared_.back_end != nullptr) shared_.back_end->hang_up();
}

}  // namespace tpmspace::host
