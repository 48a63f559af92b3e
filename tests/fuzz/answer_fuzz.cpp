// Bytes of a service. The same answers come out whatever pieces they come in, a body is never
// longer than its length, and the head that is written for the client is read again as the same
// one.

#include "proxy/wire/serialise.h"
#include "tests/fuzz/messages.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace classgate;
  using namespace classgate::fuzz;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Messages whole = cut(text, Parser::Kind::response, true);
  FUZZ_REQUIRE(whole == cut(text, Parser::Kind::response, false));
  for (const Message& message : whole.all) {
    if (message.framing == Framing::length) FUZZ_REQUIRE(message.body.size() <= message.length);
    Parser parser;
    parser.begin(Parser::Kind::response, limits);
    FUZZ_REQUIRE(parser.parse_head(message.head) == Parser::Progress::done);
    const proxy::wire::Head& head = parser.head();
    std::string out;
    if (head.status < 200) {  // they fit
      append_interim_head(out, head);
      append_switch_head(out, head);
      continue;
    }
    const bool is_chunked =
        message.framing == Framing::chunked || message.framing == Framing::until_close;
    append_answer_head(out, head,
                       {.framing = is_chunked ? Framing::chunked : message.framing,
                        .content_length = head.content_length,
                        .says_length = head.has_content_length && !is_chunked && head.status != 204,
                        .close = message.head.size() % 3 == 0,
                        .says_keep_alive = message.head.size() % 3 == 1,
                        .request_id = "id",
                        .date = "now"});
    const proxy::wire::HeadLimits roomy{1 << 20, 1000, 0};
    Parser again;
    again.begin(Parser::Kind::response, roomy);
    FUZZ_REQUIRE(again.parse_head(out) == Parser::Progress::done);
    FUZZ_REQUIRE(again.head_size() == out.size());
    FUZZ_REQUIRE(again.head().status == head.status);
    FUZZ_REQUIRE(response_framing(again.head(), false) ==
                 (is_chunked ? Framing::chunked : message.framing));
  }
  return 0;
}
