#include "host/tpm_host.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <system_error>
#include <utility>

#include "base/round_robin.h"
#include "peer/owner_numbers.h"
#include "wire/response.h"

namespace tpmspace::host {
namespace {

constexpr wire::Rc kFailure = wire::from_manager(wire::rc::kFailure);
constexpr wire::Rc kFull = wire::from_manager(wire::rc::kMemory);
constexpr wire::Rc kCanceled = wire::from_manager(wire::rc::kCanceled);

std::string_view name_of_code(const wire::CommandTable& table, wire::CommandCode code) {
  const auto* row = table.find(code);
  return row == nullptr ? "an unknown command" : row->name;
}

// The clock of the engine's times.
std::uint64_t now_of_engine() {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::nanoseconds(since).count());
}

std::uint64_t span(std::uint64_t from, std::uint64_t to) {
  return to > from ? to - from : 0;
}

proto::SessionState state_of(engine::SessionState state) {
  switch (state) {
    case engine::SessionState::kLoaded:
      return proto::SessionState::kLoaded;
    case engine::SessionState::kSaved:
      return proto::SessionState::kSaved;
    case engine::SessionState::kClientSaved:
      return proto::SessionState::kClientSaved;
    case engine::SessionState::kAbandoned:
      return proto::SessionState::kAbandoned;
    case engine::SessionState::kParked:
      return proto::SessionState::kParked;
  }
  return proto::SessionState::kLoaded;
}

proto::SessionEntry entry_of(const engine::SessionView& view, std::uint64_t now) {
  return {.handle = view.handle,
          .kind = view.kind,
          .state = state_of(view.state),
          .uid = peer::uid_of(view.holder),
          .connection = view.connection,
          .age = span(view.started_at, now),
          .idle = span(view.used_at, now),
          .lease = view.lease,
          .rebuildable = view.rebuildable,
          .parked = view.parked,
          .tenant = {}};
}

std::vector<proto::SessionEntry> entries_of(const std::vector<engine::SessionView>& views, std::uint64_t now) {
  std::vector<proto::SessionEntry> out;
  out.reserve(views.size());
  for (const auto& view : views) out.push_back(entry_of(view, now));
  return out;
}

}  // namespace

TpmHost::TpmHost(loop::EventLoop& loop, log::Log& log, TpmSource source, const Terms& terms, Callbacks callbacks)
    : log_(log),
      name_(source.name),
      source_(std::move(source)),
      terms_(terms),
      callbacks_(std::move(callbacks)),
      queue_(space::ShareRule::of(terms.queue, 1)),
      pace_(terms.retry),
      thread_(std::make_unique<TpmThread>(events_, source_, terms_.engine, false)),
      events_watch_(loop.watch(events_.fd(), EPOLLIN, [this](std::uint32_t) { take_events(); })),
      deadline_timer_(loop.timer([this] { look_at_deadline(); })),
      cancel_timer_(loop.timer([this] { ask_again(); })),
      retry_timer_(loop.timer([this] { open_again(); })),
      socket_watch_(loop, source_.can_return ? source_.socket : "", [this] { on_socket(); }),
      early_turn_(loop.deferred([this] { deliver_early(); })),
      stopped_turn_(loop.deferred([this] { callbacks_.stopped(); })),
      stop_timer_(loop.timer([this] { escalate_stop(); })) {}

tl::expected<JobId, wire::Rc> TpmHost::begin_job(ClientId client, const space::Holder& who,
                                                 const space::SpaceLimits& limits) {
  if (state_ != State::kServing || lost_ || stopping_ != Stopping::kNo) return tl::make_unexpected(kFailure);
  // A client that submits and leaves during a long command has no command in the queue any more, but its orders wait.
  const auto payer = space::Payer::of(who.owner, limits.administers);
  if (!queue_.admits(payer) || !thread_->has_room(payer)) return tl::make_unexpected(kFull);
  const auto [entry, is_new] = clients_.try_emplace(client, Client{.owner = who.owner, .payer = payer});
  if (is_new) {
    space::SpaceLimits own = limits;
    own.part = who.part;
    thread_->open(who.owner, payer, client, own);
  }
  const JobId job = ++last_job_;
  entry->second.job = job;
  jobs_[job] = {.client = client, .owner = entry->second.owner, .payer = payer};
  queue_.take(payer);
  counters_.add_queue_length(jobs_.size());
  if (!deadline_timer_.armed()) deadline_timer_.arm(limits::kWatchdogPeriod);
  return job;
}

