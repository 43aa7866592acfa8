#include "safe_grammar.h"

#include <algorithm>
#include <iterator>

namespace tpmspace::fuzz {
namespace {

using wire::Reader;
using wire::Writer;
namespace cc = wire::cc;

constexpr std::uint16_t kHashes[] = {0x0004, 0x000B, 0x000C, 0x000D, 0x000B, 0x000B, 0x0010, 0x0012, 0x0027};
constexpr std::uint16_t kCurves[] = {0x0001, 0x0002, 0x0003, 0x0004, 0x0005, 0x0010, 0x0011, 0x0020, 0x0003};
constexpr std::uint16_t kModes[] = {0x0040, 0x0041, 0x0042, 0x0043, 0x0044, 0x003F, 0x0010, 0x0043};
constexpr std::uint16_t kCiphers[] = {0x0003, 0x0006, 0x0013, 0x0026, 0x0006, 0x000A};
constexpr std::uint16_t kSignatures[] = {0x0005, 0x0014, 0x0016, 0x0018, 0x001A, 0x001B, 0x001C, 0x0010, 0x0018};
constexpr std::uint16_t kKdfs[] = {0x0010, 0x0010, 0x0020, 0x0021, 0x0022, 0x0007};
constexpr std::uint32_t kHierarchies[] = {0x40000001, 0x40000007, 0x4000000B, 0x4000000C, 0x40000007};
constexpr std::size_t kDigestSizes[] = {0, 1, 16, 20, 32, 48, 64, 32};
constexpr std::uint16_t kKeyBits[] = {128, 192, 256, 512, 64, 0, 129, 1024};

struct Line {
  wire::CommandCode code;
  const char* letters;
};
// 1 2 4: numbers. a c m: hash, curve, mode. d b i: TPM2B of a digest, of data, of an IV. S P X D: what a new object is
// made of. K V: from the pool, private and public part; private part. N E e I: Name, point, secret, credential. s r G:
// scheme, RSA scheme, signature. p q: PCR selection, digests. y Z: symmetric algorithm, parameters of a key. h C v A:
// tickets. H f x: hierarchy, handle, context. T: session type. g: capability. o: command code.
constexpr Line kLines[] = {
    {cc::kStartAuthSession, "deTya"},
    {cc::kPolicyRestart, ""},
    {cc::kCreate, "SPbp"},
    {cc::kCreatePrimary, "SPbp"},
    {cc::kCreateLoaded, "SD"},
    {cc::kLoad, "K"},
    {cc::kLoadExternal, "XPH"},
    {cc::kReadPublic, ""},
    {cc::kActivateCredential, "Ie"},
    {cc::kMakeCredential, "dN"},
    {cc::kUnseal, ""},
    {cc::kObjectChangeAuth, "d"},
    {cc::kRSAEncrypt, "brb"},
    {cc::kRSADecrypt, "brb"},
    {cc::kECDHKeyGen, ""},
    {cc::kECDHZGen, "E"},
    {cc::kECCParameters, "c"},
    {cc::kEncryptDecrypt, "1mib"},
    {cc::kEncryptDecrypt2, "b1mi"},
    {cc::kHash, "baH"},
    {cc::kHMAC, "ba"},
    {cc::kGetRandom, "2"},
    {cc::kStirRandom, "b"},
    {cc::kHMACStart, "da"},
    {cc::kHashSequenceStart, "da"},
    {cc::kSequenceUpdate, "b"},
    {cc::kSequenceComplete, "bH"},
    {cc::kEventSequenceComplete, "b"},
    {cc::kCertify, "bs"},
    {cc::kCertifyCreation, "bdsC"},
    {cc::kQuote, "bsp"},
    {cc::kGetSessionAuditDigest, "bs"},
    {cc::kGetTime, "bs"},
    {cc::kNVCertify, "bs22"},
    {cc::kCertifyX509, "bsb"},
    {cc::kVerifySignature, "dG"},
    {cc::kSign, "dsh"},
    {cc::kPolicySigned, "ddd4G"},
    {cc::kPolicySecret, "ddd4"},
    {cc::kPolicyTicket, "dddNA"},
    {cc::kPolicyOR, "q"},
    {cc::kPolicyPCR, "dp"},
    {cc::kPolicyLocality, "1"},
    {cc::kPolicyNV, "b22"},
    {cc::kPolicyCounterTimer, "b22"},
    {cc::kPolicyCommandCode, "o"},
    {cc::kPolicyPhysicalPresence, ""},
    {cc::kPolicyCpHash, "d"},
    {cc::kPolicyNameHash, "d"},
    {cc::kPolicyDuplicationSelect, "NN1"},
    {cc::kPolicyAuthorize, "ddNv"},
    {cc::kPolicyAuthorizeNV, ""},
    {cc::kPolicyAuthValue, ""},
    {cc::kPolicyPassword, ""},
    {cc::kPolicyGetDigest, ""},
    {cc::kPolicyNvWritten, "1"},
    {cc::kPolicyTemplate, "d"},
    {cc::kContextSave, ""},
    {cc::kContextLoad, "x"},
    {cc::kFlushContext, "f"},
    {cc::kPCRRead, "p"},
    {cc::kReadClock, ""},
    {cc::kGetCapability, "g"},
    {cc::kGetTestResult, ""},
    {cc::kTestParms, "Z"},
    {cc::kNVReadPublic, ""},
    {cc::kNVRead, "22"},
};

class Sentence {
 public:
  Sentence(Dice& dice, const Pool& pool, const std::vector<std::uint32_t>& handles)
      : dice_(dice), pool_(pool), handles_(handles) {}

