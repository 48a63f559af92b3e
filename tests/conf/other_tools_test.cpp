#include <algorithm>

#include "conf/keys.h"
#include "conf/other_tools.h"
#include "tests/conf/kit.h"

// What people write who know nginx, HAProxy, Envoy, Traefik, Caddy, LiteLLM, JSON or YAML: each is
// told what it is called here, or what to write.

namespace classgate::conf {
namespace {

std::string no_line_of_ours(const std::string& place, const std::string& text) {
  return "conf:" + place + ": this is not TOML: " + text;
}

// What the one mistake in a conf says behind this.
std::string said_behind(const std::string& begin, const std::string& conf) {
  const Lines said = mistakes_in(conf);
  REQUIRE(said.size() == 1);
  CHECK(said[0].starts_with(begin));
  return said[0].substr(std::min(begin.size(), said[0].size()));
}

// Of one server, and of one address of listen, as others write them.
std::string of_server(const std::string& text) {
  return said_behind("conf:2:1: upstream.servers: \"" + text + "\" is no address here: ",
                     "[upstream]\nservers = [\"" + text + "\"]\n");
}
std::string of_listener(const std::string& text) {
  return said_behind("conf:1:1: listen: \"" + text + "\" is no address here: ",
                     "listen = [\"" + text + "\"]\n");
}

TEST_CASE("a server as another program names it is told as it is named here") {
  const std::string h2 = ", and in [upstream] protocols = [\"h2\", \"http/1.1\"]";
  CHECK(of_server("grpc://model:9000") == "write \"h2c://model:9000\"");
  CHECK(of_server("grpcs://model:9000") == "write \"https://model:9000\"" + h2);
  CHECK(of_server("h2://model:9000") ==
        "without TLS write \"h2c://model:9000\", with TLS \"https://model:9000\" and in [upstream] "
        "protocols = [\"h2\", \"http/1.1\"]");
  CHECK(of_server("tcp://127.0.0.1:9000") == "write \"127.0.0.1:9000\"");
  CHECK(of_server("http://127.0.0.1:9000/") == "write \"127.0.0.1:9000\"; no path follows");
  CHECK(of_server("127.0.0.1:9000/v1") ==
        "write \"127.0.0.1:9000\"; the path is that of the request");
  CHECK(of_server("127.0.0.1:9000 weight=5") ==
        "write \"127.0.0.1:9000\"; there are no weights: each request goes to the server that has "
        "the fewest");
  CHECK(
      of_server("server one 127.0.0.1:9000 maxconn 25 check") ==
      "write \"127.0.0.1:9000\"; how many requests one takes is upstream.requests_per_server, for "
      "each of them; what is checked is said by path in [upstream.check]");
  CHECK(of_server("server 127.0.0.1:9000;") == "write \"127.0.0.1:9000\"");
  // Nobody knows what is meant, or it must not be shown.
  CHECK(
      mistakes_in("[upstream]\nservers = [\"gopher://model:70\"]\n")
          .front()
          .ends_with("write HOST:PORT, such as \"127.0.0.1:8080\", \"[::1]:8080\" or \"*:8080\""));
  for (const std::string& said :
       mistakes_in("[upstream]\nservers = [\"grpc://user:s3cret@model:9000 weight=5\"]\n"))
    CHECK(!said.contains("s3cret"));
}

TEST_CASE("a server that classgate cannot talk to as it is written is told what to write") {
  const std::string speaks =
      " is not spoken with servers: write the HOST:PORT where the service speaks HTTP";
  CHECK(of_server("fcgi://127.0.0.1:9000") == "FastCGI" + speaks);
  CHECK(of_server("uwsgi://model:3031") == "uwsgi" + speaks);
  CHECK(of_server("h3://model:443") == "HTTP/3" + speaks);
  CHECK(of_server("wss://model:9000") == "write \"https://model:9000\"");
  CHECK(of_server("http://[::1") ==
        "the bracket is not closed: write \"[ADDRESS]:PORT\", such as \"[::1]:9000\"");
  CHECK(of_server("srv://x") ==
        "a service in DNS is written \"http+srv://x\", with TLS https+srv://");
  CHECK(of_server("_http._tcp.model.svc") ==
        "a service in DNS is written \"http+srv://_http._tcp.model.svc\", with TLS https+srv://");
  CHECK(of_server("dns:///model:9000") ==
        "write \"model:9000\": a name stands for all its addresses");
  CHECK(of_server("http://model") == "its port is missing: write \"model:80\"");
  CHECK(of_server("https://model") == "its port is missing: write \"https://model:443\"");
  CHECK(of_server("model.svc.cluster.local") ==
        "its port is missing: write \"model.svc.cluster.local:PORT\"");
  CHECK(of_server(":9000") ==
        "its host is missing: write \"HOST:9000\", on this machine \"127.0.0.1:9000\"");
  CHECK(of_server("/run/model.sock") == "write \"unix:/run/model.sock\"");
  CHECK(of_server("http+unix://%2Frun%2fmodel.sock") == "write \"unix:/run/model.sock\"");
  CHECK(of_server("a:9000,b:9000") ==
        "each address stands in quotes of its own: write [\"HOST:PORT\", \"HOST:PORT\"]");
  CHECK(of_server("a:9000-9003") ==
        "there are no ranges of ports: write each address in quotes of its own");
  const std::string variables =
      "a conf has no variables: write the address, or leave the key out and set "
      "CLASSGATE_UPSTREAM_SERVERS in the environment";
  for (const char* text : {"$MODEL:9000", "${MODEL}", "{env.MODEL}:9000", "{{ model }}"})
    CHECK(of_server(text) == variables);
}

TEST_CASE("an address to listen on as another program names it is told as it is named here") {
  const std::string with_tls = ", with certificate and key in [tls]";
  CHECK(of_listener("443 ssl http2") == "write \"https://*:443\"" + with_tls +
                                            ", and protocols = [\"h2\", \"http/1.1\"] at the top");
  CHECK(of_listener("8080") == "write \"*:8080\"");
  CHECK(of_listener(":8080") == "write \"*:8080\"");
  CHECK(of_listener("*:8080 proxy_protocol") ==
        "write \"*:8080\"; for PROXY headers proxy_protocol = true in [client]");
  CHECK(of_listener(":443 ssl crt /etc/x.pem alpn h2,http/1.1") ==
        "write \"https://*:443\"" + with_tls +
            ", and protocols = [\"h2\", \"http/1.1\"] at the top");
  CHECK(of_listener("h2c://127.0.0.1:8080") ==
        "write \"127.0.0.1:8080\" and protocols = [\"h2\", \"http/1.1\"] at the top");
  CHECK(of_listener("http://127.0.0.1:8080/v1") ==
        "write \"127.0.0.1:8080\"; a path is said by a [[route]]");
  CHECK(of_listener("tcp/:8080") == "write \"*:8080\"");
  CHECK(of_listener("unix@/run/x.sock") == "write \"unix:/run/x.sock\"");
  CHECK(of_listener("*") == "its port is missing: write \"*:PORT\"");
  CHECK(of_listener("*:443 quic") == "write \"*:443\"; HTTP/3 (QUIC) is not spoken");
  CHECK(of_listener("$PORT") ==
        "a conf has no variables: write the address, or leave the key out and set CLASSGATE_LISTEN "
        "in the environment");
  CHECK(mistakes_in("listen = \"443 ssl http2\"\n") ==
        Lines{"conf:1:1: listen: expected a list, such as [\"127.0.0.1:8080\"]; in it, write "
              "\"https://*:443\", with certificate and key in [tls], and protocols = [\"h2\", "
              "\"http/1.1\"] at the top"});
}

TEST_CASE("a conf of JSON is told so once") {
  const std::string said =
      ": this is JSON, and a conf is TOML: write listen = [\"*:8080\"] for \"listen\": "
      "[\"*:8080\"], and [upstream] above the keys of an object (classgate --print-config prints a "
      "whole conf)";
  check({{"{\n  \"listen\": [\"*:8080\"],\n  \"admission\": {\"workers\": 5}\n}\n",
          {"conf:1:1" + said}},
         {"\n{ \"listen\": \"*:8080\" }\n", {"conf:2:1" + said}},
         {"[\n  {\"listen\": \"*:8080\"}\n]\n", {"conf:1:1" + said}}});
}

TEST_CASE("a conf of YAML is told line by line as it is written here") {
  const std::string sign = ": what stands between them is \"=\", not \":\"";
  check(
      {{"listen: \"*:8080\"\n"
        "upstream:\n"
        "  servers:\n"
        "    - 127.0.0.1:9000\n"
        "admission:\n"
        "  workers: 50\n"
        "  rate: 10r/s\n"
        "  request_timeout: 30s  # long\n"
        "core_dumps: yes\n"
        "services:\n"
        "- name: model\n",
        {no_line_of_ours("1:7", "write listen = [\"*:8080\"]" + sign),
         no_line_of_ours("2:9", "write [upstream]: the name of a table stands in brackets"),
         no_line_of_ours("3:10", "write servers = VALUE" + sign),
         no_line_of_ours("4:7", "a list stands in brackets: write KEY = [\"...\", \"...\"]"),
         no_line_of_ours("5:10", "write [admission]: the name of a table stands in brackets"),
         no_line_of_ours("6:10", "write workers = VALUE" + sign),
         no_line_of_ours("7:7", "write rate = VALUE" + sign),
         no_line_of_ours("8:18", "write request_timeout = \"30s\"" + sign),
         no_line_of_ours("9:11", "write core_dumps = true" + sign),
         no_line_of_ours("10:9", "write services = VALUE" + sign),
         no_line_of_ours("11:3",
                         "lists of tables are written as [[NAME]], with KEY = VALUE below it")}}});
}

TEST_CASE("comments, ends of lines and variables of other formats") {
  const std::string comment = "a comment begins with #";
  const std::string variable =
      "this is for the environment: write the key, such as listen = [\"*:8080\"]";
  check({{"// a comment\n", {no_line_of_ours("1:1", comment)}},
         {"; a comment\n", {no_line_of_ours("1:1", comment)}},
         {"listen = [\"*:8080\"];\n",
          {no_line_of_ours("1:20", "no ; stands at the end of a line: take it out")}},
         {"[admission]\nworkers = 50;\n",
          {no_line_of_ours("2:13", "no ; stands at the end of a line: take it out")}},
         {"CLASSGATE_LISTEN=*:8080\n", {no_line_of_ours("1:18", variable)}},
         {"export PORT=8080\n", {no_line_of_ours("1:8", variable)}},
         {"<VirtualHost *:80>\n",
          {no_line_of_ours("1:1", "a table has no <...>: write [NAME] above its keys")}}});
}

TEST_CASE("numbers and sizes as others write them are told as they are written here") {
  const std::string number = ": expected a number without quotes";
  check({{"[admission]\nrate = \"10r/s\"\n", {"conf:2:1: admission.rate" + number + ": write 10"}},
         {"[admission]\nrate = \"600/m\"\n", {"conf:2:1: admission.rate" + number + ": write 10"}},
         {"[admission]\nrate = \"many\"\n", {"conf:2:1: admission.rate" + number}},
         {"[admission]\nrate=100r/s\n",
          {no_line_of_ours("2:9", "a number stands alone: write rate = 100")}},
         {"[admission]\nworkers = \"50\"\n",
          {"conf:2:1: admission.workers: expected a whole number without quotes: write 50"}},
         {"[client]\nbody_bytes = \"10m\"\n",
          {"conf:2:1: client.body_bytes: \"10m\" is not a size: write a whole number with B, KiB, "
           "MiB or GiB, such as \"10MiB\""}},
         {"[client]\nbody_bytes = \"10MB\"\n",
          {"conf:2:1: client.body_bytes: \"10MB\" is not a size: write a whole number with B, KiB, "
           "MiB or GiB, such as \"10MiB\""}}});
}

TEST_CASE("one address without the brackets of a list is shown with them") {
  check({{"listen = \"*:8080\"\n", {"conf:1:1: listen: expected a list: write [\"*:8080\"]"}},
         {"[upstream]\nservers = \"a:1, b:1\"\n",
          {"conf:2:1: upstream.servers: expected a list, such as [\"127.0.0.1:8080\"]; in it, each "
           "address stands in quotes of its own: write [\"HOST:PORT\", \"HOST:PORT\"]"}}});
}

TEST_CASE("Traefik's, Caddy's and LiteLLM's words are told by ours") {
  check(
      {{"[entryPoints.web]\naddress = \":80\"\n",
        {"conf:1:2: unknown table [***]; Traefik's entryPoints is listen here, such as listen = "
         "[\"*:8080\"]"}},
       {"[http.routers.x]\nrule = \"Path(`/`)\"\n",
        {"conf:1:2: unknown table [http]; Traefik's http has no table here: a router is a "
         "[[route]], and the service is [upstream]"}},
       {"reverse_proxy 127.0.0.1:9000\n",
        {no_line_of_ours("1:15",
                         "Caddy's reverse_proxy is upstream.servers here, such as servers = "
                         "[\"127.0.0.1:9000\"] in [upstream]")}},
       {"model_list:\n",
        {no_line_of_ours("1:11",
                         "LiteLLM's model_list is [upstream] here: write servers = [\"HOST:PORT\"] "
                         "there; all have the same model")}},
       {"[admission]\nmax_concurrent = 50\n",
        {"conf:2:1: unknown key admission.max_concurrent; max_concurrent is admission.workers "
         "here, for each client fairness.workers"}}});
}

TEST_CASE("a conf of nginx is told line by line as it is written here") {
  check(
      {{"server {\n"
        "  listen 443 ssl;\n"
        "  client_max_body_size 1m;  # small\n"
        "  location / {\n"
        "    limit_req zone=key burst=20 nodelay;\n"
        "    proxy_pass http://model;\n"
        "  }\n"
        "}\n"
        "upstream model {\n"
        "  server 127.0.0.1:9000 weight=5;\n"
        "}\n",
        {no_line_of_ours(
             "1:8",
             "nginx's server has no table here: write listen = [\"*:8080\"] at the top, and "
             "the service in [upstream]"),
         no_line_of_ours("2:10", "write \"https://*:443\", with certificate and key in [tls]"),
         no_line_of_ours("3:24", "nginx's client_max_body_size is client.body_bytes here"),
         no_line_of_ours(
             "4:12",
             "nginx's location is a [[route]] here, with path = \"/v1/*\" and priority = 3"),
         no_line_of_ours(
             "5:15",
             "nginx's limit_req is admission.rate and admission.burst here, for each client "
             "fairness.rate and fairness.burst"),
         no_line_of_ours("6:16",
                         "nginx's proxy_pass is upstream.servers here, such as servers = "
                         "[\"127.0.0.1:9000\"] in [upstream]"),
         no_line_of_ours(
             "7:3", "a table has no braces: it ends where the next one begins; take the } out"),
         no_line_of_ours(
             "8:1", "a table has no braces: it ends where the next one begins; take the } out"),
         no_line_of_ours(
             "9:10", "nginx's upstream is [upstream] here: write servers = [\"HOST:PORT\"] there"),
         no_line_of_ours("10:10",
                         "nginx's server is an entry of upstream.servers here: only its HOST:PORT"),
         no_line_of_ours(
             "11:1",
             "a table has no braces: it ends where the next one begins; take the } out")}}});
}

TEST_CASE("a conf of HAProxy is told line by line as it is written here") {
  check(
      {{"defaults\n"
        "  timeout queue 10s\n"
        "frontend in\n"
        "  bind :8080\n"
        "backend model\n"
        "  option httpchk GET /health\n"
        "  server one 127.0.0.1:9000 maxconn 25 check\n",
        {no_line_of_ours(
             "1:9",
             "HAProxy's defaults have no table here: each key has a default of its own (classgate "
             "--keys)"),
         no_line_of_ours("2:11", "HAProxy's timeout queue is admission.queue_timeout here"),
         no_line_of_ours(
             "3:10", "HAProxy's frontend is listen here: write listen = [\"*:8080\"] at the top"),
         no_line_of_ours("4:8", "HAProxy's bind is listen here, such as listen = [\"*:8080\"]"),
         no_line_of_ours(
             "5:9", "HAProxy's backend is [upstream] here: write servers = [\"HOST:PORT\"] there"),
         no_line_of_ours("6:10", "HAProxy's httpchk is upstream.check.path here"),
         no_line_of_ours(
             "7:10",
             "HAProxy's server is an entry of upstream.servers here: only its HOST:PORT")}}});
}

TEST_CASE("keys and tables by the words of others are told by ours") {
  check({
      {"client_max_body_size = \"1m\"\n",
       {"conf:1:1: unknown key client_max_body_size; nginx's client_max_body_size is "
        "client.body_bytes here"}},
      {"[client]\nclient_max_body_size = \"1m\"\n",
       {"conf:2:1: unknown key client.client_max_body_size; nginx's client_max_body_size is "
        "client.body_bytes here"}},
      {"[admission]\nmax_pending_requests = 100\n",
       {"conf:2:1: unknown key admission.max_pending_requests; Envoy's max_pending_requests is "
        "admission.queue_size here"}},
      {"[upstream]\nkeepalive = 32\n",
       {"conf:2:1: unknown key upstream.keepalive; nginx's keepalive is upstream.idle_connections "
        "here"}},
      {"[server]\nname = \"a\"\n",
       {"conf:1:2: unknown table [server]; nginx's server has no table here: write listen = "
        "[\"*:8080\"] at the top, and the service in [upstream]"}},
      {"max_pending_requests: 100\n",
       {no_line_of_ours("1:21", "Envoy's max_pending_requests is admission.queue_size here")}},
      {"- max_requests: 8\n",
       {no_line_of_ours("1:3", "Envoy's max_requests is admission.workers here")}},
      {"listen x\n",
       {no_line_of_ours(
           "1:8",
           "HAProxy's listen is listen and [upstream] here: write listen = [\"*:8080\"] at "
           "the top, and the service in [upstream]")}},
      {"[ops]\nlisten = [\"9190\"]\n",
       {"conf:2:1: ops.listen: \"9190\" is no address here: write \"127.0.0.1:9190\""}},
  });
}

TEST_CASE("every key that a hint names is there") {
  for (const std::string& hint : all_hints()) {
    CAPTURE(hint);
    for (std::size_t at = 0; at < hint.size();) {
      const std::size_t end = std::min(hint.find_first_of(" ,:;()\"", at), hint.size());
      std::string word = hint.substr(at, end - at);
      at = end + 1;
      if (!word.contains('.') ||
          word.find_first_not_of("abcdefghijklmnopqrstuvwxyz_.") != std::string::npos)
        continue;
      CHECK(find_key(word) != nullptr);
    }
    CHECK(hint.find("  ") == std::string::npos);
  }
  CHECK(all_hints().size() > 100);
}

}  // namespace
}  // namespace classgate::conf