std::optional<wire::Rc> TpmHost::submit(ClientId client, const space::Holder& who, const space::SpaceLimits& limits,
                                        wire::Command command, std::uint8_t locality, std::uint64_t number) {
  const auto job = begin_job(client, who, limits);
  if (!job) return job.error();
  thread_->submit(clients_.at(client).owner, jobs_.at(*job).payer, client, *job, std::move(command), locality, number);
  return std::nullopt;
}

std::optional<wire::Rc> TpmHost::inherit(ClientId client, const space::Holder& who, const space::SpaceLimits& limits,
                                         ClientId from, std::uint64_t known) {
  const auto job = begin_job(client, who, limits);
  if (!job) return job.error();
  thread_->inherit(clients_.at(client).owner, jobs_.at(*job).payer, client, *job, from, known);
  return std::nullopt;
}

bool TpmHost::set_limits(ClientId client, const space::SpaceLimits& limits) {
  const auto found = clients_.find(client);
  if (found == clients_.end()) return true;
  const space::Payer payer = found->second.payer;
  if (!thread_->has_room(payer)) return false;
  thread_->set_limits(found->second.owner, payer, client, limits);
  return true;
}

ClientId TpmHost::finish(JobId id) {
  const auto job = jobs_.find(id);
  const ClientId client = job->second.client;
  queue_.give_back(job->second.payer);
  jobs_.erase(job);
  clients_.at(client).job = 0;
  return client;
}

void TpmHost::answer_early(JobId job, wire::Rc code) {
  counters_.add_early_answer(code);
  early_.emplace_back(finish(job), code);
  early_turn_.ask();
}

void TpmHost::deliver_early() {
  for (const auto& [client, code] : std::exchange(early_, {})) callbacks_.answered(client, wire::error_response(code));
}

void TpmHost::cancel(ClientId client) {
  const auto found = clients_.find(client);
  if (found == clients_.end() || found->second.job == 0) return;
  const JobId id = found->second.job;
  Job& job = jobs_.at(id);
  if (std::exchange(job.cancelled, true)) return;
  if (thread_->withdraw(found->second.owner, client, id))
    answer_early(id, kCanceled);
  else
    ask_to_give_up(id);
}

std::optional<wire::Rc> TpmHost::order(ClientId client, engine::SessionOrder what) {
  if (state_ != State::kServing || lost_ || stopping_ != Stopping::kNo) return kFailure;
  if (orders_under_way_.size() >= limits::kFlushOrders) return kFull;
  orders_under_way_[++last_order_] = client;
  thread_->order(last_order_, std::move(what));
  return std::nullopt;
}

std::optional<wire::Rc> TpmHost::ask_for_sessions(ClientId client, const space::Holder& who,
                                                  const space::SpaceLimits& limits, bool only_own) {
  if (state_ != State::kServing || lost_ || stopping_ != Stopping::kNo) return kFailure;
  const auto payer = space::Payer::of(who.owner, limits.administers);
  if (!queue_.admits(payer) || !thread_->has_room(payer)) return kFull;
  queue_.take(payer);
  const auto only = only_own ? std::optional(who) : std::nullopt;
  queries_[++last_query_] = {.client = client, .payer = payer, .only = only};
  asked_by_.emplace(client, last_query_);
  thread_->ask_for_sessions(payer, {.id = last_query_, .payer = who.owner, .priority = limits.priority, .only = only});
  if (!deadline_timer_.armed()) deadline_timer_.arm(limits::kWatchdogPeriod);
  return std::nullopt;
}

// A command is at the TPM, perhaps for seconds: clients waiting for a list get the list of now. The thread's later
// lists for the same requests are dropped. Owners take turns, and a list may take a millisecond of the event loop: so a
// few lists are made at a time, and the rest at the next look, or by the thread.
void TpmHost::answer_queries_meanwhile() {
  base::RoundRobin<space::OwnerId, std::uint64_t> waiting;
  for (const auto& [id, query] : queries_)
    if (query.client != 0) waiting.put(query.payer.owner, id);
  for (std::size_t n = limits::kListsMeanwhile; n > 0; --n) {
    const auto id = waiting.next();
    if (!id) return;
    Query& query = queries_.at(*id);
    const auto list = thread_->sessions_meanwhile(query.only);
    if (!list) return;
    callbacks_.listed(take_asker(*id, query), *list);
  }
}

