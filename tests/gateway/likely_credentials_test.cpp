#include "gateway/clients/likely_credentials.h"

#include <doctest/doctest.h>

#include <string>

namespace classgate::gateway {
namespace {

std::string told(std::string_view text) {
  std::string room;
  return std::string(without_credentials(text, room));
}

TEST_CASE(
    "a token in compact form is masked wherever it stands and however its header is written") {
  for (const std::string_view header : {
           "eyJhbGciOiJSUzI1NiJ9",                  // {"alg":"RS256"}
           "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9",  // {"typ":"JWT","alg":"RS256"}
           "eyAiYWxnIjoiRVMyNTYifQ",                // { "alg":"ES256"}
           "eyAgImFsZyI6IkVTMjU2In0",               // {  "alg":"ES256"}
           "ewoiYWxnIjoiRVMyNTYifQ",                // a line feed behind the brace
       }) {
    CAPTURE(header);
    const std::string token = std::string(header) + ".eyJzdWIiOiJhIn0.c2ln";
    CHECK(told(token) == "***");
    CHECK(told("a " + token + ", b=" + token + ";") == "a ***, b=***;");
    CHECK(told("https://app.example/" + token + "/x") == "https://app.example/***/x");
    CHECK(told("session-" + token) == "session-***");
    CHECK(told("www." + token) == "www.***");
    CHECK(told(std::string(header) + "..e.e.e") == "***");            // encrypted, with five parts
    CHECK(told(std::string(header) + ".eyJzdWIiOiJhIn0.") == "***");  // unsigned
  }
}

TEST_CASE("a key of ours is masked, and credentials behind their scheme") {
  CHECK(told("k=cgk_0123456789abcdefghjkmnpqrstvwxyz!") == "k=***!");
  CHECK(told("Bearer mF_9.B5f-4.1JqM") == "Bearer ***");
  CHECK(told("BEARER  a+b/c==") == "BEARER  ***");
  CHECK(told("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==") == "Basic ***");
}

TEST_CASE("what looks like no credential is told as it is") {
  for (const std::string_view text :
       {"", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "e2e-testing-one.www.example.com", "eyJhbGciOiJSUzI1NiJ9", "eyJhbGciOiJSUzI1NiJ9.part",
        "1.22.333", "Bearer", "Bearer of news", "bearers abc", "Basic plan",
        "Basic QWxhZGRpbg==", "cgk_short", "a.b.c.d.e.f.g.h.i.j.k.l.m.n"})
    CHECK(told(text) == text);
}

}  // namespace
}  // namespace classgate::gateway
