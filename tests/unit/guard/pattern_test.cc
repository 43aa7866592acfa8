#include "guard/pattern.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <chrono>
#include <string>

namespace tpmspace::guard {
namespace {

struct PatternCase {
  const char* pattern;
  const char* path;
  bool matches;
};

TEST(Pattern, Matches) {
  const PatternCase cases[] = {
      {"/usr/bin/ssh", "/usr/bin/ssh", true},
      {"/usr/bin/ssh", "/usr/bin/sshd", false},
      {"/usr/bin/ssh", "/usr/bin/ss", false},
      {"/usr/bin/*", "/usr/bin/ssh", true},
      {"/usr/bin/*", "/usr/bin/", true},
      {"/usr/bin/*", "/usr/bin/a/ssh", false},
      {"/usr/*/ssh", "/usr/bin/ssh", true},
      {"/usr/*/ssh", "/usr/a/b/ssh", false},
      {"/usr/**/ssh", "/usr/a/b/ssh", true},
      {"/usr/**/ssh", "/usr/ssh", false},
      {"/opt/v?/x", "/opt/v1/x", true},
      {"/opt/v?/x", "/opt/v//x", false},
      {"/opt/v?/x", "/opt/v/x", false},
      {"/system.slice/nginx.service/**", "/system.slice/nginx.service", true},
      {"/system.slice/nginx.service/**", "/system.slice/nginx.service/worker", true},
      {"/system.slice/nginx.service/**", "/system.slice/nginx.service/a/b", true},
      {"/system.slice/nginx.service/**", "/system.slice/nginx.service.evil", false},
      {"/kubepods/**/cri-*.scope", "/kubepods/pod1/x/cri-7.scope", true},
      {"/kubepods/**/cri-*.scope", "/kubepods/pod1/cri-7.scope/x", false},
      {"**", "/anything/at/all", true},
      {"**", "", true},
      {"/**", "/", true},
      {"*", "/", false},
      {"", "", true},
      {"", "/", false},
      {"/a*b*c", "/aXbXbXc", true},
      {"/a*b*c", "/aXbXbX", false},
      {"/[a]", "/a", false},
      {"/[a]", "/[a]", true},
  };
  for (const auto& [pattern, path, matches] : cases)
    EXPECT_EQ(Pattern(pattern).matches(path), matches) << pattern << " | " << path;
}

// By definition, every way tried.
bool fits(std::string_view pattern, std::string_view text) {
  if (pattern.empty()) return text.empty();
  if (pattern.starts_with("**"))
    return fits(pattern.substr(2), text) || (!text.empty() && fits(pattern, text.substr(1)));
  if (pattern[0] == '*')
    return fits(pattern.substr(1), text) || (!text.empty() && text[0] != '/' && fits(pattern, text.substr(1)));
  if (text.empty()) return false;
  return (pattern[0] == text[0] || (pattern[0] == '?' && text[0] != '/')) && fits(pattern.substr(1), text.substr(1));
}

RC_GTEST_PROP(Pattern, AgreesWithEveryWayTried, ()) {
  const auto pattern = *rc::gen::resize(12, rc::gen::container<std::string>(rc::gen::weightedElement<char>(
                                                {{3, 'a'}, {2, 'b'}, {2, '/'}, {3, '*'}, {1, '?'}})));
  const auto text = *rc::gen::resize(
      14, rc::gen::container<std::string>(rc::gen::weightedElement<char>({{3, 'a'}, {2, 'b'}, {2, '/'}})));
  bool expected = fits(pattern, text);
  if (pattern.ends_with("/**")) expected = expected || fits(pattern.substr(0, pattern.size() - 3), text);
  RC_ASSERT(Pattern(pattern).matches(text) == expected);
}

TEST(Pattern, ManyStarsAreNoAttack) {
  std::string pattern;
  for (int i = 0; i < 2000; ++i) pattern += "*a";
  const std::string text(4000, 'a');
  EXPECT_FALSE(Pattern(pattern + "b").matches(text)) << "and not after the sun has gone out";
}

}  // namespace
}  // namespace tpmspace::guard
