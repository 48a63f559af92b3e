#include "gateway/planning/raw_request.h"

#include <doctest/doctest.h>

#include "conf/format.h"
#include "tests/planning/written_file.h"

namespace classgate::planning {
namespace {

std::string wrong_in(std::string_view text) {
  const auto request = parse_request(text, "r.http");
  return request ? "nothing is wrong" : request.error();
}

TEST_CASE("a request as it was written is what is asked, its body to the byte") {
  const std::string body("{\"x\": 1}\r\n\0\xff\n", 13);
  for (const std::string line_end : {"\n", "\r\n"}) {
    std::string text =
        "POST /v2/models/m/infer?a=b%20c HTTP/1.1|Host: models.example|X-Api-Key:  alpha |"
        "content-type: application/octet-stream||";
    for (std::size_t at; (at = text.find('|')) != std::string::npos;) text.replace(at, 1, line_end);
    const auto request = parse_request(text + body, "r");
    REQUIRE(request);
    CHECK(request->method == "POST");
    CHECK(request->path == "/v2/models/m/infer?a=b%20c");
    CHECK(request->body == body);
    REQUIRE(request->fields.size() == 3);
    CHECK(request->fields[1].name == "X-Api-Key");
    CHECK(request->fields[1].value == "alpha");
    CHECK(request->has("Content-Type"));
    CHECK(request->is_whole);
  }
}

TEST_CASE("a request may be as short as people write it") {
  for (const char* text :
       {"GET /health", "GET /health\n", "GET /health HTTP/1.1\n\n", "\xef\xbb\xbfGET /health\n",
        "GET /health HTTP/1.1\nContent-Length: 0\n"}) {
    CAPTURE(text);
    const auto request = parse_request(text, "r");
    REQUIRE(request);
    CHECK(request->method == "GET");
    CHECK(request->path == "/health");
    CHECK(request->body.empty());
    CHECK(request->fields.empty());
  }
}

TEST_CASE("a Content-Length that is right is not sent twice") {
  const auto request = parse_request("PUT /x HTTP/1.1\nContent-Length: 3\n\nabc", "r");
  REQUIRE(request);
  CHECK(request->fields.empty());
  CHECK(request->body == "abc");
}

TEST_CASE("what is wrong with a request is told with its place, and nothing of it is repeated") {
  struct Row {
    const char* text;
    std::string place, why;
  };
  for (const Row& row : {
           Row{"", "r.http:1:1: ", "is empty: write the request line"},
           Row{"\nGET / HTTP/1.1\n", "r.http:1:1: ", "is an empty line"},
           Row{"{\"text\": \"secret\"}\n", "r.http:1:1: ", "this is no request line"},
           Row{"X-Api-Key: secret\n", "r.http:1:10: ", "--body takes a file that is a body alone"},
           Row{"post /secret HTTP/1.1\n", "r.http:1:1: ", "methods have a case: write POST"},
           Row{"CONNECT secret:1 HTTP/1.1\n", "r.http:1:1: ", "CONNECT makes a tunnel"},
           Row{"GET\n", "r.http:1:4: ", "the path is missing"},
           Row{"GET \n", "r.http:1:4: ", "the path is missing"},
           Row{"GET http://secret/ HTTP/1.1\n", "r.http:1:5: ", "the path begins with a slash"},
           Row{"GET /secret#x HTTP/1.1\n", "r.http:1:5: ", "what follows a # is never sent"},
           Row{"GET /\xc3\xa9?secret HTTP/1.1\n", "r.http:1:5: ", "must be written %XX"},
           Row{"GET /secret\t HTTP/1.1\n", "r.http:1:5: ", "must be written %XX"},
           Row{"GET /a secret HTTP/1.1\n", "r.http:1:8: ", "a space in it is written %20"},
           Row{"GET /a HTTP/2\n", "r.http:1:8: ", "only HTTP/1.1 is spoken here"},
           Row{"GET /a HTTP/1.0\n", "r.http:1:8: ", "only HTTP/1.1 is spoken here"},
           Row{"GET / HTTP/1.1\nAuthorization Bearer secret\n",
               "r.http:2:14: ", "is no field such as"},
           Row{"POST / HTTP/1.1\nHost: a\n{\"secret\": 1}\n",
               "r.http:3:1: ", "an empty line stands before the body"},
           Row{"POST / HTTP/1.1\nX-A : secret\n", "r.http:2:4: ", "white space before the colon"},
           Row{"POST / HTTP/1.1\nX-A: b\n  secret\n", "r.http:3:1: ", "obs-fold"},
           Row{"POST / HTTP/1.1\nX-A: sec\x01ret\n", "r.http:2:4: ", "a control character"},
           Row{"POST / HTTP/1.1\nHost: secret\nhost: b\n",
               "r.http:3:1: ", "Host: stands here twice"},
           Row{"POST / HTTP/1.1\nTransfer-Encoding: chunked\n\n0\r\n\r\n",
               "r.http:2:1: ", "sent with a Content-Length"},
           Row{"GET / HTTP/1.1\nUpgrade: websocket\n", "r.http:2:1: ", "another protocol"},
           Row{"POST / HTTP/1.1\nContent-Length: many\n\nsecret", "r.http:2:1: ", "is no number"},
           Row{"POST / HTTP/1.1\nContent-Length: 6\nContent-Length: 6\n\nsecret",
               "r.http:3:1: ", "stands here twice"},
           Row{"POST / HTTP/1.1\nHost: a\nContent-Length: 6\n\nsecret\n",
               "r.http:3:1: ", "says 6, and 7 bytes follow the empty line"},
       }) {
    CAPTURE(row.text);
    const std::string wrong = wrong_in(row.text);
    CHECK_MESSAGE(wrong.starts_with(row.place), wrong);
    CHECK_MESSAGE(wrong.contains(row.why), wrong);
    CHECK_MESSAGE(!wrong.contains("secret"), wrong);
  }
}

// What the command line says.
class Given {
 public:
  conf::PlanningOptions options;
  Question over(const Question& question) const { return read().over(question); }
  Question over_logged(const Question& question) const { return read().over_logged(question); }
  std::string wrong() const {
    const auto given = GivenQuestion::read(options);
    return given ? "nothing is wrong" : given.error();
  }

