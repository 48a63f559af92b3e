#include "gateway/target.h"

#include <doctest/doctest.h>

#include <string>
#include <string_view>

#include "admission/route_table.h"
#include "proxy/wire/path.h"

namespace classgate::gateway::test {
namespace {

TEST_CASE("no spelling buys a better priority than its normal form has") {
  const admission::RouteTable table(conf::Settings{}.routes);
  struct Spelling {
    std::string_view path;
    int priority;
  };
  constexpr Spelling spellings[] = {{"/v1/classify/../../health", 1},
                                    {"/%68ealth", 1},
                                    {"//health", 1},
                                    {"/health/../v1/classify", 3},
                                    {"/health/%2e%2e/v1/x", 5},
                                    {"/health;/../v1/classify", 3},
                                    {"/v1/./classify", 3},
                                    {"/v1/classify/%62atch", 4},
                                    {"/v1/classify//batch", 4}};
  for (const Spelling& spelling : spellings) {
    CAPTURE(spelling.path);
    std::string path;
    REQUIRE(proxy::wire::normalise_path(spelling.path, path));
    CHECK(table.find(path).priority == spelling.priority);
  }
  // Two servers could read two paths out of these: nobody gets to.
  for (const std::string_view path : {"/health%2f..", "/health/..;/v1/classify"}) {
    std::string ignored;
    CHECK_FALSE(proxy::wire::normalise_path(path, ignored));
  }
}

}  // namespace
}  // namespace classgate::gateway::test