  void append(char letter) {
    switch (letter) {
      case '1':
        out_.u8(dice_.one_in(4) ? static_cast<std::uint8_t>(dice_.any()) : static_cast<std::uint8_t>(dice_.below(2)));
        return;
      case '2':
        out_.u16(dice_.one_in(4) ? static_cast<std::uint16_t>(dice_.any())
                                 : static_cast<std::uint16_t>(dice_.below(40)));
        return;
      case '4':
        out_.u32(dice_.one_in(2) ? 0 : static_cast<std::uint32_t>(dice_.any()));
        return;
      case 'a':
        out_.u16(algorithm(kHashes));
        return;
      case 'c':
        out_.u16(algorithm(kCurves));
        return;
      case 'm':
        out_.u16(algorithm(kModes));
        return;
      case 'd':
        out_.tpm2b(digest());
        return;
      case 'b':
        out_.raw(data());
        return;
      case 'i':
        out_.tpm2b(dice_.bytes(dice_.one_in(3) ? dice_.below(20) : 16));
        return;
      case 'S':
        out_.tpm2b(Writer().tpm2b(digest_or_none()).raw(data()).bytes());
        return;
      case 'P':
        if (!pool_.publics.empty() && dice_.one_in(4)) {
          out_.raw(dice_.pick(pool_.publics));
        } else {
          out_.tpm2b(public_area());
        }
        return;
      case 'D':
        out_.tpm2b(public_area());
        return;
      case 'X':
        out_.tpm2b(dice_.one_in(2) ? Bytes() : sensitive());
        return;
      case 'K':
        out_.raw(from(pool_.blobs, [&] { return Writer().tpm2b(dice_.bytes(90)).tpm2b(public_area()).take(); }));
        return;
      case 'N':
        out_.raw(from(pool_.names, [&] { return Writer().tpm2b(dice_.bytes(34)).take(); }));
        return;
      case 'E':
        out_.tpm2b(point());
        return;
      case 'e':
      case 'I':
        out_.raw(dice_.one_in(2) ? Bytes{0, 0} : piece());
        return;
      case 's':
        scheme();
        return;
      case 'r':
        rsa_scheme();
        return;
      case 'G':
        out_.raw(dice_.one_in(3) ? from(pool_.tails, [&] { return Bytes(); }) : signature());
        return;
      case 'p':
        selection();
        return;
      case 'q':
        digests();
        return;
      case 'y':
        symmetric();
        return;
      case 'T':
        out_.u8(static_cast<std::uint8_t>(dice_.pick(std::array{0, 1, 3, 1, 2})));
        return;
      case 'Z':
        public_parameters(type());
        return;
      case 'h':
        ticket(0x8024);
        return;
      case 'C':
        ticket(0x8021);
        return;
      case 'v':
        ticket(0x8022);
        return;
      case 'A':
        ticket(dice_.one_in(2) ? 0x8023 : 0x8025);
        return;
      case 'H':
        out_.u32(dice_.pick(kHierarchies));
        return;
      case 'f':
        out_.u32(handles_.empty() ? 0x80000000U : dice_.pick(handles_));
        return;
      case 'x':
        out_.raw(from(pool_.contexts, [&] { return dice_.bytes(200); }));
        return;
      case 'g':
        out_.u32(static_cast<std::uint32_t>(dice_.below(11)));
        out_.u32(dice_.one_in(3) ? static_cast<std::uint32_t>(dice_.any())
                                 : static_cast<std::uint32_t>(dice_.below(256) << 24U | dice_.below(0x300)));
        out_.u32(static_cast<std::uint32_t>(dice_.below(300)));
        return;
      case 'o':
        out_.u32(static_cast<std::uint32_t>(0x11F + dice_.below(0x80)));
        return;
      default:
        return;
    }
  }
  Bytes take() { return out_.take(); }

