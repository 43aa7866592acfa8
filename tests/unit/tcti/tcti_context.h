// For tests of the library as another project's program sees it: loaded with dlopen, called through the C interface.
#pragma once

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <tss2/tss2_tcti.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "../client/temp_dir.h"
#include "proto/control.h"

// The TSS's call macros are written in C, with C's casts.
#pragma GCC diagnostic ignored "-Wold-style-cast"

namespace tpmspace::tcti {

using proto::encode;
using testing_support::Peer;
using testing_support::Service;
using testing_support::TempDir;
using testing_support::Variable;
using wire::Bytes;

inline const Bytes kCommand = {0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x7B, 0, 8};
inline const Bytes kResponse = {0x80, 0x01, 0, 0, 0, 20, 0, 0, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8};
inline const Bytes kHelloReply = encode(proto::Reply(proto::HelloReply{1, "tpmspaced test", 1}));
inline const Bytes kCancelReply = encode(proto::Reply(proto::CancelReply{}));
inline const Bytes kShareReply = encode(proto::Reply(proto::ShareReply{}));
inline const Bytes kLocalityReply = encode(proto::Reply(proto::LocalityReply{}));

inline std::string library_path() {
  return (std::filesystem::read_symlink("/proc/self/exe").parent_path() / "../lib/libtss2-tcti-space.so.0").string();
}

// The steps of tctildr: open, ask Tss2_Tcti_Info, call its init.
inline const TSS2_TCTI_INFO& info() {
  static void* const kLibrary = dlopen(library_path().c_str(), RTLD_NOW | RTLD_LOCAL);
  if (kLibrary == nullptr) throw std::runtime_error(dlerror());
  static const auto kFunction =
      reinterpret_cast<TSS2_TCTI_INFO_FUNC>(dlsym(kLibrary, TSS2_TCTI_INFO_SYMBOL));  // NOLINT
  return *kFunction();
}

// A context in memory of ours, zeroed, as tctildr makes it.
class Context {
 public:
  explicit Context(const std::string& config) {
    EXPECT_EQ(info().init(nullptr, &size_, config.c_str()), TSS2_RC_SUCCESS);
    memory_.reset(calloc(1, size_));
    rc_ = info().init(get(), &size_, config.c_str());
  }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context() { finalize(); }

  void finalize() {
    if (version() >= 1) Tss2_Tcti_Finalize(get());
  }
  [[nodiscard]] TSS2_TCTI_CONTEXT* get() const { return static_cast<TSS2_TCTI_CONTEXT*>(memory_.get()); }
  [[nodiscard]] TSS2_TCTI_CONTEXT_COMMON_V2& common() const {
    return *static_cast<TSS2_TCTI_CONTEXT_COMMON_V2*>(memory_.get());
  }
  [[nodiscard]] std::uint32_t version() const { return common().v1.version; }
  [[nodiscard]] TSS2_RC rc() const { return rc_; }

  [[nodiscard]] TSS2_RC transmit(const Bytes& command) const {
    return Tss2_Tcti_Transmit(get(), command.size(), command.data());
  }
  // The response, or the code.
  [[nodiscard]] std::pair<TSS2_RC, Bytes> receive(std::int32_t timeout, std::size_t room = 4096) const {
    Bytes out(room);
    std::size_t size = room;
    const TSS2_RC rc = Tss2_Tcti_Receive(get(), &size, out.data(), timeout);
    out.resize(rc == TSS2_RC_SUCCESS ? size : 0);
    return {rc, out};
  }

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }  // NOLINT: as the C programs do
  };
  std::size_t size_ = 0;
  std::unique_ptr<void, Free> memory_;
  TSS2_RC rc_ = TSS2_RC_SUCCESS;
};

// The first command, Hello, and Share.
inline proto::Token token_with_first_command(Peer& peer) {
  EXPECT_EQ(peer.read_frame(), kCommand);
  EXPECT_EQ(peer.read_frame(), encode(proto::Request(proto::Hello{})));
  const Bytes share = peer.read_frame();
  const auto request = proto::decode_request({static_cast<std::uint32_t>(proto::MessageType::kShare),
                                              Bytes(share.begin() + proto::kFrameHeaderSize, share.end())});
  EXPECT_TRUE(request && std::holds_alternative<proto::Share>(*request));
  return request ? std::get<proto::Share>(*request).token : proto::Token{};
}

}  // namespace tpmspace::tcti
