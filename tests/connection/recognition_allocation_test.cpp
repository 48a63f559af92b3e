// To know who asks needs no memory once a loop has seen him: by a key of the file, of a plan, by a
// signed token, by nothing but an address, and by a key that somebody invents.

#include <doctest/doctest.h>

#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include "conf/format.h"
#include "gateway/clients/client_identity.h"
#include "gateway/first_look.h"
#include "tests/connection/allocations.h"
#include "tests/gateway/token_issuer.h"

using classgate::connection_test::Allocations;
using classgate::connection_test::AllocationsOf;

namespace {

void* allocate(std::size_t size) {
  Allocations::next_is_bad();  // counts it
  void* const memory = std::malloc(size > 0 ? size : 1);
  if (memory == nullptr) std::abort();
  return memory;
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace classgate::gateway {
namespace {

using Kind = conf::IdentitySource::Kind;

TEST_CASE("who has been seen is known again without an allocation") {
  const TokenIssuer issuer("RS256", "k");
  conf::Settings settings;
  settings.admission.fairness.is_on = true;
  settings.admission.fairness.identity = {
      {Kind::jwt, "sub"}, {Kind::header, "X-Api-Key"}, {Kind::cookie, "key"}, {Kind::query, "key"}};
  settings.admission.fairness.plans.push_back(
      {.name = "gold", .clients = {"cookie:key:planned-planned-planned", "jwt:sub:planned"}});
  settings.jwt.keys_file = "keys";
  settings.jwt.keys = std::make_shared<const std::string>(issuer.jwk());
  settings.jwt.algorithms = {"RS256"};
  settings.jwt.claims = {"sub"};
  auto known = conf::read_known_clients(fmt::format(
      "acme key=sha256:{}", conf::hex_of(conf::sha256("a-key-of-some-length-0123456789"))));
  REQUIRE(known);
  settings.clients.known = std::make_shared<const conf::KnownClients>(std::move(*known));
  settings.clients.unknown = conf::UnknownClients::address;
  const ClientIdentities clients(settings, admission::Ids(settings), {1, 2});
  TokenCache tokens;
  const auto good = "Bearer " + issuer.token(R"({"sub":"alice","exp":4000000000})");
  const auto planned = "Bearer " + issuer.token(R"({"sub":"planned","exp":4000000000})");
  for (const proxy::wire::Field& field :
       {proxy::wire::Field{"X-Api-Key", "a-key-of-some-length-0123456789"},
        proxy::wire::Field{"Cookie", "a=b; key=planned-planned-planned"},
        proxy::wire::Field{"Authorization", good}, proxy::wire::Field{"Authorization", planned},
        proxy::wire::Field{"Accept", "nobody"},
        proxy::wire::Field{"X-Api-Key", "an-invented-key-0123456789"},
        proxy::wire::Field{"Authorization", "Bearer not-a-token-that-anybody-made-0123456789"}}) {
    CAPTURE(field.name);
    CAPTURE(field.value);
    proxy::wire::Head head;
    head.target = "/v1/classify?key=";
    head.fields.push_back({"Idempotency-Key", "0123456789-0123456789-0123456789"});
    head.fields.push_back(field);
    admission::Arrival arrival;
    const auto ask = [&] {
      return recognise(clients,
                       {.head = head,
                        .address = *conf::IpAddress::parse("192.0.2.1"),
                        .tls_subject = {},
                        .tokens = &tokens},
                       "/v1/classify", arrival);
    };
    const std::uint64_t id = ask().id;
    Allocations::seen = 0;
    std::uint64_t again = 0;
    {
      const AllocationsOf the_gateway(true);
      again = ask().id;
    }
    CHECK(again == id);
    CHECK(Allocations::seen == 0);
  }
  // The count counts.
  const AllocationsOf the_gateway(true);
  Allocations::seen = 0;
  const auto some = std::make_unique<std::string>(100, 'x');
  CHECK(Allocations::seen > 0);
}

}  // namespace
}  // namespace classgate::gateway

int main(int argc, char** argv) { return doctest::Context(argc, argv).run(); }
