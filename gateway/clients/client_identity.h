#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "admission/ids.h"
#include "conf/identity.h"
#include "conf/known_clients.h"
#include "conf/settings.h"
#include "gateway/clients/address_ids.h"
#include "gateway/clients/jwt.h"
#include "gateway/clients/key_ring.h"
#include "gateway/clients/quota_table.h"
#include "gateway/clients/retry_marks.h"
#include "gateway/clients/sip_hash.h"
#include "proxy/wire/message.h"

namespace classgate::gateway {

// Whom clients.clients_file or a plan names, one by one, and gives a quota; with this key of the
// ids. Networks are not among them. O(clients).
std::shared_ptr<const QuotaNames> quota_names_of(const conf::Settings& settings,
                                                 const HashKey& key);

// Who is asking, as a number: what the client names itself by ([fairness], [[plan]]), hashed with a
// key ([clients] secret), so that nobody can aim at another's number and the name itself is kept
// nowhere. In print: clients/pseudonym.h.
//
// The first source that a request has something of says who it is. Known is whose key is in
// clients.clients_file or a plan, whose address is in a plan, and whose certificate or signed token
// ([jwt]) was verified. A token that was not is an invented key.
// Who is not is what [clients] unknown says: whatever keys somebody invents, under "address",
// "shared" and "refuse" he is no more than one client. Who names nothing is known by its address
// (IPv6: by its /64). Immutable, but for what a KeyRing learns; any thread, each with a TokenCache
// of its own.
class ClientIdentities {
 public:
  struct Identity {
    std::uint64_t id = 0;  // 0: nobody wants to know, or nobody is let in
    admission::PlanId plan{};
    // What tells it, as long as these identities live; null: its address.
    const conf::IdentitySource* source = nullptr;
    // Of clients.clients_file, as long as these identities live; null: it is in none.
    const conf::KnownClient* client = nullptr;
    // Of the file too: who it would be, but that its keys are not valid now.
    const conf::KnownClient* not_valid = nullptr;
    bool is_known = false;
    bool is_of_all_unknown = false;  // the one client that these are (clients.unknown)
    bool is_of_network = false;      // known by that alone
    bool is_refused = false;         // unknown, and such are not let in
    // What names it is there twice, or nearly ("X_Api_Key"), or the service does not get it
    // (Connection names it): we would believe one, and the service the other.
    bool is_ambiguous = false;
    // Of a token that is not believed.
    std::optional<TokenFault> token_fault = std::nullopt;
    TokenLook token_look = TokenLook::none;
    KeyLook key_look = KeyLook::none;
  };
  // Where a client has connected.
  struct Listener {
    std::string address;     // as the conf has it; empty: the socket was given to us
    std::uint16_t port = 0;  // then: of the conf's with this port
    bool is(const conf::ListenerSettings& one) const {
      return address.empty() ? port == one.port : address == one.address;
    }
  };
  struct Facts {
    const proxy::wire::Head& head;
    conf::IpAddress address;             // the real client's
    std::string_view tls_subject = {};   // of a verified certificate; empty: none
    std::string_view tls_san = {};       // its alternative name
    const Listener* listener = nullptr;  // null: one that has nothing of its own
    TokenCache* tokens = nullptr;        // of the thread; null: each token is verified anew
    AddressIds* addresses = nullptr;     // of the thread; null: each address is hashed anew
  };

  // `ids`: of the routes and plans of these settings, whose jwt.keys are good (check_jwt()).
  ClientIdentities(const conf::Settings& settings, const admission::Ids& ids, const HashKey& key);

  bool is_on() const { return settings_.is_on; }
  bool wants_tls_subject() const { return wants_tls_subject_; }
  bool wants_tls_san() const { return wants_tls_san_; }
  Identity of(const Facts& facts, admission::RouteId route) const;
  // Of a client that is known by its address.
  std::uint64_t id_of(const conf::IpAddress& address) const {
    return id_of(address, address_in(settings_.identity));
  }
  // Of one of clients.clients_file.
  std::uint64_t id_of_name(std::string_view name) const;

  // Whose of clients.clients_file an id is, by its name; empty: nobody's. The first time
  // O(clients).
  std::string_view name_of(std::uint64_t id) const;

