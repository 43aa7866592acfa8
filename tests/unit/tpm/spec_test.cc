#include "tpm/spec.h"

#include <gtest/gtest.h>

namespace tpmspace::tpm {
namespace {

struct Accepted {
  const char* text;
  Spec spec;
  Kind kind;
};

TEST(Spec, ReadsEveryFormAndFillsInDefaults) {
  const Accepted cases[] = {
      {"embedded", {EmbeddedSpec{}, {}}, Kind::kEmbedded},
      {"embedded:/var/lib/tpm", {EmbeddedSpec{"/var/lib/tpm"}, {}}, Kind::kEmbedded},
      {"embedded:here=there", {EmbeddedSpec{"here=there"}, {}}, Kind::kEmbedded},
      {"embedded,latency=slb9670", {EmbeddedSpec{}, ChipModel::kSlb9670}, Kind::kEmbedded},
      {"embedded:d,latency=st33ktpm2x", {EmbeddedSpec{"d"}, ChipModel::kSt33ktpm2x}, Kind::kEmbedded},
      {"swtpm:path=/run/s", {SwtpmUnixSpec{"/run/s", "/run/s.ctrl"}, {}}, Kind::kSwtpm},
      {"swtpm:path=/run/s,ctrl=/run/c", {SwtpmUnixSpec{"/run/s", "/run/c"}, {}}, Kind::kSwtpm},
      {"swtpm:host=::1,port=2321", {SwtpmTcpSpec{"::1", 2321, 2322}, {}}, Kind::kSwtpm},
      {"swtpm:port=65535,ctrl=1,host=h", {SwtpmTcpSpec{"h", 65535, 1}, {}}, Kind::kSwtpm},
      {"swtpm:latency=slb9670,path=p", {SwtpmUnixSpec{"p", "p.ctrl"}, ChipModel::kSlb9670}, Kind::kSwtpm},
      {"device:/dev/tpm0", {DeviceSpec{"/dev/tpm0"}, {}}, Kind::kDevice},
      {"device:/dev/tpm0,latency=slb9670", {DeviceSpec{"/dev/tpm0"}, ChipModel::kSlb9670}, Kind::kDevice},
      {"device:fd=7", {DescriptorSpec{7}, {}}, Kind::kDevice},
  };
  for (const Accepted& row : cases) {
    const auto spec = parse_spec(row.text);
    ASSERT_TRUE(spec) << row.text << ": " << spec.error();
    EXPECT_EQ(*spec, row.spec) << row.text;
    EXPECT_EQ(spec->kind(), row.kind) << row.text;
    EXPECT_EQ(parse_spec(to_text(*spec)), *spec) << "written as " << to_text(*spec);
  }
}

struct Refused {
  const char* text;
  const char* says;  // the sentence must name this
};

TEST(Spec, RefusesOtherTextsWithTheCorrectForm) {
  const Refused cases[] = {
      {"", "is not a kind of TPM"},
      {"tabrmd", "write embedded"},
      {"embedded:", "names no directory"},
      {"embedded,", "KEY=VALUE"},
      {"embedded,latency", "KEY=VALUE"},
      {"embedded,latency=", "KEY=VALUE"},
      {"embedded,latency=fast", "latency=slb9670"},
      {"embedded,latency=slb9670,latency=slb9670", "twice"},
      {"embedded,colour=red", "colour"},
      {"embedded,path=p", "path"},
      {"swtpm", "swtpm:path=SOCKET"},
      {"swtpm:", "KEY=VALUE"},
      {"swtpm:/run/s", "KEY=VALUE"},
      {"swtpm:path=p,host=h,port=1", "not both"},
      {"swtpm:host=h", "port=PORT"},
      {"swtpm:port=1", "host=HOST"},
      {"swtpm:host=h,port=0", "1 to 65535"},
      {"swtpm:host=h,port=65536", "1 to 65535"},
      {"swtpm:host=h,port=-1", "1 to 65535"},
      {"swtpm:host=h,port=12x", "1 to 65535"},
      {"swtpm:host=h,port=65535", "ctrl=PORT"},
      {"swtpm:host=h,port=1,ctrl=/run/c", "1 to 65535"},
      {"swtpm:path=p,path=q", "twice"},
      {"device", "device:/dev/tpm0"},
      {"device:", "device:/dev/tpm0"},
      {"device:tpm0", "absolute"},
      {"device:fd=", "descriptor"},
      {"device:fd=-1", "descriptor"},
      {"device:fd=3x", "descriptor"},
      {"device:fd=99999999999", "descriptor"},
      {"device:/dev/tpm0,ctrl=x", "ctrl"},
  };
  for (const Refused& row : cases) {
    const auto spec = parse_spec(row.text);
    ASSERT_FALSE(spec) << row.text;
    EXPECT_NE(spec.error().find(row.says), std::string::npos) << row.text << ": " << spec.error();
  }
  EXPECT_FALSE(parse_spec(std::string_view("embedded:a\0b", 12)));
}

}  // namespace
}  // namespace tpmspace::tpm
