
#include <set>
#include <sstream>

#include "conf/document.h"
#include "conf/format.h"
#include "conf/keys.h"
#include "tests/conf/kit.h"

// conf/classgate.conf as it is shipped: the list of all settings for operators.

namespace classgate::conf {
namespace {

// Keys that follow the machine or another key stand there as comments.
const std::set<std::string> commented_out{"clients.unknown", "threads", "admission.queue_timeout"};

std::string shipped() {
  std::ifstream file(CLASSGATE_SHIPPED_CONF, std::ios::binary);
  REQUIRE(file.is_open());
  return {std::istreambuf_iterator<char>(file), {}};
}

// The same with "#key = value" as "key = value".
std::string with_comments_in_force(const std::string& text) {
  std::istringstream in(text);
  std::string out;
  for (std::string line; std::getline(in, line);) {
    const std::size_t equals = line.find(" = ");
    const bool is_key = line.starts_with('#') && equals != std::string::npos &&
                        line.substr(1, equals - 1).find(' ') == std::string::npos;
    out += (is_key ? line.substr(1) : line) + "\n";
  }
  return out;
}

std::set<std::string> keys_of(const std::string& text) {
  std::set<std::string> keys;
  for (const Entry& entry : read_document(text).entries) keys.insert(entry.key);
  return keys;
}

TEST_CASE("the shipped conf is good and everything in it stands at its default") {
  const Loaded defaults = load_good({});
  const Loaded loaded = load_good({CLASSGATE_SHIPPED_CONF, {}, {}});
  for (const ValueInForce& value : loaded.values) {
    CAPTURE(value.key);
    CHECK(value.value == value_of(defaults, value.key).value);
    CHECK((value.origin == "default") == commented_out.contains(value.key));
  }
  CHECK((loaded.settings.routes == defaults.settings.routes));
  for (const auto& [route, origin] : loaded.routes)
    CHECK(origin.starts_with(CLASSGATE_SHIPPED_CONF ":"));
}

TEST_CASE("the shipped conf mentions every known key, in force or as a comment, and none besides") {
  std::set<std::string> known;
  for (const Key& key : all_keys()) known.insert(key.name);
  std::set<std::string> in_force = known;
  for (const std::string& key : commented_out) CHECK(in_force.erase(key) == 1);
  CHECK((keys_of(shipped()) == in_force));
  CHECK((keys_of(with_comments_in_force(shipped())) == known));
}

TEST_CASE("what the shipped conf has as comments can be put in force") {
  const Loaded loaded = load_text(with_comments_in_force(shipped()));
  CHECK(loaded.settings.threads == 2);
  CHECK(value_of(loaded, "admission.queue_timeout").value ==
        value_of(load_good({}), "admission.queue_timeout").value);
}

TEST_CASE("without any source the settings are those of settings.h") {
  const Loaded loaded = load_good({});
  Settings settings;
  settings.threads = loaded.settings.threads;  // of this machine
  for (const Key& key : all_keys()) {
    CAPTURE(key.name);
    CHECK(key.print(loaded.settings) == key.print(settings));
    CHECK(value_of(loaded, key.name).origin == "default");
  }
  CHECK((loaded.settings.routes == settings.routes));
}

TEST_CASE("the limits that were asked for are the defaults") {
  const Loaded loaded = load_good({});
  struct Row {
    std::string key, value;
  };
  for (const Row& row :
       {Row{"admission.workers", "50"}, Row{"admission.queue_size", "1000"},
        Row{"admission.rate", "100"}, Row{"admission.burst", "200"},
        Row{"admission.request_timeout", "\"30s\""}, Row{"admission.queue_timeout", "\"30s\""},
        Row{"client.header_bytes", "\"32KiB\""}, Row{"client.body_bytes", "\"10MiB\""},
        Row{"status.rate_limited", "429"}, Row{"status.queue_full", "503"}}) {
    CAPTURE(row.key);
    CHECK(value_of(loaded, row.key).value == row.value);
  }
}

TEST_CASE("every default can be written into a file as it is printed") {
  const Loaded defaults = load_good({});
  for (const ValueInForce& value : defaults.values) {
    CAPTURE(value.key);
    const Loaded loaded = load_text(fmt::format("{} = {}", value.key, value.value));
    CHECK(value_of(loaded, value.key).value == value.value);
    CHECK(value_of(loaded, value.key).origin.starts_with("conf:1:"));
  }
}

TEST_CASE("every key has a help text, its own name, and one variable") {
  std::set<std::string> names;
  for (const Key& key : all_keys()) {
    CHECK_FALSE(key.help.empty());
    CHECK(find_key(key.name) == &key);
    names.insert(key.name);
  }
  CHECK(names.size() == all_keys().size());
  CHECK(find_key("admission") == nullptr);
  CHECK(find_key("") == nullptr);
}

}  // namespace
}  // namespace classgate::conf
