#include "gateway/clients/secret.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "gateway/clients/pseudonym.h"

namespace classgate::gateway {
namespace {

conf::ClientsSettings at(const std::string& secret) {
  conf::ClientsSettings settings;
  settings.secret = secret;
  return settings;
}

class Folder {
 public:
  Folder() {
    std::string name = "/tmp/classgate-secret-XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  conf::ClientsSettings with(const std::string& text) const {
    const std::string file = path / "secret";
    std::ofstream(file) << text;
    return at(file);
  }
  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(path), {}));
  }
  std::filesystem::path path;
};

TEST_CASE("a client is printed by the upper half of its id, nobody by a dash") {
  CHECK(pseudonym_of(0x4f7a91c2'01234567) == "c_4f7a91c2");
  CHECK(pseudonym_of(0x0000000f'ffffffff) == "c_0000000f");
  CHECK(pseudonym_of(1) == "c_00000000");
  CHECK(pseudonym_of(0) == "-");
}

TEST_CASE("the key of the ids is made once, for the process alone to read, and is the same after") {
  const Folder folder;
  const conf::ClientsSettings settings = at(folder.path / "secret");
  CHECK(why_no_secret(settings).empty());
  CHECK(folder.files() == 0);  // a check makes nothing
  const auto first = take_secret(settings);
  REQUIRE(first);
  CHECK(first->warning.empty());
  struct stat made{};
  REQUIRE(::stat(settings.secret.c_str(), &made) == 0);
  CHECK((made.st_mode & 0777) == 0600);
  const auto second = take_secret(settings);
  REQUIRE(second);
  CHECK(second->key == first->key);
  CHECK(folder.files() == 1);
  const Folder other;
  CHECK(take_secret(at(other.path / "secret"))->key != first->key);
}

TEST_CASE("of many that make the key at once all have the same") {
  for (int round = 0; round < 20; ++round) {
    const Folder folder;
    const conf::ClientsSettings settings = at(folder.path / "secret");
    std::vector<HashKey> keys(4);
    std::vector<std::thread> threads;
    for (HashKey& key : keys)
      threads.emplace_back([&key, &settings] {
        if (const auto secret = take_secret(settings)) key = secret->key;
      });
    for (std::thread& thread : threads) thread.join();
    for (const HashKey& key : keys) CHECK(key == keys.front());
    CHECK(keys.front() != HashKey{});
    CHECK(folder.files() == 1);
  }
}

TEST_CASE("gateways that share the key share the ids, whatever space is around it") {
  const Folder folder;
  const auto plain = take_secret(folder.with(std::string(32, 'k')));
  REQUIRE(plain);
  CHECK(take_secret(folder.with("\n " + std::string(32, 'k') + "\r\n"))->key == plain->key);
  CHECK(take_secret(folder.with(std::string(33, 'k')))->key != plain->key);
}

TEST_CASE("a key that is too short is a mistake that says what to do") {
  const Folder folder;
  for (const std::string& text : {std::string(), std::string(" \n"), std::string(31, 'k')}) {
    const conf::ClientsSettings settings = folder.with(text);
    const auto secret = take_secret(settings);
    REQUIRE_FALSE(secret);
    CHECK(secret.error().starts_with("clients.secret: " + settings.secret + ": holds "));
    CHECK(secret.error().ends_with("openssl rand -hex 32"));
    CHECK(why_no_secret(settings) == secret.error());
  }
}

TEST_CASE("a named place that cannot be had is a mistake; \"off\" is a key of this process") {
  const Folder folder;
  const auto secret = take_secret(at(folder.path / "nowhere" / "secret"));
  REQUIRE_FALSE(secret);
  CHECK(secret.error().ends_with("cannot be made: No such file or directory"));
  const auto own = take_secret(at("off"));
  REQUIRE(own);
  CHECK(own->warning.empty());
  CHECK(own->key != take_secret(at("off"))->key);
}

TEST_CASE("who keeps the key where everybody can read it is told") {
  const Folder folder;
  const conf::ClientsSettings settings = folder.with(std::string(32, 'k'));
  ::chmod(settings.secret.c_str(), 0644);
  CHECK(take_secret(settings)->warning.ends_with("can read it: chmod 600"));
  ::chmod(settings.secret.c_str(), 0640);  // as orchestrators mount secrets
  CHECK(take_secret(settings)->warning.empty());
}

}  // namespace
}  // namespace classgate::gateway
