#include "proxy/wire/path.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "conf/printable.h"

namespace classgate::proxy::wire {
namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_unreserved(int c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
         c == '.' || c == '_' || c == '~';
}

// Percent-decodes what may be decoded and merges slashes; dot segments are left for the next step,
// because "%2e%2e" must count as one.
bool decode(std::string_view path, std::string& out) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  out.clear();
  for (std::size_t i = 0; i < path.size(); ++i) {
    const char c = path[i];
    if (c == '/' && !out.empty() && out.back() == '/') continue;
    if (c != '%') {
      out.push_back(c);
      continue;
    }
    if (i + 2 >= path.size()) return false;
    const int high = hex_value(path[i + 1]);
    const int low = hex_value(path[i + 2]);
    if (high < 0 || low < 0) return false;
    const int value = high * 16 + low;
    if (value == 0) return false;
    if (is_unreserved(value)) {
      out.push_back(static_cast<char>(value));
    } else {
      out.push_back('%');
      out.push_back(digits[static_cast<std::size_t>(high)]);
      out.push_back(digits[static_cast<std::size_t>(low)]);
    }
    i += 2;
  }
  return true;
}

// Removes "." and ".." segments in place. `path` starts with '/' and has no empty segment.
void remove_dot_segments(std::string& path) {
  std::size_t write = 0;  // path[0, write) is finished and has no trailing slash
  std::size_t read = 0;
  while (read < path.size()) {
    std::size_t end = path.find('/', read + 1);
    if (end == std::string::npos) end = path.size();
    const std::string_view segment(path.data() + read + 1, end - read - 1);
    const bool is_last = end == path.size();
    if (segment == "." || segment == "..") {
      if (segment == ".." && write > 0) write = path.rfind('/', write - 1);
      if (is_last) path[write++] = '/';
    } else {
      for (std::size_t i = read; i < end; ++i) path[write++] = path[i];
    }
    read = end;
  }
  if (write == 0) path[write++] = '/';
  path.resize(write);
}

// How much of `path` from `at` on separates segments, for some server or other.
std::size_t separator_at(std::string_view path, std::size_t at) {
  if (path[at] == '/' || path[at] == '\\') return 1;
  const std::string_view escape = path.substr(at, 3);
  return escape == "%2F" || escape == "%5C" ? 3 : 0;
}

// Whether a server that takes escaped slashes or backslashes for slashes, or leaves parameters
// (";x") out, would find a dot segment where we found none. `path` is in normal form.
bool hides_dot_segments(std::string_view path) {
  std::size_t begin = 0;
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t separator = at < path.size() ? separator_at(path, at) : 1;
    if (separator == 0) {
      ++at;
      continue;
    }
    std::string_view segment = path.substr(begin, at - begin);
    segment = segment.substr(0, std::min(segment.find(';'), segment.find("%3B")));
    if (segment == "." || segment == "..") return true;
    begin = at += separator;
  }
  return false;
}

// A path in normal form as a machine that sees one character after the other. Behind a slash,
// neither a slash nor a dot may follow.
enum NormalForm : std::uint8_t { within_segment, behind_slash, broken };
constexpr auto after = [] {
  std::array<std::array<NormalForm, 256>, 3> next{};  // [so far][character]
  for (NormalForm so_far : {within_segment, behind_slash}) {
    for (const char c : std::string_view("%;\\?#"))
      next[so_far][static_cast<unsigned char>(c)] = broken;
    next[so_far]['/'] = behind_slash;
  }
  next[behind_slash]['/'] = next[behind_slash]['.'] = broken;
  next[broken].fill(broken);
  return next;
}();

}  // namespace

bool has_one_reading(std::string_view path) {
  constexpr auto is_plain = [](char c) { return c > ' ' && c < 0x7f; };
  if (is_normal_path(path) && std::ranges::all_of(path, is_plain)) return true;
  std::string plain;
  for (std::size_t i = 0; i < path.size(); ++i) {
    char c = path[i];
    if (c == '%') {
      if (i + 2 >= path.size()) return false;
      const int high = hex_value(path[i + 1]);
      const int low = hex_value(path[i + 2]);
      if (high < 0 || low < 0) return false;
      c = static_cast<char>(high * 16 + low);
      if (c == '/' || c == '%') return false;
      i += 2;
    }
    if (c == '\\' || c == ';' || (c >= 0 && c < ' ') || c == 0x7f) return false;
    if (c == '/' && plain.ends_with('/')) return false;
    plain.push_back(c);
  }
  const std::string segments = plain + '/';
  return !segments.contains("/./") && !segments.contains("/../") && conf::is_utf8_text(plain);
}

bool is_normal_path(std::string_view path) {
  if (path.empty() || path.front() != '/') return false;
  NormalForm so_far = within_segment;
  for (const char c : path) so_far = after[so_far][static_cast<unsigned char>(c)];
  return so_far != broken;
}

bool normalise_path(std::string_view path, std::string& out) {
  if (path.empty() || path.front() != '/') return false;
  if (!decode(path, out)) return false;
  remove_dot_segments(out);
  return !hides_dot_segments(out);
}

}  // namespace classgate::proxy::wire
