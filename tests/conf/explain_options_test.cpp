#include "conf/explain_options.h"

#include <doctest/doctest.h>

namespace classgate::conf {
namespace {

ExplainOptions read_good(const ExplainWords& words) {
  const auto request = read_explain(words);
  if (!request) FAIL(request.error());
  return *request;
}

TEST_CASE("a request is written as it would come over the wire") {
  CHECK(head_of(read_good({.arguments = {"GET", "/health"}})) ==
        "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
  CHECK(head_of(read_good({.arguments = {"POST", "/v1/classify?a=b,c"},
                           .fields = {"hOST: a.example", "X-Api-Key: a, b"},
                           .body = {"4KiB"}})) ==
        "POST /v1/classify?a=b,c HTTP/1.1\r\nhOST: a.example\r\nX-Api-Key: a, b\r\n"
        "Content-Length: 4096\r\n\r\n");
}

TEST_CASE(
    "a client comes from this machine and shows no certificate, unless it is said otherwise") {
  const ExplainOptions usual = read_good({.arguments = {"GET", "/"}});
  CHECK(usual.client == "127.0.0.1");
  CHECK(usual.subject.empty());
  CHECK(usual.san.empty());
  CHECK_FALSE(usual.body_bytes);
  const ExplainOptions other = read_good({.arguments = {"GET", "/"},
                                          .client = {"2001:db8::1"},
                                          .subject = {"CN=batch,O=Example"},
                                          .san = {"spiffe://example/batch"},
                                          .body = {"70000"}});
  CHECK(other.client == "2001:db8::1");
  CHECK(other.subject == "CN=batch,O=Example");
  CHECK(other.san == "spiffe://example/batch");
  CHECK(other.body_bytes == 70'000);
}

TEST_CASE("what nobody could send is told in one line") {
  struct Row {
    ExplainWords words;
    std::string mistake;
  };
  const std::vector<std::string> fine{"GET", "/"};
  for (
      const Row& row : std::vector<Row>{
          {{.arguments = {"GE T", "/"}}, R"("GE T" is no method such as GET or POST)"},
          {{.arguments = {"", "/"}}, R"("" is no method such as GET or POST)"},
          {{.arguments = {"GET", "v1"}},
           R"("v1" is no path: it begins with a slash and has no spaces)"},
          {{.arguments = {"GET", "/a HTTP/1.1\r\nX: y"}},
           R"("/a HTTP/1.1\u000D\u000AX: y" is no path: it begins with a slash and has no spaces)"},
          {{.arguments = fine, .fields = {"X-Api-Key"}},
           R"(-H: "X-Api-Key" is no field such as "X-Api-Key: alpha")"},
          {{.arguments = fine, .fields = {"X Y: z"}},
           R"(-H: "X Y: z" is no field such as "X-Api-Key: alpha")"},
          {{.arguments = fine, .fields = {": z"}},
           R"(-H: ": z" is no field such as "X-Api-Key: alpha")"},
          {{.arguments = fine, .fields = {"X: y\r\nZ: w"}},
           R"(-H: "X: y\u000D\u000AZ: w" is no field such as "X-Api-Key: alpha")"},
          {{.arguments = fine, .client = {"a.example"}},
           R"(--client: "a.example" is no IP address)"},
          {{.arguments = fine, .client = {"::1", "::2"}}, "--client is given twice"},
          {{.arguments = fine, .listener = {"a b"}},
           R"(--listener: "a b" is no address of listen)"},
          {{.arguments = fine, .subject = {"a\nb"}}, R"(--subject: "a\u000Ab" is no single line)"},
          {{.arguments = fine, .san = {"a\nb"}}, R"(--san: "a\u000Ab" is no single line)"},
          {{.arguments = fine, .san = {"a", "b"}}, "--san is given twice"},
          {{.arguments = fine, .body = {"much"}},
           R"(--body: "much" is no size such as 4000 or 64KiB)"},
          {{.arguments = fine, .body = {""}}, R"(--body: "" is no size such as 4000 or 64KiB)"},
          {{.arguments = fine, .fields = {"content-length: 1"}, .body = {"1"}},
           "--body and a field both say how long the body is"},
      }) {
    const auto request = read_explain(row.words);
    REQUIRE_FALSE(request.has_value());
    CHECK(request.error() == row.mistake);
  }
}

}  // namespace
}  // namespace classgate::conf