// 0: the client is gone, or has its list.
ClientId TpmHost::take_asker(std::uint64_t id, Query& query) {
  asked_by_.erase({query.client, id});
  return std::exchange(query.client, 0);
}

void TpmHost::deliver(const engine::SessionsAnswer& answer) {
  const auto query = queries_.extract(answer.id);
  if (!query) return;
  queue_.give_back(query.mapped().payer);
  if (const ClientId client = take_asker(answer.id, query.mapped()); client != 0)
    callbacks_.listed(client, answer.list);
}

void TpmHost::deliver(const engine::OrderDone& done) {
  const auto order = orders_under_way_.find(done.order);
  if (order == orders_under_way_.end()) return;
  const ClientId client = order->second;
  orders_under_way_.erase(order);
  if (client == 0) return;
  if (done.code != 0)
    callbacks_.order_done(client, tl::make_unexpected(wire::from_manager(done.code)));
  else
    callbacks_.order_done(client, entries_of(done.sessions, now_of_engine()));
}

void TpmHost::close(ClientId client) {
  for (auto& [order, from] : orders_under_way_)
    if (from == client) from = 0;
  for (auto one = asked_by_.lower_bound({client, 0}); one != asked_by_.end() && one->first == client;) {
    queries_.at(one->second).client = 0;
    one = asked_by_.erase(one);
  }
  const auto found = clients_.find(client);
  if (found == clients_.end()) return;
  if (const JobId job = found->second.job; job != 0) {
    if (thread_->abandon(found->second.owner, client, job)) ask_to_give_up(job);
    finish(job);
  }
  thread_->close(found->second.owner, client);
  clients_.erase(found);
}

void TpmHost::ask_to_give_up(JobId job) {
  if (!thread_->cancel(job)) return;
  cancels_.insert(job);
  if (!cancel_timer_.armed()) cancel_timer_.arm(limits::kCancelRetry);
}

void TpmHost::ask_again() {
  std::erase_if(cancels_, [this](JobId job) { return !thread_->cancel(job); });
  if (!cancels_.empty()) cancel_timer_.arm(limits::kCancelRetry);
}

bool TpmHost::prepare_for_sleep() {
  if (state_ != State::kServing || lost_ || !chip_.chip.can_be_suspended) return false;
  thread_->prepare_for_sleep();
  return true;
}

void TpmHost::wake_up() {
  if (state_ == State::kServing) thread_->wake_up();
}

void TpmHost::take_events() {
  for (auto& event : thread_->take_events()) {
    std::visit([this](auto& e) { handle(e); }, event);
  }
}

void TpmHost::handle(TpmThread::Ready& event) {
  const auto former = std::exchange(table_, thread_->table());
  chip_ = std::move(event.report);
  state_ = State::kServing;
  watchdog_ = {};
  pace_.came(RetryPace::Clock::now());
  socket_watch_.stop();
  for (const auto& note : chip_.notes) log_.notice("{}: {}", name_, note);
  callbacks_.ready();
}

void TpmHost::handle(TpmThread::Failed& event) {
  end_thread();
  if (stopping_ == Stopping::kNo) callbacks_.failed(event.why);
}

void TpmHost::handle(TpmThread::Stepped& event) {
  if (state_ == State::kServing) counters_.add_snapshot(event.snapshot);
  // Counted before delivery: a client with a response finds it counted in the status.
  const bool wanted = event.answer && jobs_.contains(event.answer->job);
  const bool is_gone = event.account && event.account->tpm_lost && state_ == State::kServing;
  if (is_gone) state_ = State::kLeaving;
  if (event.account) {
    counters_.add(*event.account, wanted);
    report_restart(*event.account);
    report_broken_invariants(*event.account);
    callbacks_.accounted(*event.account);
  }
  if (wanted) deliver(*event.answer);
  if (event.order_done) deliver(*event.order_done);
  if (event.sessions) deliver(*event.sessions);
  if (is_gone && stopping_ == Stopping::kNo) leave_chip();
}

void TpmHost::report_restart(const observe::Account& account) {
  if (account.restarted == wire::Restarted::kNo) return;
  const auto held_back = reset_lines_.allow(log::RateLimit::Clock::now());
  if (!held_back) return;
  const bool reset = account.restarted == wire::Restarted::kKeptNothing;
  const auto lost = fmt::format("{} objects and {} sessions of clients", account.lost_objects, account.lost_sessions);
  if (reset)
    log_.warning("{}: the TPM was reset: {} are gone{}", name_, lost, log::held_back_text(*held_back));
  else
    log_.warning("{}: the TPM was restarted, or resumed after a suspend: {} without a saved copy are gone{}", name_,
                 lost, log::held_back_text(*held_back));
}