 private:
  GivenQuestion read() const {
    auto given = GivenQuestion::read(options);
    if (!given) FAIL(given.error());
    return *given;
  }
};

TEST_CASE("with a body it is POST, unless the method is given") {
  const Question get{.path = "/embed", .method = "GET"};
  Given given;
  CHECK(given.over(get).method == "GET");
  given.options.body_bytes = 7;
  CHECK(given.over(get).method == "POST");
  CHECK(given.over(get).body.size() == 7);
  given.options.method = "PUT";
  CHECK(given.over(get).method == "PUT");
  given.options.method = "GET";  // Elasticsearch takes such
  CHECK(given.over(get).method == "GET");
  CHECK(given.over(get).body.size() == 7);
  given.options.body_bytes.reset();
  CHECK(given.over({.path = "/v1/classify", .method = "POST", .body = "made up"}).body.empty());
}

TEST_CASE("a body that is given is that of the requests of a log that had one") {
  Given given;
  given.options.body_bytes = 7;
  CHECK(given.over_logged({.path = "/a", .method = "PUT", .body = "x"}).body.size() == 7);
  CHECK(given.over_logged({.path = "/a", .method = "PUT", .body = "x"}).method == "PUT");
  CHECK(given.over_logged({.path = "/a", .method = "GET"}).body.empty());
  CHECK(given.over_logged({.path = "/a", .method = "GET"}).method == "GET");
}

TEST_CASE("a request that is given keeps the keys of the clients that ask it") {
  testing::WrittenFile file;
  file.add("PATCH /x HTTP/1.1\nX-A: 1\n\nbody");
  Given given;
  given.options.request = file.path();
  given.options.fields = {"X-B:2"};
  const Question question =
      given.over({.path = "/y", .key_field = "X-Key", .keys = {"a", "b"}, .first_client = 3});
  CHECK(question.method == "PATCH");
  CHECK(question.path == "/x");
  CHECK(question.body == "body");
  CHECK(question.has("x-a"));
  CHECK(question.has("x-b"));
  CHECK(question.key_of(3) == "a");
  CHECK(question.key_of(4) == "b");
  CHECK(question.key_of(5) == "a");
}

TEST_CASE("what the command line cannot say of a request is told by its option") {
  testing::WrittenFile file;
  file.add("POST /x HTTP/1.1\nX-A: secret\n\n");
  struct Row {
    conf::PlanningOptions options;
    std::string told;
  };
  for (const Row& row : {
           Row{{.request = "/nowhere"}, "--request: /nowhere cannot be read: No such file"},
           Row{{.body = "/nowhere"}, "--body: /nowhere cannot be read: No such file"},
           Row{{.method = "G E T"}, "--method: there is no method such as"},
           Row{{.method = "post"}, "--method: methods have a case: write POST"},
           Row{{.path = "/a b"}, "--to: the path has a character that must be written %XX"},
           Row{{.fields = {"secret"}}, "-H: is no field such as \"X-Api-Key: alpha\": no colon"},
           Row{{.fields = {"X-A: sec\nret"}}, "-H: is no field such as"},
           Row{{.fields = {"content-length: 3"}}, "-H: Content-Length is reckoned"},
           Row{{.fields = {"Transfer-Encoding: chunked"}}, "-H: Transfer-Encoding belongs to"},
           Row{{.fields = {"Host: a", "host: secret"}}, "-H: Host is given twice"},
           Row{{.request = file.path(), .fields = {"x-a: secret"}},
               "-H: x-a stands in the file of --request"},
       }) {
    const std::string wrong = Given{row.options}.wrong();
    CHECK_MESSAGE(wrong.starts_with(row.told), wrong);
    CHECK_MESSAGE(!wrong.contains("secret"), wrong);
  }
}

}  // namespace
}  // namespace classgate::planning
