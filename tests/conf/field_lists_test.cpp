#include "conf/format.h"
#include "tests/conf/kit.h"

// Lists of names: of origins, and of fields that are told, taken out or kept secret.

namespace classgate::conf {
namespace {

TEST_CASE("a service of gRPC brings its routes, and those of the conf stay as they are") {
  const auto priority_of = [](const Loaded& loaded, std::string_view path) {
    for (const RouteSettings& route : loaded.settings.routes)
      if (name_of(route) == path) return route.priority;
    return 0;
  };
  const std::string service = "/inference.GRPCInferenceService/";
  const Loaded loaded =
      load_text("grpc_routes = [\"inference.GRPCInferenceService\"]\n[[route]]\npath = \"" +
                service + "ModelInfer\"\npriority = 2\n");
  CHECK(priority_of(loaded, service + "ModelInfer") == 2);
  CHECK(priority_of(loaded, service + "ModelStreamInfer") == 4);
  CHECK(priority_of(loaded, service + "ServerLive") == 1);
  CHECK(priority_of(loaded, "/grpc.health.v1.Health/*") == 1);
  CHECK(priority_of(loaded, "/v1/classify") == 3);
  CHECK(priority_of(load_text(""), service + "ModelInfer") == 0);
  check({{"grpc_routes = [\"a.B\"]",
          {"conf:1:1: grpc_routes: \"a.B\" has no routes here: inference.GRPCInferenceService "
           "has"}}});
}

TEST_CASE("origins are written as browsers say them, and \"*\" has no credentials") {
  const auto no_origin = [](const char* text) {
    return std::string("conf:2:1: cors.origins: \"") + text +
           "\" is no origin: write \"https://app.example\", in lower case and without a path, or "
           "\"*\"";
  };
  check({{"[cors]\norigins = [\"https://app.example\", \"http://[::1]:8000\"]\ncredentials = true",
          {}},
         {"[cors]\norigins = [\"*\"]", {}},
         {"[cors]\norigins = [\"https://app.example/\"]", {no_origin("https://app.example/")}},
         {"[cors]\norigins = [\"https://App.example\"]", {no_origin("https://App.example")}},
         {"[cors]\norigins = [\"app.example\"]", {no_origin("app.example")}},
         {"[cors]\norigins = [\"null\"]", {no_origin("null")}},
         {"[cors]\norigins = [\"https://\"]", {no_origin("https://")}},
         {"[cors]\norigins = [\"*\"]\ncredentials = true",
          {"conf:2:1: cors.origins: \"*\" does not go with cors.credentials: name the origins that "
           "may "
           "have them"}},
         {"[cors]\nheaders = [\"*\"]\ncredentials = true",
          {"conf:2:1: cors.headers: \"*\" means nothing with cors.credentials"}},
         {"[cors]\nmethods = []", {"conf:2:1: cors.methods: expected one, such as [\"POST\"]"}},
         {"[cors]\nmethods = [\"GET it\"]", {"conf:2:1: cors.methods: \"GET it\" is no token"}}});
}

TEST_CASE("what no browser ever says is no origin and no method of a page") {
  const auto row = [](const char* key, const char* text, const std::string& why) -> Mistaken {
    return {fmt::format("[cors]\n{} = [\"{}\"]", key, text),
            {fmt::format("conf:2:1: cors.{}: \"{}\" {}", key, text, why)}};
  };
  const auto usual = [](const char* written) {
    return fmt::format("is not what a browser writes, as that is the usual port: write \"{}\"",
                       written);
  };
  const auto port = [](const char* said) {
    return fmt::format("has a port \"{}\": 1 to 65535 is one", said);
  };
  const std::string no_host = "has no host behind its \"://\"";
  const std::string no_ipv6 = "has no host: an IPv6 address stands between [ and ]";
  const std::string no_ipv4 = "has no host: what ends with a number is an IPv4 address";
  const std::string alone = "\"*\" is all of them: write it alone, or leave it out";
  check({row("origins", "https://a:443", usual("https://a")),
         row("origins", "http://a:80", usual("http://a")),
         row("origins", "https://[::1]:443", usual("https://[::1]")),
         row("origins", "https://a:65536", port("65536")),
         row("origins", "https://a:99999999999", port("99999999999")),
         row("origins", "https://a:0", port("0")),
         row("origins", "https://a:0443", port("0443")),
         row("origins", "https://a:", port("")),
         row("origins", "https://a:b", port("b")),
         row("origins", "https://:::", no_host),
         row("origins", "https://.", no_host),
         row("origins", "https://a..b", no_host),
         row("origins", "https://:443", no_host),
         row("origins", "https://[::1", no_host),
         row("origins", "https://[1]", no_ipv6),
         row("origins", "https://[]", no_ipv6),
         row("origins", "https://[0:0:0:0:0:0:0:1]", "is not what a browser writes: write [::1]"),
         row("origins", "https://1.2.3", no_ipv4),
         row("origins", "https://1.2.3.256", no_ipv4),
         row("origins", "x://y",
             "is of no page: its scheme is http, https, app, capacitor, chrome-extension, ionic, "
             "moz-extension, safari-web-extension, tauri, vscode-webview"),
         {"[cors]\norigins = [\"*\", \"https://a\"]", {"conf:2:1: cors.origins: " + alone}},
         {"[cors]\nmethods = [\"GET\", \"*\"]", {"conf:2:1: cors.methods: " + alone}},
         row("methods", "post", "is no method, as upper and lower case differ: write \"POST\""),
         row("methods", "Patch", "is no method, as upper and lower case differ: write \"PATCH\""),
         row("methods", "TRACE", "is a method with which browsers let no page ask")});
  check(
      {{"[cors]\norigins = [\"https://a:8443\", \"http://a:443\", \"https://10.0.0.1\", "
        "\"http://[2001:db8::1]:81\", \"http://localhost:3000\", \"https://a.example.\", "
        "\"chrome-extension://abcdef\", \"https://xn--bcher-kva.example\"]\n"
        "methods = [\"PURGE\", \"POST\"]\nheaders = [\"*\", \"authorization\"]",
        {}}});
}

TEST_CASE("fields that the access log tells are names, and none that may hold a key") {
  const auto headers = [](const std::string& what) { return "conf:2:1: log.headers: " + what; };
  const auto secret = [](std::string_view name, std::string_view word) {
    return fmt::format(
        "\"{}\" may hold a secret, by its word \"{}\": a log never tells such fields", name, word);
  };
  for (const auto& [name, word] : std::initializer_list<std::pair<const char*, const char*>>{
           {"X_Api_Key", "key"},
           {"XApiKey", "xapikey"},
           {"X.Api.Key", "key"},
           {"Ocp-Apim-Subscription-Key", "key"},
           {"X-Amz-Security-Token", "token"},
           {"X-AccessToken", "accesstoken"},
           {"X-Client-Secret", "secret"},
           {"X-Auth-Request-User", "auth"},
           {"Proxy-Authorization", "authorization"},
           {"X-Password", "password"},
           {"X-Passwd", "passwd"},
           {"X-Pin", "pin"},
           {"x_card.pin", "pin"},
           {"X-PassCode", "passcode"},
           {"X-Credentials", "credentials"},
           {"X-SessionId", "sessionid"},
           {"X-CSRFToken", "csrftoken"},
           {"X-XSRF-Id", "xsrf"},
           {"Cf-Access-Jwt-Assertion", "jwt"},
           {"X-Forwarded-Client-Cert", "cert"},
           {"X-Hub-Signature-256", "signature"},
           {"DPoP", "dpop"}})
    check({{fmt::format("[log]\nheaders = [\"{}\"]", name), {headers(secret(name, word))}}});
  for (const char* name :
       {"X-Request-Id", "User-Agent", "X-Model", "Accept-Language", "X-Tokens-Used", "X-Max-Tokens",
        "X-Author", "X-Keyword", "Idempotency-Key", "Content-Type", "X-Passenger", "X-Bypassed",
        "X-Pinned-Model", "Authority", "X-Ping", "X-Opinion"})
    check({{fmt::format("[log]\nheaders = [\"{}\"]", name), {}}});
  check({{"[log]\nheaders = [\"X-Tenant\", \"x_user\"]", {}},
         {"[log]\nheaders = [\"X-A\", \"x-a\"]", {headers("\"x-a\" stands here twice")}},
         {"[log]\nheaders = [\"X A\"]", {headers("\"X A\" is no name of a field")}},
         {"[log]\nheaders = [\"Cookie\"]", {headers(secret("Cookie", "cookie"))}},
         {"[log]\nheaders = [\"AUTHORIZATION\"]",
          {headers(secret("AUTHORIZATION", "authorization"))}},
         {"[log]\nheaders = \"X-A\"", {headers("expected a list, such as [\"X-Tenant\"]")}},
         {"[log]\nheaders = [\"x-customer\"]\n[fairness]\nidentity = [\"header:X-Customer\"]",
          {headers("\"x-customer\" tells clients apart (identity): a log never holds what may be a "
                   "key")}},
         {"[log]\nheaders = [\"X_Customer\"]\n[[route]]\npath = \"/z\"\npriority = 3\n"
          "identity = [\"header:X-Customer\"]",
          {headers("\"X_Customer\" tells clients apart (identity): a log never holds what may be a "
                   "key")}},
         {"[log]\nheaders = [\"a1\",\"a2\",\"a3\",\"a4\",\"a5\",\"a6\",\"a7\",\"a8\",\"a9\",\"b1\","
          "\"b2\",\"b3\",\"b4\",\"b5\",\"b6\",\"b7\",\"b8\"]",
          {headers("expected 16 names at most")}}});
}

TEST_CASE("fields to strip are names, each once, and none that the gateway says itself") {
  const auto strip = [](const char* what) {
    return std::string("conf:2:1: client.strip: ") + what;
  };
  check({{"[client]\nstrip = [\"X-Tenant\", \"Authorization\"]", {}},
         {"[client]\nstrip = [\"X-A\", \"x-a\"]", {strip("\"x-a\" stands here twice")}},
         {"[client]\nstrip = [\"Host\"]", {strip("\"Host\" is the gateway's own to say")}},
         {"[client]\nstrip = [\"X A\"]", {strip("\"X A\" is no name of a field")}},
         {"[client]\nstrip = [\"\"]", {strip("\"\" is no name of a field")}},
         {"[client]\nstrip = \"X-A\"", {strip("expected a list, such as [\"X-Tenant\"]")}}});
}

}  // namespace
}  // namespace classgate::conf