// Once for each TPM: later ones may follow from the first.
void TpmHost::report_broken_invariants(const observe::Account& account) {
  if (account.broken.count == 0 || std::exchange(reported_broken_, true)) return;
  const base::BrokenInvariant& first = account.broken.first;
  log_.error(
      "{}: a bug in tpmspaced: the invariant \"{}\" ({}:{}) is broken; its effects were contained, and clients may "
      "have "
      "lost keys or sessions; please report this line",
      name_, first.condition, first.file, first.line);
}

void TpmHost::deliver(const TpmThread::Answer& answer) {
  callbacks_.answered(finish(answer.job), answer.response);
}

void TpmHost::look_at_deadline() {
  const auto running = thread_->running();
  const bool is_late = watchdog_.look(running, Watchdog::Clock::now());
  if (is_late && source_.can_hang && !lost_ && state_ == State::kServing) lose_chip(*running);
  if (running) answer_queries_meanwhile();
  if (!jobs_.empty() || !queries_.empty() || running) deadline_timer_.arm(limits::kWatchdogPeriod);
}

void TpmHost::lose_chip(const engine::Gate::Running& running) {
  lost_ = true;
  log_.error("{}: no answer to {} for {} s; the TPM counts as lost; {} commands get FAILURE", name_,
             name_of_code(table(), running.code), running.deadline_ms / 1000, jobs_.size());
  std::vector<JobId> waiting;
  for (const auto& [id, job] : jobs_)
    if (thread_->abandon(job.owner, job.client, id)) waiting.push_back(id);  // else the response is on the way
  thread_->drain();
  callbacks_.lost_or_found(true);
  for (const JobId id : waiting) answer_early(id, kFailure);
  fail_orders();
  fail_queries();
}

// The thread may still have the orders; their results are dropped.
void TpmHost::fail_orders() {
  std::vector<ClientId> ordering;
  for (auto& [order, client] : orders_under_way_)
    if (const ClientId one = std::exchange(client, 0); one != 0) ordering.push_back(one);
  for (const ClientId client : ordering) callbacks_.order_done(client, tl::make_unexpected(kFailure));
}

// The thread still makes the lists, which are dropped; until then the queries keep their places.
void TpmHost::fail_queries() {
  std::vector<ClientId> asking;
  for (auto& [id, query] : queries_)
    if (const ClientId one = take_asker(id, query); one != 0) asking.push_back(one);
  for (const ClientId client : asking) callbacks_.listed(client, tl::make_unexpected(kFailure));
}

void TpmHost::handle(TpmThread::Drained&) {
  if (!lost_) return;
  lost_ = false;
  log_.notice("{}: the TPM answers again", name_);
  callbacks_.lost_or_found(false);
}

void TpmHost::leave_chip() {
  log_.error("{}: the TPM is gone; every command gets FAILURE {}, and the clients' objects and sessions are lost",
             name_, source_.can_return ? "until it is back" : "until tpmspaced is restarted");
  lost_ = false;
  std::vector<JobId> waiting;
  for (const auto& [id, job] : jobs_) waiting.push_back(id);
  for (const JobId id : waiting) answer_early(id, kFailure);
  fail_orders();
  orders_under_way_.clear();
  fail_queries();
  for (const auto& [id, query] : queries_) queue_.give_back(query.payer);
  queries_.clear();
  cancels_.clear();
  clients_.clear();
  counters_.add_snapshot({});
  thread_->stop();
  thread_->hang_up();
  callbacks_.lost_or_found(true);
}

// The thread's last event was taken.
void TpmHost::end_thread() {
  stop_timer_.disarm();
  state_ = State::kAbsent;
  if (stopping_ != Stopping::kNo)
    stopped_turn_.ask();
  else if (source_.can_return) {
    retry_timer_.arm(pace_.left(RetryPace::Clock::now()));
    socket_watch_.start();
  }
}

// While the TPM is being opened, the appearance is the socket of that opening, or the opening fails and is retried.
void TpmHost::on_socket() {
  if (state_ != State::kAbsent || stopping_ != Stopping::kNo) return;
  if (const auto soon = pace_.appeared(RetryPace::Clock::now())) retry_timer_.arm(*soon);
}