 private:
  template <typename List>
  std::uint16_t algorithm(const List& list) {
    return dice_.one_in(30) ? static_cast<std::uint16_t>(dice_.below(0x60)) : dice_.pick(list);
  }
  template <typename Other>
  Bytes from(const std::deque<Bytes>& list, Other other) {
    if (list.empty() || dice_.one_in(12)) return other();
    Bytes out = dice_.pick(list);
    if (!out.empty() && dice_.one_in(8))
      out[dice_.below(out.size())] ^= static_cast<std::uint8_t>(1U << dice_.below(8));
    return out;
  }
  Bytes digest() { return dice_.bytes(dice_.one_in(12) ? dice_.below(65) : dice_.pick(kDigestSizes)); }
  Bytes digest_or_none() { return dice_.one_in(2) ? Bytes() : digest(); }
  // A TPM2B.
  Bytes data() {
    if (!pool_.pieces.empty() && dice_.one_in(4)) return piece();
    constexpr std::size_t kSizes[] = {0, 1, 8, 16, 32, 64, 127, 128, 129, 255, 256, 384, 512, 1023, 1024};
    return Writer().tpm2b(dice_.bytes(dice_.one_in(6) ? dice_.below(1025) : dice_.pick(kSizes))).take();
  }
  Bytes piece() {
    return from(pool_.pieces, [&] { return Writer().tpm2b(dice_.bytes(dice_.below(140))).take(); });
  }
  std::uint16_t type() {
    constexpr std::uint16_t kTypes[] = {0x0001, 0x0008, 0x0023, 0x0025, 0x0023, 0x0008};
    return algorithm(kTypes);
  }

