// Bytes of a client. The same requests come out whatever pieces they come in, and what is written
// for the service is read again as the same request: the two never disagree about where it ends.

#include "gateway/target.h"
#include "proxy/wire/deadline.h"
#include "proxy/wire/serialise.h"
#include "tests/fuzz/messages.h"

namespace classgate::fuzz {
namespace {

std::string written_anew(const Message& message, const gateway::Target& target) {
  Parser parser;
  parser.begin(Parser::Kind::request, limits);
  FUZZ_REQUIRE(parser.parse_head(message.head) == Parser::Progress::done);
  std::string out, preferences;
  const bool has_deadline = message.head.size() % 13 < 6;
  append_request_head(out,
                      has_deadline ? without_deadline(parser.head(), preferences) : parser.head(),
                      {.target = target.text,
                       .host = target.host,
                       .client = message.head.size() % 3 == 0 ? "2001:db8::1" : "192.0.2.1",
                       .request_id = "id",
                       .is_encrypted = message.head.size() % 5 == 0,
                       .client_subject = message.head.size() % 7 == 0 ? "CN=one" : "",
                       .wants_websocket = message.head.size() % 11 == 0,
                       .sender_is_trusted = message.head.size() % 2 == 0});
  if (proxy::wire::lacks_host(
          parser.head(),
          {.target = target.text, .host = target.host, .client = {}, .request_id = {}}))
    out.append("Host: server\r\n");  // as whoever sends it on has to
  if (message.framing == Framing::length) {
    proxy::wire::append_length_framing(out, message.length);
    return out + message.body;
  }
  if (message.framing == Framing::none) return out.append(proxy::wire::no_framing);
  proxy::wire::append_chunked_framing(out);
  if (!message.body.empty()) {
    proxy::wire::append_chunk_size(out, message.body.size());
    out.append(message.body).append(proxy::wire::crlf);
  }
  std::vector<Parser::Trailer> trailers;
  for (const auto& [name, value] : message.trailers) trailers.push_back({name, value});
  proxy::wire::append_last_chunk(out, trailers);
  return out;
}

void check_forwarding(const Message& message) {
  Parser parser;
  parser.begin(Parser::Kind::request, limits);
  FUZZ_REQUIRE(parser.parse_head(message.head) == Parser::Progress::done);
  gateway::Target target;
  if (!read_target(parser.head(), false, target)) return;
  const std::string method(parser.head().method);
  const std::string written = written_anew(message, target);

  const proxy::wire::HeadLimits roomy{1 << 20, 1000, 1 << 20};
  Parser again;
  again.begin(Parser::Kind::request, roomy);
  FUZZ_REQUIRE(again.parse_head(written) == Parser::Progress::done);
  FUZZ_REQUIRE(again.head().method == method);
  FUZZ_REQUIRE(again.head().target == target.text);
  const bool lacks_host = proxy::wire::lacks_host(
      parser.head(), {.target = target.text, .host = target.host, .client = {}, .request_id = {}});
  FUZZ_REQUIRE(again.head().host == (lacks_host ? "server" : target.host));
  FUZZ_REQUIRE(again.head().framing == message.framing);
  gateway::Target same;
  FUZZ_REQUIRE(read_target(again.head(), false, same));
  FUZZ_REQUIRE(same.path() == target.path() && same.text == target.text);
  std::string rest = written.substr(again.head_size());
  if (message.framing == Framing::chunked) {
    FUZZ_REQUIRE(again.parse_chunked(rest) == Parser::Progress::done);
    FUZZ_REQUIRE(again.consumed() == rest.size());
    std::string body;
    for (const std::string_view span : again.spans()) body += span;
    FUZZ_REQUIRE(body == message.body);
  } else {
    FUZZ_REQUIRE(rest == message.body);
  }
}

}  // namespace
}  // namespace classgate::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace classgate::fuzz;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Messages whole = cut(text, Parser::Kind::request, true);
  FUZZ_REQUIRE(whole == cut(text, Parser::Kind::request, false));
  for (const Message& message : whole.all)
    if (message.is_complete) check_forwarding(message);
  return 0;
}
