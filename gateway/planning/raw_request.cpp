#include "gateway/planning/raw_request.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "conf/ascii.h"
#include "conf/format.h"
#include "conf/printable.h"
#include "conf/text_file.h"
#include "proxy/wire/lines.h"

namespace classgate::planning {
namespace {

constexpr std::size_t request_bytes_max = 64ULL << 20;
constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";

struct Mistaken {
  std::size_t column;  // from 1
  std::string why;
};

bool is_named(std::string_view name, std::string_view other) {
  return conf::equal_but_for_case(name, other);
}

// What says how a request is sent, and not what it asks.
std::string why_not_ours(std::string_view name) {
  if (is_named(name, "Transfer-Encoding"))
    return "Transfer-Encoding: the body is sent with a Content-Length, as it stands here: leave "
           "this field out";
  if (is_named(name, "Upgrade"))
    return "Upgrade: another protocol is not spoken here: leave this field out";
  return {};
}

class RequestReader {
 public:
  RequestReader(std::string_view text, const std::string& name) : rest_(text), name_(name) {}

  std::expected<Question, std::string> read() {
    if (rest_.starts_with(byte_order_mark)) rest_.remove_prefix(byte_order_mark.size());
    if (rest_.empty()) {
      number_ = 1;
      return wrong({1, "is empty: " + form()});
    }
    if (auto mistaken = take_request_line(next_line())) return wrong(*mistaken);
    while (!rest_.empty()) {
      const std::string_view line = next_line();
      if (line.empty()) {
        is_body_ = true;
        break;
      }
      if (auto mistaken = take_field(line)) return wrong(*mistaken);
    }
    question_.body = std::string(is_body_ ? rest_ : std::string_view());
    question_.is_whole = true;
    if (length_line_ == 0 || length_ == question_.body.size()) return std::move(question_);
    number_ = length_line_;
    return wrong({1, fmt::format("Content-Length: says {}, and {} bytes follow the empty line: "
                                 "leave the field out, it is reckoned (some editors end a file "
                                 "with a line feed, which counts)",
                                 length_, question_.body.size())});
  }

 private:
  static std::string form() {
    return "write the request line (POST /v1/classify HTTP/1.1), its fields, an empty line, the "
           "body";
  }

  std::string_view next_line() {
    const std::size_t end = rest_.find('\n');
    std::string_view line = rest_.substr(0, end);
    rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    ++number_;
    return line;
  }

  std::unexpected<std::string> wrong(const Mistaken& mistaken) const {
    return std::unexpected(conf::printable(
        fmt::format("{}:{}:{}: {}", name_, number_, mistaken.column, mistaken.why)));
  }

  std::optional<Mistaken> take_request_line(std::string_view line) {
    const std::size_t method_size = proxy::wire::token_size(line);
    if (line.empty()) return Mistaken{1, "is an empty line, where the request line stands"};
    if (method_size == 0 || (method_size < line.size() && line[method_size] != ' '))
      return Mistaken{method_size + 1, "this is no request line: " + form() +
                                           " (--body takes a file that is a body alone)"};
    auto method = parse_method(line.substr(0, method_size));
    if (!method) return Mistaken{1, method.error()};
    question_.method = std::move(*method);
    if (method_size == line.size() || method_size + 1 == line.size())
      return Mistaken{method_size + 1, "the path is missing: POST /v1/classify HTTP/1.1"};
    const std::string_view after = line.substr(method_size + 1);
    const std::size_t space = after.find(' ');
    const std::string_view target = after.substr(0, space);
    const std::size_t column = method_size + 2;
    if (std::string why = why_no_target(target); !why.empty()) return Mistaken{column, why};
    question_.path = std::string(target);
    if (space == std::string_view::npos) return std::nullopt;  // as people write it
    const std::string_view version = after.substr(space + 1);
    if (version == "HTTP/1.1") return std::nullopt;
    return Mistaken{column + space + 1,
                    version.starts_with("HTTP/")
                        ? "only HTTP/1.1 is spoken here"
                        : "HTTP/1.1 should follow the path: a space in it is written %20"};
  }

  std::optional<Mistaken> take_field(std::string_view line) {
    auto field = parse_field(line);
    if (!field) {
      const std::size_t column = std::min(proxy::wire::token_size(line) + 1, line.size());
      return Mistaken{column, field.error() + " (an empty line stands before the body)"};
    }
    if (is_named(field->name, "Content-Length")) return take_length(*field);
    if (std::string why = why_not_ours(field->name); !why.empty()) return Mistaken{1, why};
    if (is_named(field->name, "Host") && question_.has("Host"))
      return Mistaken{1, "Host: stands here twice"};
    question_.fields.push_back({std::move(field->name), std::move(field->value)});
    return std::nullopt;
  }

  std::optional<Mistaken> take_length(const RequestField& field) {
    const std::string& value = field.value;
    const char* const end = value.data() + value.size();
    if (length_line_ > 0) return Mistaken{1, "Content-Length: stands here twice"};
    length_line_ = number_;
    const auto [stop, error] = std::from_chars(value.data(), end, length_);
    if (error == std::errc{} && stop == end) return std::nullopt;
    return Mistaken{1, "Content-Length: is no number: leave the field out, it is reckoned"};
  }

  std::string_view rest_;
  const std::string& name_;
  std::size_t number_ = 0;  // of the line
  Question question_;
  bool is_body_ = false;
  std::size_t length_ = 0;  // as Content-Length has it
  std::size_t length_line_ = 0;
};

}  // namespace

std::expected<Question, std::string> parse_request(std::string_view text, const std::string& name) {
  return RequestReader(text, name).read();
}

std::expected<Question, std::string> read_request(const std::string& path) {
  const auto text = conf::read_text_file(path, {}, conf::FileKind::any, request_bytes_max);
  if (!text)
    return std::unexpected(fmt::format("--request: {} {}", conf::printable(path), text.error()));
  return parse_request(*text, path);
}

std::expected<RequestField, std::string> parse_field(std::string_view line) {
  proxy::wire::FieldLine field;
  if (const char* const why = read_field_line(line, proxy::wire::Side::request, field))
    return std::unexpected(
        fmt::format("is no field such as \"X-Api-Key: alpha\": {}", std::string_view(why)));
  return RequestField{std::string(field.name), std::string(field.value)};
}

std::expected<std::string, std::string> parse_method(std::string_view text) {
  constexpr std::size_t bytes_max = 64;
  constexpr std::array known{"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"};
  if (text.empty() || text.size() > bytes_max || proxy::wire::token_size(text) != text.size())
    return std::unexpected(std::string("there is no method such as GET or POST"));
  if (text == "CONNECT")
    return std::unexpected(std::string("CONNECT makes a tunnel: that is no request to load with"));
  for (const std::string_view method : known)
    if (text != method && conf::equal_but_for_case(text, method))
      return std::unexpected(fmt::format("methods have a case: write {}", method));
  return std::string(text);
}

std::string why_no_target(std::string_view text) {
  if (!text.starts_with('/') && text != "*")
    return "the path begins with a slash; the address is what --to names";
  const auto is_unfit = [](char c) {
    return static_cast<unsigned char>(c) <= ' ' || static_cast<unsigned char>(c) >= 0x7f;
  };
  if (std::ranges::any_of(text, is_unfit))
    return "the path has a character that must be written %XX, as a space is %20";
  if (text.contains('#')) return "what follows a # is never sent: leave it out";
  return {};
}

}  // namespace classgate::planning