  void symmetric() {
    const std::uint16_t cipher = dice_.one_in(3) ? std::uint16_t{0x0010} : algorithm(kCiphers);
    out_.u16(cipher);
    if (cipher == 0x0010) return;
    if (cipher == 0x000A) {
      out_.u16(algorithm(kHashes));
      return;
    }
    out_.u16(dice_.one_in(4) ? dice_.pick(kKeyBits) : std::uint16_t{128}).u16(algorithm(kModes));
  }
  void scheme() {
    const std::uint16_t which = algorithm(kSignatures);
    out_.u16(which);
    if (which == 0x0010) return;
    out_.u16(algorithm(kHashes));
    if (which == 0x001A) out_.u16(static_cast<std::uint16_t>(dice_.below(5)));
  }
  void rsa_scheme() {
    constexpr std::uint16_t kSchemes[] = {0x0010, 0x0015, 0x0017, 0x0017};
    const std::uint16_t which = algorithm(kSchemes);
    out_.u16(which);
    if (which == 0x0017) out_.u16(algorithm(kHashes));
  }
  void kdf() {
    const std::uint16_t which = algorithm(kKdfs);
    out_.u16(which);
    if (which != 0x0010) out_.u16(algorithm(kHashes));
  }
  void keyed_hash_scheme() {
    constexpr std::uint16_t kSchemes[] = {0x0010, 0x0005, 0x000A, 0x0005};
    const std::uint16_t which = algorithm(kSchemes);
    out_.u16(which);
    if (which == 0x0005 || which == 0x000A) out_.u16(algorithm(kHashes));
    if (which == 0x000A) out_.u16(algorithm(kKdfs));
  }
  // Type and TPMU_PUBLIC_PARMS.
  void public_parameters(std::uint16_t type) {
    out_.u16(type);
    parameters_of(type);
  }
  void parameters_of(std::uint16_t type) {
    if (type == 0x0008) return keyed_hash_scheme();
    symmetric();
    if (type == 0x0025) return;
    if (dice_.one_in(3)) {
      out_.u16(0x0010);
    } else if (type == 0x0001 && dice_.one_in(2)) {
      rsa_scheme();
    } else {
      scheme();
    }
    if (type == 0x0001) {
      constexpr std::uint16_t kBits[] = {1024, 1024, 1024, 2048, 512, 0, 3072, 1032};
      out_.u16(dice_.one_in(20) ? static_cast<std::uint16_t>(dice_.any()) : dice_.pick(kBits));
      constexpr std::uint32_t kExponents[] = {0, 0, 0, 65537, 3, 1, 2, 0xFFFFFFFF, 65539};
      out_.u32(dice_.pick(kExponents));
      return;
    }
    out_.u16(algorithm(kCurves));
    kdf();
  }
  std::uint32_t attributes() {
    constexpr std::uint32_t kUsual[] = {0x00040472, 0x00030472, 0x00020472, 0x00060472, 0x00050072, 0x00040440,
                                        0x00020440, 0x00060462, 0x00000452, 0x00000412, 0x00030462, 0x00040432,
                                        0x00020060, 0x00040060, 0x00030060, 0x00060060};
    std::uint32_t out = dice_.pick(kUsual);
    while (dice_.one_in(3)) out ^= 1U << dice_.below(20);
    return out;
  }
  // TPMT_PUBLIC.
  Bytes public_area() {
    Sentence inner(dice_, pool_, handles_);
    const std::uint16_t kind = type();
    inner.out_.u16(kind).u16(inner.algorithm(kHashes)).u32(attributes());
    inner.out_.tpm2b(dice_.one_in(2) ? Bytes() : digest());
    inner.parameters_of(kind);
    inner.unique(kind);
    return inner.take();
  }
  void unique(std::uint16_t type) {
    if (type == 0x0023) {
      out_.raw(point());
      return;
    }
    if (type != 0x0001) {
      out_.tpm2b(digest_or_none());
      return;
    }
    Bytes modulus = dice_.one_in(2) ? Bytes() : dice_.bytes(dice_.one_in(4) ? dice_.below(300) : 128);
    if (!modulus.empty() && !dice_.one_in(4)) {
      modulus.front() |= 0x80;
      modulus.back() |= 1;
    }
    out_.tpm2b(modulus);
  }
  // TPMS_ECC_POINT: one on P-256, or any numbers.
  Bytes point() {
    static const Bytes kX = {0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6,
                             0xe5, 0x63, 0xa4, 0x40, 0xf2, 0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb,
                             0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96};
    static const Bytes kY = {0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb,
                             0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce, 0x33, 0x57, 0x6b, 0x31,
                             0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5};
    if (dice_.one_in(2)) return Writer().tpm2b(kX).tpm2b(kY).take();
    constexpr std::size_t kSizes[] = {0, 1, 24, 32, 48, 66, 67};
    return Writer().tpm2b(dice_.bytes(dice_.pick(kSizes))).tpm2b(dice_.bytes(dice_.pick(kSizes))).take();
  }
  // TPMT_SENSITIVE.
  Bytes sensitive() {
    Writer out;
    out.u16(type()).tpm2b(digest_or_none()).tpm2b(digest_or_none());
    constexpr std::size_t kSizes[] = {0, 1, 16, 24, 32, 64, 128, 33};
    return out.tpm2b(dice_.bytes(dice_.pick(kSizes))).take();
  }
  Bytes signature() {
    Writer out;
    const std::uint16_t which = algorithm(kSignatures);
    out.u16(which);
    if (which == 0x0010) return out.take();
    out.u16(algorithm(kHashes));
    if (which == 0x0005) return out.raw(dice_.bytes(dice_.pick(kDigestSizes))).take();
    constexpr std::size_t kSizes[] = {0, 1, 31, 32, 33, 48, 66, 128, 256};
    out.tpm2b(dice_.bytes(dice_.pick(kSizes)));
    if (which != 0x0014 && which != 0x0016) out.tpm2b(dice_.bytes(dice_.pick(kSizes)));
    return out.take();
  }
  void selection() {
    const auto count =
        dice_.one_in(20) ? static_cast<std::uint32_t>(dice_.any()) : static_cast<std::uint32_t>(dice_.below(4));
    out_.u32(count);
    for (std::uint32_t i = 0; i < std::min(count, 17U); ++i) {
      const std::size_t size = dice_.one_in(8) ? dice_.below(6) : 3;
      out_.u16(algorithm(kHashes)).u8(static_cast<std::uint8_t>(size)).raw(dice_.bytes(size));
    }
  }
  void digests() {
    const auto count = static_cast<std::uint32_t>(dice_.one_in(8) ? dice_.below(12) : 2 + dice_.below(7));
    out_.u32(count);
    for (std::uint32_t i = 0; i < count; ++i) out_.tpm2b(dice_.one_in(4) ? digest() : Bytes(32));
  }
  void ticket(std::uint16_t tag) {
    if (!pool_.tails.empty() && dice_.one_in(3)) {
      out_.raw(dice_.pick(pool_.tails));
      return;
    }
    out_.u16(tag).u32(dice_.one_in(2) ? 0x40000007U : dice_.pick(kHierarchies)).tpm2b(digest_or_none());
  }

