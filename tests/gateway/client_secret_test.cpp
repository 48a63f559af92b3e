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

// 32 characters, as somebody may have made them up.
const std::string random_text = "0f3b8a6de1975c24b09d7e48f16ac253";

class SecretFolder {
 public:
  SecretFolder() {
    std::string name = "/tmp/classgate-secret-XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~SecretFolder() { std::filesystem::remove_all(path); }
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
  const SecretFolder folder;
  const conf::ClientsSettings settings = at(folder.path / "secret");
  CHECK(check_secret(settings) == std::string());
  CHECK(folder.files() == 0);  // a check makes nothing
  const auto first = take_secret(settings);
  REQUIRE(first);
  CHECK(first->warning.empty());
  CHECK(first->is_made);
  struct stat made{};
  REQUIRE(::stat(settings.secret.c_str(), &made) == 0);
  CHECK((made.st_mode & 0777) == 0600);
  const auto second = take_secret(settings);
  REQUIRE(second);
  CHECK(second->key == first->key);
  CHECK_FALSE(second->is_made);
  CHECK(folder.files() == 1);
  const SecretFolder other;
  CHECK(take_secret(at(other.path / "secret"))->key != first->key);
}

TEST_CASE("of many that make the key at once all have the same") {
  for (int round = 0; round < 20; ++round) {
    const SecretFolder folder;
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
  const SecretFolder folder;
  const auto plain = take_secret(folder.with(random_text));
  REQUIRE(plain);
  CHECK(take_secret(folder.with("\n " + random_text + "\r\n"))->key == plain->key);
  CHECK(take_secret(folder.with(random_text + "4"))->key != plain->key);
}

TEST_CASE("a key that is too short is a mistake that says what to do") {
  const SecretFolder folder;
  for (const std::string& text : {std::string(), std::string(" \n"), random_text.substr(1)}) {
    const conf::ClientsSettings settings = folder.with(text);
    const auto secret = take_secret(settings);
    REQUIRE_FALSE(secret);
    CHECK(secret.error().starts_with("clients.secret: " + settings.secret + ": holds "));
    CHECK(secret.error().ends_with("openssl rand -hex 32"));
    CHECK(check_secret(settings).error() == secret.error());
  }
}

TEST_CASE("what anybody can guess, or is no text, is no key, and is not repeated") {
  const SecretFolder folder;
  const std::string remedy =
      ": remove it to have one made, or write the output of: openssl rand -hex 32";
  const auto repeat = [](const std::string& text, std::size_t times) {
    std::string all;
    for (std::size_t i = 0; i < times; ++i) all += text;
    return all;
  };
  const std::string no_text = "holds a NUL byte: this is not a text file";
  const std::string marked = "begins with a byte order mark, which belongs to no key";
  const auto repeats = [](const std::string& what) {
    return "is no random text, but " + what + " over and over, which anybody can guess";
  };
  for (const auto& [text, why] : std::initializer_list<std::pair<std::string, std::string>>{
           {"\xef\xbb\xbf" + random_text + "\n", marked},
           {"\xef\xbb\xbf" + random_text.substr(3), marked},
           {random_text + std::string(1, '\0'), no_text},
           {std::string(64, '\0'), no_text},
           {"\xff\xfe" + std::string("0\0f\0", 4) + random_text, no_text},
           {std::string(64, 'f') + "\n", repeats("one character")},
           {"\n" + repeat("xyz", 11) + "\r\n", repeats("3 characters")},
           {repeat("xyz", 11) + "x", repeats("3 characters")},
           {repeat("0123456789abcdef", 4), repeats("16 characters")}}) {
    CAPTURE(why);
    const conf::ClientsSettings settings = folder.with(text);
    const auto secret = take_secret(settings);
    REQUIRE_FALSE(secret);
    CHECK(secret.error() == "clients.secret: " + settings.secret + ": " + why + remedy);
    CHECK(check_secret(settings).error() == secret.error());
    CHECK_FALSE(kept_key(settings));
  }
  // Such as are made, and written by hand: 32 bytes in hexadecimal, or in base 64.
  CHECK(take_secret(folder.with(random_text + repeat("0", 32) + "\n")));
  CHECK(take_secret(folder.with("kW1f9mVbqk0Yv5y1mQ3o7o2r7hQy2nE6y8o5y3cXl4g=\n")));
  CHECK(take_secret(folder.with(repeat(random_text, 2))));
}

TEST_CASE("a named place that cannot be had is a mistake; \"off\" is a key of this process") {
  const SecretFolder folder;
  std::ofstream(folder.path / "file") << "text";
  std::filesystem::create_symlink(folder.path / "gone", folder.path / "link");
  for (const auto& [place, why] : std::initializer_list<std::pair<const char*, const char*>>{
           {"nowhere/secret", ": cannot be made: No such file or directory"},
           {"link", ": is a link to a file that is not there"},
           {"file/secret", ": cannot be read: Not a directory"},
           {".", ": cannot be read: Is a directory"}}) {
    CAPTURE(place);
    const conf::ClientsSettings settings = at(folder.path / place);
    const auto secret = take_secret(settings);
    REQUIRE_FALSE(secret);
    CHECK(secret.error() == "clients.secret: " + settings.secret + why);
    const auto checked = check_secret(settings);
    REQUIRE_FALSE(checked);
    CHECK(checked.error() == secret.error());
  }
  CHECK(folder.files() == 2);
  const auto own = take_secret(at("off"));
  REQUIRE(own);
  CHECK(own->warning.empty());
  CHECK(own->key != take_secret(at("off"))->key);
}

TEST_CASE("a folder that takes no file is a mistake of the check, for who may not write to it") {
  if (::geteuid() == 0) return;  // may
  const SecretFolder folder;
  ::chmod(folder.path.c_str(), 0500);
  const conf::ClientsSettings settings = at(folder.path / "secret");
  const auto checked = check_secret(settings);
  ::chmod(folder.path.c_str(), 0700);
  REQUIRE_FALSE(checked);
  CHECK(checked.error().ends_with("cannot be made: Permission denied"));
}

TEST_CASE("a file that has gone is told while its key is in force, and the key is what was kept") {
  const SecretFolder folder;
  const conf::ClientsSettings settings = at(folder.path / "secret");
  CHECK(!kept_key(settings));
  const auto secret = take_secret(settings);
  REQUIRE(secret);
  CHECK(kept_key(settings) == secret->key);
  CHECK(check_secret(settings, &secret->key) == std::string());
  std::filesystem::remove(folder.path / "secret");
  CHECK(check_secret(settings) == std::string());  // a start makes one
  const auto checked = check_secret(settings, &secret->key);
  REQUIRE(checked);
  CHECK_MESSAGE(checked->contains("is not there: the next start makes another one"), *checked);
  CHECK(!kept_key(settings));
  CHECK(!kept_key(at("off")));
}

TEST_CASE("who keeps the key where others can read or write it is told, by a check too") {
  const SecretFolder folder;
  const conf::ClientsSettings settings = folder.with(random_text);
  for (const auto& [mode, warning] : std::initializer_list<std::pair<::mode_t, const char*>>{
           {0644, ": everybody on this machine can read it: chmod 600"},
           {0620, ": others than its owner can write it: chmod 600"},
           {0602, ": others than its owner can write it: chmod 600"},
           {0666, ": others than its owner can write it: chmod 600"}}) {
    CAPTURE(mode);
    ::chmod(settings.secret.c_str(), mode);
    CHECK(take_secret(settings)->warning == "clients.secret: " + settings.secret + warning);
    CHECK(check_secret(settings) == take_secret(settings)->warning);
  }
  ::chmod(settings.secret.c_str(), 0640);  // as orchestrators mount secrets
  CHECK(take_secret(settings)->warning.empty());
  CHECK(check_secret(settings) == std::string());
}

}  // namespace
}  // namespace classgate::gateway
