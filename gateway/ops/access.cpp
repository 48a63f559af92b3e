#include "gateway/ops/access.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "conf/format.h"
#include "conf/network.h"
#include "gateway/json_text.h"

namespace classgate::gateway {
namespace {

using nlohmann::ordered_json;

constexpr std::chrono::minutes wrong_window{1};

Access::Reply objection_of(int status, std::string_view why) {
  return {
      .status = status,
      .content_type = "application/json",
      .body = json_text(ordered_json{{"error", why}}),
      .fields = status == 401 ? "WWW-Authenticate: Bearer realm=\"classgate operators\"\r\n" : ""};
}

// Of hashes: what is alike in them tells nothing of what was hashed, and the time nothing of that.
bool is_equal(const conf::Sha256& one, const conf::Sha256& other) {
  unsigned differs = 0;
  for (std::size_t i = 0; i < one.size(); ++i)
    differs |= static_cast<unsigned>(one[i]) ^ static_cast<unsigned>(other[i]);
  return differs == 0;
}

bool is_alike(std::string_view one, std::string_view other) {
  const auto small = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::ranges::equal(one, other, {}, small, small);
}

// "gate.example:9190" without its port, an IPv6 address without its brackets.
std::string_view name_in(std::string_view authority) {
  if (authority.starts_with('[')) {
    const std::size_t end = authority.find(']');
    return end == std::string_view::npos ? authority : authority.substr(1, end - 1);
  }
  return authority.substr(0, authority.find(':'));
}

// "Bearer TOKEN" (RFC 6750 section 2.1); empty: nothing of the kind.
std::string_view bearer_in(std::string_view authorization) {
  constexpr std::string_view scheme = "bearer ";
  if (authorization.size() <= scheme.size()) return {};
  if (!is_alike(authorization.substr(0, scheme.size()), scheme)) return {};
  return authorization.substr(scheme.size());
}

// Cookies are the same for all ports of a host (RFC 6265 section 8.5): by its port in the name each
// gateway of a machine has one of its own. __Host- keeps it from being set by another name of the
// domain (RFC 6265bis section 4.1.3.2); browsers want https for it.
std::string cookie_name_of(const Access::Request& request) {
  std::string_view port(request.host);
  port.remove_prefix(std::min(port.size(), port.rfind(']') + 1));  // of IPv6
  port.remove_prefix(std::min(port.size(), port.find(':') + 1));
  if (port.size() == request.host.size() || port.size() > 5 ||
      port.find_first_not_of("0123456789") != std::string_view::npos)
    port = {};
  if (port.empty()) port = request.is_tls ? "443" : "80";
  return fmt::format("{}classgate_session_{}", request.is_tls ? "__Host-" : "", port);
}

// What those of this name are worth among the cookies (RFC 6265 section 4.2.1), as hashes. Several
// stand there where another path or name of the host has set one too: ours may be any of them.
std::vector<conf::Sha256> sessions_in(const Access::Request& request) {
  constexpr std::size_t looked_at = 8;
  const std::string name = cookie_name_of(request) + "=";
  std::vector<conf::Sha256> found;
  for (std::string_view cookies = request.cookie; !cookies.empty() && found.size() < looked_at;) {
    const std::size_t end = std::min(cookies.find(';'), cookies.size());
    std::string_view one = cookies.substr(0, end);
    cookies.remove_prefix(std::min(end + 1, cookies.size()));
    one.remove_prefix(std::min(one.find_first_not_of(' '), one.size()));
    if (one.starts_with(name)) found.push_back(conf::sha256(one.substr(name.size())));
  }
  return found;
}

// 256 bits of the kernel's randomness, as 64 digits.
std::string make_session_id() {
  conf::Sha256 random;
  while (::getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size()))
    if (errno != EINTR) throw std::system_error(errno, std::generic_category(), "getrandom");
  return conf::hex_of(random);
}

// A page of another site has sent it, as its browser says (Fetch Metadata; RFC 6454 section 7).
bool is_of_another_site(const Access::Request& request) {
  if (!request.fetch_site.empty() && request.fetch_site != "same-origin" &&
      request.fetch_site != "none")
    return true;
  if (request.origin.empty()) return false;
  const std::size_t scheme = request.origin.find("://");
  return scheme == std::string::npos ||
         !is_alike(std::string_view(request.origin).substr(scheme + 3), request.host);
}

// A browser has said that a page of ours sent it. Behind a cookie nothing less will do.
bool is_of_our_page(const Access::Request& request) {
  return (request.fetch_site == "same-origin" || !request.origin.empty()) &&
         !is_of_another_site(request);
}

}  // namespace

void Access::follow(const conf::OpsSettings& settings, OperatorTokens tokens) {
  token_for_ = settings.token_for;
  wants_tokens_ = !settings.token_file.empty();
  hosts_ = settings.hosts;
  session_time_ = settings.session_time;
  tokens_ = std::move(tokens);
  std::erase_if(sessions_, [&](const Session& session) { return !is_known(session.token); });
}

// Who is refused what, by which ids and from where, is not for a whole network, however ops.listen
// has come to be open to it.
bool Access::wants_token_to_read(const Request& request) const {
  return token_for_ != conf::TokenFor::changes ||
         !(request.address.is_loopback() || request.address.is_unix());
}