  Dice& dice_;
  const Pool& pool_;
  const std::vector<std::uint32_t>& handles_;
  Writer out_;
};

}  // namespace

Bytes Dice::bytes(std::size_t n) {
  Bytes out(n);
  for (auto& one : out) one = static_cast<std::uint8_t>(engine_());
  return out;
}

void Pool::keep(std::deque<Bytes>& list, Bytes one) {
  list.push_back(std::move(one));
  if (list.size() > kMost) list.pop_front();
}

void Pool::learn(wire::CommandCode code, ByteView parameters) {
  if (code == cc::kContextSave) return keep(contexts, wire::to_bytes(parameters));
  Reader in(parameters);
  std::vector<Bytes> all;
  while (const auto one = in.tpm2b()) {
    all.push_back(Writer().tpm2b(*one).take());
    if (all.size() == 5) break;
  }
  if (code == cc::kCreate && all.size() >= 2) {
    keep(blobs, Writer().raw(all[0]).raw(all[1]).take());
    keep(publics, all[1]);
  }
  if (code == cc::kReadPublic && all.size() >= 2) {
    keep(publics, all[0]);
    keep(names, all[1]);
  }
  for (auto& one : all)
    if (one.size() > 2 && one.size() < 600) keep(pieces, std::move(one));
  if (in.remaining() > 0 && in.remaining() < 600) keep(tails, wire::to_bytes(in.rest()));
}

const char* letters_of(wire::CommandCode code) {
  const auto* line =
      std::find_if(std::begin(kLines), std::end(kLines), [&](const Line& one) { return one.code == code; });
  return line == std::end(kLines) ? nullptr : line->letters;
}

Bytes parameters(std::string_view letters, Dice& dice, const Pool& pool, const std::vector<std::uint32_t>& handles) {
  Sentence out(dice, pool, handles);
  for (const char letter : letters) out.append(letter);
  return out.take();
}

}  // namespace tpmspace::fuzz