  RetryMarks retry_marks_of(const proxy::wire::Head& head, std::uint64_t client,
                            std::string_view path) const {
    return gateway::retry_marks_of(head, key_, client, path);
  }

 private:
  using Sources = std::vector<conf::IdentitySource>;
  // The route's, else the listener's, else everybody's.
  const Sources& sources_of(admission::RouteId route, const Listener* listener) const {
    if (const Sources* const own = route_sources_.find(route)) return *own;
    for (const conf::ListenerSettings& one : listeners_)
      if (one.identity && listener != nullptr && listener->is(one)) return *one.identity;
    return settings_.identity;
  }
  struct PlanPlace {  // where a key must stand to be a plan's
    conf::IdentitySource source;
    admission::PlanId plan;
  };
  // Null: of plans.
  const conf::KnownClient* client_of(const KeyHolder& holder) const {
    return holder.is_of_plans ? nullptr : &known_->clients[holder.number];
  }
  std::uint16_t slot_of(admission::PlanId plan);
  // The keys of one of the file.
  bool are_valid_now(const KeyHolder& holder) const;
  struct Block {
    conf::IpAddress::Order first, last;
    admission::PlanId plan;
  };
  const conf::IdentitySource& address_in(const Sources& sources) const;
  std::uint64_t hash(std::string_view word, std::string_view field, std::string_view name) const;
  std::uint64_t hash(const conf::IdentitySource& source, std::string_view name) const;
  std::uint64_t id_of(const conf::IpAddress& address, const conf::IdentitySource& source) const;
  void add_known(const conf::KnownClients& known, const admission::Ids& ids);
  using NumbersByKey = std::map<conf::Sha256, std::uint32_t>;  // of holders
  void add_plan_client(const conf::PlanClient& client, admission::PlanId plan,
                       NumbersByKey& numbers);
  Identity by_key(const conf::IdentitySource& source, std::string_view key, const Facts& facts,
                  const Sources& sources) const;
  struct Token;  // of a request
  Identity told_by(const Sources& sources, const Facts& facts, Token& token) const;
  void look_at(Token& token, std::string_view text, const Facts& facts) const;
  std::optional<Identity> by_token(const conf::IdentitySource& source, const Token& token,
                                   const Facts& facts, const Sources& sources) const;
  void add_named(const conf::IdentitySource& source, std::string_view name,
                 const KeyHolder& holder);
  Identity by_certificate(const conf::IdentitySource& source, std::string_view subject) const;
  Identity by_address(const Facts& facts, const Sources& sources) const;
  std::uint64_t id_by_address(const Facts& facts, const Sources& sources) const;
  const Block* block_of(const conf::IpAddress& address) const;

  conf::FairnessSettings settings_;
  std::vector<conf::ListenerSettings> listeners_;
  conf::UnknownClients unknown_;
  std::shared_ptr<const conf::KnownClients> known_;
  admission::ById<admission::RouteId, Sources> route_sources_;  // of those that have their own
  HashKey key_;
  HashKey address_key_;                   // of all whose name is their address
  std::uint64_t shared_id_;               // all who are not known
  std::vector<admission::PlanId> plans_;  // by their slots, of clients that are known
  std::vector<std::vector<PlanPlace>> plan_places_;
  std::vector<KeyHolder> holders_;             // until the ring has them, and
  std::vector<conf::KnownClients::Key> keys_;  // these
  std::optional<KeyRing> ring_;
  std::unordered_map<std::uint64_t, admission::PlanId> certificates_;
  conf::JwtSettings jwt_;
  std::optional<JwtVerifier> verifier_;
  std::uint64_t token_terms_ = 0;                       // a hash of what tokens are verified by
  std::unordered_map<std::uint64_t, KeyHolder> named_;  // by tokens, by the hash of the name
  std::vector<Block> blocks_;                           // in order; they lie apart
  // In the order of the ids, with their places in known_.
  mutable std::vector<std::pair<std::uint64_t, std::uint32_t>> names_;
  mutable std::once_flag names_are_made_;
  bool wants_tls_subject_ = false;
  bool wants_tls_san_ = false;
};

}  // namespace classgate::gateway
