#pragma once

#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <utility>

#include "conf/settings.h"
#include "gateway/clients/sip_hash.h"

namespace classgate::gateway {

// What one loop knows of tokens that it has verified, by a keyed hash of the whole token, until
// they end; and how many signatures it may check in this second. Nothing of what was not verified
// is kept, so invented tokens push nobody out.
//
// Tokens stand in sets of eight. In a full one a token that has ended gives way, else one by
// chance: it is verified once more when it comes again. The memory is taken once, for
// jwt.tokens_max.
//
// One thread.
class TokenCache {
 public:
  using Ids = std::array<std::uint64_t, conf::jwt_claims_max>;  // beside JwtSettings::claims

  TokenCache();
  // From now on for what was verified under these keys and terms: of others all is forgotten.
  void serve(std::uint64_t terms, const conf::JwtSettings& settings) {
    if (terms != terms_) [[unlikely]]
      begin(terms, settings);
  }
  SipHash::Wide key_of(std::string_view token) const { return SipHash::of_128(key_, token); }
  // Null: it is not known, or has ended. `now`: seconds of Unix time.
  const Ids* find(const SipHash::Wide& key, std::int64_t now) const;
  void put(const SipHash::Wide& key, std::int64_t ends, std::int64_t now, const Ids& ids);

  // Whether a token that `sender` sent may be looked into at all: who has sent many that were bad
  // in this second has no more, others have what is left.
  bool may_look(std::uint64_t sender, std::int64_t now);
  // Likewise one more of its signatures: of all there may be so many in a second.
  bool may_check(std::uint64_t sender, std::int64_t now);
  // What a bad token has cost: one that is read and comes to no signature an eighth of one that
  // does. It is charged to its sender alone.
  enum class Cost : std::uint8_t { reading = 1, signature = 8 };
  void note_bad(std::uint64_t sender, std::int64_t now, Cost cost);
  // Signatures, since it was asked the last time.
  std::uint64_t take_checked() { return std::exchange(checked_, 0); }

 private:
  struct Token {
    std::uint64_t low, high;
    std::int64_t ends;  // 0: nobody stands here
    Ids ids;
  };
  struct Sender {
    std::uint64_t number = 0;
    std::int64_t second = 0;
    std::uint64_t spent = 0;  // in Cost
  };
  // Those who sent what was bad in this second, in sets of four: in a full one whose tokens cost
  // least gives way.
  static constexpr std::size_t sender_sets = 128;
  using SenderSet = std::array<Sender, 4>;
  struct Free {
    void operator()(Token* tokens) const { std::free(tokens); }
  };
  static constexpr std::size_t set_size = 8;
  void begin(std::uint64_t terms, const conf::JwtSettings& settings);
  Token* set_of(const SipHash::Wide& key) const;

  HashKey key_;
  std::uint64_t terms_ = 0;
  std::uint64_t sets_ = 0;
  std::unique_ptr<Token[], Free> tokens_;
  std::uint32_t checks_max_ = 0;
  std::uint64_t spent_max_ = 0;  // of one sender in a second
  std::int64_t second_ = 0;
  std::uint32_t checks_ = 0;  // in it
  std::uint64_t checked_ = 0;
  std::array<SenderSet, sender_sets> senders_{};
};

}  // namespace classgate::gateway
