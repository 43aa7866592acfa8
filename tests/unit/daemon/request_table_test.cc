// Which client may send which control request, and what is audited of it.
#include "daemon/request_table.h"

#include <gtest/gtest.h>

#include <vector>

namespace tpmspace::daemon {
namespace {

using observe::AuditEvent;
using proto::MessageType;

// Of one message: an example, and what each asker may do. The columns are those of an ordinary user's connection, of a
// guest (it joined another connection), of a narrowed connection, of an administrator, and of a narrowed connection
// that still administers.
struct Row {
  proto::Request request;
  proto::Stage stage;
  bool user, guest, narrowed, administrator, narrowed_administrator;
  std::optional<AuditEvent> audited;
};

const std::vector<Row>& rows() {
  using enum proto::Stage;
  static const std::vector<Row> kAll{
      {proto::Hello{}, kAnyTime, true, true, true, true, true, {}},
      {proto::Cancel{}, kAfterHello, true, true, true, true, true, {}},
      {proto::Locality{}, kAfterHello, true, true, true, true, true, {}},
      {proto::StatusRequest{}, kAfterHello, true, true, true, true, true, {}},
      {proto::SessionsRequest{}, kAfterHello, true, false, false, true, true, {}},
      {proto::OrderRequest{proto::FlushAbandoned{}}, kAfterHello, false, false, false, true, true, AuditEvent::kOrder},
      {proto::Narrow{"safe"}, kAfterHello, true, true, true, true, true, AuditEvent::kNarrowed},
      {proto::Reload{}, kAfterHello, false, false, false, true, true, AuditEvent::kPolicy},
      {proto::ListenersRequest{}, kAfterHello, false, false, false, true, true, {}},
      {proto::ListenerRequest{}, kAfterHello, false, false, false, true, true, AuditEvent::kListener},
      {proto::Learn{"p"}, kAfterHello, true, true, true, true, true, {}},
      {proto::UseChip{"other"}, kBeforeCommands, false, false, false, true, true, AuditEvent::kChip},
      {proto::UseChip{"main"}, kBeforeCommands, true, true, true, true, true, AuditEvent::kChip},
      {proto::ClientsRequest{}, kAfterHello, true, false, false, true, true, {}},
      {proto::WhoRequest{}, kAfterHello, true, true, true, true, true, {}},
      {proto::Share{}, kAfterHello, true, true, false, true, false, {}},
      {proto::Join{}, kBeforeCommands, true, true, false, true, false, {}},
      {proto::Sync{}, kAfterHello, true, true, true, true, true, {}},
  };
  return kAll;
}

const RequestRow& row_for(const proto::Request& request) {
  return request_row(static_cast<MessageType>(proto::type_of(request)));
}

TEST(RequestTable, EachMessageOfTheProtocolHasOneRow) {
  EXPECT_EQ(request_table().size(), proto::message_table().size());
  for (const proto::MessageRow& message : proto::message_table()) {
    int found = 0;
    for (const RequestRow& row : request_table()) found += row.type == message.type ? 1 : 0;
    EXPECT_EQ(found, 1) << message.name;
    int tested = 0;
    for (const Row& row : rows()) tested += row.request.index() == message.index ? 1 : 0;
    EXPECT_GE(tested, 1) << message.name;
  }
}

TEST(RequestTable, EachAskerMayDoWhatTheRowSays) {
  const Asker user{.chip = "main"}, guest{.is_guest = true, .chip = "main"},
      narrowed{.is_narrowed = true, .is_guest = true, .chip = "main"},
      administrator{.administers = true, .chip = "main"},
      both{.is_narrowed = true, .is_guest = true, .administers = true, .chip = "main"};
  for (const Row& wanted : rows()) {
    const RequestRow& row = row_for(wanted.request);
    const auto name = proto::find_message(static_cast<std::uint32_t>(row.type))->name;
    const auto may = [&](const Asker& asker) { return !reason_to_refuse(row, asker, wanted.request); };
    EXPECT_EQ(may(user), wanted.user) << name;
    EXPECT_EQ(may(guest), wanted.guest) << name;
    EXPECT_EQ(may(narrowed), wanted.narrowed) << name;
    EXPECT_EQ(may(administrator), wanted.administrator) << name;
    EXPECT_EQ(may(both), wanted.narrowed_administrator) << name;
    EXPECT_EQ(row.audited, wanted.audited) << name;
    EXPECT_EQ(proto::find_message(static_cast<std::uint32_t>(row.type))->stage, wanted.stage) << name;
    EXPECT_NE(row.handle, nullptr) << name;
  }
}

TEST(RequestTable, ARefusalSaysWhatWasAskedFor) {
  const Asker user{.chip = "main"}, narrowed{.is_narrowed = true, .is_guest = true, .chip = "main"};
  struct Wanted {
    proto::Request request;
    Asker asker;
    const char* reason;
  };
  const Wanted all[] = {
      {proto::OrderRequest{proto::FlushAbandoned{}}, user,
       "only an administrator orders a flush of the abandoned sessions"},
      {proto::Reload{}, user, "only an administrator has the configuration read again"},
      {proto::ListenersRequest{}, user, "only an administrator lists the listeners"},
      {proto::ListenerRequest{}, user, "only an administrator makes or removes listeners"},
      {proto::UseChip{"a\nb"}, user, "only an administrator chooses a chip, and it asked for \"a\\nb\""},
      {proto::SessionsRequest{}, narrowed,
       "Sessions is not for a connection that gave up rights, or that joined another connection"},
      {proto::Share{}, narrowed, "Share is not for a connection that gave up rights"},
  };
  for (const Wanted& wanted : all)
    EXPECT_EQ(reason_to_refuse(row_for(wanted.request), wanted.asker, wanted.request), wanted.reason);
}

}  // namespace
}  // namespace tpmspace::daemon
