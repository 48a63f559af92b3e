#include "conf/sha256.h"

#include <doctest/doctest.h>

#include <string>

namespace classgate::conf {
namespace {

TEST_CASE("SHA-256 gives what FIPS 180 and its examples give") {
  // The empty message, one block, two blocks, a million letters (NIST's example values).
  CHECK(hex_of(sha256("")) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(hex_of(sha256("abc")) ==
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(hex_of(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")) ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(hex_of(sha256(std::string(1'000'000, 'a'))) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("SHA-256 pads at every length around a block") {
  // From Python's hashlib, for so many letters 'x'.
  CHECK(hex_of(sha256(std::string(55, 'x'))) ==
        "d5e285683cd4efc02d021a5c62014694958901005d6f71e89e0989fac77e4072");
  CHECK(hex_of(sha256(std::string(56, 'x'))) ==
        "04c26261370ee7541549d16dee320c723e3fd14671e66a099afe0a377c16888e");
  CHECK(hex_of(sha256(std::string(63, 'x'))) ==
        "75220b47218278e656f2013bb8f0c455a25eaf01e86c64924e9d48d89776d6f2");
  CHECK(hex_of(sha256(std::string(64, 'x'))) ==
        "7ce100971f64e7001e8fe5a51973ecdfe1ced42befe7ee8d5fd6219506b5393c");
  CHECK(hex_of(sha256(std::string(65, 'x'))) ==
        "9537c5fdf120482f7d58d25e9ed583f52c02b4e304ea814db1633ad565aed7e9");
}

TEST_CASE("a hash is read from 64 hexadecimal digits, and from nothing else") {
  const std::string hex = hex_of(sha256("a"));
  CHECK(sha256_in(hex) == sha256("a"));
  std::string capitals = hex;
  for (char& c : capitals) c = c >= 'a' && c <= 'f' ? static_cast<char>(c - 32) : c;
  CHECK(sha256_in(capitals) == sha256("a"));
  CHECK_FALSE(sha256_in(hex.substr(1)));
  CHECK_FALSE(sha256_in(hex + "0"));
  CHECK_FALSE(sha256_in(hex.substr(1) + "g"));
  CHECK_FALSE(sha256_in(""));
}

}  // namespace
}  // namespace classgate::conf
