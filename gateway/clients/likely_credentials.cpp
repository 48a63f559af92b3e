#include "gateway/clients/likely_credentials.h"

#include <algorithm>
#include <array>

#include "conf/ascii.h"
#include "conf/known_clients.h"
#include "gateway/clients/base64.h"

namespace classgate::gateway {
namespace {

constexpr std::string_view credential_mask = "***";
constexpr std::size_t shortest_credential = 20;

// What each header of a token has, "alg" in quotes (RFC 7515 section 4.1.1), in base64url: by where
// it stands among three bytes. The digits that hold bits of its neighbours are left out.
constexpr std::array<std::string_view, 3> algorithm_names{"ImFsZy", "JhbGci", "iYWxnI"};
// How a JSON object begins in base64url: '{', and a quote or a blank behind it.
constexpr std::array<std::string_view, 2> object_begins{"ey", "ew"};

bool is_of_word(char c) { return base64url[static_cast<unsigned char>(c)] >= 0 || c == '.'; }

// Where a token begins that reaches to the end of the word; npos: nowhere.
std::size_t token_in(std::string_view word) {
  auto dots = std::ranges::count(word, '.');
  for (std::size_t begin = 0; dots >= 2; --dots) {
    const std::size_t end = word.find('.', begin);
    const std::string_view header = word.substr(begin, end - begin);
    for (const std::string_view name : algorithm_names) {
      const std::string_view before = header.substr(0, std::min(header.find(name), header.size()));
      if (before.size() == header.size()) continue;
      for (const std::string_view object : object_begins)
        if (const std::size_t at = before.find(object); at != std::string_view::npos)
          return begin + at;
    }
    begin = end + 1;
  }
  return std::string_view::npos;
}

std::size_t credential_in(std::string_view word) {
  if (word.size() < shortest_credential) return std::string_view::npos;
  const std::size_t key = word.find(conf::key_prefix);
  const bool is_key = key != std::string_view::npos && word.size() - key >= shortest_credential;
  return std::min(is_key ? key : std::string_view::npos, token_in(word));
}

bool begins_with_scheme(std::string_view text, std::string_view scheme) {
  return text.size() > scheme.size() && text[scheme.size()] == ' ' &&
         conf::equal_but_for_case(text.substr(0, scheme.size()), scheme);
}

// The digits of base64 at the end of a text, in either alphabet, without the padding.
std::string_view without_padding(std::string_view text) {
  return text.substr(0, text.find_last_not_of('=') + 1);
}

// What follows the scheme where `text` is what Authorization would have (RFC 9110 section 11.4);
// npos: it is not.
std::size_t credential_behind_scheme(std::string_view text) {
  constexpr std::string_view bearer = "bearer", basic = "basic";
  const bool is_bearer = begins_with_scheme(text, bearer);
  if (!is_bearer && !begins_with_scheme(text, basic)) return std::string_view::npos;
  const std::size_t scheme = is_bearer ? bearer.size() : basic.size();
  const std::size_t begin = text.find_first_not_of(' ', scheme);
  if (begin == std::string_view::npos) return begin;
  const std::string_view credential = without_padding(text.substr(begin));
  if (is_bearer) {
    constexpr std::string_view others = "-._~+/";  // RFC 6750 section 2.1
    const bool is_one = std::ranges::all_of(credential, [&](char c) {
      return base64[static_cast<unsigned char>(c)] >= 0 || others.contains(c);
    });
    return is_one && !credential.empty() ? begin : std::string_view::npos;
  }
  bool has_colon = false;  // between user and password (RFC 7617 section 2)
  each_base64_byte(credential, base64, [&has_colon](char byte) {
    has_colon = byte == ':';
    return !has_colon;
  });
  return has_colon ? begin : std::string_view::npos;
}

}  // namespace

std::string_view without_credentials(std::string_view text, std::string& room) {
  if (const std::size_t begin = credential_behind_scheme(text); begin != std::string_view::npos)
    return room.assign(text.substr(0, begin)).append(credential_mask);
  room.clear();
  std::size_t told = 0;  // of the text, in `room` or masked there
  for (std::size_t begin = 0; begin < text.size();) {
    std::size_t end = begin;
    while (end < text.size() && is_of_word(text[end])) ++end;
    if (const std::size_t at = credential_in(text.substr(begin, end - begin));
        at != std::string_view::npos) {
      room.append(text.substr(told, begin + at - told)).append(credential_mask);
      told = end;
    }
    begin = end + 1;
  }
  return told == 0 ? text : room.append(text.substr(told));
}

}  // namespace classgate::gateway
