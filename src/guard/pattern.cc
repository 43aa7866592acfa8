#include "guard/pattern.h"

#include <cstddef>
#include <optional>

namespace tpmspace::guard {
namespace {

// The restart point when the text after a star does not match: behind the star, with one more character consumed.
struct Star {
  std::size_t pattern = 0, text = 0;
};

bool fits(std::string_view pattern, std::string_view text) {
  std::size_t p = 0, t = 0;
  std::optional<Star> star, double_star;
  while (t < text.size()) {
    if (pattern.substr(p).starts_with("**")) {
      p += 2;
      double_star = Star{p, t};
      star.reset();
    } else if (p < pattern.size() && pattern[p] == '*') {
      star = Star{++p, t};
    } else if (p < pattern.size() && (pattern[p] == text[t] || (pattern[p] == '?' && text[t] != '/'))) {
      ++p;
      ++t;
    } else if (star && text[star->text] != '/') {
      p = star->pattern;
      t = ++star->text;
    } else if (double_star) {
      star.reset();
      p = double_star->pattern;
      t = ++double_star->text;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

}  // namespace

bool Pattern::matches(std::string_view path) const {
  constexpr std::string_view kAllBelow = "/**";
  const std::string_view pattern = text_;
  if (pattern.ends_with(kAllBelow) && fits(pattern.substr(0, pattern.size() - kAllBelow.size()), path)) return true;
  return fits(pattern, path);
}

}  // namespace tpmspace::guard
