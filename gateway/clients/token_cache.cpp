#include "gateway/clients/token_cache.h"

#include <algorithm>
#include <new>
#include <span>

#include "gateway/clients/client_identity.h"

namespace classgate::gateway {

TokenCache::TokenCache() : key_(make_hash_key()) {}

void TokenCache::begin(std::uint64_t terms, const conf::JwtSettings& settings) {
  sets_ = (settings.tokens_max + set_size - 1) / set_size;
  // Zeroes that nobody has written yet take no memory.
  tokens_.reset(static_cast<Token*>(std::calloc(sets_ * set_size, sizeof(Token))));
  terms_ = 0;
  if (!tokens_) throw std::bad_alloc();
  terms_ = terms;
  checks_max_ = settings.checks_max;
  spent_max_ = std::uint64_t{std::max<std::uint32_t>(checks_max_ / 8, 1)} *
               static_cast<std::uint64_t>(Cost::signature);
}

// As if `low` were a fraction of 2^64.
TokenCache::Token* TokenCache::set_of(const SipHash::Wide& key) const {
  return &tokens_[static_cast<std::size_t>((key.low >> 32) * sets_ >> 32) * set_size];
}

const TokenCache::Ids* TokenCache::find(const SipHash::Wide& key, std::int64_t now) const {
  for (const Token& token : std::span(set_of(key), set_size))
    if (token.low == key.low && token.high == key.high && now < token.ends) return &token.ids;
  return nullptr;
}

void TokenCache::put(const SipHash::Wide& key, std::int64_t ends, std::int64_t now,
                     const Ids& ids) {
  const std::span set(set_of(key), set_size);
  const auto ended =
      std::ranges::find_if(set, [&](const Token& token) { return token.ends <= now; });
  (ended == set.end() ? set[key.high % set_size] : *ended) = {key.low, key.high, ends, ids};
}

bool TokenCache::may_look(std::uint64_t sender, std::int64_t now) {
  if (now != second_) {
    second_ = now;
    checks_ = 0;
  }
  const bool has_spent_all =
      std::ranges::any_of(senders_[sender % senders_.size()], [&](const Sender& known) {
        return known.number == sender && known.second == now && known.spent >= spent_max_;
      });
  return !has_spent_all && checks_ < checks_max_;
}

bool TokenCache::may_check(std::uint64_t sender, std::int64_t now) {
  if (!may_look(sender, now)) return false;
  ++checks_;
  ++checked_;
  return true;
}

void TokenCache::note_bad(std::uint64_t sender, std::int64_t now, Cost cost) {
  SenderSet& set = senders_[sender % senders_.size()];
  for (Sender& known : set)
    if (known.second != now) known = {.second = now};
  auto known = std::ranges::find(set, sender, &Sender::number);
  if (known == set.end()) {
    known = std::ranges::min_element(set, {}, &Sender::spent);
    *known = {.number = sender, .second = now};
  }
  known->spent += static_cast<std::uint64_t>(cost);
}

}  // namespace classgate::gateway
