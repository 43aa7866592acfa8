// Writing without waiting: all records in order, and losses are reported.
#include "log/patient_writer.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>

#include "base/limits.h"

namespace tpmspace::log {
namespace {

// The sink of records: it can be held, like a pipe without a reader, and it can fail. The sink outlives its writer's
// thread.
class Place {
 public:
  PatientWriter::Sink sink(const std::shared_ptr<Place>& self) {
    return {.write = [self](const PatientWriter::Record& record) { return self->write(record.at(0)); },
            .loss = [](std::uint64_t lost) { return PatientWriter::Record{fmt::format("{} lost", lost)}; },
            .trouble = [self](const std::string& why) { self->troubles.push_back(why); }};
  }
  void hold(bool held) {
    const std::lock_guard lock(mutex_);
    held_ = held;
    changed_.notify_all();
  }
  // Until a thread waits here.
  void wait_for_writer() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return waits_; });
  }
  void fail(std::optional<std::string> why) {
    const std::lock_guard lock(mutex_);
    failure_ = std::move(why);
  }
  [[nodiscard]] std::vector<std::string> written() {
    const std::lock_guard lock(mutex_);
    return written_;
  }
  std::vector<std::string> troubles;

 private:
  std::optional<std::string> write(const std::string& text) {
    std::unique_lock lock(mutex_);
    waits_ = held_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !held_; });
    if (!failure_) written_.push_back(text.substr(0, 8));
    return failure_;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool held_ = false, waits_ = false;
  std::optional<std::string> failure_;
  std::vector<std::string> written_;
};

using Texts = std::vector<std::string>;

TEST(PatientWriter, WritesInOrderAndTheLastWordsToo) {
  const auto place = std::make_shared<Place>();
  Texts expected;
  {
    PatientWriter writer(place->sink(place));
    for (int i = 0; i < 1000; ++i) {
      expected.push_back(fmt::format("{}", i));
      writer.put({expected.back()});
    }
  }
  EXPECT_EQ(place->written(), expected);
}

TEST(PatientWriter, LostRecordsAreCountedAtTheirPlace) {
  const auto place = std::make_shared<Place>();
  place->hold(true);
  PatientWriter writer(place->sink(place));
  const std::string large(limits::kMaxUnwritten / 4, 'x');
  writer.put({"first"});
  place->wait_for_writer();
  for (const char* name : {"a", "b", "c", "d", "e"}) writer.put({name + large});
  EXPECT_EQ(writer.lost(), 2U);
  writer.put({"f"});
  EXPECT_EQ(writer.lost(), 3U) << "there is too little room for more than a word";
  place->hold(false);
  writer.flush();
  writer.put({"g"});
  writer.flush();
  EXPECT_EQ(place->written(), (Texts{"first", "axxxxxxx", "bxxxxxxx", "cxxxxxxx", "3 lost", "g"}));
  EXPECT_EQ(writer.lost(), 3U);
}

TEST(PatientWriter, AFailedWriteIsReportedOnceAndCounted) {
  const auto place = std::make_shared<Place>();
  PatientWriter writer(place->sink(place));
  place->fail("the disk is full");
  for (int i = 0; i < 3; ++i) {
    writer.put({"x"});
    writer.flush();
  }
  place->fail(std::nullopt);
  writer.put({"y"});
  writer.flush();
  EXPECT_EQ(place->written(), (Texts{"3 lost", "y"}));
  EXPECT_EQ(place->troubles, Texts{"the disk is full"});
  place->fail("again");
  writer.put({"z"});
  writer.flush();
  EXPECT_EQ(place->troubles, (Texts{"the disk is full", "again"}));
  EXPECT_EQ(writer.lost(), 4U);
}

TEST(PatientWriter, AWriteThatNeverReturnsIsLeft) {
  const auto place = std::make_shared<Place>();
  place->hold(true);
  {
    PatientWriter writer(place->sink(place));
    writer.put({"never"});
  }
  EXPECT_EQ(place->written(), Texts{});
  place->hold(false);
}

}  // namespace
}  // namespace tpmspace::log
