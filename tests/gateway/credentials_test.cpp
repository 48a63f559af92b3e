#include "gateway/clients/credentials.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "proxy/wire/fields.h"

namespace classgate::gateway {
namespace {

using Kind = conf::IdentitySource::Kind;

struct RawRequest {
  std::vector<proxy::wire::Field> fields = {};
  std::string target = "/";
};

proxy::wire::Head head_of(const RawRequest& request) {
  proxy::wire::Head head;
  head.fields = request.fields;
  head.target = request.target;
  for (proxy::wire::Field& field : head.fields) {  // as the parser has them
    field.id = proxy::wire::field_id(field.name);
    head.nominates_fields |= field.id == proxy::wire::FieldId::connection;
  }
  return head;
}
std::string value(const RawRequest& request, Kind kind, const std::string& name = {}) {
  const auto head = head_of(request);
  Credentials credentials(head);
  return std::string(credentials.value({.kind = kind, .name = name}));
}
bool is_ambiguous(const RawRequest& request, Kind kind, const std::string& name = {}) {
  const auto head = head_of(request);
  return Credentials(head).is_ambiguous({.kind = kind, .name = name});
}

bool is_withheld(const RawRequest& request, Kind kind, const std::string& name = {}) {
  const auto head = head_of(request);
  return Credentials(head).is_withheld({.kind = kind, .name = name});
}

TEST_CASE("the user of Basic is what stands before the first colon of what it codes") {
  const auto user = [](const std::string& text) {
    return value({.fields = {{"Authorization", text}}}, Kind::basic);
  };
  CHECK(user("Basic YWxpY2U6c2VjcmV0") == "alice");   // alice:secret
  CHECK(user("basic  YWxpY2U6c2VjcmV0") == "alice");  // the scheme in any case
  CHECK(user("Basic YTo=") == "a");                   // a:
  CHECK(user("Basic OnNlY3JldA==") == "");            // :secret
  CHECK(user("Basic YWxpY2U=") == "");                // alice, and no colon
  CHECK(user("Basic YWxp*2U6eA==") == "");            // no base64
  CHECK(user("Basic") == "");
  CHECK(user("BasicYWxpY2U6c2VjcmV0") == "");
  CHECK(user("Bearer YWxpY2U6c2VjcmV0") == "");
  CHECK(user("Basic " + std::string(40'000, 'Y')) == "");  // longer than there is room for
}

TEST_CASE("a cookie is found by its name, in the case that it has") {
  const RawRequest request{
      .fields = {{"Cookie", "a=1; session=abc=def ;b=\"quoted\";  bare"}, {"cookie", "other=2"}}};
  CHECK(value(request, Kind::cookie, "session") == "abc=def");
  CHECK(value(request, Kind::cookie, "b") == "quoted");
  CHECK(value(request, Kind::cookie, "other") == "2");
  CHECK(value(request, Kind::cookie, "Session") == "");
  CHECK(value(request, Kind::cookie, "bare") == "");
  CHECK(value(request, Kind::cookie, "ession") == "");
  CHECK_FALSE(is_ambiguous(request, Kind::cookie, "session"));
  CHECK(is_ambiguous({.fields = {{"Cookie", "k=1; k=2"}}}, Kind::cookie, "k"));
  CHECK(is_ambiguous({.fields = {{"Cookie", "k=1"}, {"Cookie", "k=1"}}}, Kind::cookie, "k"));
}

TEST_CASE("a parameter is found as a service would read it, however it is written") {
  const RawRequest request{.target = "/p?a=1&key=x%2By+z&k%65y2=v&empty=&=n#key=no"};
  CHECK(value(request, Kind::query, "key") == "x+y z");
  CHECK(value(request, Kind::query, "key2") == "v");
  CHECK(value(request, Kind::query, "empty") == "");
  CHECK(value(request, Kind::query, "a") == "1");
  CHECK(value({.target = "/p?key=%zz%4"}, Kind::query, "key") == "%zz%4");
  CHECK(value({.target = "/key=1"}, Kind::query, "key") == "");
  CHECK(value({.target = "/?key=" + std::string(2'000, '+')}, Kind::query, "key") == "");
  CHECK(value({.target = "/?key=" + std::string(2'000, 'x')}, Kind::query, "key").size() == 2'000);
  // What we would read otherwise than the service is told twice.
  CHECK(is_ambiguous({.target = "/?key=mine&%6bey=theirs"}, Kind::query, "key"));
  CHECK_FALSE(is_ambiguous({.target = "/?key=mine&KEY=theirs"}, Kind::query, "key"));
}

TEST_CASE("what Connection names the service does not get") {
  const std::vector<proxy::wire::Field> fields{{"X-Api-Key", "k"},
                                               {"Authorization", "Bearer t"},
                                               {"Cookie", "session=1"},
                                               {"Connection", "close, x-api-key, Authorization"},
                                               {"Connection", "cookie"}};
  const RawRequest request{.fields = fields};
  CHECK(is_withheld(request, Kind::header, "X-Api-Key"));
  CHECK(is_withheld(request, Kind::bearer));
  CHECK(is_withheld(request, Kind::basic));
  CHECK(is_withheld(request, Kind::cookie, "session"));
  CHECK_FALSE(is_withheld(request, Kind::header, "X-Other-Key"));
  CHECK_FALSE(is_ambiguous(request, Kind::header, "X-Api-Key"));
  CHECK_FALSE(is_withheld(request, Kind::query, "cookie"));
}

TEST_CASE("who is refused is told how to say who he is") {
  CHECK(challenge_of({{Kind::bearer}, {Kind::basic}, {Kind::header, "X-Api-Key"}}) ==
        "Bearer realm=\"classgate\", Basic realm=\"classgate\", charset=\"UTF-8\", "
        "ApiKey realm=\"classgate\", header=\"X-Api-Key\"");
  CHECK(challenge_of({{Kind::tls_san}, {Kind::tls}, {Kind::bearer}, {Kind::address}}) ==
        "Certificate realm=\"classgate\", Bearer realm=\"classgate\"");
  // A 401 must say something, and nothing that is not read.
  CHECK(challenge_of({{Kind::address}}) == "Address realm=\"classgate\"");
  CHECK(challenge_of({}) == "Address realm=\"classgate\"");
}

}  // namespace
}  // namespace classgate::gateway
