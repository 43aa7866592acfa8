// How the status is shown.
#include "tool/status.h"

#include <gtest/gtest.h>

#include "proto/json.h"

namespace tpmspace::tool {
namespace {

proto::Status example_status() {
  proto::Status status;
  status.server_version = "tpmspaced 0.1.0";
  status.server_uptime = 3'250'000'000;
  status.tpm_vendor = "a\x1B[31m\"b";
  status.connections_now = 2;
  status.connections_ever = 7;
  status.limits_objects_per_space = 1000;
  status.current_command = 0x131;
  status.current_time = 1500;
  status.tpm_commands_by_code = {{0x17B, 3, 3'000'000}, {0x20000001, 9, 9000}};
  return status;
}

TEST(StatusText, IsForPeople) {
  const std::string text = status_text(example_status());
  EXPECT_NE(text.find("connections       now 2, ever 7, refused 0\n"), std::string::npos) << text;
  EXPECT_NE(text.find("uptime 3.25 s"), std::string::npos) << text;
  EXPECT_NE(text.find("current           command TPM2_CreatePrimary, time 1.50 us\n"), std::string::npos) << text;
  EXPECT_NE(text.find("limits            connections unlimited, objects per space 1000, "), std::string::npos) << text;
  EXPECT_NE(text.find("vendor a?[31m\"b"), std::string::npos) << "no control characters to the terminal: " << text;
  EXPECT_LT(text.find("0x20000001"), text.find("TPM2_GetRandom")) << "most used first: " << text;
  EXPECT_EQ(status_text({}).find("TPM command "), std::string::npos) << "no table of nothing";
}

TEST(StatusText, MarksValuesHiddenFromAnOrdinaryUser) {
  auto status = example_status();
  status.server_own_only = true;
  status.spaces_sessions = 3;
  const std::string text = status_text(status);
  EXPECT_NE(text.find("connections       now 2, ever -, refused -\n"), std::string::npos) << text;
  EXPECT_NE(text.find("spaces            objects -, objects loaded -, sessions 3, "), std::string::npos) << text;
  EXPECT_NE(text.find("limits            connections unlimited, objects per space 1000, "), std::string::npos) << text;
  EXPECT_NE(text.find("only administrators see the values shown as \"-\""), std::string::npos) << text;
}

TEST(StatusJson, IsForPrograms) {
  const std::string json = status_json(example_status());
  EXPECT_NE(json.find(R"("connections": {"now": 2, "ever": 7, "refused": 0})"), std::string::npos) << json;
  EXPECT_NE(json.find(R"("limits": {"connections": 0, )"), std::string::npos) << json;
  EXPECT_NE(json.find(R"("uptime_ns": 3250000000)"), std::string::npos) << json;
  EXPECT_NE(json.find(R"("vendor": "a\u001b[31m\"b")"), std::string::npos) << json;
  EXPECT_NE(json.find(R"("current": {"command": "TPM2_CreatePrimary", "time_ns": 1500})"), std::string::npos) << json;
  EXPECT_NE(json.find(R"([{"command": "TPM2_GetRandom", "code": 379, "count": 3, "time_ns": 3000000}, )"),
            std::string::npos)
      << json;
  EXPECT_NE(status_json({}).find(R"("current": {"command": null, "time_ns": 0})"), std::string::npos);
}

TEST(JsonString, EscapesAndReplaces) {
  EXPECT_EQ(proto::json_string("a/b"), "\"a/b\"");
  EXPECT_EQ(proto::json_string("\"\\\n\t"), R"("\"\\\n\u0009")");
  EXPECT_EQ(proto::json_string("grün €😀"), "\"grün €😀\"");
  EXPECT_EQ(proto::json_string("a\xFF\xC3"), R"("a\ufffd\ufffd")");
  EXPECT_EQ(proto::json_string("\xC0\xAF"), R"("\ufffd\ufffd")");            // overlong
  EXPECT_EQ(proto::json_string("\xED\xA0\x80"), R"("\ufffd\ufffd\ufffd")");  // a surrogate
  EXPECT_EQ(proto::json_string(std::string_view("\0", 1)), R"("\u0000")");
}

TEST(Duration, HasAUnitThatFits) {
  EXPECT_EQ(duration_text(0), "0 ns");
  EXPECT_EQ(duration_text(999), "999 ns");
  EXPECT_EQ(duration_text(1500), "1.50 us");
  EXPECT_EQ(duration_text(2'500'000), "2.50 ms");
  EXPECT_EQ(duration_text(61'000'000'000), "61.00 s");
}

}  // namespace
}  // namespace tpmspace::tool
