// The manager on libtpms, without the engine: a test sees and breaks its books.
#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "../../support/tpm_commands.h"
#include "space/manager.h"
#include "tpm/bring_up.h"
#include "tpm/embedded.h"

namespace tpmspace::space {

using namespace support;
using wire::Rc;

class ManagerOnLibtpms : public testing::Test {
 protected:
  void SetUp() override {
    auto opened = tpm::EmbeddedTpm::open("");
    ASSERT_TRUE(opened) << opened.error();
    tpm_ = std::move(*opened);
    const auto facts = tpm::bring_up(*tpm_, tpm::Kind::kEmbedded);
    ASSERT_TRUE(facts) << facts.error();
    chip_.object_slots = facts->object_slots;
    chip_.loaded_sessions = facts->loaded_sessions;
    chip_.active_sessions = facts->active_sessions;
    manager_ =
        std::make_unique<Manager>(*tpm_, wire::CommandTable::builtin(), chip_, Quota{}, [this] { return ++now_; });
  }

  Outcome run(SpaceId space, const Bytes& bytes) {
    const auto command = wire::Command::parse(bytes, wire::CommandTable::builtin(), 4096);
    EXPECT_TRUE(command);
    return manager_->execute(space, *command, 0, *tpm_, [](const LockoutNews&) { return Tries::kLeft; });
  }
  std::uint32_t key(SpaceId space) {
    const Outcome made = run(space, create_primary(kOwner, ecc_signing_template()));
    EXPECT_EQ(made.code, 0U);
    return made.created ? made.created->value : 0;
  }
  std::uint32_t session(SpaceId space) {
    const Outcome made = run(space, start_session(SessionType::kHmac));
    EXPECT_EQ(made.code, 0U);
    return made.created ? made.created->value : 0;
  }
  // What `check` says of the books: empty if all rules hold.
  [[nodiscard]] std::string wrong() const { return check(manager_->books(), manager_->chip()).value_or(""); }
  // Replaces the books by a changed copy.
  template <typename Change>
  void change_books(Change change) {
    Books books = manager_->books();
    change(books);
    manager_->restore(std::move(books));
  }

  std::uint64_t now_ = 0;
  Chip chip_;
  std::unique_ptr<tpm::EmbeddedTpm> tpm_;
  std::unique_ptr<Manager> manager_;
};

}  // namespace tpmspace::space
