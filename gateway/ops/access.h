#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "conf/settings.h"
#include "gateway/ops/desk.h"
#include "gateway/ops/operator_tokens.h"

namespace classgate::gateway {

// Who may do what over ops.listen. Programs show a token with each request; a browser shows it once
// and has a session from then on, by a cookie that no script reads and no other site sends along.
//
//   anybody  what monitoring asks; with ops.token_for = "everything" who has a token
//   reader   the page and the API: under a name of ours only (DNS rebinding), and never for a page
//            of another site; from another machine who has a token, and with ops.token_for =
//            "pages" whoever else is on this one
//   changer  a reader who has shown a token, or has a session
//
// Compared in a time that does not hang on what is alike. A right token always passes, whatever
// wrong ones came from the same address: those are counted, so that they are seen and told, and the
// length of a token is what keeps it from being guessed (operator_tokens.cpp). An IPv6 address
// counts as its /64. Bounded: sessions_per_token_max for each token, addresses_max. On the main
// thread.
class Access {
 public:
  using Request = OperatorServer::Request;
  using Reply = OperatorServer::Reply;
  using Clock = std::chrono::steady_clock;
  static constexpr std::size_t sessions_per_token_max = 32;  // the oldest of the token gives way
  static constexpr std::size_t addresses_max = 1'024;        // whose wrong tokens are counted
  static constexpr unsigned wrong_max = 10;                  // of one address in a minute

  // Sessions by tokens that have gone end.
  void follow(const conf::OpsSettings& settings, OperatorTokens tokens);
  const OperatorTokens& tokens() const { return tokens_; }

  // Whoever asks from where this has come must show a token to read.
  bool wants_token_to_read(const Request& request) const;
  // What must be said instead of an answer; nothing: it may.
  std::optional<Reply> objection(const Request& request, Desk::Who who, Clock::time_point now);

  // The answers to these three; `token` is what the body of a log-in had.
  Reply log_in(const Request& request, std::string_view token, Clock::time_point now);
  Reply log_out(const Request& request);
  struct Standing {
    bool has_session = false;
    std::chrono::seconds left{};  // of it
  };
  Standing standing_of(const Request& request, Clock::time_point now) const;
  // Whom a viewer's place counts for: his token, by header or session, else his address.
  using Party = conf::Sha256;
  Party party_of(const Request& request, Clock::time_point now) const;

 private:
  struct Session {
    conf::Sha256 id;  // of the cookie's value
    conf::Sha256 token;
    Clock::time_point end;
  };
  struct Wrong {
    unsigned count = 0;
    Clock::time_point since;
  };
  using Place = decltype(conf::IpAddress::bytes);
  bool is_known(const conf::Sha256& token) const;
  const Session* session_of(const Request& request, Clock::time_point now) const;
  Reply answer_to_wrong_token(const Request& request, Clock::time_point now);
  std::optional<Reply> objection_to_token(const Request& request, Clock::time_point now);

  conf::TokenFor token_for_ = conf::TokenFor::changes;
  bool wants_tokens_ = false;  // ops.token_file is set, whether it could be read or not
  std::vector<std::string> hosts_;
  std::chrono::milliseconds session_time_{};
  OperatorTokens tokens_;
  std::vector<Session> sessions_;  // the oldest first
  std::map<Place, Wrong> wrong_;
};

}  // namespace classgate::gateway
