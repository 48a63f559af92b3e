#include "admission/route_table.h"

#include "tests/admission/kit.h"

namespace classgate::admission {
namespace {

TEST_CASE("the default routes are the ones that the operator was promised") {
  const RouteTable table(conf::Settings{}.routes);
  CHECK(table.find("/health").priority == 1);
  CHECK_FALSE(table.find("/health").rate_limited);
  CHECK(table.find("/status").priority == 1);
  CHECK_FALSE(table.find("/status").rate_limited);
  CHECK(table.find("/v1/classify").priority == 3);
  CHECK(table.find("/v1/classify").rate_limited);
  CHECK(table.find("/v1/classify/batch").priority == 4);
  CHECK(table.find("/v1/classify/batch").rate_limited);
}

TEST_CASE("everything else has the worst priority and is rate limited") {
  const RouteTable table(conf::Settings{}.routes);
  for (const std::string_view path : {"/", "/healthy", "/health/", "/health;x", "/Health", "/v1",
                                      "/v1/classify/", "/v1/classify/batch/1", "/v1%2Fclassify"}) {
    CAPTURE(path);
    CHECK(table.find(path).priority == 5);
    CHECK(table.find(path).rate_limited);
    CHECK(table.find(path).cost == 1);
    CHECK(table.find(path).name == "*");
  }
}

TEST_CASE("a table without routes knows everything else") {
  const RouteTable table({});
  CHECK(table.find("/health").priority == 5);
  CHECK(table.find("/health").name == "*");
}

TEST_CASE("an exact route is taken before a prefix however long") {
  const RouteTable table(
      {{"/v1/", true, 4, true}, {"/v1/classify", true, 4, true}, {"/v1/classify", false, 2, true}});
  CHECK(table.find("/v1/classify").name == "/v1/classify");
  CHECK(table.find("/v1/classify").priority == 2);
  CHECK(table.find("/v1/classify/x").name == "/v1/classify*");
}

TEST_CASE("of several prefixes the longest is taken whatever their order in the conf") {
  const std::vector<conf::RouteSettings> ascending{
      {"/", true, 5, true}, {"/v1/", true, 4, true}, {"/v1/admin/", true, 2, false}};
  const std::vector<conf::RouteSettings> descending(ascending.rbegin(), ascending.rend());
  for (const auto& routes : {ascending, descending}) {
    const RouteTable table(routes);
    CHECK(table.find("/v1/admin/users").name == "/v1/admin/*");
    CHECK(table.find("/v1/admin/users").priority == 2);
    CHECK_FALSE(table.find("/v1/admin/users").rate_limited);
    CHECK(table.find("/v1/admin").name == "/v1/*");
    CHECK(table.find("/v2").name == "/*");
  }
}

TEST_CASE("a prefix matches itself and what begins with it and nothing shorter") {
  const RouteTable table({{"/files/", true, 2, true}});
  CHECK(table.find("/files/").priority == 2);
  CHECK(table.find("/files/a/b").priority == 2);
  CHECK(table.find("/files").priority == 5);
}

}  // namespace
}  // namespace classgate::admission
