// The text of a file of known clients (clients.clients_file). Either every mistake has its place
// within the text, and says nothing that may be a key; or what is read, written anew, is read as
// the same.

#include <algorithm>
#include <cstdint>
#include <set>
#include <string>

#include "conf/format.h"
#include "conf/known_clients.h"
#include "tests/fuzz/require.h"

namespace {

using namespace classgate::conf;

void check_mistakes(const std::vector<DocumentMistake>& mistakes, std::string_view text) {
  FUZZ_REQUIRE(!mistakes.empty() && mistakes.size() <= 101);
  const auto lines = std::ranges::count(text, '\n') + 1;
  for (const DocumentMistake& mistake : mistakes) {
    FUZZ_REQUIRE(mistake.place.line >= 1 && mistake.place.line <= lines);
    FUZZ_REQUIRE(mistake.place.column >= 1 && mistake.place.column <= text.size() + 1);
    FUZZ_REQUIRE(!mistake.text.empty() && mistake.text.size() < 400);
    FUZZ_REQUIRE(!mistake.text.starts_with("cgk_") && !mistake.text.contains(" cgk_"));
  }
}

void check_clients(const KnownClients& known) {
  std::set<std::string> names;
  std::set<Sha256> keys;
  for (const KnownClient& client : known.clients) {
    FUZZ_REQUIRE(is_client_name(client.name) && names.insert(client.name).second);
    FUZZ_REQUIRE(client.not_before < client.not_after);
  }
  for (const KnownClients::Key& key : known.keys) {
    FUZZ_REQUIRE(key.client < known.clients.size() && keys.insert(key.hash).second);
    const std::string& name = known.clients[key.client].name;
    const std::string line = print_known_client(name, key.hash);
    const auto read = read_known_clients(line);
    FUZZ_REQUIRE(read && read->clients.size() == 1 && read->clients[0].name == name);
    FUZZ_REQUIRE(read->keys.size() == 1 && read->keys[0].hash == key.hash);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  bool was_good = false;
  for (const bool by_name : {false, true}) {
    const auto known = read_known_clients(text, by_name);
    FUZZ_REQUIRE(known || !was_good);  // who needs no key is no harder to please
    was_good = known.has_value();
    if (known)
      check_clients(*known);
    else
      check_mistakes(known.error(), text);
  }
  return 0;
}