void TpmHost::open_again() {
  state_ = State::kOpening;
  try {
    thread_ = std::make_unique<TpmThread>(events_, source_, terms_.engine, true);
  } catch (const std::system_error& e) {
    TpmThread::Failed no_thread{fmt::format("cannot start a thread for the TPM: {}", e.what())};
    handle(no_thread);
  }
}

void TpmHost::stop() {
  if (stopping_ != Stopping::kNo) return;
  stopping_ = Stopping::kWaiting;
  retry_timer_.disarm();
  socket_watch_.stop();
  if (state_ == State::kAbsent) return stopped_turn_.ask();
  thread_->stop();
  // A TPM that already failed gets no grace, nor does a TPM that is not ready yet: no client waits for the TPM.
  if (lost_ || state_ != State::kServing) stopping_ = Stopping::kCancelled;
  stop_timer_.arm(stopping_ == Stopping::kWaiting ? limits::kStopGrace : std::chrono::seconds(0));
}

void TpmHost::escalate_stop() {
  if (stopping_ == Stopping::kWaiting) {
    stopping_ = Stopping::kCancelled;
    log_.warning("{}: the TPM's current command takes too long: cancelled", name_);
    for (const auto& [job, unused] : jobs_) ask_to_give_up(job);
    stop_timer_.arm(limits::kStopCancel);
    return;
  }
  stopping_ = Stopping::kLeft;
  if (state_ == State::kServing) log_.warning("{}: the TPM does not answer: stopping without it", name_);
  thread_->hang_up();
}

void TpmHost::handle(TpmThread::Stopped& event) {
  counters_.add(event.account, false);
  end_thread();
}

proto::Sessions TpmHost::told(const engine::SessionList& list, const TenantOf& tenant_of) {
  proto::Sessions out;
  const std::uint64_t now = now_of_engine();
  for (const auto& view : list.sessions) {
    out.sessions.push_back(entry_of(view, now));
    out.sessions.back().tenant = tenant_of(view.holder.owner);
  }
  for (const auto& view : list.waiting)
    out.waiting.push_back({.uid = peer::uid_of(view.holder),
                           .connection = view.connection,
                           .waited = span(view.since, now),
                           .left = view.deadline == UINT64_MAX ? proto::kEndless : span(now, view.deadline),
                           .tenant = tenant_of(view.holder.owner)});
  out.hidden_sessions = list.hidden_sessions;
  out.hidden_waiting = list.hidden_waiting;
  out.more_waiting = list.more_waiting;
  out.more_parked = list.more_parked;
  return out;
}

void TpmHost::fill_chip(proto::Status& status) const {
  status.tpm_backend = name_;
  status.tpm_manufacturer = chip_.manufacturer;
  status.tpm_vendor = chip_.vendor;
  status.tpm_firmware = chip_.firmware;
  status.tpm_lost = lost_ || state_ != State::kServing;
  status.chip_object_slots = chip_.chip.object_slots;
  status.chip_loaded_sessions = chip_.chip.loaded_sessions;
  status.chip_active_sessions = chip_.chip.active_sessions;
  status.chip_context_gap = chip_.chip.context_gap;
  status.chip_max_command = chip_.chip.max_command;
}

void TpmHost::fill(proto::Status& status) {
  counters_.fill(status);
  fill_chip(status);
  const auto now = Watchdog::Clock::now();
  const auto running = thread_->running();
  watchdog_.look(running, now);
  const bool one_runs = running && running->ticket != 0;
  status.queue_now = jobs_.size() - std::min<std::size_t>(jobs_.size(), one_runs ? 1 : 0);
  status.current_command = running ? running->code : 0;
  status.current_time = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(watchdog_.running_for(now)).count());
}

void TpmHost::fill_for(const space::Holder& who, const engine::SessionList* list, proto::Status& status) {
  fill_chip(status);
  status.server_own_only = true;
  if (who.part.connection == 0) status.queue_now = queue_.taken(space::Payer::of(who.owner, false));
  if (list == nullptr) return;
  for (const auto& view : list->sessions) (view.parked ? status.sessions_parked : status.spaces_sessions) += 1;
  status.sessions_parked += list->more_parked;
  status.sessions_waiting = list->waiting.size() + list->more_waiting;
}

}  // namespace tpmspace::host
