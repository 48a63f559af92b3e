#include "conf/known_clients.h"

#include <algorithm>
#include <chrono>
#include <string>

#include "conf/format.h"
#include "conf/identity.h"
#include "tests/conf/kit.h"

namespace classgate::conf {
namespace {

using std::chrono::sys_seconds;

std::string key(std::string_view of) { return fmt::format("key=sha256:{}", hex_of(sha256(of))); }

Lines mistakes_of_text(std::string_view text) {
  Lines lines;
  if (const auto known = read_known_clients(text); !known)
    for (const DocumentMistake& wrong : known.error())
      lines.push_back(fmt::format("{}:{}: {}", wrong.place.line, wrong.place.column, wrong.text));
  return lines;
}

sys_seconds at(int year, unsigned month, unsigned day, int seconds = 0) {
  return std::chrono::sys_days(std::chrono::year(year) / std::chrono::month(month) /
                               std::chrono::day(day)) +
         std::chrono::seconds(seconds);
}

TEST_CASE("no client is named like the id of another, and one that tokens name needs no key") {
  const std::string why =
      "reads like the id of a client that has no name, c_ and 8 hexadecimal digits: name it "
      "otherwise";
  CHECK(mistakes_of_text("a " + key("a") + "\n c_4f7a91c2 " + key("b")) == Lines{"2:2: " + why});
  CHECK(mistakes_of_text("c_4F7A91C2 " + key("b")) == Lines{"1:1: " + why});
  for (const char* good : {"c_4f7a91c", "c_4f7a91c2a", "c_4f7a91cg", "d_4f7a91c2", "C_4f7a91c2"})
    CHECK(mistakes_of_text(good + (' ' + key("b"))).empty());
  CHECK(mistakes_of_text("acme plan=gold").size() == 1);
  CHECK(read_known_clients("acme plan=gold", true).has_value());
  CHECK_FALSE(read_known_clients("acme\nacme", true).has_value());
}

TEST_CASE("a file may begin with a byte order mark, as a conf may") {
  const std::string mark = "\xef\xbb\xbf";
  const auto known = read_known_clients(mark + "acme " + key("a"));
  REQUIRE(known);
  CHECK(known->clients.front().name == "acme");
  CHECK(read_known_clients(mark)->clients.empty());
  CHECK(mistakes_of_text(mark + "acme nonsense " + key("a")).front().starts_with("1:6: "));
  CHECK(mistakes_of_text(mark + "# a\n" + mark + "acme " + key("a")).front().starts_with("2:1: "));
}

TEST_CASE("a line of the file names a client, its plan, its keys and when they hold") {
  const auto known = read_known_clients("# the customers\r\n\n  acme\tplan=gold " + key("a") + ' ' +
                                        key("b") + "  # since 2024\n" + "b@c.example:7/x+y " +
                                        key("c") + " not_before=2026-12-01 not_after=2026-12-15");
  REQUIRE(known);
  REQUIRE(known->clients.size() == 2);
  CHECK(known->clients[0].name == "acme");
  CHECK(known->clients[0].plan == "gold");
  CHECK(known->clients[0].is_always_valid());
  CHECK(known->clients[1].name == "b@c.example:7/x+y");
  CHECK(known->clients[1].plan.empty());
  REQUIRE(known->keys.size() == 3);
  CHECK(known->keys[1].hash == sha256("b"));
  CHECK(known->keys[1].client == 0);
  CHECK(known->keys[1].line == 3);
  CHECK(known->keys[2].client == 1);
  CHECK(read_known_clients("")->clients.empty());
}

TEST_CASE(
    "keys hold from the beginning of the first day to the end of the last, or to the second") {
  const auto known = read_known_clients(
      "a " + key("a") + " not_before=2026-12-01 not_after=2026-12-31\n" + "b " + key("b") +
      " not_before=2028-02-29T12:00:01Z not_after=2028-02-29T12:00:03Z\n");
  REQUIRE(known);
  const KnownClient& days = known->clients[0];
  CHECK_FALSE(days.is_always_valid());
  CHECK_FALSE(days.is_valid(at(2026, 11, 30, 86'399)));
  CHECK(days.is_valid(at(2026, 12, 1)));
  CHECK(days.is_valid(at(2026, 12, 31, 86'399)));
  CHECK_FALSE(days.is_valid(at(2027, 1, 1)));
  const KnownClient& seconds = known->clients[1];
  CHECK_FALSE(seconds.is_valid(at(2028, 2, 29, 43'200)));
  CHECK(seconds.is_valid(at(2028, 2, 29, 43'201)));
  CHECK(seconds.is_valid(at(2028, 2, 29, 43'202)));
  CHECK_FALSE(seconds.is_valid(at(2028, 2, 29, 43'203)));
}

TEST_CASE("each mistake has its line and column, and says what to do") {
  const std::string good = key("good");
  const auto only = [](const std::string& text) {
    const Lines lines = mistakes_of_text(text);
    return lines.size() == 1 ? lines.front() : fmt::format("{} mistakes", lines.size());
  };
  CHECK(only("sk-live-4eC39HqLyj") ==
        "1:1: the client of this line has no key: classgate key new NAME makes one and says the "
        "line");
  CHECK(only("\n  plan=gold " + good) ==
        "2:3: the line begins with the client's name; what has a '=' follows it");
  CHECK(only("a\"b " + good).starts_with("1:1: is no name of a client: letters,"));
  CHECK(only("- " + good).starts_with("1:1: is no name of a client"));
  CHECK(only(std::string(65, 'n') + ' ' + good).starts_with("1:1: is no name of a client"));
  CHECK(only("acme plan=a plan=b " + good) == "1:13: plan stands here twice");
  CHECK(only("acme plan= " + good) == "1:6: plan: expected the name of a [[plan]]");
  CHECK(
      only("acme paln=gold " + good) ==
      "1:6: unknown word; there are plan=, key=, not_before= and not_after=; did you mean plan=?");
  CHECK(only("acme " + good + " not_after=2026-13-01")
            .starts_with("1:82: not_after: expected a day or a time in UTC, such as"));
  for (const char* date : {"2026-02-29", "2026-1-1", "2026-01-01T24:00:00Z", "2026-01-01T00:00:00",
                           "2026-01-01 ", "20260101", "", "2026-01-01T00:00:60Z", "2026-00-10"})
    CHECK(mistakes_of_text(fmt::format("acme {} not_before={}", good, date)).size() ==
          (std::string_view(date) == "2026-01-01 " ? 0 : 1));
  CHECK(only("acme " + good + " not_before=2026-12-02 not_after=2026-12-01")
            .starts_with("1:1: the keys of acme would never hold"));
  CHECK(only("acme " + good + "\nacme " + key("b"))
            .starts_with("2:1: acme stands already in line 1; all keys of a client"));
  CHECK(only("acme " + good + "\nb " + good) == "2:3: this key stands already in line 1");
  CHECK(only("acme " + good + ' ' + good) == "1:82: this key stands already in line 1");
  std::string many = "acme";
  for (int i = 0; i < 17; ++i) many += ' ' + key(std::to_string(i));
  CHECK(only(many) == "1:1: acme has 17 keys; there may be 16");
}

TEST_CASE("what may be a key is repeated in no mistake") {
  const std::string secret = "cgk_0123456789abcdefghjkmnpqrstvwxyz";
  for (const std::string& line :
       {secret, secret + ' ' + key("a"), "acme " + secret, "acme key=" + secret,
        "acme key=sha256:" + secret, "acme plan=x " + secret + "= " + key("a"),
        "acme key=sha256:" + std::string(63, 'a')}) {
    const Lines lines = mistakes_of_text(line);
    CHECK(!lines.empty());
    for (const std::string& text : lines) CHECK_FALSE(text.contains("cgk_"));
  }
}

TEST_CASE("of very many mistakes a hundred are told, and how many more there are") {
  std::string text;
  for (int i = 0; i < 1'000; ++i) text += "client-" + std::to_string(i) + '\n';
  const Lines lines = mistakes_of_text(text);
  REQUIRE(lines.size() == 101);
  CHECK(lines.back() == "1000:1: 900 more mistakes");
}

TEST_CASE("of very many names and keys, several to a line, each twin is told, and no others") {
  std::string text;
  for (int line = 1; line <= 300; ++line) {
    text += fmt::format("client-{}", line);
    for (int i = 0; i < 16; ++i) text += ' ' + key(fmt::format("{}-{}", line, i));
    text += '\n';
  }
  const auto known = read_known_clients(text);
  REQUIRE(known);
  CHECK(known->clients.size() == 300);
  CHECK(known->keys.size() == 300 * 16);
  const Lines wrong = mistakes_of_text(text + "client-1 " + key("new") + "\nother " + key("1-0") +
                                       ' ' + key("300-15") + "\nclient-300 " + key("new"));
  REQUIRE(wrong.size() == 5);
  CHECK(wrong[0].starts_with("301:1: client-1 stands already in line 1;"));
  CHECK(wrong[1] == "302:7: this key stands already in line 1");
  CHECK(wrong[2].ends_with("this key stands already in line 300"));
  CHECK(wrong[3].starts_with("303:1: client-300 stands already in line 300;"));
  CHECK(wrong[4].ends_with("this key stands already in line 301"));
}

TEST_CASE("what key new prints is a line of the file") {
  const auto known = read_known_clients(print_known_client("acme", sha256("secret")));
  REQUIRE(known);
  CHECK(known->clients[0].name == "acme");
  CHECK(known->keys[0].hash == sha256("secret"));
}

// ---- With the conf ------------------------------------------------------------------------------

class WithClients {
 public:
  explicit WithClients(const std::string& clients) : file_(clients) {}
  // `@` in the conf is the clients' file.
  Lines mistakes(std::string conf) const {
    put_path(conf);
    Lines lines = mistakes_in(conf);
    for (std::string& line : lines) {
      for (std::size_t at = 0; (at = line.find(file_.path())) != std::string::npos;)
        line.replace(at, file_.path().size(), "clients");
    }
    return lines;
  }
  Settings load(std::string conf) const {
    put_path(conf);
    const ConfFile file(conf);
    return load_good({file.path(), {}, {}}).settings;
  }
  std::string printed(std::string conf) const {
    put_path(conf);
    const ConfFile file(conf);
    return print(load_good({file.path(), {}, {}}));
  }

 private:
  void put_path(std::string& conf) const {
    const std::size_t at = conf.find('@');
    if (at != std::string::npos) conf.replace(at, 1, file_.path());
  }
  ConfFile file_;
};

constexpr const char* keyed = "[fairness]\nidentity = [\"header:X-Api-Key\"]\n";

TEST_CASE("a file of known clients makes the others' address their name") {
  const WithClients with("acme plan=gold " + key("a") + '\n');
  const std::string conf = std::string(keyed) + "[clients]\nclients_file = \"@\"\n";
  const Settings settings = with.load(conf + "unknown_max = 500\n[[plan]]\nname = \"gold\"\n");
  CHECK(settings.clients.unknown == UnknownClients::address);
  CHECK(settings.admission.fairness.unknown_max == 500);
  REQUIRE(settings.clients.known);
  CHECK(settings.clients.known->clients.size() == 1);
  CHECK(with.load(conf + "unknown = \"own\"\n[[plan]]\nname = \"gold\"\n").clients.unknown ==
        UnknownClients::own);
  CHECK(load_good({}).settings.clients.unknown == UnknownClients::own);
  CHECK(load_good({}).settings.admission.fairness.unknown_max == 0);
}

TEST_CASE("a key in a plan is a known client as well; an address alone is none with a key") {
  const WithClients with("");
  const std::string plan = std::string(keyed) + "[[plan]]\nname = \"gold\"\nclients = ";
  CHECK(with.load(plan + "[\"header:X-Api-Key:a\"]").clients.unknown == UnknownClients::address);
  CHECK(with.load(plan + "[\"address:10.0.0.0/8\"]").clients.unknown == UnknownClients::own);
}

TEST_CASE("what the file and the conf say must go together") {
  const std::string with_file = "[clients]\nclients_file = \"@\"\n";
  const std::string gold = "[[plan]]\nname = \"gold\"\n";
  const WithClients with("# one\nacme plan=glod " + key("a") + '\n');
  CHECK(with.mistakes(keyed + with_file + gold) ==
        Lines{"clients:2:6: there is no [[plan]] \"glod\"; did you mean \"gold\"?"});
  const WithClients good("acme " + key("a") + '\n');
  CHECK(good.mistakes(with_file).front().contains("clients_file: nothing in fairness.identity"));
  CHECK(good.mistakes("[fairness]\nidentity = [\"tls\", \"address\"]\n" + with_file).size() == 1);
  CHECK(
      good.mistakes("[fairness]\nidentity = [\"address\", \"bearer\"]\n" + with_file).front() ==
      "conf:2:1: fairness.identity: \"bearer\" would never be asked for behind \"address\": write "
      "that last");
  CHECK(good.mistakes(keyed + with_file + gold + "clients = [\"header:X-Api-Key:b\", \"a\"]") ==
        Lines{"conf:7:1: plan gold: client number 2 has a key that stands already at clients:1"});
  // By its name a token would be both.
  const Lines twice = good.mistakes("[fairness]\nidentity = [\"jwt:sub\", \"bearer\"]\n" +
                                    with_file + gold + "clients = [\"jwt:sub:acme\"]");
  CHECK(std::ranges::any_of(twice, [](const std::string& line) {
    return line.ends_with("plan gold: client number 1 has a name that stands already at clients");
  }));
  CHECK(
      WithClients("").mistakes(keyed + std::string("[clients]\nclients_file = \"/nowhere/x\"\n")) ==
      Lines{
          "conf:4:1: clients.clients_file: /nowhere/x cannot be read: No such file or directory"});
}

TEST_CASE("networks of plans, and whoever is not named where certificates are, have own places") {
  const WithClients with("");
  const auto fairness = [&](const std::string& clients) {
    return with
        .load(
            "listen = [\"https://127.0.0.1:8443\"]\n[tls]\ncertificate = \"/a.pem\"\n"
            "key = \"/a.key\"\nclient_ca = \"/ca.pem\"\nclient_certificate = \"optional\"\n"
            "[fairness]\nclients_max = 700\nidentity = [\"header:X-Api-Key\", \"tls\", "
            "\"address\"]\n[clients]\nunknown_max = 500\n[[plan]]\nname = \"gold\"\nclients = [" +
            clients + "]\n")
        .admission.fairness;
  };
  CHECK(fairness("").network_max == 0);
  CHECK(fairness("").unknown_max == 0);
  CHECK(fairness("\"address:10.0.0.0/8\"").network_max == 700);
  CHECK(fairness("\"address:10.0.0.0/8\"").unknown_max == 0);
  CHECK(fairness("\"header:X-Api-Key:a\"").network_max == 0);
  CHECK(fairness("\"tls:CN=a\"").unknown_max == 500);
}

TEST_CASE("fewer places for quotas than clients that are named and have one are a mistake") {
  std::string lines;
  for (int i = 0; i < 100; ++i)
    lines += fmt::format("c{} plan=gold {}\n", i, key(fmt::format("k{}", i)));
  const WithClients with(lines + "free plan=silver " + key("z"));
  const std::string conf =
      std::string(keyed) + "[clients]\nquota_clients_max = 100\nclients_file = \"@\"\n";
  const std::string silver = "[[plan]]\nname = \"silver\"\n";
  const std::string gold =
      "[[plan]]\nname = \"gold\"\nquota_day = 10\nclients = [\"address:10.0.0.0/8\"";
  CHECK(with.mistakes(conf + silver + gold + "]\n") == Lines{});
  CHECK(with.mistakes(conf + silver + gold + ", \"header:X-Api-Key:one-more\"]\n") ==
        Lines{"conf:4:1: clients.quota_clients_max: 100 are fewer than the clients that a plan, or "
              "clients.clients_file, gives a quota, 101: each has one of its own"});
  // Of the file and the default the file is what is at fault.
  CHECK(with.mistakes(conf + silver + "quota_day = 1\n" + gold + "]\n").size() == 1);
}

TEST_CASE("a client of a plan matches once") {
  const auto wrong = [](const std::string& clients, const std::string& identity = "\"tls\"") {
    return mistakes_in("[fairness]\nidentity = [\"header:X-K\", \"bearer\", " + identity +
                       "]\n[[plan]]\nname = \"a\"\nclients = [" + clients + "]");
  };
  CHECK(wrong("\"address:10.0.0.0/8\", \"address:11.0.0.0/8\", \"bearer:x\", "
              "\"address:2001:db8::/64\", \"address:2001:db8:0:1::7\", \"header:X-K:y\", "
              "\"address:unix:\"") == Lines{});
  CHECK(wrong("\"address:10.0.0.0/8\", \"address:10.1.2.3\"") ==
        Lines{"conf:5:1: plan a: client number 2 (\"10.1.2.3\") has clients in common with "
              "\"10.0.0.0/8\", which is in a plan already, at conf:5:1: plan a, client number 1; a "
              "client has one plan: take it out of one"});
  CHECK(wrong("\"address:10.1.2.3\", \"address:10.0.0.0/8\"").size() == 1);
  // Two addresses of one household are one client.
  CHECK(wrong("\"address:2001:db8::1\", \"address:2001:db8::2\"").size() == 1);
  CHECK(
      wrong("\"address:127.0.0.1\", \"address:::1\", \"address:10.0.0.0/8\", \"address:unix:\"") ==
      Lines{});
  CHECK(wrong("\"address:::1\", \"address:::/64\"").size() == 1);
  CHECK(wrong("\"address:::/0\", \"address:0.0.0.0/0\", \"address:unix:\"") == Lines{});
  CHECK(wrong("\"address:2001:db8::/96\"") ==
        Lines{"conf:5:1: plan a: client number 1 can't be told from its neighbours: here a client "
              "is a /64"});
  CHECK(wrong("\"address:2001:db8::/96\"", "\"address/32/96\"") == Lines{});
  CHECK(wrong("\"address:10.0.0.0/28\"", "\"address/24\"").size() == 1);
  CHECK(wrong("\"bearer:x\", \"header:X-K:x\"") == Lines{});  // two ways to say it
  CHECK(wrong("\"bearer:x\", \"bearer:sha256:" + hex_of(sha256("x")) + "\"").size() == 1);
  CHECK(wrong("\"address:10.0.0.1/8\"").size() == 1);
  // What no request can say.
  CHECK(wrong("\"bearer: k\"") ==
        Lines{"conf:5:1: plan a: client number 1 can never be there: no value of a field begins or "
              "ends with a blank"});
  CHECK(wrong("\"header:X-K:a\\nb\"").size() == 1);
  CHECK(wrong("\"basic:us:er\"", "\"basic\"").size() == 1);
  CHECK(wrong("\"cookie:s:a;b\"", "\"cookie:s\"").size() == 1);
  CHECK(wrong("\"address:!10.0.0.0/8\"").size() == 1);
}

TEST_CASE("a plan's client by its certificate needs a listener that asks for one") {
  const auto wrong = [](const std::string& listen, const std::string& asks,
                        const std::string& client) {
    return mistakes_in("listen = [\"" + listen + "\"]\n[tls]\ncertificate = \"/tls/a.pem\"\n" +
                       "key = \"/tls/a.key\"\nclient_ca = \"/tls/ca.pem\"\n" +
                       "client_certificate = " + asks +
                       "\n[fairness]\nidentity = [\"tls\", \"tls:san\", \"address\"]\n" +
                       "[[plan]]\nname = \"a\"\nclients = [\"" + client + "\"]");
  };
  const std::string with_tls = "https://127.0.0.1:8443";
  for (const char* const client : {"tls:CN=x", "tls:san:x.example"}) {
    CHECK(wrong(with_tls, "\"optional\"", client) == Lines{});
    CHECK(wrong(with_tls, "\"required\"", client) == Lines{});
    CHECK(wrong(with_tls, "\"off\"", client) ==
          Lines{"conf:11:1: plan a: client number 1 can never be there: nobody is asked for a "
                "certificate: tls.client_certificate is \"off\", and may be \"optional\" or "
                "\"required\""});
    CHECK(wrong("127.0.0.1:8443", "\"required\"", client) ==
          Lines{"conf:11:1: plan a: client number 1 can never be there: no address of listen has "
                "TLS (\"https://...\"), so nobody is asked for a certificate"});
    CHECK(wrong(with_tls, "\"of\"", client).size() == 1);  // that it is none of the words
  }
  CHECK(wrong(with_tls, "\"off\"", "address:192.0.2.7") == Lines{});
}

TEST_CASE("the hash of nothing is no key, neither of a known client nor of a plan") {
  CHECK(mistakes_of_text("acme key=sha256:" + hex_of(sha256(""))) ==
        Lines{"1:6: key: is the hash of nothing, which is no key: printf %s KEY | sha256sum, with "
              "the key in place of KEY"});
  CHECK(mistakes_in(keyed +
                    std::string("[[plan]]\nname = \"gold\"\nclients = "
                                "[\"header:X-Api-Key:sha256:") +
                    hex_of(sha256("")) + "\"]") ==
        Lines{"conf:5:1: plan gold: client number 1 can never be there: its hash is that of "
              "nothing"});
}

TEST_CASE("what is printed shows no key, and reads back as the same") {
  const WithClients with("");
  const std::string shown = with.printed(std::string(keyed) +
                                         "[[plan]]\nname = \"gold\"\nclients = [\"the-secret\", "
                                         "\"address:10.0.0.0/8\"]\n");
  CHECK_FALSE(shown.contains("the-secret"));
  CHECK(shown.contains("\"header:X-Api-Key:sha256:" + hex_of(sha256("the-secret")) + "\""));
  CHECK(shown.contains("\"address:10.0.0.0/8\""));
  CHECK(with.printed(shown).contains(hex_of(sha256("the-secret"))));
}

TEST_CASE(
    "a route's and a listener's address has the bits of everybody's, unless it says its own") {
  const auto printed = [](const std::string& identity) {
    const ConfFile file(
        fmt::format("listen = [\"127.0.0.1:8080\"]\n[fairness]\nidentity = [\"address/24/56\"]\n"
                    "[[listener]]\naddress = \"127.0.0.1:8080\"\nidentity = [{0}]\n"
                    "[[route]]\npath = \"/x\"\npriority = 2\nidentity = [{0}]\n",
                    identity));
    std::string found;
    const Loaded loaded = load_good({file.path(), {}, {}});
    for (const RouteSettings& route : loaded.settings.routes)
      if (route.path == "/x") found = print_identity(*route.identity);
    CHECK(print_identity(*loaded.settings.listeners[0].identity) == found);
    // As it is printed it is read again, and says the same.
    const ConfFile again(print(loaded));
    CHECK(print(load_good({again.path(), {}, {}})).contains("identity = " + found));
    return found;
  };
  CHECK(printed("\"address\"") == "[\"address/24/56\"]");
  CHECK(printed("\"header:X-K\", \"address\"") == "[\"header:X-K\", \"address/24/56\"]");
  CHECK(printed("\"address/28\"") == "[\"address/28/64\"]");
  CHECK(printed("\"address/32/64\"") == "[\"address/32/64\"]");
  CHECK(printed("\"header:X-K\"") == "[\"header:X-K\"]");
}

TEST_CASE("identity takes all that names a client, and says what it does not take") {
  CHECK(mistakes_in("[fairness]\nidentity = [\"header:X-K\", \"bearer\", \"basic\", \"cookie:c\", "
                    "\"query:q\", \"tls\", \"address/24/56\"]") == Lines{});
  for (const char* word :
       {"header", "header:", "cookie:", "query:a b", "bearer:x", "tlss", "address/0", "address/33",
        "address/24/129", "address/24/56/7", "address:24", "address/"})
    CHECK(mistakes_in(fmt::format("[fairness]\nidentity = [\"{}\"]", word)).size() == 1);
  CHECK(mistakes_in("[fairness]\nidentity = [\"address\", \"address/24\"]").size() == 1);
  const ConfFile file("[fairness]\nidentity = [\"cookie:c\", \"address/24\"]");
  CHECK(print(load_good({file.path(), {}, {}})).contains("[\"cookie:c\", \"address/24/64\"]"));
}

}  // namespace
}  // namespace classgate::conf
