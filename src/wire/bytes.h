// Byte buffers and the two cursors of every parser and builder in the project.
//
// Idea: a TPM speaks big-endian, and all lengths come from an untrusted source. `Reader` never reads past its span:
// every take reports success, and after a failure the reader stays at its position. `Writer` appends.
// Threads: values; no shared state.
// Units: bytes. Source: TPM 2.0 library specification, Part 2, 5.2 (canonical form).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace tpmspace::wire {

using Bytes = std::vector<std::uint8_t>;
using ByteView = std::span<const std::uint8_t>;

[[nodiscard]] inline Bytes to_bytes(ByteView view) {
  return {view.begin(), view.end()};
}
[[nodiscard]] inline bool same_bytes(ByteView a, ByteView b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i] != b[i]) return false;
  return true;
}

class Reader {
 public:
  explicit Reader(ByteView data) : data_(data) {}

  [[nodiscard]] std::size_t remaining() const { return data_.size() - at_; }
  [[nodiscard]] std::size_t offset() const { return at_; }
  [[nodiscard]] bool empty() const { return remaining() == 0; }
  [[nodiscard]] ByteView rest() const { return data_.subspan(at_); }

  [[nodiscard]] std::optional<std::uint8_t> u8() { return integer<std::uint8_t>(); }
  [[nodiscard]] std::optional<std::uint16_t> u16() { return integer<std::uint16_t>(); }
  [[nodiscard]] std::optional<std::uint32_t> u32() { return integer<std::uint32_t>(); }
  [[nodiscard]] std::optional<std::uint64_t> u64() { return integer<std::uint64_t>(); }

  [[nodiscard]] std::optional<ByteView> take(std::size_t n) {
    if (n > remaining()) return std::nullopt;
    ByteView out = data_.subspan(at_, n);
    at_ += n;
    return out;
  }

  // A TPM2B: UINT16 size, then as many bytes. On a short buffer the reader consumes nothing.
  [[nodiscard]] std::optional<ByteView> tpm2b() {
    const std::size_t start = at_;
    if (auto size = u16()) {
      if (auto body = take(*size)) return body;
    }
    at_ = start;
    return std::nullopt;
  }

 private:
  template <typename T>
  std::optional<T> integer() {
    if (remaining() < sizeof(T)) return std::nullopt;
    T value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) value = static_cast<T>((std::uint64_t{value} << 8) | data_[at_ + i]);
    at_ += sizeof(T);
    return value;
  }

  ByteView data_;
  std::size_t at_ = 0;
};

class Writer {
 public:
  Writer() = default;

  Writer& u8(std::uint8_t v) { return integer(v); }
  Writer& u16(std::uint16_t v) { return integer(v); }
  Writer& u32(std::uint32_t v) { return integer(v); }
  Writer& u64(std::uint64_t v) { return integer(v); }
  Writer& raw(ByteView v) {
    out_.insert(out_.end(), v.begin(), v.end());
    return *this;
  }
  // Precondition: v.size() <= 65535.
  Writer& tpm2b(ByteView v) { return u16(static_cast<std::uint16_t>(v.size())).raw(v); }

  [[nodiscard]] const Bytes& bytes() const { return out_; }
  [[nodiscard]] Bytes take() { return std::move(out_); }

 private:
  template <typename T>
  Writer& integer(T value) {
    for (std::size_t i = sizeof(T); i-- > 0;) out_.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
    return *this;
  }

  Bytes out_;
};

// Overwrites four bytes in place. Precondition: at + 4 <= data.size().
inline void put_u32(std::span<std::uint8_t> data, std::size_t at, std::uint32_t value) {
  for (std::size_t i = 0; i < 4; ++i) data[at + i] = static_cast<std::uint8_t>(value >> (8 * (3 - i)));
}

}  // namespace tpmspace::wire
