#include "conf/explain_options.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "conf/ascii.h"
#include "conf/format.h"
#include "conf/network.h"
#include "conf/units.h"

namespace classgate::conf {
namespace {

bool is_token(std::string_view text) {  // RFC 9110 section 5.6.2
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           std::string_view("!#$%&'*+-.^_`|~").contains(c);
  });
}

bool is_named(std::string_view field, std::string_view name) {
  return equal_but_for_case(field.substr(0, field.find(':')), name);
}

bool names_any(const std::vector<std::string>& fields, std::string_view name) {
  return std::ranges::any_of(fields,
                             [&](const std::string& field) { return is_named(field, name); });
}

bool is_field(std::string_view text) {
  const std::size_t colon = text.find(':');
  return colon != std::string_view::npos && is_token(text.substr(0, colon)) &&
         text.find_first_of("\r\n") == std::string_view::npos;
}

// One word, in one of the forms of RFC 9112 section 3.2.
bool is_target(std::string_view text) {
  const bool is_one_word = std::ranges::all_of(
      text, [](char c) { return static_cast<unsigned char>(c) > ' ' && c != '\x7f'; });
  return is_one_word && (text.starts_with('/') || text == "*" || text.contains("://"));
}

std::expected<std::uint64_t, std::string> read_size(const std::string& text) {
  const bool is_plain = text.find_first_not_of("0123456789") == std::string::npos;
  const auto bytes = parse_bytes(is_plain ? text + "B" : text);
  if (bytes) return bytes->count;
  return std::unexpected(fmt::format("--body: {} is no size such as 4000 or 64KiB", quote(text)));
}

}  // namespace

std::expected<ExplainOptions, std::string> read_explain(const ExplainWords& words) {
  ExplainOptions request{
      .method = words.arguments.at(0), .target = words.arguments.at(1), .fields = words.fields};
  if (!is_token(request.method))
    return std::unexpected(quote(request.method) + " is no method such as GET or POST");
  if (!is_target(request.target))
    return std::unexpected(quote(request.target) +
                           " is no path: it begins with a slash and has no spaces");
  for (const std::string& field : request.fields)
    if (!is_field(field))
      return std::unexpected("-H: " + quote(field) + " is no field such as \"X-Api-Key: alpha\"");
  for (const auto& [name, given] :
       {std::pair("client", &words.client), std::pair("subject", &words.subject),
        std::pair("san", &words.san), std::pair("listener", &words.listener),
        std::pair("body", &words.body)})
    if (given->size() > 1) return std::unexpected(fmt::format("--{} is given twice", name));
  if (!words.client.empty()) request.client = words.client.front();
  if (!IpAddress::parse(request.client))
    return std::unexpected("--client: " + quote(request.client) + " is no IP address");
  if (!words.subject.empty()) request.subject = words.subject.front();
  if (request.subject.contains('\n'))
    return std::unexpected("--subject: " + quote(request.subject) + " is no single line");
  if (!words.san.empty()) request.san = words.san.front();
  if (request.san.contains('\n'))
    return std::unexpected("--san: " + quote(request.san) + " is no single line");
  if (!words.listener.empty()) request.listener = words.listener.front();
  if (request.listener.find_first_of(" \n") != std::string::npos)
    return std::unexpected("--listener: " + quote(request.listener) + " is no address of listen");
  if (words.body.empty()) return request;
  const auto size = read_size(words.body.front());
  if (!size) return std::unexpected(size.error());
  if (names_any(request.fields, "content-length") || names_any(request.fields, "transfer-encoding"))
    return std::unexpected(std::string("--body and a field both say how long the body is"));
  request.body_bytes = *size;
  return request;
}

std::string head_of(const ExplainOptions& request) {
  std::string head = fmt::format("{} {} HTTP/1.1\r\n", request.method, request.target);
  if (!names_any(request.fields, "host")) head += "Host: localhost\r\n";
  for (const std::string& field : request.fields) head += field + "\r\n";
  if (request.body_bytes) head += fmt::format("Content-Length: {}\r\n", *request.body_bytes);
  return head + "\r\n";
}

}  // namespace classgate::conf