std::optional<Access::Reply> Access::objection(const Request& request, Desk::Who who,
                                               Clock::time_point now) {
  if (request.is_local) return std::nullopt;
  if (who == Desk::Who::anybody) {
    if (token_for_ != conf::TokenFor::everything) return std::nullopt;
    return objection_to_token(request, now);
  }
  const std::string_view name = name_in(request.host);
  const bool is_ours =
      is_alike(name, "localhost") || conf::IpAddress::parse(name) ||
      std::ranges::any_of(hosts_, [&](const std::string& host) { return is_alike(host, name); });
  if (!is_ours)
    return objection_of(421, "this is called by an address, localhost, or a name in ops.hosts");
  const bool changes = who == Desk::Who::changer;
  if ((changes || who == Desk::Who::visitor) && is_of_another_site(request)) {
    // Whoever follows a link to the page comes from elsewhere, and changes nothing by it.
    if (changes || request.method != "GET" || request.path != "/")
      return objection_of(403, "a page of another site may not ask this");
  }
  if (who == Desk::Who::reader && is_of_another_site(request))
    return objection_of(403, "a page of another site may not ask this");
  if (who == Desk::Who::visitor) return std::nullopt;
  if (!changes && !wants_token_to_read(request)) return std::nullopt;
  if (!wants_tokens_)
    return objection_of(
        403, changes ? "nothing is changed here without ops.token_file; classgate(8) says how it "
                       "is done on the machine itself"
                     : "from another machine this is read with a token: name ops.token_file, or "
                       "ask on the machine itself (127.0.0.1)");
  return objection_to_token(request, now);
}

std::optional<Access::Reply> Access::objection_to_token(const Request& request,
                                                        Clock::time_point now) {
  if (const std::string_view token = bearer_in(request.authorization); !token.empty()) {
    if (is_known(conf::sha256(token))) return std::nullopt;
    return answer_to_wrong_token(request, now);
  }
  if (session_of(request, now) == nullptr) return objection_of(401, "a token is needed");
  if (request.method != "GET" && request.method != "HEAD" && !is_of_our_page(request))
    return objection_of(403, "the browser does not say that this page has sent it");
  return std::nullopt;
}

Access::Reply Access::log_in(const Request& request, std::string_view token,
                             Clock::time_point now) {
  if (!wants_tokens_)
    return objection_of(403, "there are no tokens to log in with (ops.token_file)");
  const conf::Sha256 hash = conf::sha256(token);
  if (!is_known(hash)) return answer_to_wrong_token(request, now);
  log_out(request);  // a browser has one session
  std::erase_if(sessions_, [&](const Session& session) { return session.end <= now; });
  const auto is_its = [&](const Session& session) { return session.token == hash; };
  if (static_cast<std::size_t>(std::ranges::count_if(sessions_, is_its)) >= sessions_per_token_max)
    sessions_.erase(std::ranges::find_if(sessions_, is_its));
  const std::string id = make_session_id();
  sessions_.push_back({conf::sha256(id), hash, now + session_time_});
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(session_time_).count();
  return {.content_type = "application/json",
          .body = json_text(ordered_json{{"logged_in", true}, {"seconds_left", seconds}}),
          .fields =
              fmt::format("Set-Cookie: {}={}; HttpOnly; SameSite=Strict; Path=/; Max-Age={}{}\r\n",
                          cookie_name_of(request), id, seconds, request.is_tls ? "; Secure" : "")};
}

Access::Reply Access::log_out(const Request& request) {
  for (const conf::Sha256& id : sessions_in(request))
    std::erase_if(sessions_, [&](const Session& session) { return is_equal(session.id, id); });
  return {
      .content_type = "application/json",
      .body = json_text(ordered_json{{"logged_in", false}, {"seconds_left", 0}}),
      .fields = fmt::format("Set-Cookie: {}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0{}\r\n",
                            cookie_name_of(request), request.is_tls ? "; Secure" : "")};
}

Access::Standing Access::standing_of(const Request& request, Clock::time_point now) const {
  const Session* const session = session_of(request, now);
  if (session == nullptr) return {};
  return {true, std::chrono::duration_cast<std::chrono::seconds>(session->end - now)};
}

bool Access::is_known(const conf::Sha256& token) const {
  bool found = false;  // all are looked at
  for (const conf::Sha256& known : tokens_) found = is_equal(known, token) || found;
  return found;
}

const Access::Session* Access::session_of(const Request& request, Clock::time_point now) const {
  const Session* found = nullptr;
  for (const conf::Sha256& id : sessions_in(request))
    for (const Session& session : sessions_)
      if (is_equal(session.id, id) && session.end > now) found = &session;
  return found;
}

Access::Party Access::party_of(const Request& request, Clock::time_point now) const {
  if (const std::string_view token = bearer_in(request.authorization); !token.empty())
    if (const conf::Sha256 hash = conf::sha256(token); is_known(hash)) return hash;
  if (const Session* const session = session_of(request, now)) return session->token;
  Party party{};
  std::ranges::copy(operators_client_of(request.address).bytes, party.begin());
  return party;
}

Access::Reply Access::answer_to_wrong_token(const Request& request, Clock::time_point now) {
  const Place place = operators_client_of(request.address).bytes;
  std::erase_if(wrong_, [&](const auto& of) { return now - of.second.since >= wrong_window; });
  if (wrong_.size() >= addresses_max && !wrong_.contains(place))
    wrong_.erase(
        std::ranges::min_element(wrong_, {}, [](const auto& of) { return of.second.since; }));
  Wrong& wrong = wrong_[place];
  if (wrong.count++ == 0) wrong.since = now;
  return wrong.count > wrong_max
             ? objection_of(429,
                            "too many wrong tokens: ask again in a minute, or with a right one")
             : objection_of(401, "the token is not known");
}

}  // namespace classgate::gateway
