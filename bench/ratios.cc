#include "bench/ratios.h"

#include <sched.h>

#include <atomic>
#include <barrier>
#include <functional>
#include <stdexcept>
#include <thread>

#include "bench/link.h"
#include "bench/statistics.h"
#include "demo/kit/interrupt.h"
#include "tests/support/tpm_commands.h"

namespace tpmspace::bench {
namespace {

using demo::Clock;
using wire::Bytes;

double microseconds(Clock::duration time) {
  return std::chrono::duration<double, std::micro>(time).count();
}

double median_time(unsigned times, const std::function<void()>& work) {
  std::vector<double> all;
  for (unsigned i = 0; i < times; ++i) {
    const auto start = Clock::now();
    work();
    all.push_back(microseconds(Clock::now() - start));
  }
  return median(std::move(all));
}

double warm_median_time(unsigned times, const std::function<void()>& work) {
  for (unsigned i = 0; i < times / 10; ++i) work();
  return median_time(times, work);
}

// When the work of many began and ended.
struct Race {
  explicit Race(unsigned runners) : start(runners), finish(runners) {}
  std::barrier<> start, finish;
  std::atomic<bool> failed = false;
};

// The key is made, used `times` times once all others have theirs, and flushed when all are done.
void sign_often(Link& link, unsigned times, Race& race) {
  using namespace support;
  const auto key = link.run_for_handle(create_primary(kOwner, ecc_signing_template()));
  link.run(sign(key));
  race.start.arrive_and_wait();
  for (unsigned i = 0; i < times; ++i) link.run(sign(key));
  race.finish.arrive_and_wait();
  link.run(flush_context(key));
}

void run_race(Link& link, unsigned times, Race& race) {
  try {
    sign_often(link, times, race);
  } catch (const std::exception&) {
    race.failed = true;
    race.start.arrive_and_drop();
    race.finish.arrive_and_drop();
  }
}

double signatures_per_second(const std::string& tcti, unsigned connections, unsigned times) {
  std::vector<Link> links;
  for (unsigned i = 0; i < connections; ++i) links.emplace_back(tcti);
  Race race(connections + 1);  // and we, who hold the watch
  std::vector<std::thread> threads;
  for (auto& link : links) threads.emplace_back([&] { run_race(link, times, race); });
  race.start.arrive_and_wait();
  const auto start = Clock::now();
  race.finish.arrive_and_wait();
  const double took = microseconds(Clock::now() - start) / 1e6;
  for (auto& thread : threads) thread.join();
  if (race.failed) throw std::runtime_error("Sign on many connections failed at " + tcti);
  return connections * times / took;
}

double random_time(const Site& site) {
  Link link(site.tcti());
  return warm_median_time(200, [&] { link.run(support::get_random()); });
}

// The time of something that is done with a key.
double time_with_key(const Site& site, unsigned times, Bytes (*make)(std::uint32_t key)) {
  using namespace support;
  Link link(site.tcti());
  const auto key = link.run_for_handle(create_primary(kOwner, ecc_signing_template()));
  const Bytes command = make(key);
  const double out = warm_median_time(times, [&] { link.run(command); });
  link.run(flush_context(key));
  return out;
}
double read_public_time(const Site& site) {
  return time_with_key(site, 200, [](std::uint32_t key) { return support::read_public(key); });
}
double sign_time(const Site& site) {
  return time_with_key(site, 60, [](std::uint32_t key) { return support::sign(key); });
}
double connect_time(const Site& site) {
  return warm_median_time(30, [&] { Link(site.tcti()).run(support::get_random()); });
}
double throughput(const Site& site) {
  // A bare TPM has one connection; it does as many signatures alone.
  constexpr unsigned kParallel = 8, kRounds = 25;
  if (site.peer() == Peer::kDirect) return signatures_per_second(site.tcti(), 1, kRounds * kParallel);
  return signatures_per_second(site.tcti(), kParallel, kRounds);
}

struct Metric {
  const char *what, *unit;
  double (*measure)(const Site& site);
};
constexpr std::array<Metric, 5> kMetrics{{
    {"GetRandom(8)", "µs", random_time},
    {"ReadPublic, 1 key", "µs", read_public_time},
    {"Sign P-256, password", "µs", sign_time},
    {"connect, to the first answer, and leave", "µs", connect_time},
    {"Sign, 8 connections at a time, each its own key", "1/s", throughput},
}};

// `values` of one peer, `bare` of the bare TPM in the same turns.
Measured sum_up(const std::vector<double>& values, const std::vector<double>& bare) {
  std::vector<double> ratios;
  for (std::size_t turn = 0; turn < values.size(); ++turn) ratios.push_back(values[turn] / bare[turn]);
  return {median(values), median(ratios)};
}

// Peer by peer in turn, many times over. Precondition: the bare TPM is the first of `sites`.
RatioRow measure_metric(const Metric& metric, const std::vector<Site>& sites, unsigned turns) {
  std::vector<std::vector<double>> values(sites.size());
  for (unsigned turn = 0; turn < turns; ++turn) {
    if (demo::interrupted()) throw std::runtime_error("interrupted");
    for (std::size_t i = 0; i < sites.size(); ++i) values[i].push_back(metric.measure(sites[i]));
  }
  RatioRow row{metric.what, metric.unit, {}};
  for (std::size_t i = 0; i < sites.size(); ++i)
    row.of[static_cast<std::size_t>(sites[i].peer())] = sum_up(values[i], values[0]);
  return row;
}

// During its lifetime, this thread and its children stay on one CPU.
class OneCpu {
 public:
  OneCpu() {
    ::sched_getaffinity(0, sizeof before_, &before_);
    std::size_t first = 0;
    while (first + 1 < CPU_SETSIZE && !CPU_ISSET(first, &before_)) ++first;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    ::sched_setaffinity(0, sizeof one, &one);
  }
  OneCpu(const OneCpu&) = delete;
  OneCpu& operator=(const OneCpu&) = delete;
  ~OneCpu() { ::sched_setaffinity(0, sizeof before_, &before_); }

 private:
  cpu_set_t before_{};
};

}  // namespace

tl::expected<std::vector<RatioRow>, std::string> measure_times(Lab& lab, Placement placement, unsigned turns) try {
  std::optional<OneCpu> one_cpu;
  if (placement == Placement::kOneCpu) one_cpu.emplace();
  std::vector<Site> sites;
  for (const Peer peer : {Peer::kDirect, Peer::kTpmspace, Peer::kAbrmd}) {
    if (!lab.has(peer)) continue;
    auto site = lab.build(peer, false);
    if (!site) return tl::unexpected(site.error());
    sites.push_back(std::move(*site));
  }
  std::vector<RatioRow> out;
  for (const auto& metric : kMetrics) out.push_back(measure_metric(metric, sites, turns));
  return out;
} catch (const std::exception& e) {
  return tl::unexpected(std::string(e.what()));
}

}  // namespace tpmspace::bench
