// A TPM between the engine and a real or model TPM: a test answers in its place, or changes its responses.
// Threads: one.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <utility>

#include "wire/command.h"
#include "wire/response.h"
#include "wire/tpm.h"

namespace tpmspace::support {

class MeddledTpm final : public wire::Tpm {
 public:
  explicit MeddledTpm(wire::Tpm& tpm) : tpm_(tpm) {}

  // Asked before each command, by its code; a response code: the TPM does not see the command.
  std::function<std::optional<wire::Rc>(std::uint32_t code)> refuse;
  // The same by the whole command.
  std::function<std::optional<wire::Rc>(wire::ByteView command)> refuse_command;
  // Sees each answer of the TPM.
  std::function<void(std::uint32_t code, wire::Bytes& answer)> spoil;

  // Refuses this command whenever it comes.
  void refuse_always(std::uint32_t command, wire::Rc with) {
    refuse = [command, with](std::uint32_t code) { return code == command ? std::optional(with) : std::nullopt; };
  }
  // The handle in the next successful answer to that command.
  void put_handle_once(std::uint32_t command, std::uint32_t handle) {
    spoil = [this, command, handle](std::uint32_t code, wire::Bytes& answer) {
      if (code != command || answer.size() < wire::kHeaderSize + 4 || wire::read_header(answer)->code != 0) return;
      wire::put_u32(answer, wire::kHeaderSize, handle);
      ++meddled;
      done_ = true;
    };
  }
  // The next successful answer to that command says nothing but success.
  void empty_answer_once(std::uint32_t command) {
    spoil = [this, command](std::uint32_t code, wire::Bytes& answer) {
      if (code != command || wire::read_header(answer)->code != 0) return;
      answer = wire::success_response({});
      ++meddled;
      done_ = true;
    };
  }
  void behave() {
    refuse = {};
    refuse_command = {};
    spoil = {};
  }

  Answer transact(wire::ByteView command, std::uint8_t locality) override {
    const std::uint32_t code = wire::read_header(command)->code;
    ++sent[code];
    if (on_command) on_command();
    auto with = refuse ? refuse(code) : std::nullopt;
    if (!with && refuse_command) with = refuse_command(command);
    if (with) {
      ++meddled;
      return wire::error_response(*with);
    }
    auto answer = tpm_.transact(command, locality);
    if (answer && spoil) spoil(code, *answer);
    if (std::exchange(done_, false)) spoil = {};
    return answer;
  }

  std::function<void()> on_command;
  std::map<std::uint32_t, std::uint64_t> sent;  // by command code, refused commands too
  std::uint64_t meddled = 0;

 private:
  wire::Tpm& tpm_;
  bool done_ = false;
};

}  // namespace tpmspace::support
